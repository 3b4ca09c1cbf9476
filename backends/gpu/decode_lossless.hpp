// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Decoding the exact codec of bf16 on a GPU. The same bits as the portable kernel (backends/kokkos/lossless.hpp).
#pragma once

#include <Kokkos_Core.hpp>

#include "backends/gpu/lossless_values.hpp"
#include "backends/gpu/stream_decoder.hpp"
#include "backends/gpu/team_memory.hpp"
#include "backends/kokkos/lossless.hpp"

namespace seqkv::gpu {

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

template <class ExecutionSpace>
struct DecodeLossless {
  using Policy = LosslessPolicy<ExecutionSpace, 16>;
  using Team = typename Policy::member_type;
  codec::Task* tasks;
  static constexpr std::int64_t team_bytes =
      heads_together * (sizeof(HeadTable) + sizeof(WordWindow)) + alignof(WordWindow);

  KOKKOS_FUNCTION void operator()(const Team& team) const {
    codec::Task& task = tasks[team.league_rank()];
    auto* tables = team_array<HeadTable>(team, heads_together);
    auto* windows = team_array<WordWindow>(team, heads_together);
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
    const int in_team = team.team_rank() / group_lanes;
    HeadTable& own = tables[in_team];
    const std::int64_t head = first + in_team;
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
    StreamDecoder decoder(lane, windows[in_team], streams ? stream : nullptr, bytes);
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

}  // namespace seqkv::gpu
