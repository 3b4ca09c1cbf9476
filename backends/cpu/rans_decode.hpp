// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Decoding a batch of rANS streams, a register or half a register each. As many are in flight as hide the latency of
/// table lookups; a stream that ends makes room for the next. bench/codec/rans shows what it buys over the scalar coder
/// (codec/entropy/rans.hpp), which takes what is left of a group at the end of a run.
#pragma once

#include <type_traits>

#include "backends/cpu/rans_lookup.hpp"

namespace seqkv::cpu::SEQKV_ISA {

template <class Gather>
class RansDecoder {
 public:
  RansDecoder(const rans::DecodeTables& tables, rans::Stream* streams, std::int64_t count)
      : tables_(tables), waiting_(streams), end_(streams + count) {}

  void run() {
    for (int i = 0; i < width; ++i) take_stream(i);
    while (const std::int64_t groups = fewest_groups()) {
      const std::int64_t done = decode(groups);
      for (int i = 0; i < width; ++i) {
        if (stream_[i] == nullptr) continue;
        groups_[i] -= done;
        if (words_[i] > limit_[i]) continue_in_tail(i);
        if (stream_[i] != nullptr && groups_[i] == 0) finish_run(i);
        if (stream_[i] == nullptr) take_stream(i);
      }
    }
  }

 private:
  static constexpr int registers = streams_together / register_streams;
  static constexpr int width = streams_together;
  /// Bytes that a group can read: a word for each symbol, and what a load takes beyond its last word.
  static constexpr std::int64_t most_read = 2 * rans::group;
  static constexpr std::int64_t load_slack = 16;

  // ---- streams come and go ------------------------------------------------------------------------------------

  /// Puts the next stream that has whole groups into place i; leaves it empty if there is none.
  void take_stream(int i) {
    stream_[i] = nullptr;
    while (stream_[i] == nullptr && waiting_ != end_) open(i, waiting_++);
  }

  void open(int i, rans::Stream* stream) {
    stream_[i] = stream;
    run_[i] = 0;
    in_tail_[i] = false;
    if (stream->bytes < rans::states_bytes) return close(i, false);
    __builtin_memcpy(state_[i], stream->coded, rans::states_bytes);
    words_[i] = stream->coded + rans::states_bytes;
    words_end_[i] = stream->coded + stream->bytes;
    limit_[i] = words_end_[i] - most_read - load_slack;
    if (words_[i] > limit_[i]) continue_in_tail(i);
    if (stream->run_count == 0) return close(i, true);
    open_run(i);
    if (groups_[i] == 0) finish_run(i);
  }

  void open_run(int i) {
    const rans::Run& run = stream_[i]->runs[run_[i]];
    symbols_[i] = run.symbols;
    groups_[i] = run.count / rans::group;
    table_[i / register_streams].number[i % register_streams] = run.table;
  }

  /// No whole group is left of the run: decodes the rest, and goes to the next run that has one, or the next stream.
  void finish_run(int i) {
    while (groups_[i] == 0) {
      const rans::Run& run = stream_[i]->runs[run_[i]];
      if (const std::int64_t rest = run.count % rans::group; rest > 0) {
        if (!decode_rest(i, tables_.slots + run.table * rans::total, rest)) return close(i, false);
      }
      if (++run_[i] == stream_[i]->run_count) return close(i, true);
      open_run(i);
    }
  }

  bool decode_rest(int i, const rans::Slot* slots, std::int64_t count) {
    rans::Decoder scalar;
    __builtin_memcpy(scalar.state, state_[i], sizeof(scalar.state));
    scalar.next = words_[i];
    scalar.end = words_end_[i];
    scalar.short_of_words = false;
    scalar.decode_some(slots, symbols_[i], count);
    __builtin_memcpy(state_[i], scalar.state, sizeof(scalar.state));
    words_[i] = scalar.next;
    if (words_[i] > limit_[i] && !scalar.short_of_words) continue_in_tail(i);
    return !scalar.short_of_words;
  }

  /// Leaves place i empty.
  void close(int i, bool whole) {
    whole = whole && words_[i] == words_end_[i];
    for (int lane = 0; whole && lane < rans::lanes; ++lane) whole = state_[i][lane] == rans::lower_bound;
    if (!whole) stream_[i]->bytes = -1;
    stream_[i] = nullptr;
  }

