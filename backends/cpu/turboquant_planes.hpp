// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Between numbers and the bit planes of TurboQuant: cells found by comparing, centroids looked up in registers. Only
/// for the translation units that define SEQKV_ISA (see simd.hpp).
#pragma once

#include "backends/cpu/simd.hpp"
#include "codec/turboquant/arguments.hpp"

namespace seqkv::cpu::SEQKV_ISA {

#if defined(__AVX512F__)

/// A truth value a lane.
using Lanes = __mmask16;
struct u32x16 {
  __m512i v;
};
/// Indices of as many components as a plane has bits in a PlaneWord.
using PlaneWord = std::uint64_t;
using ByteIndices = __m512i;

SEQKV_INLINE Lanes above(f32x16 x, f32x16 limit) { return _mm512_cmp_ps_mask(x.v, limit.v, _CMP_GT_OQ); }
/// Lane i as bit i.
SEQKV_INLINE void store_bits(std::uint8_t* to, Lanes a) {
  const auto bits = static_cast<std::uint16_t>(a);
  __builtin_memcpy(to, &bits, sizeof(bits));
}
SEQKV_INLINE u32x16 zero_indices() { return {_mm512_setzero_si512()}; }
SEQKV_INLINE u32x16 add_where(Lanes where, u32x16 a, int step) {
  return {_mm512_mask_add_epi32(a.v, where, a.v, _mm512_set1_epi32(step))};
}
SEQKV_INLINE u32x16 load_indices(const std::uint8_t* p) {
  return {_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}

/// 2^Bits numbers in registers, read from at least 16.
template <int Bits>
struct NumberTable {
  __m512 low, high;

  explicit SEQKV_INLINE NumberTable(const float* p) : low(_mm512_loadu_ps(p)), high(low) {
    if constexpr (Bits > 4) high = _mm512_loadu_ps(p + 16);
  }
  SEQKV_INLINE f32x16 operator[](u32x16 index) const {
    if constexpr (Bits > 4) return {_mm512_permutex2var_ps(low, index.v, high)};
    return {_mm512_permutexvar_ps(index.v, low)};
  }
};

SEQKV_INLINE ByteIndices no_byte_indices() { return _mm512_setzero_si512(); }
SEQKV_INLINE ByteIndices add_plane(ByteIndices a, PlaneWord plane, int step) {
  return _mm512_mask_add_epi8(a, plane, a, _mm512_set1_epi8(static_cast<char>(step)));
}
SEQKV_INLINE void store_byte_indices(std::uint8_t* p, ByteIndices a) { _mm512_storeu_si512(p, a); }

#else

struct Lanes {
  __m256 lo, hi;
};
struct u32x16 {
  __m256i lo, hi;
};
using PlaneWord = std::uint32_t;
using ByteIndices = __m256i;

SEQKV_INLINE Lanes above(f32x16 x, f32x16 limit) {
  return {_mm256_cmp_ps(x.lo, limit.lo, _CMP_GT_OQ), _mm256_cmp_ps(x.hi, limit.hi, _CMP_GT_OQ)};
}
SEQKV_INLINE void store_bits(std::uint8_t* to, Lanes a) {
  to[0] = static_cast<std::uint8_t>(_mm256_movemask_ps(a.lo));
  to[1] = static_cast<std::uint8_t>(_mm256_movemask_ps(a.hi));
}
SEQKV_INLINE u32x16 zero_indices() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
SEQKV_INLINE u32x16 add_where(Lanes where, u32x16 a, int step) {
  const auto add = [step](__m256 w, __m256i x) {
    return _mm256_add_epi32(x, _mm256_and_si256(_mm256_castps_si256(w), _mm256_set1_epi32(step)));
  };
  return {add(where.lo, a.lo), add(where.hi, a.hi)};
}
SEQKV_INLINE u32x16 load_indices(const std::uint8_t* p) {
  const auto widen = [](const std::uint8_t* q) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(q)));
  };
  return {widen(p), widen(p + 8)};
}

template <int Bits>
struct NumberTable {
  static constexpr int parts = Bits > 3 ? 1 << (Bits - 3) : 1;
  __m256 of[parts];

