// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Interleaved rANS (Duda, arXiv 1311.2540; Giesen, arXiv 1402.3392), portable. 32 states take the symbols in
/// turn, so that a vector register, a warp or half a wavefront decodes a group of 32 in one step. The format is in
/// src/codec/entropy/spec.md.
#pragma once

#include <Kokkos_Core.hpp>
#include <cstddef>
#include <cstdint>

namespace seqkv::kokkos::rans {

inline constexpr int lanes = 32;
inline constexpr unsigned probability_bits = 12;
inline constexpr std::uint32_t total = 1U << probability_bits;
inline constexpr std::uint32_t lower_bound = 1U << 16U;  ///< states live in [2^16, 2^32)
inline constexpr std::int64_t states_bytes = 4 * lanes;

/// A symbol's share of the interval [0, total).
struct Share {
  std::uint16_t frequency;
  std::uint16_t start;
};

/// Turns counts (with a sum above 0) into frequencies with the sum `total`, none of a present symbol zero: rounded
/// down, at least 1; what is missing goes to the most frequent symbol, what is too much is taken from it.
/// The order of ties: the lowest symbol.
KOKKOS_INLINE_FUNCTION void normalize(const std::uint32_t* counts, int symbols, Share* shares) {
  std::uint64_t sum = 0;
  for (int s = 0; s < symbols; ++s) sum += counts[s];
  std::int64_t assigned = 0;
  for (int s = 0; s < symbols; ++s) {
    auto frequency = static_cast<std::uint32_t>(std::uint64_t{counts[s]} * total / sum);
    if (frequency == 0 && counts[s] > 0) frequency = 1;
    shares[s].frequency = static_cast<std::uint16_t>(frequency);
    assigned += frequency;
  }
  while (assigned != total) {
    int largest = 0;
    for (int s = 1; s < symbols; ++s) {
      if (shares[s].frequency > shares[largest].frequency) largest = s;
    }
    // All that is missing at once; what is too much one by one, since another symbol may become the largest.
    const std::int64_t step = assigned < total ? total - assigned : -1;
    shares[largest].frequency = static_cast<std::uint16_t>(shares[largest].frequency + step);
    assigned += step;
  }
}

KOKKOS_INLINE_FUNCTION void accumulate(Share* shares, int symbols) {
  std::uint32_t start = 0;
  for (int s = 0; s < symbols; ++s) {
    shares[s].start = static_cast<std::uint16_t>(start);
    start += shares[s].frequency;
  }
}

/// Writes 16-bit words from the end of a buffer to its front; the decoder reads them in the other direction.
struct Encoder {
  std::uint32_t state[lanes];
  std::byte* next;  ///< the last word written; words grow downwards

  KOKKOS_INLINE_FUNCTION void start(std::byte* end) {
    next = end;
    for (auto& x : state) x = lower_bound;
  }

  KOKKOS_INLINE_FUNCTION void put(int lane, Share share) {
    std::uint32_t x = state[lane];
    const std::uint32_t frequency = share.frequency;
    if ((std::uint64_t{x} >> (32U - probability_bits)) >= frequency) {
      next -= 2;
      next[0] = static_cast<std::byte>(x & 0xffU);
      next[1] = static_cast<std::byte>(x >> 8U & 0xffU);
      x >>= 16U;
    }
    state[lane] = x / frequency * total + x % frequency + share.start;
  }
};

/// Never reads past `end`: a stream that wants more is broken, which finished() reports.
struct Decoder {
  std::uint32_t state[lanes];
  const std::byte* next;
  const std::byte* end;
  bool short_of_words;

  KOKKOS_INLINE_FUNCTION void start(const std::byte* states, const std::byte* words, const std::byte* words_end) {
    next = words;
    end = words_end;
    short_of_words = false;
    for (int lane = 0; lane < lanes; ++lane) {
      std::uint32_t x = 0;
      for (unsigned b = 0; b < 4; ++b) x |= static_cast<std::uint32_t>(states[4 * lane + b]) << (8 * b);
      state[lane] = x;
    }
  }

  /// The slot in [0, total) that tells the symbol of this lane.
  KOKKOS_INLINE_FUNCTION std::uint32_t slot(int lane) const { return state[lane] & (total - 1); }

  KOKKOS_INLINE_FUNCTION void take(int lane, Share share) {
    std::uint32_t x = share.frequency * (state[lane] >> probability_bits) + slot(lane) - share.start;
    if (x < lower_bound) {
      if (end - next < 2) {
        short_of_words = true;
      } else {
        x = x << 16U | static_cast<std::uint32_t>(next[0]) | static_cast<std::uint32_t>(next[1]) << 8U;
        next += 2;
      }
    }
    state[lane] = x;
  }

  /// Whether the stream ended where the encoder began.
  KOKKOS_INLINE_FUNCTION bool finished() const {
    bool whole = !short_of_words && next == end;
    for (std::uint32_t x : state) whole = whole && x == lower_bound;
    return whole;
  }
};

}  // namespace seqkv::kokkos::rans