  /// The last words, with zeros behind them that loads may read. A stream that used up those zeros is broken.
  void continue_in_tail(int i) {
    if (in_tail_[i]) return close(i, false);
    in_tail_[i] = true;
    const std::int64_t left = words_end_[i] - words_[i];
    __builtin_memset(tail_[i], 0, sizeof(tail_[i]));
    for (std::int64_t b = 0; b < left; ++b) tail_[i][b] = words_[i][b];
    words_[i] = tail_[i];
    words_end_[i] = limit_[i] = tail_[i] + left;
  }

  // ---- all streams together ------------------------------------------------------------------------------------

  /// Whole groups that every stream has left in its run, 0 if there are no streams. Places without one repeat what
  /// another does: they write the same symbols to the same memory.
  std::int64_t fewest_groups() {
    std::int64_t fewest = 0;
    int some = 0;
    for (int i = 0; i < width; ++i) {
      if (stream_[i] == nullptr) continue;
      if (fewest == 0 || groups_[i] < fewest) fewest = groups_[i];
      some = i;
    }
    for (int i = 0; fewest > 0 && i < width; ++i) {
      if (stream_[i] != nullptr) continue;
      __builtin_memcpy(state_[i], state_[some], sizeof(state_[i]));
      table_[i / register_streams].number[i % register_streams] =
          table_[some / register_streams].number[some % register_streams];
      words_[i] = words_[some];
      limit_[i] = limit_[some];
      symbols_[i] = symbols_[some];
    }
    return fewest;
  }

  std::int64_t decode(std::int64_t groups) {
#if defined(__AVX512F__)
    if constexpr (!std::is_same_v<Gather, HardwareGather>) {
      bool fits = true;
      for (const auto& tables : table_) fits = fits && IntervalLookup::fits(tables_, tables);
      if (fits) return decode_groups<IntervalLookup>(groups);
    }
#endif
    return decode_groups<SlotLookup<Gather>>(groups);
  }

  /// Decodes up to `groups` groups of every stream, fewer if one comes near the end of its words; returns how many.
  template <class Lookup>
  std::int64_t decode_groups(std::int64_t groups) {
    Register state[registers];
    Lookup lookup[registers];
    const std::byte* words[width];
#pragma GCC unroll 8
    for (int r = 0; r < registers; ++r) {
      state[r] = load_register(state_[r * register_streams]);
      lookup[r].use(tables_, table_[r]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < width; ++i) words[i] = words_[i];

    std::int64_t done = 0;
    bool more = true;
    while (more) {
      Register symbols[registers];
#pragma GCC unroll 4
      for (int step = 0; step < rans::steps; ++step) {
#pragma GCC unroll 8
        for (int r = 0; r < registers; ++r) {
          const Found found = lookup[r].find(state[r]);
          symbols[r] = step == 0 ? found.symbol : bit_or(shift_right<8>(symbols[r]), found.symbol);
          advance_states(state[r], found.frequency, found.offset, words + r * register_streams);
        }
      }
#pragma GCC unroll 8
      for (int r = 0; r < registers; ++r) {
        store_group(symbols_ + r * register_streams, done * rans::group, symbols[r]);
      }
      more = ++done < groups;
#pragma GCC unroll 16
      for (int i = 0; i < width; ++i) more = more && words[i] <= limit_[i];
    }

#pragma GCC unroll 8
    for (int r = 0; r < registers; ++r) store_register(state_[r * register_streams], state[r]);
#pragma GCC unroll 16
    for (int i = 0; i < width; ++i) {
      words_[i] = words[i];
      symbols_[i] += done * rans::group;
    }
    return done;
  }

  alignas(64) std::uint32_t state_[width][rans::lanes];
  TablesOfRegister table_[registers];
  const std::byte* words_[width];
  const std::byte* limit_[width];  ///< beyond it there are not words enough for a group without looking
  const std::byte* words_end_[width];
  std::uint8_t* symbols_[width];
  std::int64_t groups_[width];  ///< left in the run
  rans::Stream* stream_[width];
  std::int64_t run_[width];
  bool in_tail_[width];
  std::byte tail_[width][2 * (most_read + load_slack)];

  rans::DecodeTables tables_;
  rans::Stream* waiting_;
  rans::Stream* end_;
};

inline void rans_decode(const rans::DecodeTables& tables, rans::Stream* streams, std::int64_t count) {
  RansDecoder<HardwareGather>(tables, streams, count).run();
}

inline void rans_decode_without_gather(const rans::DecodeTables& tables, rans::Stream* streams, std::int64_t count) {
  RansDecoder<ScalarGather>(tables, streams, count).run();
}

}  // namespace seqkv::cpu::SEQKV_ISA
