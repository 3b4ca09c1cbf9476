// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Random numbers that are part of what is defined to the bit: any one can be had without those before it.
#pragma once

#include <cstdint>

#include "seqkv/inline.hpp"

namespace seqkv {

/// splitmix64 (Steele et al. 2014): the n-th 64 random bits of a stream.
SEQKV_INLINE std::uint64_t random_bits(std::uint64_t seed, std::uint64_t n) {
  std::uint64_t z = seed + (n + 1) * 0x9e3779b97f4a7c15ULL;
  z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27U)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31U);
}

}  // namespace seqkv
