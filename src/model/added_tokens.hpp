// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Added tokens: entries that are found in the text itself, before it is split into words.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "model/regex.hpp"
#include "seqkv/kv.hpp"

namespace seqkv {

struct AddedToken {
  Token id = 0;
  std::string content;
  bool special = false;
  bool normalized = false;   ///< looked for after the normalizer
  bool single_word = false;  ///< only between characters that are not part of a word
  bool lstrip = false;       ///< takes the white space before it along
  bool rstrip = false;       ///< and the white space behind it
};

/// Finds the tokens of one list in a text, leftmost first, longest first.
class AddedTokens {
 public:
  static Result<AddedTokens> create(std::vector<AddedToken> tokens);

  /// Calls visit(piece, token) in order; token is null for the text between. The pieces cover the text.
  void split(std::string_view text, const std::function<void(std::string_view, const AddedToken*)>& visit) const;

 private:
  AddedTokens(Regex word_before, Regex word_behind, Regex space_before, Regex space_behind)
      : word_before_(std::move(word_before)),
        word_behind_(std::move(word_behind)),
        space_before_(std::move(space_before)),
        space_behind_(std::move(space_behind)) {}
  const AddedToken* match_at(std::string_view text, std::size_t at) const;

  std::vector<AddedToken> tokens_;                     ///< longest first
  std::vector<std::vector<std::size_t>> by_first_byte_;
  Regex word_before_, word_behind_, space_before_, space_behind_;
};

}  // namespace seqkv
