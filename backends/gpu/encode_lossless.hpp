// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Encoding the exact codec of bf16 on a GPU. The same bytes as the portable kernel (backends/kokkos/lossless.hpp).
#pragma once

#include <Kokkos_Core.hpp>

#include "backends/gpu/block_encoder.hpp"
#include "backends/gpu/lossless_values.hpp"
#include "backends/gpu/team_memory.hpp"
#include "backends/kokkos/lossless.hpp"

namespace seqkv::gpu {

/// Of a head, in the memory of its team.
struct HeadCounts {
  union {
    std::uint32_t counts[rans::symbols];
    rans::Code codes[rans::symbols];  ///< when counts have become frequencies
  };
  std::uint16_t frequencies[rans::symbols];
  std::int64_t table_bytes;
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
    auto* heads = team_array<HeadCounts>(team, heads_together);
    auto* windows = team_array<WordWindow>(team, heads_together);
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

}  // namespace seqkv::gpu
