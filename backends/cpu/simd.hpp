// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Sixteen floats at a time, as one AVX-512 register or two of AVX2. Only for the translation units that define
/// SEQKV_ISA (avx2.cpp, avx512.cpp): everything here lives in a namespace of that name, so that code for newer
/// instruction sets can never be linked in place of code for older ones.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "core/detmath.hpp"

namespace seqkv::cpu::SEQKV_ISA {

inline constexpr int lanes = 16;

#if defined(__AVX512F__)

struct f32x16 {
  __m512 v;
};

SEQKV_INLINE f32x16 load(const float* p) { return {_mm512_loadu_ps(p)}; }
SEQKV_INLINE void store(float* p, f32x16 a) { _mm512_storeu_ps(p, a.v); }
SEQKV_INLINE f32x16 splat(float a) { return {_mm512_set1_ps(a)}; }
/// 16 numbers in bf16.
SEQKV_INLINE f32x16 load(const std::uint16_t* p) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16))};
}
/// Whole numbers of [0, 2^31).
SEQKV_INLINE void store_whole(std::uint32_t* p, f32x16 a) { _mm512_storeu_si512(p, _mm512_cvttps_epi32(a.v)); }
SEQKV_INLINE f32x16 operator+(f32x16 a, f32x16 b) { return {_mm512_add_ps(a.v, b.v)}; }
SEQKV_INLINE f32x16 operator-(f32x16 a, f32x16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
SEQKV_INLINE f32x16 operator*(f32x16 a, f32x16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
SEQKV_INLINE f32x16 operator/(f32x16 a, f32x16 b) { return {_mm512_div_ps(a.v, b.v)}; }
SEQKV_INLINE f32x16 operator-(f32x16 a) { return {_mm512_xor_ps(a.v, _mm512_set1_ps(-0.0F))}; }
SEQKV_INLINE f32x16 sqrt(f32x16 a) { return {_mm512_sqrt_ps(a.v)}; }
SEQKV_INLINE f32x16 fma(f32x16 a, f32x16 b, f32x16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
/// a > b ? a : b, lane by lane.
SEQKV_INLINE f32x16 greater(f32x16 a, f32x16 b) { return {_mm512_max_ps(a.v, b.v)}; }
SEQKV_INLINE f32x16 select_less(f32x16 x, f32x16 limit, f32x16 a, f32x16 b) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(x.v, limit.v, _CMP_LT_OQ), b.v, a.v)};
}
SEQKV_INLINE f32x16 scale_by_rounded(f32x16 x, f32x16 rounded) {
  const __m512i exponent = _mm512_slli_epi32(_mm512_castps_si512(rounded.v), 23);
  return {_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x.v), exponent))};
}
/// The first `count` < 16 lanes; the others are zero.
SEQKV_INLINE f32x16 load_some(const float* p, std::int64_t count) {
  return {_mm512_maskz_loadu_ps(static_cast<__mmask16>((1U << count) - 1U), p)};
}
SEQKV_INLINE void store_some(float* p, f32x16 a, std::int64_t count) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1U << count) - 1U), a.v);
}
/// Lanes j and j + 8 combined, as eight.
template <class Combine>
SEQKV_INLINE __m256 halve(f32x16 a, const Combine& combine) {
  return combine(_mm512_castps512_ps256(a.v), _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(a.v), 1)));
}

#else

struct f32x16 {
  __m256 lo, hi;
};

