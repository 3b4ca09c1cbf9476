// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Decoding batches of symbol blocks on a GPU. The same results as the portable kernel (backends/kokkos/symbols.hpp).
#pragma once

#include <Kokkos_Core.hpp>

#include "backends/gpu/symbol_group.hpp"

namespace seqkv::gpu {

/// The 8 threads unpack side by side.
KOKKOS_INLINE_FUNCTION void unpack_planes(const std::byte* in, std::int64_t count, int bits, std::uint8_t* numbers,
                                          const Lane& lane) {
  const std::int64_t bytes = codec::plane_bytes(count);
  for (std::int64_t j = lane.number; j < bytes; j += group_lanes) {
    std::uint64_t eight = 0;
    for (int b = 0; b < bits; ++b) {
      eight |= static_cast<std::uint64_t>(in[b * bytes + j]) << static_cast<unsigned>(8 * b);
    }
    eight = codec::transpose_bits(eight);
    for (std::int64_t i = 8 * j; i < count && i < 8 * j + 8; ++i, eight >>= 8U) {
      numbers[i] = static_cast<std::uint8_t>(eight & 0xffU);
    }
  }
}

/// One block on its way, as one of its 8 threads sees it.
struct BlockDecoder {
  Lane lane;
  const std::uint16_t* words = nullptr;
  std::uint32_t next = 0;  ///< word
  std::uint32_t end = 0;
  std::uint32_t state = rans::lower_bound;
  bool short_of_words = false;

  explicit KOKKOS_INLINE_FUNCTION BlockDecoder(int thread) : lane(thread) {}

  KOKKOS_INLINE_FUNCTION void start(const std::byte* stream, std::int64_t bytes) {
    const auto* from = reinterpret_cast<const std::uint16_t*>(stream);
    state = from[2 * lane.number] | std::uint32_t{from[2 * lane.number + 1]} << 16U;
    words = from + rans::states_bytes / 2;
    end = static_cast<std::uint32_t>((bytes - rans::states_bytes) / 2);
  }

  /// One step: the symbol's slot. For words that are not there, zeros, and the stream is broken.
  template <bool Checked>
  KOKKOS_INLINE_FUNCTION rans::Slot step(const rans::Slot* slots, bool takes) {
    const rans::Slot slot = slots[state & (rans::total - 1)];
    std::uint32_t x =
        (slot >> rans::probability_bits & (rans::total - 1)) * (state >> rans::probability_bits) + (slot & 0xfffU);
    const bool needs = takes && x < rans::lower_bound;
    const WarpMask all = ballot(needs);
    if (needs) {
      const std::uint32_t at = next + static_cast<std::uint32_t>(lane.count_below(all));
      std::uint32_t word = 0;
      if (!Checked || at < end) {
        word = words[at];
      } else {
        short_of_words = true;
      }
      x = x << 16U | word;
    }
    next += static_cast<std::uint32_t>(lane.count_in_group(all));
    if (takes) state = x;
    return slot;
  }

  /// The four symbols of a lane, the first in the lowest byte.
  KOKKOS_INLINE_FUNCTION std::uint32_t whole_group(const rans::Slot* slots) {
    std::uint32_t symbols = 0;
    SEQKV_UNROLL for (int t = 0; t < rans::steps; ++t) {
      symbols |= step<false>(slots, true) >> 24U << static_cast<unsigned>(8 * t);
    }
    return symbols;
  }
  KOKKOS_INLINE_FUNCTION std::uint32_t some(const rans::Slot* slots, int count) {
    std::uint32_t symbols = 0;
    for (int t = 0; t < rans::steps; ++t) {
      symbols |= step<true>(slots, rans::steps * lane.number + t < count) >> 24U << static_cast<unsigned>(8 * t);
    }
    return symbols;
  }
};

/// The escapes of a block, in the order of symbols.
struct EscapeReader {
  const std::byte* bytes = nullptr;
  std::int64_t count = 0;
  std::int64_t used = 0;
  bool fits = true;

  /// Bit 7 of each of the lane's symbols that is `escape`; `count` of the group are symbols.
  static KOKKOS_INLINE_FUNCTION std::uint32_t find(std::uint32_t symbols, unsigned escape, const Lane& lane,
                                                   int count) {
    if (escape >= rans::symbols) return 0;
    std::uint32_t found = zero_bytes(symbols ^ escape * 0x01010101U);
    const int mine = count - rans::steps * lane.number;
    if (mine < rans::steps) found &= mine <= 0 ? 0U : (1U << static_cast<unsigned>(8 * mine)) - 1U;
    return found;
  }

  /// All lanes; adds to the symbols that are found.
  KOKKOS_INLINE_FUNCTION std::uint32_t add(std::uint32_t symbols, std::uint32_t found, unsigned escape,
                                           const Lane& lane) {
    const auto mine = static_cast<std::uint32_t>(count_bits(found));
    std::int64_t at = used + lane.sum_below(mine);
    for (unsigned t = 0; t < rans::steps; ++t) {
      if ((found >> (8 * t + 7) & 1U) == 0) continue;
      const unsigned more = at < count ? static_cast<unsigned>(bytes[at]) : rans::symbols;
      ++at;
      fits = fits && escape + more < rans::symbols;
      symbols = (symbols & ~(0xffU << (8 * t))) | ((escape + more) & 0xffU) << (8 * t);
    }
    used += lane.sum(mine);
    return symbols;
  }
};

/// `Shared`: tables of few enough slots are copied to the team's own memory first.
template <class ExecutionSpace, bool Shared>
struct DecodeSymbols {
  using Team = typename Kokkos::TeamPolicy<ExecutionSpace>::member_type;
  codec::SymbolTables tables;
  codec::SymbolBlock* blocks;
  std::int64_t count;

