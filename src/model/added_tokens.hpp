// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Added tokens: entries that are found in the text itself, before it is split into words.
#pragma once

#include <array>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
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

  /// Calls visit(piece, token) in order; token is null for the text between. The pieces cover the text; white
  /// space that a token took along is in a second piece if another token stands in it, as in `tokenizers`.
  void split(std::string_view text, const std::function<void(std::string_view, const AddedToken*)>& visit) const;

 private:
  explicit AddedTokens(Regex word) : word_(std::move(word)) {}
  const AddedToken* match_at(std::string_view text, std::size_t at) const;
  bool is_word(std::string_view character) const;

  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  std::unordered_map<std::string, AddedToken, Hash, std::equal_to<>> tokens_;
  std::array<std::vector<std::size_t>, 256> lengths_;  ///< by first byte, of the tokens there are, longest first
  Regex word_;                                         ///< a character of a word
};

}  // namespace seqkv
