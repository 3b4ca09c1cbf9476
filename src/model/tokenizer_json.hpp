// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Reading the parts of tokenizer.json. What is not implemented is refused by name.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "model/added_tokens.hpp"
#include "model/bpe.hpp"
#include "model/regex.hpp"

namespace seqkv {

/// One step of how text becomes words: each piece of the step before is divided further.
struct PreTokenizer {
  std::optional<Regex> pattern;   ///< words are the matches and the gaps between them; none: the piece is a word
  bool matches_only = false;      ///< words are the matches only ("Removed" with invert)
  bool add_prefix_space = false;  ///< a piece that does not start with a space gets one
};

/// Ids put before and behind the text by the post-processor.
struct Template {
  std::vector<Token> before;
  std::vector<Token> behind;
};

struct TokenizerParts {
  struct Entry {
    std::string bytes;
    bool special = false;
  };
  static constexpr std::uint32_t no_entry = 0xffffffff;

  bool nfc = false;  ///< the normalizer
  std::vector<PreTokenizer> pre_tokenizers;
  Bpe bpe;
  std::vector<AddedToken> added;
  std::optional<Template> post;
  std::vector<std::uint32_t> entry_of;  ///< by id: the place in `entries`, or no_entry
  std::vector<Entry> entries;
};

Result<TokenizerParts> parse_tokenizer(const nlohmann::json& json);

}  // namespace seqkv
