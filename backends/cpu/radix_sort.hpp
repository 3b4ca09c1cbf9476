// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Radix sort of window keys for CPUs: most significant digit first, so that after one pass over memory all work is on
/// buckets that fit in caches, and a bucket whose keys are equal, or share a prefix, is done without looking at every
/// digit. bench/trie/build shows what it buys over backends/kokkos/radix_sort.hpp.
#pragma once

#include <Kokkos_Core.hpp>
#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "backends/cpu/launch.hpp"
#include "core/host_memory.hpp"
#include "trie/window_key.hpp"

namespace seqkv::cpu {

inline constexpr std::size_t insertion_limit = 24;
inline constexpr int most_digit_bits = 10;

template <int Words>
void insertion_sort(trie::WindowKey<Words>* keys, std::size_t count) {
  for (std::size_t i = 1; i < count; ++i) {
    const trie::WindowKey<Words> key = keys[i];
    std::size_t j = i;
    for (; j > 0 && key < keys[j - 1]; --j) keys[j] = keys[j - 1];
    keys[j] = key;
  }
}

/// Sorts `from` into `to` if `into`, else in place with `to` as scratch. Words before `word` are equal.
template <int Words>
void sort_bucket(trie::WindowKey<Words>* from, trie::WindowKey<Words>* to, std::size_t count, bool into, int word = 0) {
  if (count <= insertion_limit) {
    insertion_sort(from, count);
    if (into) std::copy_n(from, count, to);
    return;
  }
  // Where the keys differ first.
  std::uint64_t difference = 0;
  for (; word < Words; ++word) {
    for (std::size_t i = 1; i < count; ++i) difference |= from[i].word[word] ^ from[0].word[word];
    if (difference != 0) break;
  }
  if (difference == 0) {
    if (into) std::copy_n(from, count, to);
    return;
  }
  // A digit such that a bucket has a few keys on average: fewer passes for large arrays, short tables for small ones.
  const int top = 64 - std::countl_zero(difference);
  const int wanted = std::clamp(static_cast<int>(std::bit_width(count)) - 3, 4, most_digit_bits);
  const int bits = std::min(top, wanted);
  const int shift = top - bits;
  const std::uint32_t buckets = 1U << static_cast<unsigned>(bits);
  std::array<std::uint32_t, (1U << most_digit_bits) + 1> first;
  std::array<std::uint32_t, 1U << most_digit_bits> next;
  const auto digit = [=](const trie::WindowKey<Words>& key) {
    return static_cast<std::uint32_t>(key.word[word] >> shift) & (buckets - 1);
  };
  std::fill_n(first.begin(), buckets + 1, 0);
  for (std::size_t i = 0; i < count; ++i) ++first[digit(from[i]) + 1];
  for (std::uint32_t b = 0; b < buckets; ++b) first[b + 1] += first[b];
  std::copy_n(first.begin(), buckets, next.begin());
  for (std::size_t i = 0; i < count; ++i) to[next[digit(from[i])]++] = from[i];
  for (std::uint32_t b = 0; b < buckets; ++b) {
    const std::size_t size = first[b + 1] - first[b];
    if (size > 0) sort_bucket(to + first[b], from + first[b], size, !into, word);
  }
}

/// Packs and sorts the windows of a stream of symbols (trie/window_key.hpp), in which sequences end with a 0.
template <class ExecutionSpace, int Words>
class WindowSort {
 public:
  using Key = trie::WindowKey<Words>;

  WindowSort(const ExecutionSpace& space, const trie::KeyFormat& format, const std::uint32_t* symbols,
             std::int64_t count)
      : space_(space), format_(format), symbols_(symbols), count_(count) {
    drop_ = std::max(0, format.symbol_bits - most_bucket_bits);
    buckets_ = static_cast<std::int64_t>(std::uint64_t{1} << static_cast<unsigned>(format.symbol_bits - drop_));
    pieces_ = std::clamp<std::int64_t>(count / (4 * buckets_), 1, space.concurrency());
    next_.resize(pieces_ * buckets_);
    first_.resize(buckets_ + 1);
  }

  /// Sorted into `keys`, one a window.
  void run(Key* keys) {
    for_each_piece("seqkv::trie::count_windows", space_, pieces_, [this](std::int64_t piece) { count_piece(piece); });
    place();
    for_each_piece("seqkv::trie::pack_windows", space_, pieces_, [=, this](std::int64_t piece) { pack(piece, keys); });
    // Each thread takes buckets one by one, with scratch that stays in its caches.
    std::uint32_t largest = 0;
    for (std::int64_t b = 0; b < buckets_; ++b) largest = std::max(largest, first_[b + 1] - first_[b]);
    const std::int64_t threads = space_.concurrency();
    const HostArray<Key> scratch(static_cast<std::size_t>(threads) * largest);
    std::atomic<std::int64_t> next{0};
    for_each_piece("seqkv::trie::sort_windows", space_, threads, [&, keys, largest](std::int64_t thread) {
      for (std::int64_t b = next++; b < buckets_; b = next++) {
        sort_bucket(keys + first_[b], scratch.data() + thread * largest, first_[b + 1] - first_[b], false);
      }
    });
    space_.fence("seqkv::trie::sort_windows: the tables of buckets are local");
  }

 private:
  static constexpr int most_bucket_bits = 16;

  std::int64_t begin_of(std::int64_t piece) const { return count_ * piece / pieces_; }
  std::uint32_t bucket_of(std::uint32_t symbol) const { return symbol >> static_cast<unsigned>(drop_); }

  void count_piece(std::int64_t piece) {
    std::uint32_t* counts = next_.data() + piece * buckets_;
    for (std::int64_t i = begin_of(piece); i < begin_of(piece + 1); ++i) {
      counts[bucket_of(symbols_[i])] += symbols_[i] != 0;
    }
  }

  void place() {
    std::uint32_t sum = 0;
    for (std::int64_t bucket = 0; bucket < buckets_; ++bucket) {
      first_[bucket] = sum;
      for (std::int64_t piece = 0; piece < pieces_; ++piece) {
        sum += std::exchange(next_[piece * buckets_ + bucket], sum);
      }
    }
    first_[buckets_] = sum;
  }

  /// From the right, so that each key is the one before it with a symbol shifted in.
  void pack(std::int64_t piece, Key* keys) {
    std::uint32_t* next = next_.data() + piece * buckets_;
    const std::int64_t begin = begin_of(piece);
    const std::int64_t end = begin_of(piece + 1);
    Key key{};
    for (std::int64_t i = std::min(end + format_.depth, count_) - 1; i >= begin; --i) {
      if (symbols_[i] == 0) {
        key = {};
        continue;
      }
      trie::shift_in(format_, symbols_[i], key);
      if (i >= end) continue;
      Key& to = keys[next[bucket_of(symbols_[i])]++];
      to = key;
      format_.trim(to);
    }
  }

  ExecutionSpace space_;
  trie::KeyFormat format_;
  const std::uint32_t* symbols_;
  std::int64_t count_;
  int drop_;
  std::int64_t buckets_, pieces_;
  std::vector<std::uint32_t> next_;   ///< [piece][bucket]
  std::vector<std::uint32_t> first_;  ///< [bucket + 1]
};

}  // namespace seqkv::cpu
