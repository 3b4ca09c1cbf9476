// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Radix sort of window keys, portable: least significant digit first, 8 bits at a time, stable. Every pass counts the
/// digits of pieces of the array, scans the counts digit by digit, and moves.
#pragma once

#include <Kokkos_Core.hpp>
#include <algorithm>
#include <cstdint>
#include <utility>

#include "trie/window_key.hpp"

namespace seqkv::kokkos {

inline constexpr int digit_bits = 8;
inline constexpr std::uint32_t digits = 1U << digit_bits;

/// One pass over `count` keys, cut into `pieces` of `piece_keys`.
template <class MemorySpace, int Words>
struct DigitPass {
  using Key = trie::WindowKey<Words>;

  const Key* from;
  Key* to;
  Kokkos::View<std::uint32_t*, MemorySpace> places;  ///< [digit][piece]
  std::int64_t count, pieces, piece_keys;
  int word, shift;

  SEQKV_INLINE std::uint32_t digit(const Key& key) const {
    return static_cast<std::uint32_t>(key.word[word] >> shift) & (digits - 1);
  }
  SEQKV_INLINE std::int64_t first(std::int64_t piece) const { return piece * piece_keys; }
  SEQKV_INLINE std::int64_t last(std::int64_t piece) const {
    return first(piece) + piece_keys < count ? first(piece) + piece_keys : count;
  }
};

template <class MemorySpace, int Words>
struct CountDigits : DigitPass<MemorySpace, Words> {
  KOKKOS_FUNCTION void operator()(std::int64_t piece) const {
    for (std::uint32_t d = 0; d < digits; ++d) this->places(d * this->pieces + piece) = 0;
    for (std::int64_t i = this->first(piece); i < this->last(piece); ++i) {
      ++this->places(this->digit(this->from[i]) * this->pieces + piece);
    }
  }
};

template <class MemorySpace, int Words>
struct MoveDigits : DigitPass<MemorySpace, Words> {
  KOKKOS_FUNCTION void operator()(std::int64_t piece) const {
    for (std::int64_t i = this->first(piece); i < this->last(piece); ++i) {
      this->to[this->places(this->digit(this->from[i]) * this->pieces + piece)++] = this->from[i];
    }
  }
};

/// Counts to the places where they start.
template <class MemorySpace>
struct ScanDigits {
  Kokkos::View<std::uint32_t*, MemorySpace> places;
  KOKKOS_FUNCTION void operator()(std::int64_t i, std::uint32_t& sum, bool final) const {
    const std::uint32_t own = places(i);
    if (final) places(i) = sum;
    sum += own;
  }
};

/// Sorts `count` < 2^32 keys; `scratch` has room for as many. Returns where the sorted keys are: `keys` or `scratch`.
template <class ExecutionSpace, int Words>
trie::WindowKey<Words>* sort_keys(const ExecutionSpace& space, const trie::KeyFormat& format,
                                  trie::WindowKey<Words>* keys, trie::WindowKey<Words>* scratch, std::int64_t count) {
  using Memory = typename ExecutionSpace::memory_space;
  using Range = Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<std::int64_t>>;
  constexpr std::int64_t most_pieces = 1 << 16;
  const std::int64_t wanted = std::min(most_pieces, 16 * std::int64_t{space.concurrency()});
  const std::int64_t piece_keys = std::max<std::int64_t>(1024, count / wanted + 1);
  const std::int64_t pieces = (count + piece_keys - 1) / piece_keys;
  const Kokkos::View<std::uint32_t*, Memory> places(
      Kokkos::view_alloc(space, Kokkos::WithoutInitializing, "seqkv::trie::digits"), digits * pieces);
  const int used_bits = format.symbols_per_word * format.symbol_bits;
  for (int word = Words - 1; word >= 0; --word) {
    for (int shift = 0; shift < used_bits; shift += digit_bits) {
      const DigitPass<Memory, Words> pass{keys, scratch, places, count, pieces, piece_keys, word, shift};
      Kokkos::parallel_for("seqkv::trie::count_digits", Range(space, 0, pieces), CountDigits<Memory, Words>{pass});
      Kokkos::parallel_scan("seqkv::trie::scan_digits", Range(space, 0, digits * pieces), ScanDigits<Memory>{places});
      Kokkos::parallel_for("seqkv::trie::move_digits", Range(space, 0, pieces), MoveDigits<Memory, Words>{pass});
      std::swap(keys, scratch);
    }
  }
  return keys;
}

}  // namespace seqkv::kokkos
