// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The dtypes of caches, known to the compiler, and 16 numbers at a time from and to memory, converted as in
/// core/float16.hpp. Only for the translation units that define SEQKV_ISA (see simd.hpp).
#pragma once

#include "backends/cpu/simd.hpp"
#include "codec/lossless/layout.hpp"
#include "core/float16.hpp"

namespace seqkv::cpu::SEQKV_ISA {

struct Bf16 {
  using Word = std::uint16_t;
  static constexpr codec::FloatLayout layout = {7, 8};
};
struct F16 {
  using Word = std::uint16_t;
  static constexpr codec::FloatLayout layout = {10, 5};
};
struct F32 {
  using Word = std::uint32_t;
  static constexpr codec::FloatLayout layout = {23, 8};
};

template <class Work>
SEQKV_INLINE void with_format(DType dtype, const Work& work) {
  if (dtype == DType::bf16) return work(Bf16());
  if (dtype == DType::f16) return work(F16());
  work(F32());
}

SEQKV_INLINE float to_float(Bf16, std::uint16_t word) { return bf16_to_float(word); }
SEQKV_INLINE float to_float(F16, std::uint16_t word) { return f16_to_float(word); }
SEQKV_INLINE float to_float(F32, std::uint32_t word) { return detmath::from_bits(word); }

SEQKV_INLINE f32x16 load(F32, const std::uint32_t* p) { return load(reinterpret_cast<const float*>(p)); }
SEQKV_INLINE void store(F32, std::uint32_t* p, f32x16 a) { store(reinterpret_cast<float*>(p), a); }

#if defined(__AVX512F__)

/// Where each of 32 words comes from. Moving words between lanes is one operation; widening and shifting, or shifting
/// and narrowing, are two and three.
struct WordMoves {
  alignas(64) std::uint16_t from[32];
};
constexpr WordMoves to_upper_halves() {
  WordMoves moves{};
  for (unsigned i = 0; i < 16; ++i) moves.from[2 * i + 1] = static_cast<std::uint16_t>(i);
  return moves;
}
constexpr WordMoves from_upper_halves() {
  WordMoves moves{};
  for (unsigned i = 0; i < 16; ++i) moves.from[i] = static_cast<std::uint16_t>(2 * i + 1);
  return moves;
}
inline constexpr WordMoves widening = to_upper_halves();
inline constexpr WordMoves narrowing = from_upper_halves();

SEQKV_INLINE f32x16 load(Bf16, const std::uint16_t* p) {
  const __m512i words = _mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return {_mm512_castsi512_ps(_mm512_maskz_permutexvar_epi16(0xaaaaaaaaU, _mm512_load_si512(widening.from), words))};
}
/// The upper halves of lanes are numbers rounded to bf16; not for NaN.
SEQKV_INLINE __m512i round_to_bf16(f32x16 a) {
  const __m512i u = _mm512_castps_si512(a.v);
  const __m512i lowest = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
  return _mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7fff)), lowest);
}
SEQKV_INLINE void store_upper_halves(std::uint16_t* p, __m512i a) {
  const __m512i words = _mm512_permutexvar_epi16(_mm512_load_si512(narrowing.from), a);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_castsi512_si256(words));
}
SEQKV_INLINE void store_number(Bf16, std::uint16_t* p, f32x16 a) { store_upper_halves(p, round_to_bf16(a)); }
SEQKV_INLINE void store(Bf16, std::uint16_t* p, f32x16 a) {
  const __mmask16 nan = _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
  const __m512i quiet = _mm512_set1_epi32(0x400000);
  store_upper_halves(p, _mm512_mask_or_epi32(round_to_bf16(a), nan, _mm512_castps_si512(a.v), quiet));
}

SEQKV_INLINE f32x16 load(F16, const std::uint16_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
SEQKV_INLINE void store(F16, std::uint16_t* p, f32x16 a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

#else

SEQKV_INLINE f32x16 load(Bf16, const std::uint16_t* p) { return load(p); }
/// The upper halves of lanes are numbers rounded to bf16; not for NaN.
SEQKV_INLINE __m256i round_to_bf16(__m256 a) {
  const __m256i u = _mm256_castps_si256(a);
  const __m256i lowest = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
  return _mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), lowest);
}
SEQKV_INLINE void store_upper_halves(std::uint16_t* p, __m256i lo, __m256i hi) {
  const __m256i words = _mm256_packus_epi32(_mm256_srli_epi32(lo, 16), _mm256_srli_epi32(hi, 16));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permute4x64_epi64(words, 0xd8));
}
SEQKV_INLINE void store_number(Bf16, std::uint16_t* p, f32x16 a) {
  store_upper_halves(p, round_to_bf16(a.lo), round_to_bf16(a.hi));
}
SEQKV_INLINE void store(Bf16, std::uint16_t* p, f32x16 a) {
  const auto round = [](__m256 x) {
    const __m256i quiet = _mm256_or_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x400000));
    const __m256 nan = _mm256_cmp_ps(x, x, _CMP_UNORD_Q);
    return _mm256_blendv_epi8(round_to_bf16(x), quiet, _mm256_castps_si256(nan));
  };
  store_upper_halves(p, round(a.lo), round(a.hi));
}

SEQKV_INLINE f32x16 load(F16, const std::uint16_t* p) {
  const auto widen = [](const std::uint16_t* q) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(q)));
  };
  return {widen(p), widen(p + 8)};
}
SEQKV_INLINE void store(F16, std::uint16_t* p, f32x16 a) {
  const auto narrow = [](std::uint16_t* q, __m256 x) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(q), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
  };
  narrow(p, a.lo);
  narrow(p + 8, a.hi);
}

#endif

/// As store(), where no number is NaN: to bf16 that is faster.
template <class F>
SEQKV_INLINE void store_number(F format, typename F::Word* p, f32x16 a) {
  store(format, p, a);
}

}  // namespace seqkv::cpu::SEQKV_ISA
