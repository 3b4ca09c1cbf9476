// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Pairs of numbers of 16 bits in a word, the first in its lower half. Where the device converts with one instruction
/// that is taken: it rounds as core/float16.hpp does.
#pragma once

#include <cstdint>

#include "core/float16.hpp"

namespace seqkv::gpu {

struct Bf16Pair {
  static SEQKV_INLINE float first(std::uint32_t pair) { return detmath::from_bits(pair << 16U); }
  static SEQKV_INLINE float second(std::uint32_t pair) { return detmath::from_bits(pair & 0xffff0000U); }
  static SEQKV_INLINE std::uint32_t join(float first, float second) {
#if defined(__CUDA_ARCH__)
    std::uint32_t pair = 0;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
    return pair;
#else
    return float_to_bf16(first) | static_cast<std::uint32_t>(float_to_bf16(second)) << 16U;
#endif
  }
};

struct F16Pair {
  static SEQKV_INLINE float first(std::uint32_t pair) {
    const auto half = static_cast<std::uint16_t>(pair & 0xffffU);
#if defined(__CUDA_ARCH__)
    float x = 0;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(half));
    return x;
#else
    return f16_to_float(half);
#endif
  }
  static SEQKV_INLINE float second(std::uint32_t pair) { return first(pair >> 16U); }
  static SEQKV_INLINE std::uint32_t join(float first, float second) {
#if defined(__CUDA_ARCH__)
    std::uint32_t pair = 0;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
    return pair;
#else
    return float_to_f16(first) | static_cast<std::uint32_t>(float_to_f16(second)) << 16U;
#endif
  }
};

/// The larger of each half of two words.
SEQKV_INLINE std::uint32_t larger_halves(std::uint32_t a, std::uint32_t b) {
#if defined(__CUDA_ARCH__)
  return __vmaxu2(a, b);
#else
  const std::uint32_t low = (a & 0xffffU) > (b & 0xffffU) ? a : b;
  const std::uint32_t high = a >> 16U > b >> 16U ? a : b;
  return (low & 0xffffU) | (high & 0xffff0000U);
#endif
}

}  // namespace seqkv::gpu
