// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The exact codec of bf16 on a GPU: a team of 64 threads a sub-block, 8 of them a head. The same bytes as the portable
/// kernel (backends/kokkos/lossless.hpp), which codes the other dtypes.
#pragma once

#include <Kokkos_Core.hpp>
#include <algorithm>
#include <type_traits>

#include "backends/gpu/block_encoder.hpp"
#include "backends/gpu/stream_decoder.hpp"
#include "backends/kokkos/lossless.hpp"
#include "core/mirrored.hpp"

namespace seqkv::gpu {

inline constexpr int lossless_team = 64;
inline constexpr int heads_together = lossless_team / group_lanes;

/// Whether 8 lanes can take 4 values each, and words of a stream, at once.
inline bool fits_lossless(const codec::Task& task) {
  return task.subblock.dtype == DType::bf16 && reinterpret_cast<std::uintptr_t>(task.values) % 8 == 0 &&
         is_even(task.coded) && task.subblock.tokens * task.subblock.dim % rans::group == 0;
}

/// Four values of bf16 as their exponents and the rest, a byte each.
struct FourValues {
  std::uint32_t exponents, rests;

  static KOKKOS_INLINE_FUNCTION FourValues of(std::uint64_t values) {
    FourValues out{0, 0};
    SEQKV_UNROLL for (unsigned i = 0; i < 4; ++i) {
      const auto u = static_cast<std::uint32_t>(values >> (16 * i) & 0xffffU);
      out.exponents |= (u >> 7U & 0xffU) << (8 * i);
      out.rests |= ((u >> 8U & 0x80U) | (u & 0x7fU)) << (8 * i);
    }
    return out;
  }
  KOKKOS_INLINE_FUNCTION std::uint64_t joined() const {
    std::uint64_t values = 0;
    SEQKV_UNROLL for (unsigned i = 0; i < 4; ++i) {
      const std::uint32_t rest = rests >> (8 * i) & 0xffU;
      const std::uint32_t u = (rest & 0x80U) << 8U | (exponents >> (8 * i) & 0xffU) << 7U | (rest & 0x7fU);
      values |= std::uint64_t{u} << (16 * i);
    }
    return values;
  }
};

/// Of a head, in the memory of its team.
struct HeadTable : SearchTable {
  /// Fills the table from its coded form, by 8 lanes; false unless its frequencies add up. A table that is not there,
  /// or does not add up, has one symbol.
  KOKKOS_INLINE_FUNCTION bool read(const Lane& lane, const std::byte* in, bool works) {
    const int count = works ? static_cast<int>(in[1]) + 1 : 0;
    std::uint32_t sum = 0;
    for (int s = lane.number; s < count; s += group_lanes) sum += frequency(in, s);
    const bool adds_up = lane.sum(sum) == rans::total;
    const bool is_there = works && adds_up;
    std::uint32_t start = 0;
    for (int s = 0; s < (is_there ? count : 1); ++s) {
      const std::uint32_t next = start + (is_there ? frequency(in, s) : rans::total);
      if (lane.number == 0) starts[s] = static_cast<std::uint16_t>(start);
      if (lane.number == 0) starts[s + 1] = static_cast<std::uint16_t>(next);
      for (std::uint32_t m = (start + marked - 1) / marked + static_cast<std::uint32_t>(lane.number); m * marked < next;
           m += group_lanes) {
        marks[m] = mark(static_cast<std::uint32_t>(s), next - m * marked);
      }
      start = next;
    }
    sync_warp();
    return adds_up;
  }

 private:
  static KOKKOS_INLINE_FUNCTION std::uint32_t frequency(const std::byte* in, int s) {
    const std::byte* at = in + 2 + s * 3 / 2;
    const auto low = static_cast<std::uint32_t>(at[0]);
    const auto high = static_cast<std::uint32_t>(at[1]);
    return s % 2 == 0 ? low | (high & 0xfU) << 8U : low >> 4U | high << 4U;
  }
};

/// Teams at once: as many as the memory of the teams allows.
template <class ExecutionSpace, int Teams>
using LosslessPolicy = Kokkos::TeamPolicy<ExecutionSpace, Kokkos::LaunchBounds<lossless_team, Teams>>;

template <class ExecutionSpace>
struct DecodeLossless {
  using Policy = LosslessPolicy<ExecutionSpace, 16>;
  using Team = typename Policy::member_type;
  codec::Task* tasks;
  static constexpr std::int64_t team_bytes =
      heads_together * (sizeof(HeadTable) + sizeof(WordWindow)) + alignof(WordWindow);

