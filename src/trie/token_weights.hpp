// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The table of mixing weights of a token coder: which weight a level of the mixture takes (docs/token-coder.md).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "seqkv/token_coder.hpp"

namespace seqkv::trie {

inline constexpr unsigned size_classes = 9;
inline constexpr unsigned variety_classes = 6;
inline constexpr unsigned classes = size_classes * variety_classes;

/// Of a context's count C >= 1: 1, 2, 3, 4-5, 6-8, 9-15, 16-31, 32-127, more.
SEQKV_INLINE unsigned size_class(std::uint64_t count) {
  if (count <= 3) return static_cast<unsigned>(count) - 1;
  if (count <= 15) return count <= 5 ? 3 : count <= 8 ? 4 : 5;
  return count <= 31 ? 6 : count <= 127 ? 7 : 8;
}
/// Of its number of different next tokens Q >= 1: 1, 2, 3, 4-6, 7-15, more.
SEQKV_INLINE unsigned variety_class(std::uint64_t variety) {
  if (variety <= 3) return static_cast<unsigned>(variety) - 1;
  return variety <= 6 ? 3 : variety <= 15 ? 4 : 5;
}
SEQKV_INLINE unsigned class_of(std::uint64_t count, std::uint64_t variety) {
  return size_class(count) * variety_classes + variety_class(variety);
}

/// Where in the table the weights of contexts of `length` tokens start, by what they count.
enum class Counts : std::uint8_t { learned_beside_recent = 0, recent = 1, learned_alone = 2 };
SEQKV_INLINE unsigned weight_row(unsigned length, Counts counts) {
  return token_weight_count(length) + static_cast<unsigned>(counts) * classes;
}
/// The weight of a level of the last token alone, seen `run` + 1 times in a row.
SEQKV_INLINE unsigned last_token_weight(unsigned length, std::uint32_t run, std::uint64_t count) {
  return token_weight_count(length) + 3 * classes + (run < 2 ? run : 2) * size_classes + size_class(count);
}

/// Without training: the share of what a count of 1/2 less for each of Q tokens leaves over, Q / (2 C); of the last
/// token 1 / (run + 2).
std::vector<std::uint16_t> default_token_weights(std::uint32_t depth_limit);

bool weights_are_valid(std::span<const std::uint16_t> weights);

}  // namespace seqkv::trie
