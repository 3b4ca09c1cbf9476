// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// What a TokenCoder keeps.
#pragma once

#include "seqkv/token_coder.hpp"
#include "trie/predictor.hpp"

namespace seqkv {

struct TokenCoder::Model {
  Trie trie;
  trie::WindowCounts counts;
  std::vector<std::uint16_t> weights;
  Options options;
  std::uint64_t fingerprint;

  trie::Predictor predictor(std::uint64_t vocabulary, bool adaptive) const {
    return {counts, weights, static_cast<Token>(vocabulary), adaptive};
  }
};

namespace trie {

/// Errors: token_out_of_range.
Result<void> check_vocabulary(TokenSpan tokens, std::size_t sequence, std::uint64_t vocabulary);

/// Whether a stream can be decoded with this trie. Errors: wrong_model, corrupt.
Result<void> check_stream(std::uint64_t fingerprint, std::uint64_t found, Token largest, std::uint64_t vocabulary);

}  // namespace trie
}  // namespace seqkv