  KOKKOS_FUNCTION void operator()(const Team& team) const {
    codec::Task& task = tasks[team.league_rank()];
    auto* tables = static_cast<HeadTable*>(
        team.team_scratch(0).get_shmem_aligned(heads_together * sizeof(HeadTable), alignof(HeadTable)));
    auto* windows = static_cast<WordWindow*>(
        team.team_scratch(0).get_shmem_aligned(heads_together * sizeof(WordWindow), alignof(WordWindow)));
    if (task.raw) {
      Kokkos::parallel_for(Kokkos::TeamThreadRange(team, task.bytes),
                           [&](const std::int64_t i) { task.values[i] = task.coded[i]; });
      return;
    }
    bool good = false;
    codec::LosslessParts parts{};
    if (codec::take_apart(task.subblock, task.coded, task.bytes, parts)) {
      int broken = 0;
      for (std::int64_t first = 0; first < task.subblock.heads; first += heads_together) {
        broken += decode_heads(team, tables, windows, task, parts, first) ? 0 : 1;
      }
      team.team_reduce(Kokkos::Sum<int>(broken));
      good = broken == 0;
    }
    Kokkos::single(Kokkos::PerTeam(team), [&]() {
      if (!good) task.bytes = codec::not_codable;
    });
  }

 private:
  /// 8 heads, of which this thread has a part of one; false where that is broken.
  KOKKOS_INLINE_FUNCTION bool decode_heads(const Team& team, HeadTable* tables, WordWindow* windows,
                                           const codec::Task& task, const codec::LosslessParts& parts,
                                           std::int64_t first) const {
    const Lane lane(team.team_rank());
    HeadTable& own = tables[team.team_rank() / group_lanes];
    const std::int64_t head = first + team.team_rank() / group_lanes;
    const bool works = head < task.subblock.heads;
    const std::byte* table = parts.tables;
    const std::byte* stream = parts.streams;
    for (std::int64_t h = 0; works && h < head; ++h) {
      table += codec::table_bytes(table);
      stream += codec::load_u32(task.coded + codec::LosslessLayout::size_at(h));
    }
    const std::int64_t bytes =
        works ? std::int64_t{codec::load_u32(task.coded + codec::LosslessLayout::size_at(head))} : 0;
    const bool is_lone = works && codec::is_lone(table);
    const bool adds_up = own.read(lane, table, works && !is_lone);
    const bool streams = works && !is_lone && adds_up && bytes >= rans::states_bytes;
    StreamDecoder decoder(lane, windows, team.team_rank() / group_lanes, streams ? stream : nullptr, bytes);
    const std::int64_t per_head = task.subblock.tokens * task.subblock.dim;
    const auto exponent = works ? codec::first_exponent(table) * 0x01010101U : 0U;
    const bool has_rests = (parts.stored & 1U) != 0;
    const std::int64_t at = (works ? head : 0) * per_head + lane.number * rans::steps;
    const auto* rests = reinterpret_cast<const std::uint16_t*>(parts.planes + at);
    auto* out = reinterpret_cast<std::uint64_t*>(task.values + 2 * at);
    for (std::int64_t i = 0; i < per_head; i += rans::group) {
      std::uint32_t rest = 0;
      if (works && has_rests) rest = rests[i / 2] | std::uint32_t{rests[i / 2 + 1]} << 16U;
      // A stream that is not there is one of zeros, whose symbols nobody takes.
      const std::uint32_t symbols = streams ? 0xffffffffU : 0U;
      const FourValues values{(decoder.whole_group(own) & symbols) + exponent, rest};
      decoder.turn_window();
      if (works) out[i / 4] = values.joined();
    }
    if (!works) return true;
    return is_lone ? bytes == 0 : streams && decoder.ended();
  }
};

/// Of a head, in the memory of its team.
struct HeadCounts {
  union {
    std::uint32_t counts[rans::symbols];
    rans::Code codes[rans::symbols];  ///< when counts have become frequencies
  };
  std::uint16_t frequencies[rans::symbols];
  std::int64_t table_bytes;
  std::int64_t stream_bytes;
};

template <class ExecutionSpace>
struct EncodeLossless {
  using Policy = LosslessPolicy<ExecutionSpace, 8>;
  using Team = typename Policy::member_type;
  codec::Task* tasks;
  static constexpr int reads_together = 4;  ///< of a thread, on their way from memory
  static constexpr std::int64_t team_bytes =
      heads_together * (sizeof(HeadCounts) + sizeof(WordWindow)) + alignof(WordWindow);

