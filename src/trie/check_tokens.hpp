// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// What every sequence that enters a trie must be.
#pragma once

#include <fmt/format.h>

#include <algorithm>

#include "seqkv/kv.hpp"
#include "seqkv/result.hpp"

namespace seqkv::trie {

/// The largest token of sequence `index`. Errors: empty_input, token_out_of_range (above 2^31 - 1).
inline Result<Token> check_tokens(TokenSpan tokens, std::size_t index) {
  if (tokens.empty()) {
    return Error(ErrorCode::empty_input, "an empty sequence").at_field(fmt::format("sequence {}", index));
  }
  Token largest = 0;
  for (const Token token : tokens) largest = std::max(largest, token);
  if (largest <= INT32_MAX) return largest;
  const auto at = std::ranges::find_if(tokens, [](Token token) { return token > INT32_MAX; }) - tokens.begin();
  return Error(ErrorCode::token_out_of_range, fmt::format("token {} is above 2^31 - 1", tokens[at]))
      .at_field(fmt::format("sequence {}, token {}", index, at));
}

}  // namespace seqkv::trie
