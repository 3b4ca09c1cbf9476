// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// How much two sequences share, and how far they are from each other (docs/trie.md). All from I(s, s'), the
/// information of their longest common prefix s ^ s' in bits: I(s, s') = -log2 P(s ^ s'). arXiv 2604.15356 calls it a
/// distance d_T; it is a similarity: of equal sequences it is largest, not zero.
#pragma once

#include <vector>

#include "seqkv/trie.hpp"

namespace seqkv {

/// -log2 P of the first i tokens, for i = 0 .. tokens.size(), in 2^-16 bit. With recorded surprisals by these: the
/// sequence must be in the trie as far as it goes. Without, by the counts of the trie: of a place that n sequences
/// pass, c of them to go on in one way (with a token, or to end), that way has the probability (2c - 1) / 2n; what is
/// left is for tokens that no sequence goes on with, all alike up to the largest in the trie (Howard's PPM-D). Behind
/// one of those, tokens are all alike. Sums are of logarithms rounded to 2^-16. Errors: token_out_of_range (also above
/// the trie's largest, by counts), session_not_found (surprisals recorded, but not of these tokens).
Result<std::vector<std::uint64_t>> prefix_information(const Trie& trie, TokenSpan tokens);

struct SequenceDistance {
  std::uint64_t common_tokens = 0;
  std::uint64_t shared = 0;       ///< I(s, s') in 2^-16 bit
  std::uint64_t path_length = 0;  ///< I(s, s) + I(s', s') - 2 I(s, s') in 2^-16 bit: what both tails cost; a metric
  double ultrametric = 0;         ///< P(s ^ s') = 2^-I(s, s'), and 0 of equal sequences; an ultrametric
};

/// Of two sequences with their prefix_information by the same trie.
SequenceDistance sequence_distance(TokenSpan a, std::span<const std::uint64_t> information_a, TokenSpan b,
                                   std::span<const std::uint64_t> information_b);

/// The stored session with which a sequence shares most.
struct NearestSession {
  std::uint64_t session = 0;  ///< of equals the first in the order of tokens
  std::uint64_t common_tokens = 0;
  std::uint64_t shared = 0;  ///< in 2^-16 bit
};
/// Time O(common tokens). Errors: invalid_argument (not a trie of sessions), session_not_found (an empty trie).
Result<NearestSession> nearest_session(const Trie& trie, TokenSpan tokens);

}  // namespace seqkv
