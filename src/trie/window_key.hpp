// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Windows of tokens as numbers that sort as the windows do.
///
/// A symbol is a token plus one, 0 is "the sequence has ended", so that a window stands before those that extend it.
/// A word holds 64 / symbol_bits symbols, the first in the highest place; a key is as many words as the depth takes.
#pragma once

#include <cstdint>

#include "core/bits.hpp"
#include "seqkv/inline.hpp"

namespace seqkv::trie {

template <int Words>
struct WindowKey {
  std::uint64_t word[Words];

  friend SEQKV_INLINE bool operator==(const WindowKey& a, const WindowKey& b) {
    std::uint64_t difference = 0;
    for (int w = 0; w < Words; ++w) difference |= a.word[w] ^ b.word[w];
    return difference == 0;
  }
  friend SEQKV_INLINE bool operator<(const WindowKey& a, const WindowKey& b) {
    for (int w = 0; w + 1 < Words; ++w) {
      if (a.word[w] != b.word[w]) return a.word[w] < b.word[w];
    }
    return a.word[Words - 1] < b.word[Words - 1];
  }
};

/// How symbols stand in a key.
struct KeyFormat {
  int symbol_bits = 0;
  int symbols_per_word = 0;
  int depth = 0;
  int per_bit = 0;   ///< n / symbol_bits and
  int per_word = 0;  ///< n / symbols_per_word are n * this / 4096, for n < 64: kernels do not divide

  KeyFormat() = default;
  KeyFormat(int bits, int window_depth)
      : symbol_bits(bits),
        symbols_per_word(64 / bits),
        depth(window_depth),
        per_bit(4096 / bits + 1),
        per_word(4096 / symbols_per_word + 1) {}

  /// Words that a key needs.
  int words() const { return (depth + symbols_per_word - 1) / symbols_per_word; }
  /// The place of a word's first symbol.
  SEQKV_INLINE int top_shift() const { return (symbols_per_word - 1) * symbol_bits; }
  /// Clears what lies beyond the depth.
  template <int Words>
  SEQKV_INLINE void trim(WindowKey<Words>& key) const {
    for (int w = 0; w < Words; ++w) {
      const int unused = (w + 1) * symbols_per_word - depth;
      if (unused >= symbols_per_word) {
        key.word[w] = 0;
      } else if (unused > 0) {
        key.word[w] &= ~std::uint64_t{0} << (unused * symbol_bits);
      }
    }
  }

  template <int Words>
  SEQKV_INLINE std::uint32_t symbol(const WindowKey<Words>& key, int i) const {
    const int word = i * per_word >> 12;
    const int shift = top_shift() - (i - word * symbols_per_word) * symbol_bits;
    return static_cast<std::uint32_t>(key.word[word] >> shift & ((std::uint64_t{1} << symbol_bits) - 1));
  }
  /// Tokens that two keys have in common at the start; `depth` if they are equal. Ends are symbols, but no tokens: of
  /// two different keys not both have ended.
  template <int Words>
  SEQKV_INLINE int common(const WindowKey<Words>& a, const WindowKey<Words>& b) const {
    for (int w = 0; w < Words; ++w) {
      const std::uint64_t difference = a.word[w] ^ b.word[w];
      if (difference == 0) continue;
      const int unused = 64 - symbols_per_word * symbol_bits;
      return w * symbols_per_word + ((leading_zeros(difference) - unused) * per_bit >> 12);
    }
    return depth;
  }
  /// Tokens of a window: its end is all zeros.
  template <int Words>
  SEQKV_INLINE int length(const WindowKey<Words>& key) const {
    for (int w = Words; w-- > 0;) {
      if (key.word[w] == 0) continue;
      return (w + 1) * symbols_per_word - (trailing_zeros(key.word[w]) * per_bit >> 12);
    }
    return 0;
  }
};

/// The key of the window that starts one symbol before that of `key`.
template <int Words>
SEQKV_INLINE void shift_in(const KeyFormat& format, std::uint32_t symbol, WindowKey<Words>& key) {
  std::uint64_t carry = symbol;
  const std::uint64_t low = (std::uint64_t{1} << format.symbol_bits) - 1;
  for (int w = 0; w < Words; ++w) {
    const std::uint64_t out = key.word[w] & low;
    key.word[w] = carry << format.top_shift() | key.word[w] >> format.symbol_bits;
    carry = out;
  }
}

}  // namespace seqkv::trie