  KOKKOS_FUNCTION void operator()(const Team& team) const {
    codec::Task& task = tasks[team.league_rank()];
    auto* heads = static_cast<HeadCounts*>(
        team.team_scratch(0).get_shmem_aligned(heads_together * sizeof(HeadCounts), alignof(HeadCounts)));
    auto* windows = static_cast<WordWindow*>(
        team.team_scratch(0).get_shmem_aligned(heads_together * sizeof(WordWindow), alignof(WordWindow)));
    const std::int64_t written = encode(team, heads, windows, task);
    Kokkos::single(Kokkos::PerTeam(team), [&]() { task.bytes = written; });
  }

 private:
  KOKKOS_INLINE_FUNCTION std::int64_t encode(const Team& team, HeadCounts* heads, WordWindow* windows,
                                             const codec::Task& task) const {
    const codec::LosslessLayout layout(task.subblock);
    std::int64_t table_at = layout.tables_at();
    for (std::int64_t first = 0; first < layout.heads; first += heads_together) {
      const std::int64_t together = layout.heads - first < heads_together ? layout.heads - first : heads_together;
      const std::int64_t in_team = team.team_rank() / group_lanes;
      make_table(team, task, layout, first + in_team, heads[in_team]);
      team.team_barrier();
      std::int64_t own_at = table_at;
      for (std::int64_t h = 0; h < in_team && h < together; ++h) own_at += heads[h].table_bytes;
      encode_head(team, task, layout, first + in_team, heads[in_team], windows[in_team], task.coded + own_at);
      for (std::int64_t h = 0; h < together; ++h) table_at += heads[h].table_bytes;
      team.team_barrier();
    }
    return close(team, task, layout, table_at);
  }

  static KOKKOS_INLINE_FUNCTION const std::uint64_t* values_of(const codec::Task& task,
                                                               const codec::LosslessLayout& layout, std::int64_t head,
                                                               const Lane& lane) {
    return reinterpret_cast<const std::uint64_t*>(task.values) + head * layout.per_head / 4 + lane.number;
  }

  KOKKOS_INLINE_FUNCTION void make_table(const Team& team, const codec::Task& task, const codec::LosslessLayout& layout,
                                         std::int64_t head, HeadCounts& own) const {
    const Lane lane(team.team_rank());
    const bool works = head < layout.heads;
    for (int s = lane.number; s < rans::symbols; s += group_lanes) own.counts[s] = 0;
    sync_warp();
    const std::uint64_t* from = values_of(task, layout, works ? head : 0, lane);
    const std::int64_t groups = works ? layout.per_head / rans::group : 0;
    for (std::int64_t first = 0; first < groups; first += reads_together) {
      std::uint64_t some[reads_together];
      SEQKV_UNROLL for (int j = 0; j < reads_together; ++j) {
        some[j] = first + j < groups ? from[(first + j) * group_lanes] : 0;
      }
      SEQKV_UNROLL for (int j = 0; j < reads_together; ++j) {
        if (first + j >= groups) continue;
        const std::uint32_t exponents = FourValues::of(some[j]).exponents;
        SEQKV_UNROLL for (unsigned i = 0; i < 4; ++i) {
          Kokkos::atomic_add(&own.counts[exponents >> (8 * i) & 0xffU], 1U);
        }
      }
    }
    sync_warp();
    if (!works || lane.number != 0) return;
    rans::normalize(own.counts, own.frequencies);
    rans::fill_codes(own.frequencies, own.codes);
    int first = 0;
    int last = rans::symbols - 1;
    while (own.frequencies[first] == 0) ++first;
    while (own.frequencies[last] == 0) --last;
    const int count = last - first + 1;
    own.table_bytes = count == 1 ? 2 : 2 + (count * std::int64_t{rans::probability_bits} + 7) / 8;
  }

