// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The exact codec on several sub-blocks at a time, so that the streams of their heads fill the registers of the rANS
/// kernels. The bytes of backends/kokkos/lossless.hpp; bench/codec/codec shows what it buys. Only for the translation
/// units that define SEQKV_ISA (see simd.hpp).
#pragma once

#include "backends/cpu/arena.hpp"
#include "backends/cpu/count_symbols.hpp"
#include "backends/cpu/lossless_planes.hpp"
#include "backends/cpu/rans_decode.hpp"
#include "backends/cpu/rans_encode.hpp"

namespace seqkv::cpu::SEQKV_ISA {

inline std::int64_t heads_of(const codec::Task* tasks, std::int64_t count) {
  std::int64_t heads = 0;
  for (std::int64_t t = 0; t < count; ++t) heads += tasks[t].subblock.heads;
  return heads;
}

/// Encodes tasks whose values are of one dtype.
template <class Gather, class F>
class LosslessEncoder {
 public:
  LosslessEncoder(codec::Task* tasks, std::int64_t count, Arena memory)
      : tasks_(tasks), count_(count), memory_(memory) {
    const std::int64_t heads = heads_of(tasks, count);
    codes_ = memory_.take<rans::Code>(heads * rans::symbols);
    intervals_ = memory_.take<rans::Intervals>(heads);
    runs_ = memory_.take<rans::Run>(heads);
    streams_ = memory_.take<rans::Stream>(heads);
    ends_ = memory_.take<std::byte*>(count);
  }

  void run() {
    for (std::int64_t t = 0; t < count_; ++t) write_tables(t);
    RansEncoder<Gather>({codes_, intervals_}, streams_, used_).run();
    used_ = 0;
    for (std::int64_t t = 0; t < count_; ++t) assemble(t);
  }

 private:
  /// The tables of a task's heads, and a stream for each head that needs one.
  void write_tables(std::int64_t t) {
    const codec::Task& task = tasks_[t];
    const codec::LosslessLayout layout(task.subblock);
    std::byte* at = task.coded + layout.tables_at();
    for (std::int64_t head = 0; head < layout.heads; ++head) {
      auto* symbols = memory_.take<std::uint8_t>(layout.per_head);
      const auto* values = reinterpret_cast<const typename F::Word*>(task.values) + head * layout.per_head;
      const int smallest = split_exponents<F>(values, layout.per_head, symbols);
      std::uint32_t counts[rans::symbols];
      std::uint16_t frequencies[rans::symbols];
      SymbolCounter counter;
      counter.add(symbols, layout.per_head);
      counter.sum(counts);
      rans::normalize(counts, frequencies);
      const std::byte* table = at;
      at += codec::write_table(frequencies, smallest, at);
      if (codec::is_lone(table)) continue;
      rans::fill_codes(frequencies, codes_ + used_ * rans::symbols);
      rans::fill_intervals(frequencies, intervals_[used_]);
      runs_[used_] = {symbols, layout.per_head, used_};
      streams_[used_] = {runs_ + used_, 1, task.coded + layout.end_of_room(head), 0};
      ++used_;
    }
    ends_[t] = at;
  }

  void assemble(std::int64_t t) {
    codec::Task& task = tasks_[t];
    const codec::LosslessLayout layout(task.subblock);
    const std::byte* table = task.coded + layout.tables_at();
    for (std::int64_t head = 0; head < layout.heads; ++head) {
      const std::int64_t bytes = codec::is_lone(table) ? 0 : streams_[used_++].bytes;
      codec::store_u32(task.coded + codec::LosslessLayout::size_at(head), static_cast<std::uint32_t>(bytes));
      table += codec::table_bytes(table);
    }
    std::byte* at = codec::close_gaps(layout, task.coded, ends_[t]);
    codec::store_u32(task.coded, write_planes<F>(task, at));
    task.bytes = at - task.coded;
  }

  codec::Task* tasks_;
  std::int64_t count_;
  Arena memory_;
  rans::Code* codes_;
  rans::Intervals* intervals_;
  rans::Run* runs_;
  rans::Stream* streams_;
  std::byte** ends_;  ///< of each task's tables
  std::int64_t used_ = 0;
};

/// Decodes tasks whose values are of one dtype. Sets task.bytes to not_codable where a payload is broken.
template <class Gather, class F>
class LosslessDecoder {
 public:
  LosslessDecoder(codec::Task* tasks, std::int64_t count, Arena memory)
      : tasks_(tasks), count_(count), memory_(memory) {
    const std::int64_t heads = heads_of(tasks, count);
    slots_ = memory_.take<rans::Slot>(heads * rans::total);
    intervals_ = memory_.take<rans::Intervals>(heads);
    runs_ = memory_.take<rans::Run>(heads);
    streams_ = memory_.take<rans::Stream>(heads);
    symbols_ = memory_.take<std::uint8_t*>(heads);
    parts_ = memory_.take<codec::LosslessParts>(count);
  }

