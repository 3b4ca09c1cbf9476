// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// rANS on a register full of states: one stream of 8 states in an AVX2 register, two side by side in an AVX-512
/// register. Only for the translation units that define SEQKV_ISA (see simd.hpp).
#pragma once

#include <immintrin.h>

#include "codec/entropy/rans.hpp"

namespace seqkv::cpu::SEQKV_ISA {

namespace rans = codec::rans;

/// Byte shuffles of eight words for each of the 256 sets of lanes.
struct WordShuffles {
  alignas(16) std::uint8_t of[256][16];
};

/// Words of the set, in order, at the end of the register; the rest is undefined.
constexpr WordShuffles compacting_shuffles() {
  WordShuffles shuffles{};
  for (unsigned set = 0; set < 256; ++set) {
    unsigned to = 8;
    for (unsigned lane = 8; lane-- > 0;) {
      if ((set >> lane & 1U) == 0) continue;
      --to;
      shuffles.of[set][2 * to] = static_cast<std::uint8_t>(2 * lane);
      shuffles.of[set][2 * to + 1] = static_cast<std::uint8_t>(2 * lane + 1);
    }
  }
  return shuffles;
}

/// The first words, in order, in the lanes of the set; the rest is undefined.
constexpr WordShuffles expanding_shuffles() {
  WordShuffles shuffles{};
  for (unsigned set = 0; set < 256; ++set) {
    unsigned from = 0;
    for (unsigned lane = 0; lane < 8; ++lane) {
      if ((set >> lane & 1U) == 0) continue;
      shuffles.of[set][2 * lane] = static_cast<std::uint8_t>(2 * from);
      shuffles.of[set][2 * lane + 1] = static_cast<std::uint8_t>(2 * from + 1);
      ++from;
    }
  }
  return shuffles;
}

alignas(64) inline constexpr WordShuffles compacting = compacting_shuffles();

#if defined(__AVX512F__)

inline constexpr int register_streams = 2;
/// As many as hide the latency of lookups and still fit the registers.
inline constexpr int streams_together = 10;
using Register = __m512i;

SEQKV_INLINE Register load_register(const void* from) { return _mm512_loadu_si512(from); }
SEQKV_INLINE void store_register(void* to, Register a) { _mm512_storeu_si512(to, a); }
SEQKV_INLINE Register broadcast_u32(std::uint32_t a) { return _mm512_set1_epi32(static_cast<int>(a)); }
SEQKV_INLINE Register bit_and(Register a, Register b) { return _mm512_and_si512(a, b); }
SEQKV_INLINE Register bit_or(Register a, Register b) { return _mm512_or_si512(a, b); }
template <int Bits>
SEQKV_INLINE Register shift_right(Register a) {
  return _mm512_srli_epi32(a, Bits);
}
template <int Bits>
SEQKV_INLINE Register shift_left(Register a) {
  return _mm512_slli_epi32(a, Bits);
}

/// 32 bytes of each stream.
SEQKV_INLINE Register load_group(const std::uint8_t* const* from, std::int64_t offset) {
  const auto half = [&](int i) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from[i] + offset)); };
  return _mm512_inserti64x4(_mm512_castsi256_si512(half(0)), half(1), 1);
}
SEQKV_INLINE void store_group(std::uint8_t* const* to, std::int64_t offset, Register a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to[0] + offset), _mm512_castsi512_si256(a));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to[1] + offset), _mm512_extracti64x4_epi64(a, 1));
}

/// x = frequency * (x >> 12) + offset; where that is below 2^16, the next word is shifted in.
SEQKV_INLINE void advance_states(Register& x, Register frequency, Register offset, const std::byte** words) {
  x = _mm512_add_epi32(_mm512_mullo_epi32(frequency, shift_right<rans::probability_bits>(x)), offset);
  const __mmask16 needy = _mm512_cmplt_epu32_mask(x, broadcast_u32(rans::lower_bound));
  const auto next_words = [](const std::byte* from, __mmask8 needy_lanes) {
    const __m128i next = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    return _mm256_maskz_expand_epi32(needy_lanes, _mm256_cvtepu16_epi32(next));
  };
  const auto second = static_cast<__mmask8>(_kshiftri_mask16(needy, 8));
  const Register fresh = _mm512_inserti64x4(_mm512_castsi256_si512(next_words(words[0], static_cast<__mmask8>(needy))),
                                            next_words(words[1], second), 1);
  x = _mm512_mask_or_epi32(x, needy, shift_left<16>(x), fresh);
  const auto set = static_cast<unsigned>(_cvtmask16_u32(needy));
  words[0] += 2 * __builtin_popcount(set & 0xffU);
  words[1] += 2 * __builtin_popcount(set >> 8U);
}

/// Takes a word off each state that has no room for a symbol of this frequency.
SEQKV_INLINE void make_room(Register& x, Register frequency, std::byte** words) {
  const __mmask16 full = _mm512_cmpge_epu32_mask(shift_right<32 - rans::probability_bits>(x), frequency);
  const auto set = static_cast<unsigned>(_cvtmask16_u32(full));
  const auto shuffle = [](unsigned full_lanes) {
    return _mm_load_si128(reinterpret_cast<const __m128i*>(compacting.of[full_lanes]));
  };
  const __m256i control = _mm256_inserti128_si256(_mm256_castsi128_si256(shuffle(set & 0xffU)), shuffle(set >> 8U), 1);
  const __m256i low = _mm256_shuffle_epi8(_mm512_cvtepi32_epi16(x), control);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(words[0] - 16), _mm256_castsi256_si128(low));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(words[1] - 16), _mm256_extracti128_si256(low, 1));
  words[0] -= 2 * __builtin_popcount(set & 0xffU);
  words[1] -= 2 * __builtin_popcount(set >> 8U);
  x = _mm512_mask_srli_epi32(x, full, x, 16);
}

