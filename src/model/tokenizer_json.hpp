// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Reading the parts of tokenizer.json. What is not implemented is refused by name.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "model/added_tokens.hpp"
#include "model/bpe.hpp"
#include "model/regex.hpp"

namespace seqkv {

/// How text becomes words, in the order applied.
struct PreTokenizer {
  struct Split {
    Regex pattern;
    bool matches_only = false;  ///< words are the matches ("Removed" with invert); else matches and gaps
  };
  std::vector<Split> splits;
  bool add_prefix_space = false;
};

/// Ids put before and behind the text by the post-processor.
struct Template {
  std::vector<Token> before;
  std::vector<Token> behind;
};

struct TokenizerParts {
  bool nfc = false;  ///< the normalizer
  PreTokenizer pre_tokenizer;
  Bpe bpe;
  std::vector<AddedToken> added;
  Template post;
  std::vector<std::string> bytes_of;  ///< by id; empty where there is none
  std::vector<bool> special;          ///< by id
};

Result<TokenizerParts> parse_tokenizer(const nlohmann::json& json);

}  // namespace seqkv
