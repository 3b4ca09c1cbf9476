// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Interleaved rANS (Duda, arXiv 1311.2540; Giesen, arXiv 1402.3392): the contract that the portable kernels
/// (backends/kokkos) and their specializations (backends/cpu) share, and the scalar coder, which both use where vectors do
/// not fit. No Kokkos here. The format is in spec.md.
///
/// A stream has 8 states, so that it costs little even when it is short; vector registers, warps (4 streams) and
/// wavefronts (8 streams) decode several streams side by side (docs/decisions/rans-eight-states.md).
#pragma once

#include <cstddef>
#include <cstdint>

#include "seqkv/inline.hpp"

namespace seqkv::codec::rans {

inline constexpr int lanes = 8;                        ///< states of a stream
inline constexpr int steps = 4;                        ///< symbols of a state in a group
inline constexpr std::int64_t group = lanes * steps;   ///< symbols: byte 4 * lane + step of the group
inline constexpr unsigned probability_bits = 12;
inline constexpr std::uint32_t total = 1U << probability_bits;
inline constexpr std::uint32_t lower_bound = 1U << 16U;  ///< states live in [2^16, 2^32)
inline constexpr int symbols = 256;
inline constexpr std::int64_t states_bytes = 4 * lanes;

/// More bytes than a stream of `count` symbols can have.
SEQKV_INLINE std::int64_t most_bytes(std::int64_t count) { return states_bytes + 2 * count; }

// ---- tables -----------------------------------------------------------------------------------------------------

/// How a table is used for decoding: for each of the 4096 slots, symbol << 24 | frequency << 12 | (slot - start).
/// A frequency is at most 4095: where there is one symbol alone, nothing is coded.
using Slot = std::uint32_t;

/// How a table is used for encoding. reciprocal = (1 - 2^-22) / frequency, rounded twice: the product with a state,
/// rounded, is below the true quotient by less than 1/2, so that the quotient rounded down is it or one less.
struct Code {
  std::uint16_t frequency;  ///< 0: the symbol cannot be coded
  std::uint16_t start;
  float reciprocal;
};

/// Turns counts (with a sum above 0) into frequencies with the sum `total`, none of a present symbol zero: rounded
/// down, at least 1; what is missing goes to the most frequent symbol, what is too much is taken from it one by one.
/// The order of ties: the lowest symbol.
SEQKV_INLINE void normalize(const std::uint32_t* counts, std::uint16_t* frequencies) {
  std::uint64_t sum = 0;
  for (int s = 0; s < symbols; ++s) sum += counts[s];
  std::int64_t assigned = 0;
  for (int s = 0; s < symbols; ++s) {
    auto frequency = static_cast<std::uint32_t>(std::uint64_t{counts[s]} * total / sum);
    if (frequency == 0 && counts[s] > 0) frequency = 1;
    frequencies[s] = static_cast<std::uint16_t>(frequency);
    assigned += frequency;
  }
  while (assigned != total) {
    int largest = 0;
    for (int s = 1; s < symbols; ++s) {
      if (frequencies[s] > frequencies[largest]) largest = s;
    }
    // All that is missing at once; what is too much one by one, since another symbol may become the largest.
    const std::int64_t step = assigned < total ? total - assigned : -1;
    frequencies[largest] = static_cast<std::uint16_t>(frequencies[largest] + step);
    assigned += step;
  }
}

/// The tables of frequencies with the sum `total`, none above 4095.
SEQKV_INLINE void fill_slots(const std::uint16_t* frequencies, Slot* slots) {
  for (std::uint32_t s = 0; s < symbols; ++s) {
    const std::uint32_t frequency = frequencies[s];
    const Slot first = s << 24U | frequency << probability_bits;
    for (std::uint32_t k = 0; k < frequency; ++k) slots[k] = first + k;
    slots += frequency;
  }
}

SEQKV_INLINE void fill_codes(const std::uint16_t* frequencies, Code* codes) {
  constexpr float below_one = 1.0F - 0x1p-22F;
  std::uint32_t start = 0;
  for (int s = 0; s < symbols; ++s) {
    const std::uint16_t frequency = frequencies[s];
    const float reciprocal = frequency > 0 ? below_one / static_cast<float>(frequency) : 0.0F;
    codes[s] = {frequency, static_cast<std::uint16_t>(start), reciprocal};
    start += frequency;
  }
}

// ---- batches ----------------------------------------------------------------------------------------------------

/// Symbols that one table codes. A run begins with state 0 and the first byte of a group.
struct Run {
  std::uint8_t* symbols;  ///< decoded: written, encoded: read
  std::int64_t count;
  std::int64_t table;  ///< number of its table
};

/// A stream to be decoded or encoded.
struct Stream {
  const Run* runs;
  std::int64_t run_count;
  std::byte* coded;    ///< decoding: its first byte. Encoding: before, the end of most_bytes() of room; after, its first byte
  std::int64_t bytes;  ///< decoding: before, of `coded`; after, -1 if they are no stream. Encoding: after, of `coded`
};

/// Where tables are, in the memory of the kernel.
struct DecodeTables {
  const Slot* slots;  ///< [tables][4096]
};
struct EncodeTables {
  const Code* codes;  ///< [tables][256]
};

// ---- the scalar coder -------------------------------------------------------------------------------------------

SEQKV_INLINE std::uint32_t load16(const std::byte* from) {
  return static_cast<std::uint32_t>(from[0]) | static_cast<std::uint32_t>(from[1]) << 8U;
}
SEQKV_INLINE void store16(std::byte* to, std::uint32_t value) {
  to[0] = static_cast<std::byte>(value & 0xffU);
  to[1] = static_cast<std::byte>(value >> 8U & 0xffU);
}

/// Never reads past `end`: a stream that wants more is broken, which finished() reports.
struct Decoder {
  std::uint32_t state[lanes];
  const std::byte* next;
  const std::byte* end;
  bool short_of_words;

