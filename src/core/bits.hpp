// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Counting bits on host and device. Kokkos' own functions of these names are loops (4.7), std's are for the host.
#pragma once

#include <cstdint>

#include "seqkv/inline.hpp"

namespace seqkv {

/// Zeros above the highest one; x != 0.
SEQKV_INLINE int leading_zeros(std::uint64_t x) {
#if defined(__CUDA_ARCH__)
  return __clzll(static_cast<long long>(x));
#else
  return __builtin_clzll(x);
#endif
}

/// Zeros below the lowest one; x != 0.
SEQKV_INLINE int trailing_zeros(std::uint64_t x) {
#if defined(__CUDA_ARCH__)
  return __ffsll(static_cast<long long>(x)) - 1;
#else
  return __builtin_ctzll(x);
#endif
}

SEQKV_INLINE int count_ones(std::uint32_t x) {
#if defined(__CUDA_ARCH__)
  return __popc(x);
#else
  return __builtin_popcount(x);
#endif
}

}  // namespace seqkv
