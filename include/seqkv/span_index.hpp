// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Where tokens of a sequence stand in others, at any offset: what `linear+ref` can predict them from
/// (docs/reference.md).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "seqkv/kv.hpp"

namespace seqkv {

/// Tokens [first, first + count) of a query are those of a sequence from `source` on.
struct SharedSpan {
  std::int64_t first = 0;
  std::int64_t count = 0;
  std::int64_t sequence = 0;  ///< as they were added; -1: the query itself, and source + count <= first
  std::int64_t source = 0;
  friend bool operator==(const SharedSpan&, const SharedSpan&) = default;
};

/// A table of hashes of windows, with a bounded number of entries for each hash, whatever is put in.
class WindowTable {
 public:
  static constexpr std::int64_t most_alike = 4;

  /// Nothing happens where there are as many of this hash. Throws std::bad_alloc.
  void insert(std::uint32_t hash, std::uint32_t number);
  /// Memory of what for_each will look at is asked for.
  void prefetch(std::uint32_t hash) const { __builtin_prefetch(slots_.data() + slot_of(hash)); }
  template <class Work>
  void for_each(std::uint32_t hash, const Work& work) const {
    for (std::size_t i = slot_of(hash); slots_[i].number != nothing; i = (i + 1) & (slots_.size() - 1)) {
      if (slots_[i].hash == hash) work(slots_[i].number);
    }
  }
  std::int64_t bytes() const { return static_cast<std::int64_t>(slots_.capacity() * sizeof(Slot)); }

 private:
  static constexpr std::uint32_t nothing = ~std::uint32_t{0};
  struct Slot {
    std::uint32_t hash = 0;
    std::uint32_t number = nothing;
  };
  std::size_t slot_of(std::uint32_t hash) const { return hash >> shift_; }
  void grow();

  int shift_ = 28;
  std::size_t used_ = 0;
  std::vector<Slot> slots_ = std::vector<Slot>(16);
};

/// Sequences are cut into windows of 32 tokens, whose hashes are kept; a query's are rolled over every offset, so that
/// no common span of 63 tokens is missed but where a window occurs often. What is found is compared token by token and
/// goes as far as it can to both sides.
///
/// Not thread-safe for adding; searches may run beside each other.
class SpanIndex {
 public:
  static constexpr std::int64_t window = 32;
  static constexpr std::int64_t least_span = 64;
  /// 2^32 windows, less the one that means nothing.
  static constexpr std::int64_t max_tokens = ((std::int64_t{1} << 32) - 1) * window;

  /// `seed`: hashes differ with it. What is searched by different tenants belongs into indexes of their own.
  explicit SpanIndex(std::uint64_t seed = 0) : seed_(seed) {}

  /// Room for so many tokens, where that is known.
  void reserve(std::int64_t tokens) { tokens_.reserve(static_cast<std::size_t>(tokens)); }

  /// Keeps a copy; sequences are numbered from 0. Errors: limit_exceeded, out_of_memory.
  Result<std::int64_t> add(TokenSpan tokens);

  /// Spans of at least `least` tokens (window or more), ascending, none of which overlap. At each place the longest
  /// is taken. `within`: what the query itself has before counts, too, unless it has been found elsewhere: spans never
  /// stand for spans. Time O(tokens). Throws std::bad_alloc.
  std::vector<SharedSpan> find(TokenSpan query, std::int64_t least = least_span, bool within = false) const;

  std::int64_t sequences() const { return static_cast<std::int64_t>(starts_.size()); }
  std::int64_t tokens() const { return count_; }
  /// Memory of copies and hashes.
  std::int64_t bytes() const;

 private:
  class Search;

  std::uint64_t seed_;
  std::int64_t count_ = 0;
  std::vector<Token> tokens_;         ///< of all sequences, each filled up to whole windows
  std::vector<std::int64_t> starts_;  ///< of each in tokens_
  std::vector<std::int64_t> ends_;
  WindowTable table_;
};

/// find() for many queries on the cores of a space (of the host, if it is a device). Errors: out_of_memory.
template <class ExecutionSpace>
Result<std::vector<std::vector<SharedSpan>>> find_spans(const ExecutionSpace& space, const SpanIndex& index,
                                                        std::span<const TokenSpan> queries,
                                                        std::int64_t least = SpanIndex::least_span,
                                                        bool within = false);

}  // namespace seqkv
