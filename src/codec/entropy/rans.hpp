// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Interleaved rANS (Duda, arXiv 1311.2540; Giesen, arXiv 1402.3392): the contract that the portable kernels
/// (backends/kokkos) and their specializations (backends/cpu) share, and the scalar coder, which both use where vectors
/// do not fit. No Kokkos here. The format is in spec.md.
///
/// A stream has 8 states, so that it costs little even when it is short; vector registers, warps (4 streams) and
/// wavefronts (8 streams) decode several streams side by side (docs/decisions/rans-eight-states.md).
#pragma once

#include <cstddef>
#include <cstdint>

#include "seqkv/inline.hpp"

namespace seqkv::codec::rans {

inline constexpr int lanes = 8;                       ///< states of a stream
inline constexpr int steps = 4;                       ///< symbols of a state in a group
inline constexpr std::int64_t group = lanes * steps;  ///< symbols: byte 4 * lane + step of the group
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

/// How a table is used for encoding.
struct alignas(8) Code {
  std::uint16_t frequency;  ///< 0: the symbol cannot be coded
  std::uint16_t start;
  float reciprocal;  ///< reciprocal_of(frequency)
};

/// A table of few symbols as it fits vector registers; unusable, and start[0] is 4096, where symbols from 32 on occur.
struct Intervals {
  static constexpr int most = 32;
  std::uint32_t start[most];  ///< 4096 behind the last symbol
  std::uint32_t frequency[most];
  float reciprocal[most];

  SEQKV_INLINE bool usable() const { return start[0] == 0; }
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

/// (1 - 2^-22) / frequency, rounded twice: the product with a state, rounded, is below the true quotient by less than
/// 1/2, so that the quotient rounded down is it or one less.
SEQKV_INLINE float reciprocal_of(std::uint16_t frequency) {
  return frequency > 0 ? (1.0F - 0x1p-22F) / static_cast<float>(frequency) : 0.0F;
}

SEQKV_INLINE void fill_codes(const std::uint16_t* frequencies, Code* codes) {
  std::uint32_t start = 0;
  for (int s = 0; s < symbols; ++s) {
    codes[s] = {frequencies[s], static_cast<std::uint16_t>(start), reciprocal_of(frequencies[s])};
    start += frequencies[s];
  }
}

SEQKV_INLINE void fill_intervals(const std::uint16_t* frequencies, Intervals& intervals) {
  std::uint32_t start = 0;
  for (int s = 0; s < Intervals::most; ++s) {
    intervals.start[s] = start;
    intervals.frequency[s] = frequencies[s];
    intervals.reciprocal[s] = reciprocal_of(frequencies[s]);
    start += frequencies[s];
  }
  if (start != total) intervals.start[0] = total;
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
  std::byte*
      coded;  ///< decoding: its first byte. Encoding: before, the end of most_bytes() of room; after, its first byte
  std::int64_t bytes;  ///< decoding: before, of `coded`; after, -1 if they are no stream. Encoding: after, of `coded`
};

/// Where tables are, in the memory of the kernel. Intervals may be left out (null); specializations use them.
struct DecodeTables {
  const Slot* slots;           ///< [tables][4096]
  const Intervals* intervals;  ///< [tables]
};
struct EncodeTables {
  const Code* codes;           ///< [tables][256]
  const Intervals* intervals;  ///< [tables]
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
    for (; count - i >= group && end - next >= most_read; i += group) decode_group(slots, to + i);
    for (; i < count; i += group) decode_some(slots, to + i, count - i < group ? count - i : group);
  }

  /// A whole group; its words must be there. Without branches: whether a state needs a word cannot be foreseen.
  SEQKV_INLINE void decode_group(const Slot* slots, std::uint8_t* to) {
    std::uint32_t x[lanes];
    const std::byte* words = next;
    SEQKV_UNROLL for (int lane = 0; lane < lanes; ++lane) x[lane] = state[lane];
    for (int step = 0; step < steps; ++step) {
      SEQKV_UNROLL for (int lane = 0; lane < lanes; ++lane) {
        const Slot slot = slots[x[lane] & (total - 1)];
        to[steps * lane + step] = static_cast<std::uint8_t>(slot >> 24U);
        const std::uint32_t rest = advance(x[lane], slot);
        const auto needs_word = static_cast<std::uint32_t>(rest < lower_bound);
        x[lane] = rest << (16U * needs_word) | (load16(words) & (0U - needs_word));
        words += 2 * needs_word;
      }
    }
    SEQKV_UNROLL for (int lane = 0; lane < lanes; ++lane) state[lane] = x[lane];
    next = words;
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
    for (std::int64_t i = count - partial; i > 0; i -= group) encode_group(codes, from + i - group);
  }

  /// A whole group.
  SEQKV_INLINE void encode_group(const Code* codes, const std::uint8_t* from) {
    std::uint32_t x[lanes];
    std::byte* words = next;
    SEQKV_UNROLL for (int lane = 0; lane < lanes; ++lane) x[lane] = state[lane];
    for (int step = steps - 1; step >= 0; --step) {
      SEQKV_UNROLL for (int lane = lanes - 1; lane >= 0; --lane) {
        x[lane] = add_symbol(x[lane], codes[from[steps * lane + step]], words);
      }
    }
    SEQKV_UNROLL for (int lane = 0; lane < lanes; ++lane) state[lane] = x[lane];
    next = words;
  }

  /// The first `count` symbols of a group.
  SEQKV_INLINE void encode_some(const Code* codes, const std::uint8_t* from, std::int64_t count) {
    for (int step = steps - 1; step >= 0; --step) {
      for (int lane = lanes - 1; lane >= 0; --lane) {
        const int at = steps * lane + step;
        if (at < count) state[lane] = add_symbol(state[lane], codes[from[at]], next);
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
  /// The state with one symbol more; without branches, so that the place of a word is written even if none is due.
  static SEQKV_INLINE std::uint32_t add_symbol(std::uint32_t x, Code code, std::byte*& words) {
    const std::uint32_t frequency = code.frequency;
    const auto is_full = static_cast<std::uint32_t>(x >> (32U - probability_bits) >= frequency);
    store16(words - 2, x);
    words -= 2 * is_full;
    x >>= 16U * is_full;
    const auto quotient = static_cast<std::uint32_t>(static_cast<float>(x) * code.reciprocal);
    const std::uint32_t rest = x - quotient * frequency;
    const auto is_one_less = static_cast<std::uint32_t>(rest >= frequency);
    return (quotient << probability_bits) + rest + code.start + ((0U - is_one_less) & (total - frequency));
  }
};

}  // namespace seqkv::codec::rans
