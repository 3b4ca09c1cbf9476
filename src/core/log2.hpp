// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Binary logarithms in integers: the same on every machine.
#pragma once

#include <cstdint>

#include "core/bits.hpp"
#include "seqkv/inline.hpp"

namespace seqkv {

/// log2(x) in 2^-16, rounded down (by one more where the true value is less than 2^-14 of such a step above a whole
/// one; powers of two are exact). x >= 1.
SEQKV_INLINE std::uint32_t log2_q16(std::uint64_t x) {
  const int top = 63 - leading_zeros(x);
  // y = x / 2^top in [1, 2) with 31 bits behind the point. log2(y) = 0.b1 b2 ...: y^2 >= 2 exactly if b1 = 1, and
  // y^2 / 2^b1 goes on with b2.
  std::uint64_t y = top >= 31 ? x >> (top - 31) : x << (31 - top);
  auto result = static_cast<std::uint32_t>(top);
  for (int i = 0; i < 16; ++i) {
    y = y * y >> 31U;
    const auto bit = static_cast<std::uint32_t>(y >> 32U);
    y >>= bit;
    result = result << 1U | bit;
  }
  return result;
}

}  // namespace seqkv