  /// The table to its place, the stream to the end of its room.
  KOKKOS_INLINE_FUNCTION void encode_head(const Team& team, const codec::Task& task,
                                          const codec::LosslessLayout& layout, std::int64_t head, HeadCounts& own,
                                          WordWindow& window, std::byte* table) const {
    const bool works = head < layout.heads;
    std::byte* const end = task.coded + layout.end_of_room(works ? head : 0);
    BlockEncoder encoder(team.team_rank(), window, end, nullptr);
    const Lane& lane = encoder.lane;
    if (works && lane.number == 0) codec::write_table(own.frequencies, 0, table);
    const bool streams = works && own.table_bytes > 2;
    const std::uint64_t* from = values_of(task, layout, works ? head : 0, lane);
    const std::int64_t groups = layout.per_head / rans::group;
    const CodesAsGiven codes{own.codes};
    const auto load = [&](std::int64_t g) { return g >= 0 ? from[g * group_lanes] : 0; };
    std::uint64_t values = load(groups - 1);
    std::uint64_t before = load(groups - 2);
    for (std::int64_t g = groups - 1; g >= 0; --g) {
      const SymbolGroup group(FourValues::of(values).exponents, codes, rans::symbols);
      values = before;
      before = load(g - 2);
      encoder.add_whole(group, streams);
    }
    encoder.finish(streams);
    if (!works || lane.number != 0) return;
    const std::int64_t bytes = streams ? end - encoder.begin() : 0;
    codec::store_u32(task.coded + codec::LosslessLayout::size_at(head), static_cast<std::uint32_t>(bytes));
  }

  /// Moves streams to their places, one after the other, and writes the plane.
  KOKKOS_INLINE_FUNCTION std::int64_t close(const Team& team, const codec::Task& task,
                                            const codec::LosslessLayout& layout, std::int64_t at) const {
    if (at % 2 != 0) {
      Kokkos::single(Kokkos::PerTeam(team), [&]() { task.coded[at] = std::byte{0}; });
      ++at;
    }
    const auto sync = [&] { team.team_barrier(); };
    const WordMover<decltype(sync)> mover{team.team_rank(), lossless_team, sync};
    for (std::int64_t head = 0; head < layout.heads; ++head) {
      const std::int64_t bytes = codec::load_u32(task.coded + codec::LosslessLayout::size_at(head));
      mover.move(reinterpret_cast<std::uint16_t*>(task.coded + at),
                 reinterpret_cast<const std::uint16_t*>(task.coded + layout.end_of_room(head) - bytes), bytes / 2,
                 mover.of_rounds(bytes / 2));
      at += bytes;
    }
    const std::int64_t total = task.subblock.values();
    std::uint32_t any = write_rests(team, task, reinterpret_cast<std::uint16_t*>(task.coded + at));
    team.team_reduce(Kokkos::BOr<std::uint32_t>(any));
    Kokkos::single(Kokkos::PerTeam(team), [&]() { codec::store_u32(task.coded, any != 0 ? 1U : 0U); });
    return any != 0 ? at + total : at;
  }

  /// Returns bits of what this thread has written.
  static KOKKOS_INLINE_FUNCTION std::uint32_t write_rests(const Team& team, const codec::Task& task,
                                                          std::uint16_t* plane) {
    const auto* from = reinterpret_cast<const std::uint64_t*>(task.values);
    const std::int64_t count = task.subblock.values() / 4;
    std::uint32_t any = 0;
    for (std::int64_t first = team.team_rank(); first < count; first += reads_together * lossless_team) {
      std::uint64_t some[reads_together];
      SEQKV_UNROLL for (int j = 0; j < reads_together; ++j) {
        const std::int64_t i = first + j * lossless_team;
        some[j] = i < count ? from[i] : 0;
      }
      SEQKV_UNROLL for (int j = 0; j < reads_together; ++j) {
        const std::int64_t i = first + j * lossless_team;
        if (i >= count) continue;
        const std::uint32_t rests = FourValues::of(some[j]).rests;
        plane[2 * i] = static_cast<std::uint16_t>(rests & 0xffffU);
        plane[2 * i + 1] = static_cast<std::uint16_t>(rests >> 16U);
        any |= rests;
      }
    }
    return any;
  }
};

/// False, having done nothing, where the portable kernel must do the work.
template <bool Decodes, class ExecutionSpace>
bool run_tasks(const ExecutionSpace& space, const kokkos::Lossless&, const codec::Subblock&,
               const Mirrored<ExecutionSpace, codec::Task>& list, std::int64_t count) {
  using Kernel = std::conditional_t<Decodes, DecodeLossless<ExecutionSpace>, EncodeLossless<ExecutionSpace>>;
  if (!std::all_of(list.host(), list.host() + count, fits_lossless)) return false;
  typename Kernel::Policy policy(space, static_cast<int>(count), lossless_team);
  policy.set_scratch_size(0, Kokkos::PerTeam(static_cast<int>(Kernel::team_bytes + 64)));
  Kokkos::parallel_for(Decodes ? "seqkv::codec::decode" : "seqkv::codec::encode", policy, Kernel{list.device()});
  return true;
}

}  // namespace seqkv::gpu