SEQKV_INLINE f32x16 load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
SEQKV_INLINE void store(float* p, f32x16 a) {
  _mm256_storeu_ps(p, a.lo);
  _mm256_storeu_ps(p + 8, a.hi);
}
SEQKV_INLINE f32x16 splat(float a) { return {_mm256_set1_ps(a), _mm256_set1_ps(a)}; }
/// 16 numbers in bf16.
SEQKV_INLINE f32x16 load(const std::uint16_t* p) {
  const auto widen = [](const std::uint16_t* q) {
    const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(q)));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
  };
  return {widen(p), widen(p + 8)};
}
/// Whole numbers of [0, 2^31).
SEQKV_INLINE void store_whole(std::uint32_t* p, f32x16 a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_cvttps_epi32(a.lo));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 8), _mm256_cvttps_epi32(a.hi));
}
SEQKV_INLINE f32x16 operator+(f32x16 a, f32x16 b) { return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
SEQKV_INLINE f32x16 operator-(f32x16 a, f32x16 b) { return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }
SEQKV_INLINE f32x16 operator*(f32x16 a, f32x16 b) { return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
SEQKV_INLINE f32x16 operator/(f32x16 a, f32x16 b) { return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)}; }
SEQKV_INLINE f32x16 operator-(f32x16 a) {
  return {_mm256_xor_ps(a.lo, _mm256_set1_ps(-0.0F)), _mm256_xor_ps(a.hi, _mm256_set1_ps(-0.0F))};
}
SEQKV_INLINE f32x16 sqrt(f32x16 a) { return {_mm256_sqrt_ps(a.lo), _mm256_sqrt_ps(a.hi)}; }
SEQKV_INLINE f32x16 fma(f32x16 a, f32x16 b, f32x16 c) {
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
/// a > b ? a : b, lane by lane.
SEQKV_INLINE f32x16 greater(f32x16 a, f32x16 b) { return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }
SEQKV_INLINE f32x16 select_less(f32x16 x, f32x16 limit, f32x16 a, f32x16 b) {
  return {_mm256_blendv_ps(b.lo, a.lo, _mm256_cmp_ps(x.lo, limit.lo, _CMP_LT_OQ)),
          _mm256_blendv_ps(b.hi, a.hi, _mm256_cmp_ps(x.hi, limit.hi, _CMP_LT_OQ))};
}
SEQKV_INLINE f32x16 scale_by_rounded(f32x16 x, f32x16 rounded) {
  const auto scale = [](__m256 a, __m256 r) {
    const __m256i exponent = _mm256_slli_epi32(_mm256_castps_si256(r), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), exponent));
  };
  return {scale(x.lo, rounded.lo), scale(x.hi, rounded.hi)};
}
/// All bits in the lanes below `count`, as the instructions for some lanes want it.
SEQKV_INLINE __m256i lanes_below(std::int64_t count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
/// The first `count` < 16 lanes; the others are zero.
SEQKV_INLINE f32x16 load_some(const float* p, std::int64_t count) {
  return {_mm256_maskload_ps(p, lanes_below(count)), _mm256_maskload_ps(p + 8, lanes_below(count - 8))};
}
SEQKV_INLINE void store_some(float* p, f32x16 a, std::int64_t count) {
  _mm256_maskstore_ps(p, lanes_below(count), a.lo);
  _mm256_maskstore_ps(p + 8, lanes_below(count - 8), a.hi);
}
template <class Combine>
SEQKV_INLINE __m256 halve(f32x16 a, const Combine& combine) {
  return combine(a.lo, a.hi);
}

#endif

SEQKV_INLINE f32x16 broadcast(f32x16, float value) { return splat(value); }

/// 16 to 8 to 4 to 2 to 1, lane j with lane j + half.
SEQKV_INLINE float fold_sum(f32x16 a) {
  const __m256 eight = halve(a, [](__m256 x, __m256 y) { return _mm256_add_ps(x, y); });
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
SEQKV_INLINE float fold_greatest(f32x16 a) {
  const __m256 eight = halve(a, [](__m256 x, __m256 y) { return _mm256_max_ps(x, y); });
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

/// Calls body(i, load, store) for i = 0, 16, ... up to count; `load` and `store` move 16 floats, or as many as are
/// left in the last step.
template <class Body>
SEQKV_INLINE void for_each_vector(std::int64_t count, const Body& body) {
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    body(
        i, [](const float* p) { return load(p); }, [](float* p, f32x16 a) { store(p, a); });
  }
  if (i < count) {
    const std::int64_t rest = count - i;
    body(
        i, [rest](const float* p) { return load_some(p, rest); },
        [rest](float* p, f32x16 a) { store_some(p, a, rest); });
  }
}

}  // namespace seqkv::cpu::SEQKV_ISA