  explicit SEQKV_INLINE NumberTable(const float* p) {
#pragma GCC unroll 4
    for (int i = 0; i < parts; ++i) of[i] = _mm256_loadu_ps(p + 8 * i);
  }
  SEQKV_INLINE f32x16 operator[](u32x16 index) const { return {look_up(index.lo), look_up(index.hi)}; }

 private:
  SEQKV_INLINE __m256 look_up(__m256i index) const {
    const auto part = [&](int i) { return _mm256_permutevar8x32_ps(of[i], index); };
    // The bit of an index that chooses between parts, where blendv looks for it.
    const auto choose = [&](int bit, __m256 clear, __m256 set) {
      return _mm256_blendv_ps(clear, set, _mm256_castsi256_ps(_mm256_slli_epi32(index, 31 - bit)));
    };
    if constexpr (Bits == 5) return choose(4, choose(3, part(0), part(1)), choose(3, part(2), part(3)));
    if constexpr (Bits == 4) return choose(3, part(0), part(1));
    return part(0);
  }
};

SEQKV_INLINE ByteIndices no_byte_indices() { return _mm256_setzero_si256(); }
SEQKV_INLINE ByteIndices add_plane(ByteIndices a, PlaneWord plane, int step) {
  const __m256i byte_of_lane = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
  const __m256i bit_of_lane = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201ULL));
  const __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(plane)), byte_of_lane);
  const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit_of_lane), bit_of_lane);
  return _mm256_add_epi8(a, _mm256_and_si256(set, _mm256_set1_epi8(static_cast<char>(step))));
}
SEQKV_INLINE void store_byte_indices(std::uint8_t* p, ByteIndices a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a);
}

#endif

/// Bits of indices: those of a component are `stride` bytes apart, the lowest first.
struct PlaneRows {
  std::uint8_t* lowest;
  std::int64_t stride;
};

/// The thresholds that find the bits of an index, one by one from the highest: the one between the cells that are left,
/// by the results so far, that of the first comparison in bit 0.
struct Decisions {
  alignas(64) float limits[codec::TurboQuant::most_bits][lanes] = {};

  explicit Decisions(const codec::TurboQuant& codec) {
    for (int step = 0; step < codec.bits; ++step) {
      const int half = 1 << (codec.bits - 1 - step);
      for (int results = 0; results < 1 << step; ++results) {
        int cell = 0;
        for (int i = 0; i < step; ++i) cell |= (results >> i & 1) << (codec.bits - 1 - i);
        limits[step][results] = codec.thresholds[cell + half - 1];
      }
    }
  }
};

/// Writes the bits of the indices of 16 numbers.
template <int Bits, int Step = 0>
SEQKV_INLINE void store_indices(const Decisions& decisions, f32x16 x, const PlaneRows& planes,
                                u32x16 results = zero_indices()) {
  if constexpr (Step < Bits) {
    const float* limits = decisions.limits[Step];
    const Lanes upper = above(x, Step == 0 ? splat(limits[0]) : NumberTable<Step>(limits)[results]);
    store_bits(planes.lowest + (Bits - 1 - Step) * planes.stride, upper);
    store_indices<Bits, Step + 1>(decisions, x, planes, add_where(upper, results, 1 << Step));
  }
}

/// Indices of `count` components, a byte each; writes up to 63 bytes more.
template <int Bits>
SEQKV_INLINE void load_indices(const PlaneRows& planes, std::int64_t count, std::uint8_t* indices) {
  constexpr std::int64_t step = 8 * sizeof(PlaneWord);
  for (std::int64_t i = 0; i < count; i += step) {
    ByteIndices some = no_byte_indices();
#pragma GCC unroll 5
    for (int bit = 0; bit < Bits; ++bit) {
      const std::uint8_t* from = planes.lowest + bit * planes.stride + i / 8;
      PlaneWord word = 0;
      if (count - i >= step) {
        __builtin_memcpy(&word, from, sizeof(word));
      } else {
        for (std::int64_t j = 0; j < (count - i) / 8; ++j) word |= PlaneWord{from[j]} << (8 * j);
      }
      some = add_plane(some, word, 1 << bit);
    }
    store_byte_indices(indices + i, some);
  }
}

}  // namespace seqkv::cpu::SEQKV_ISA
