// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Walsh-Hadamard transforms, as many vectors of a row in registers as fit. The butterflies and their order are those
/// of backends/kokkos/hadamard.hpp. Only for the translation units that define SEQKV_ISA (see simd.hpp).
#pragma once

#include "backends/cpu/simd.hpp"

namespace seqkv::cpu::SEQKV_ISA {

/// 1 in lanes whose number has the bit `half` clear, else -1.
struct LaneSigns {
  alignas(64) float of[lanes];
};
constexpr LaneSigns lane_signs(int half) {
  LaneSigns signs{};
  for (int lane = 0; lane < lanes; ++lane) signs.of[lane] = (lane & half) == 0 ? 1.0F : -1.0F;
  return signs;
}
template <int Half>
inline constexpr LaneSigns signs_of_half = lane_signs(Half);

/// A second name for the same memory, so that the compiler does not make one load of two.
SEQKV_INLINE const float* as_other(const float* p) {
  asm("" : "+r"(p));
  return p;
}

#if defined(__AVX512F__)

/// Vectors that stay in registers together.
inline constexpr int held = 16;

/// Sums of lanes i and i + Half in lane i, differences in lane i + Half. The product with 1 or -1 is exact, so that the
/// fused multiply-add rounds like the sum or the difference.
template <int Half>
SEQKV_INLINE f32x16 butterfly_lanes(f32x16 a) {
  __m512 other;
  if constexpr (Half == 2) other = _mm512_permute_ps(a.v, 0x4e);
  if constexpr (Half == 4) other = _mm512_shuffle_f32x4(a.v, a.v, 0xb1);
  if constexpr (Half == 8) other = _mm512_shuffle_f32x4(a.v, a.v, 0x4e);
  return fma(a, load(signs_of_half<Half>.of), f32x16{other});
}

/// Numbers in memory after the butterflies of half 1. Shuffles are what limits a transform, and loads that double every
/// second number are none.
SEQKV_INLINE f32x16 load_butterfly(const float* p) {
  const __m512 even = _mm512_moveldup_ps(_mm512_loadu_ps(p));
  const __m512 odd = _mm512_movehdup_ps(_mm512_loadu_ps(as_other(p)));
  return {_mm512_fmadd_ps(odd, load(signs_of_half<1>.of).v, even)};
}

#else

inline constexpr int held = 4;

template <int Half>
SEQKV_INLINE f32x16 butterfly_lanes(f32x16 a) {
  if constexpr (Half == 8) return {_mm256_add_ps(a.lo, a.hi), _mm256_sub_ps(a.lo, a.hi)};
  const auto other = [](__m256 x) {
    if constexpr (Half == 2) return _mm256_permute_ps(x, 0x4e);
    return _mm256_permute2f128_ps(x, x, 1);
  };
  return fma(a, load(signs_of_half<Half>.of), f32x16{other(a.lo), other(a.hi)});
}

SEQKV_INLINE f32x16 load_butterfly(const float* p) {
  const auto even = [](const float* q) { return _mm256_moveldup_ps(_mm256_loadu_ps(q)); };
  const auto odd = [](const float* q) { return _mm256_movehdup_ps(_mm256_loadu_ps(as_other(q))); };
  return fma(f32x16{odd(p), odd(p + 8)}, load(signs_of_half<1>.of), f32x16{even(p), even(p + 8)});
}

#endif

/// Butterflies between vectors, from `Half` vectors apart on.
template <int Half, int Count>
SEQKV_INLINE void butterflies(f32x16 (&v)[Count]) {
  if constexpr (Half < Count) {
#pragma GCC unroll 8
    for (int i = 0; i < Count / 2; ++i) {
      const int at = i / Half * 2 * Half + i % Half;
      const f32x16 a = v[at];
      const f32x16 b = v[at + Half];
      v[at] = a + b;
      v[at + Half] = a - b;
    }
    butterflies<2 * Half>(v);
  }
}

/// Numbers in front of which memory is asked for: 2 KiB.
inline constexpr std::int64_t prefetched = 512;

/// Transforms of Vectors * 16 numbers each, one behind the other.
template <int Vectors>
inline void hadamard_held(float* x, std::int64_t count) {
  for (float* end = x + count * Vectors * lanes; x < end; x += Vectors * lanes) {
    f32x16 v[Vectors];
#pragma GCC unroll 16
    for (int i = 0; i < Vectors; ++i) {
      // Memory is slower than the transform, and the machine's own prefetching stops at the end of a page.
      __builtin_prefetch(x + i * lanes + prefetched);
      v[i] = butterfly_lanes<8>(butterfly_lanes<4>(butterfly_lanes<2>(load_butterfly(x + i * lanes))));
    }
    butterflies<1>(v);
#pragma GCC unroll 16
    for (int i = 0; i < Vectors; ++i) store(x + i * lanes, v[i]);
  }
}

/// Butterflies between numbers half, 2 * half, ... Radix / 2 * half apart.
template <int Radix>
inline void hadamard_pass(float* x, std::int64_t size, std::int64_t half) {
  for (std::int64_t base = 0; base < size; base += Radix * half) {
    for (std::int64_t i = base; i < base + half; i += lanes) {
      f32x16 v[Radix];
#pragma GCC unroll 16
      for (int k = 0; k < Radix; ++k) v[k] = load(x + i + k * half);
      butterflies<1>(v);
#pragma GCC unroll 16
      for (int k = 0; k < Radix; ++k) store(x + i + k * half, v[k]);
    }
  }
}

/// Rows of `size` numbers, a power of two from 16 on, one behind the other; in place, not normalized.
inline void hadamard_rows(float* x, std::int64_t rows, std::int64_t size) {
  if (size == lanes) return hadamard_held<1>(x, rows);
  if (size == 2 * lanes) return hadamard_held<2>(x, rows);
  if (size == 4 * lanes) return hadamard_held<4>(x, rows);
  if constexpr (held == 16) {
    if (size == 8 * lanes) return hadamard_held<8>(x, rows);
    if (size == 16 * lanes) return hadamard_held<16>(x, rows);
  }
  for (float* end = x + rows * size; x < end; x += size) {
    std::int64_t half = held * lanes;
    hadamard_held<held>(x, size / half);
    for (; 4 * half <= size; half *= 4) hadamard_pass<4>(x, size, half);
    if (half < size) hadamard_pass<2>(x, size, half);
  }
}

}  // namespace seqkv::cpu::SEQKV_ISA