/// x / frequency * 4096 + x % frequency + start.
SEQKV_INLINE Register add_symbol(Register x, Register frequency, Register start, Register reciprocal) {
  const Register quotient = _mm512_cvttps_epu32(_mm512_mul_ps(_mm512_cvtepu32_ps(x), _mm512_castsi512_ps(reciprocal)));
  const Register rest = _mm512_sub_epi32(x, _mm512_mullo_epi32(quotient, frequency));
  const Register sum = _mm512_add_epi32(_mm512_add_epi32(shift_left<rans::probability_bits>(quotient), rest), start);
  // Where the quotient was one less: a frequency less of rest, and 4096 more.
  return _mm512_mask_add_epi32(sum, _mm512_cmpge_epu32_mask(rest, frequency), sum,
                               _mm512_sub_epi32(broadcast_u32(rans::total), frequency));
}

#else

inline constexpr int register_streams = 1;
inline constexpr int streams_together = 8;
using Register = __m256i;

alignas(64) inline constexpr WordShuffles expanding = expanding_shuffles();

SEQKV_INLINE Register load_register(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }
SEQKV_INLINE void store_register(void* to, Register a) { _mm256_storeu_si256(static_cast<__m256i*>(to), a); }
SEQKV_INLINE Register broadcast_u32(std::uint32_t a) { return _mm256_set1_epi32(static_cast<int>(a)); }
SEQKV_INLINE Register bit_and(Register a, Register b) { return _mm256_and_si256(a, b); }
SEQKV_INLINE Register bit_or(Register a, Register b) { return _mm256_or_si256(a, b); }
template <int Bits>
SEQKV_INLINE Register shift_right(Register a) {
  return _mm256_srli_epi32(a, Bits);
}
template <int Bits>
SEQKV_INLINE Register shift_left(Register a) {
  return _mm256_slli_epi32(a, Bits);
}

SEQKV_INLINE Register load_group(const std::uint8_t* const* from, std::int64_t offset) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from[0] + offset));
}
SEQKV_INLINE void store_group(std::uint8_t* const* to, std::int64_t offset, Register a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to[0] + offset), a);
}

/// a >= b, unsigned.
SEQKV_INLINE Register not_below(Register a, Register b) { return _mm256_cmpeq_epi32(_mm256_max_epu32(a, b), a); }
SEQKV_INLINE unsigned lanes_of(Register mask) {
  return static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(mask)));
}

SEQKV_INLINE void advance_states(Register& x, Register frequency, Register offset, const std::byte** words) {
  x = _mm256_add_epi32(_mm256_mullo_epi32(frequency, shift_right<rans::probability_bits>(x)), offset);
  const Register needy = _mm256_cmpeq_epi32(shift_right<16>(x), _mm256_setzero_si256());
  const unsigned set = lanes_of(needy);
  const __m128i next = _mm_loadu_si128(reinterpret_cast<const __m128i*>(words[0]));
  const __m128i control = _mm_load_si128(reinterpret_cast<const __m128i*>(expanding.of[set]));
  const Register fresh = _mm256_cvtepu16_epi32(_mm_shuffle_epi8(next, control));
  x = _mm256_blendv_epi8(x, bit_or(shift_left<16>(x), fresh), needy);
  words[0] += 2 * __builtin_popcount(set);
}

SEQKV_INLINE void make_room(Register& x, Register frequency, std::byte** words) {
  const Register full = not_below(shift_right<32 - rans::probability_bits>(x), frequency);
  const unsigned set = lanes_of(full);
  const Register low = bit_and(x, broadcast_u32(0xffff));
  const __m128i packed = _mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
  const __m128i control = _mm_load_si128(reinterpret_cast<const __m128i*>(compacting.of[set]));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(words[0] - 16), _mm_shuffle_epi8(packed, control));
  words[0] -= 2 * __builtin_popcount(set);
  x = _mm256_blendv_epi8(x, shift_right<16>(x), full);
}

SEQKV_INLINE Register add_symbol(Register x, Register frequency, Register start, Register reciprocal) {
  // There is no conversion from unsigned: the halves are exact, and their sum is rounded once.
  const __m256 high = _mm256_mul_ps(_mm256_cvtepi32_ps(shift_right<16>(x)), _mm256_set1_ps(65536.0F));
  const __m256 number = _mm256_add_ps(high, _mm256_cvtepi32_ps(bit_and(x, broadcast_u32(0xffff))));
  const Register quotient = _mm256_cvttps_epi32(_mm256_mul_ps(number, _mm256_castsi256_ps(reciprocal)));
  const Register rest = _mm256_sub_epi32(x, _mm256_mullo_epi32(quotient, frequency));
  const Register sum = _mm256_add_epi32(_mm256_add_epi32(shift_left<rans::probability_bits>(quotient), rest), start);
  const Register correction = _mm256_sub_epi32(broadcast_u32(rans::total), frequency);
  return _mm256_add_epi32(sum, bit_and(not_below(rest, frequency), correction));
}

#endif

}  // namespace seqkv::cpu::SEQKV_ISA