  KOKKOS_FUNCTION void operator()(const Team& team) const {
    const auto* slots = shared_copy<Shared>(team, tables.slots, tables.tables * std::int64_t{rans::total});
    const std::int64_t number = std::int64_t{team.league_rank()} * blocks_of_team + team.team_rank() / group_lanes;
    decode(team.team_rank(), slots, number < count ? blocks + number : nullptr);
  }

  /// All threads of a warp come here; those without a block go along.
  KOKKOS_FUNCTION void decode(int thread, const rans::Slot* slots, codec::SymbolBlock* of_team) const {
    BlockDecoder decoder(thread);
    const Lane& lane = decoder.lane;
    codec::SymbolBlock block{};
    codec::SymbolParts parts{};
    bool whole = false;
    bool streams = false;
    if (of_team != nullptr) {
      block = *of_team;
      if (!is_even(block.coded)) {  // nobody of this library does that
        if (lane.number == 0) codec::decode_block(tables, *of_team);
      } else {
        whole = codec::open_block(block, parts);
        streams = whole && !parts.is_packed;
        if (whole && parts.is_packed) {
          unpack_planes(parts.payload, block.count(), parts.argument, block.symbols, lane);
        } else if (streams) {
          whole = streams = parts.payload_bytes >= rans::states_bytes && parts.payload_bytes % 2 == 0;
          if (streams) decoder.start(parts.payload, parts.payload_bytes);
        }
      }
    }
    EscapeReader escapes{parts.escapes, parts.escape_count};
    decode_groups(decoder, escapes, slots, block, parts.argument, streams);
    const bool ended = decoder.state == rans::lower_bound && decoder.next == decoder.end && !decoder.short_of_words &&
                       escapes.fits && escapes.used == escapes.count;
    const bool good = lane.whole_group(!streams || ended);
    if (of_team != nullptr && is_even(block.coded) && lane.number == 0 && !(whole && good)) of_team->bytes = -1;
  }

  KOKKOS_INLINE_FUNCTION void decode_groups(BlockDecoder& decoder, EscapeReader& escapes, const rans::Slot* slots,
                                            const codec::SymbolBlock& block, int choice, bool streams) const {
    constexpr std::uint32_t most_words = rans::group;
    const Lane lane = decoder.lane;
    const std::int64_t of_run = GroupPlace::groups_of_run(block);
    const auto mine = static_cast<std::uint32_t>(streams ? block.runs * of_run : 0);
    const std::uint32_t most = largest_of_warp(mine);
    const bool by_words = takes_words(block);
    GroupPlace place;
    std::int64_t table = 0;
    unsigned escape = rans::symbols;
    const auto enter_run = [&]() {
      if (place.run >= block.runs || !streams) return;
      table = block.table_of(tables, place.run, choice);
      escape = tables.escape(table);
    };
    enter_run();
    for (std::uint32_t g = 0; g < most; ++g) {
      const int here = g < mine ? place.count(block) : 0;
      const bool plain =
          here == rans::group && by_words && decoder.end - decoder.next >= most_words && decoder.next <= decoder.end;
      const bool all_plain = !any_of_warp(!plain);
      const rans::Slot* of_table = slots + table * rans::total;
      std::uint32_t symbols = all_plain ? decoder.whole_group(of_table) : decoder.some(of_table, here);
      const std::uint32_t found = EscapeReader::find(symbols, escape, lane, here);
      if (any_of_warp(found != 0)) symbols = escapes.add(symbols, found, escape, lane);
      if (plain) {
        *reinterpret_cast<std::uint32_t*>(place.at(block, lane)) = symbols;
      } else {
        for (int t = 0; t < rans::steps && rans::steps * lane.number + t < here; ++t) {
          place.at(block, lane)[t] = static_cast<std::uint8_t>(symbols >> static_cast<unsigned>(8 * t) & 0xffU);
        }
      }
      if (++place.in_run == of_run) {
        place.in_run = 0;
        ++place.run;
        enter_run();
      }
    }
  }
};

/// Tables, blocks and all that they point to are in memory of `space`. Asynchronous.
template <class ExecutionSpace>
void decode_symbols(const ExecutionSpace& space, const codec::SymbolTables& tables, codec::SymbolBlock* blocks,
                    std::int64_t count) {
  constexpr int most_shared_tables = 2;
  auto policy = symbols_policy(space, count);
  if (tables.tables <= most_shared_tables) {
    policy.set_scratch_size(0,
                            Kokkos::PerTeam(static_cast<int>(tables.tables * rans::total * sizeof(rans::Slot)) + 16));
    Kokkos::parallel_for("seqkv::codec::decode_symbols", policy,
                         DecodeSymbols<ExecutionSpace, true>{tables, blocks, count});
  } else {
    Kokkos::parallel_for("seqkv::codec::decode_symbols", policy,
                         DecodeSymbols<ExecutionSpace, false>{tables, blocks, count});
  }
}

}  // namespace seqkv::gpu