  SEQKV_INLINE void start(const std::byte* coded, std::int64_t bytes) {
    short_of_words = bytes < states_bytes;
    for (auto& x : state) x = lower_bound;
    next = end = coded + bytes;
    if (short_of_words) return;
    next = coded + states_bytes;
    for (int lane = 0; lane < lanes; ++lane) {
      state[lane] = load16(coded + 4 * lane) | load16(coded + 4 * lane + 2) << 16U;
    }
  }

  SEQKV_INLINE void decode(const Slot* slots, std::uint8_t* to, std::int64_t count) {
    constexpr std::int64_t most_read = 2 * group;
    std::int64_t i = 0;
    for (; count - i >= group && end - next >= most_read; i += group) {
      for (int step = 0; step < steps; ++step) {
        for (int lane = 0; lane < lanes; ++lane) to[i + steps * lane + step] = take(lane, slots);
      }
    }
    for (; i < count; i += group) decode_some(slots, to + i, count - i < group ? count - i : group);
  }

  /// The first `count` symbols of a group, reading with care.
  SEQKV_INLINE void decode_some(const Slot* slots, std::uint8_t* to, std::int64_t count) {
    for (int step = 0; step < steps; ++step) {
      for (int lane = 0; lane < lanes; ++lane) {
        const int at = steps * lane + step;
        if (at < count) to[at] = take_checked(lane, slots);
      }
    }
  }

  /// Whether the stream ended where the encoder began.
  SEQKV_INLINE bool finished() const {
    bool whole = !short_of_words && next == end;
    for (std::uint32_t x : state) whole = whole && x == lower_bound;
    return whole;
  }

 private:
  /// The state without its symbol, below 2^16 where it needs a word.
  static SEQKV_INLINE std::uint32_t advance(std::uint32_t x, Slot slot) {
    return (slot >> probability_bits & (total - 1)) * (x >> probability_bits) + (slot & (total - 1));
  }
  /// Without a branch: whether a word is needed cannot be foreseen. At least two bytes must be left.
  SEQKV_INLINE std::uint8_t take(int lane, const Slot* slots) {
    const Slot slot = slots[state[lane] & (total - 1)];
    const std::uint32_t x = advance(state[lane], slot);
    const bool needs_word = x < lower_bound;
    state[lane] = needs_word ? x << 16U | load16(next) : x;
    next += needs_word ? 2 : 0;
    return static_cast<std::uint8_t>(slot >> 24U);
  }
  SEQKV_INLINE std::uint8_t take_checked(int lane, const Slot* slots) {
    const Slot slot = slots[state[lane] & (total - 1)];
    std::uint32_t x = advance(state[lane], slot);
    if (x < lower_bound) {
      if (end - next < 2) {
        short_of_words = true;
      } else {
        x = x << 16U | load16(next);
        next += 2;
      }
    }
    state[lane] = x;
    return static_cast<std::uint8_t>(slot >> 24U);
  }
};

/// Writes words from the end of its room to the front; the decoder reads them in the other direction. Runs are given
/// from the last to the first.
struct Encoder {
  std::uint32_t state[lanes];
  std::byte* next;  ///< the last word written

  SEQKV_INLINE void start(std::byte* end) {
    next = end;
    for (auto& x : state) x = lower_bound;
  }

  SEQKV_INLINE void encode(const Code* codes, const std::uint8_t* from, std::int64_t count) {
    const std::int64_t partial = count % group;
    if (partial > 0) encode_some(codes, from + count - partial, partial);
    for (std::int64_t i = count - partial; i > 0; i -= group) encode_some(codes, from + i - group, group);
  }

  /// The first `count` symbols of a group.
  SEQKV_INLINE void encode_some(const Code* codes, const std::uint8_t* from, std::int64_t count) {
    for (int step = steps - 1; step >= 0; --step) {
      for (int lane = lanes - 1; lane >= 0; --lane) {
        const int at = steps * lane + step;
        if (at < count) put(lane, codes[from[at]]);
      }
    }
  }

  /// Writes the states in front of the words; returns the first byte of the stream.
  SEQKV_INLINE std::byte* finish() {
    next -= states_bytes;
    for (int lane = 0; lane < lanes; ++lane) {
      store16(next + 4 * lane, state[lane]);
      store16(next + 4 * lane + 2, state[lane] >> 16U);
    }
    return next;
  }

 private:
  SEQKV_INLINE void put(int lane, Code code) {
    std::uint32_t x = state[lane];
    const std::uint32_t frequency = code.frequency;
    if (x >> (32U - probability_bits) >= frequency) {
      next -= 2;
      store16(next, x);
      x >>= 16U;
    }
    auto quotient = static_cast<std::uint32_t>(static_cast<float>(x) * code.reciprocal);
    std::uint32_t rest = x - quotient * frequency;
    if (rest >= frequency) {
      rest -= frequency;
      ++quotient;
    }
    state[lane] = (quotient << probability_bits) + rest + code.start;
  }
};

}  // namespace seqkv::codec::rans