  void run() {
    std::int64_t head = 0;
    for (std::int64_t t = 0; t < count_; ++t) {
      codec::Task& task = tasks_[t];
      if (task.raw) {
        __builtin_memcpy(task.values, task.coded, static_cast<std::size_t>(task.bytes));
      } else if (!open(t, head)) {
        task.bytes = codec::not_codable;
      }
      head += task.subblock.heads;
    }
    RansDecoder<Gather>({slots_, intervals_}, streams_, used_).run();
    head = used_ = 0;
    for (std::int64_t t = 0; t < count_; ++t) {
      if (!tasks_[t].raw && tasks_[t].bytes != codec::not_codable) join(t, head);
      head += tasks_[t].subblock.heads;
    }
  }

 private:
  /// Queues a task's streams; false, and none of them queued, if the payload is broken.
  bool open(std::int64_t t, std::int64_t first_head) {
    const codec::Task& task = tasks_[t];
    codec::LosslessParts& parts = parts_[t];
    if (!codec::take_apart(task.subblock, task.coded, task.bytes, parts)) return false;
    const std::int64_t per_head = task.subblock.tokens * task.subblock.dim;
    const std::byte* table = parts.tables;
    std::byte* stream = task.coded + (parts.streams - task.coded);
    const std::int64_t before = used_;
    for (std::int64_t head = 0; head < task.subblock.heads; ++head) {
      symbols_[first_head + head] = memory_.take<std::uint8_t>(per_head);
      const std::int64_t bytes = codec::load_u32(task.coded + codec::LosslessLayout::size_at(head));
      const bool good =
          codec::is_lone(table) ? bytes == 0 : queue(table, stream, bytes, symbols_[first_head + head], per_head);
      if (!good) {
        used_ = before;
        return false;
      }
      if (codec::is_lone(table)) __builtin_memset(symbols_[first_head + head], 0, static_cast<std::size_t>(per_head));
      table += codec::table_bytes(table);
      stream += bytes;
    }
    return true;
  }

  bool queue(const std::byte* table, std::byte* stream, std::int64_t bytes, std::uint8_t* symbols, std::int64_t count) {
    std::uint16_t frequencies[rans::symbols];
    if (!codec::read_table(table, frequencies)) return false;
    rans::fill_slots(frequencies, slots_ + used_ * rans::total);
    rans::fill_intervals(frequencies, intervals_[used_]);
    runs_[used_] = {symbols, count, used_};
    streams_[used_] = {runs_ + used_, 1, stream, bytes};
    ++used_;
    return true;
  }

  void join(std::int64_t t, std::int64_t first_head) {
    codec::Task& task = tasks_[t];
    const std::int64_t per_head = task.subblock.tokens * task.subblock.dim;
    const std::byte* table = parts_[t].tables;
    bool whole = true;
    for (std::int64_t head = 0; head < task.subblock.heads; ++head) {
      if (!codec::is_lone(table)) whole = streams_[used_++].bytes >= 0 && whole;
      if (whole) {
        join_exponents<F>(parts_[t], task.subblock.values(), head * per_head, per_head, symbols_[first_head + head],
                          codec::first_exponent(table), task.values);
      }
      table += codec::table_bytes(table);
    }
    if (!whole) task.bytes = codec::not_codable;
  }

  codec::Task* tasks_;
  std::int64_t count_;
  Arena memory_;
  rans::Slot* slots_;
  rans::Intervals* intervals_;
  rans::Run* runs_;
  rans::Stream* streams_;
  std::uint8_t** symbols_;  ///< of each head
  codec::LosslessParts* parts_;
  std::int64_t used_ = 0;
};

/// Bytes of memory for tasks of `heads` heads and `values` values together, 64-byte aligned.
inline std::int64_t lossless_memory(std::int64_t tasks, std::int64_t heads, std::int64_t values) {
  constexpr std::int64_t a_head = sizeof(rans::Slot) * rans::total + sizeof(rans::Intervals) + sizeof(rans::Run) +
                                  sizeof(rans::Stream) + sizeof(void*) + 64;
  return values + heads * a_head + tasks * static_cast<std::int64_t>(sizeof(codec::LosslessParts)) + 8 * 64;
}

template <template <class, class> class Coder, class Gather>
inline void run_lossless(codec::Task* tasks, std::int64_t count, std::byte* memory) {
  with_format(tasks[0].subblock.dtype,
              [&](auto format) { Coder<Gather, decltype(format)>(tasks, count, {memory}).run(); });
}

inline void lossless_encode(codec::Task* tasks, std::int64_t count, std::byte* memory) {
  run_lossless<LosslessEncoder, HardwareGather>(tasks, count, memory);
}
inline void lossless_encode_without_gather(codec::Task* tasks, std::int64_t count, std::byte* memory) {
  run_lossless<LosslessEncoder, ScalarGather>(tasks, count, memory);
}
inline void lossless_decode(codec::Task* tasks, std::int64_t count, std::byte* memory) {
  run_lossless<LosslessDecoder, HardwareGather>(tasks, count, memory);
}
inline void lossless_decode_without_gather(codec::Task* tasks, std::int64_t count, std::byte* memory) {
  run_lossless<LosslessDecoder, ScalarGather>(tasks, count, memory);
}

}  // namespace seqkv::cpu::SEQKV_ISA
