// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Encoding a batch of rANS streams, as rans_decode.hpp decodes them: from the last symbol to the first.
#pragma once

#include "backends/cpu/rans_lookup.hpp"

namespace seqkv::cpu::SEQKV_ISA {

template <class Gather>
class RansEncoder {
 public:
  RansEncoder(const rans::EncodeTables& tables, rans::Stream* streams, std::int64_t count)
      : tables_(tables), waiting_(streams), end_(streams + count) {}

  void run() {
    for (int i = 0; i < width; ++i) take_stream(i);
    while (const std::int64_t groups = fewest_groups()) {
      encode(groups);
      for (int i = 0; i < width; ++i) {
        if (stream_[i] == nullptr) continue;
        groups_[i] -= groups;
        if (groups_[i] == 0) next_run(i);
        if (stream_[i] == nullptr) take_stream(i);
      }
    }
  }

 private:
  static constexpr int registers = streams_together / register_streams;
  static constexpr int width = streams_together;

  // ---- streams come and go ------------------------------------------------------------------------------------

  /// Puts the next stream that has whole groups into place i; leaves it empty if there is none.
  void take_stream(int i) {
    stream_[i] = nullptr;
    while (stream_[i] == nullptr && waiting_ != end_) {
      stream_[i] = waiting_++;
      run_[i] = stream_[i]->run_count;
      words_[i] = stream_[i]->coded;
      for (auto& x : state_[i]) x = rans::lower_bound;
      next_run(i);
    }
  }

  /// To the run before this one that has whole groups; closes the stream if there is none.
  void next_run(int i) {
    while (run_[i] > 0) {
      const rans::Run& run = stream_[i]->runs[--run_[i]];
      groups_[i] = run.count / rans::group;
      symbols_[i] = run.symbols + groups_[i] * rans::group;
      table_[i / register_streams].number[i % register_streams] = run.table;
      if (const std::int64_t rest = run.count % rans::group; rest > 0) {
        encode_rest(i, tables_.codes + run.table * rans::symbols, rest);
      }
      if (groups_[i] > 0) return;
    }
    close(i);
  }

  void encode_rest(int i, const rans::Code* codes, std::int64_t count) {
    rans::Encoder scalar = scalar_of(i);
    scalar.encode_some(codes, symbols_[i], count);
    __builtin_memcpy(state_[i], scalar.state, sizeof(scalar.state));
    words_[i] = scalar.next;
  }

  /// Leaves place i empty.
  void close(int i) {
    rans::Encoder scalar = scalar_of(i);
    std::byte* first = scalar.finish();
    stream_[i]->bytes = stream_[i]->coded - first;
    stream_[i]->coded = first;
    stream_[i] = nullptr;
  }

  rans::Encoder scalar_of(int i) const {
    rans::Encoder scalar;
    __builtin_memcpy(scalar.state, state_[i], sizeof(scalar.state));
    scalar.next = words_[i];
    return scalar;
  }

  // ---- all streams together ------------------------------------------------------------------------------------

  /// As in the decoder: places without a stream repeat what another does.
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
      symbols_[i] = symbols_[some];
    }
    return fewest;
  }

  void encode(std::int64_t groups) {
#if defined(__AVX512F__)
    bool fits = true;
    for (const auto& tables : table_) fits = fits && CodePermute::fits(tables_, tables);
    if (fits) return encode_groups<CodePermute>(groups);
#endif
    encode_groups<CodeLookup<Gather>>(groups);
  }

  template <class Lookup>
  void encode_groups(std::int64_t groups) {
    Register state[registers];
    Lookup lookup[registers];
    std::byte* words[width];
#pragma GCC unroll 8
    for (int r = 0; r < registers; ++r) {
      state[r] = load_register(state_[r * register_streams]);
      lookup[r].use(tables_, table_[r]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < width; ++i) words[i] = words_[i];

    for (std::int64_t g = 1; g <= groups; ++g) {
      Register symbols[registers];
#pragma GCC unroll 8
      for (int r = 0; r < registers; ++r) {
        symbols[r] = load_group(symbols_ + r * register_streams, -g * rans::group);
      }
#pragma GCC unroll 8
      for (int r = 0; r < registers; ++r) {
        encode_step(state[r], shift_right<24>(symbols[r]), lookup[r], words + r * register_streams);
      }
#pragma GCC unroll 8
      for (int r = 0; r < registers; ++r) {
        encode_step(state[r], bit_and(shift_right<16>(symbols[r]), low_byte()), lookup[r],
                    words + r * register_streams);
      }
#pragma GCC unroll 8
      for (int r = 0; r < registers; ++r) {
        encode_step(state[r], bit_and(shift_right<8>(symbols[r]), low_byte()), lookup[r], words + r * register_streams);
      }
#pragma GCC unroll 8
      for (int r = 0; r < registers; ++r) {
        encode_step(state[r], bit_and(symbols[r], low_byte()), lookup[r], words + r * register_streams);
      }
    }

#pragma GCC unroll 8
    for (int r = 0; r < registers; ++r) store_register(state_[r * register_streams], state[r]);
#pragma GCC unroll 16
    for (int i = 0; i < width; ++i) {
      words_[i] = words[i];
      symbols_[i] -= groups * rans::group;
    }
  }

  static SEQKV_INLINE Register low_byte() { return broadcast_u32(0xff); }

  template <class Lookup>
  static SEQKV_INLINE void encode_step(Register& state, Register symbol, const Lookup& lookup, std::byte** words) {
    const CodeOf code = lookup.find(symbol);
    make_room(state, code.frequency, words);
    state = add_symbol(state, code.frequency, code.start, code.reciprocal);
  }

  alignas(64) std::uint32_t state_[width][rans::lanes];
  TablesOfRegister table_[registers];
  std::byte* words_[width];
  const std::uint8_t* symbols_[width];
  std::int64_t groups_[width];  ///< left in the run
  rans::Stream* stream_[width];
  std::int64_t run_[width];

  rans::EncodeTables tables_;
  rans::Stream* waiting_;
  rans::Stream* end_;
};

inline void rans_encode(const rans::EncodeTables& tables, rans::Stream* streams, std::int64_t count) {
  RansEncoder<HardwareGather>(tables, streams, count).run();
}

inline void rans_encode_without_gather(const rans::EncodeTables& tables, rans::Stream* streams, std::int64_t count) {
  RansEncoder<ScalarGather>(tables, streams, count).run();
}

}  // namespace seqkv::cpu::SEQKV_ISA
