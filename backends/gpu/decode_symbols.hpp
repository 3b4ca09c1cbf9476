// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Decoding batches of symbol blocks on a GPU. The same results as the portable kernel (backends/kokkos/symbols.hpp).
#pragma once

#include <Kokkos_Core.hpp>

#include "backends/gpu/stream_decoder.hpp"
#include "backends/gpu/symbol_group.hpp"
#include "backends/gpu/team_memory.hpp"

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

/// The escapes of a block, in the order of symbols.
struct EscapeReader {
  const std::byte* bytes = nullptr;
  std::int64_t count = 0;
  std::int64_t used = 0;
  bool fits = true;

  /// What says of four symbols, soon, whether one of them is the escape.
  struct Pattern {
    std::uint32_t escapes;
    std::uint32_t highest_bits;  ///< none where there is no escape
    explicit KOKKOS_INLINE_FUNCTION Pattern(unsigned escape)
        : escapes(escape * 0x01010101U), highest_bits(escape < rans::symbols ? 0x80808080U : 0U) {}
    KOKKOS_INLINE_FUNCTION bool is_in(std::uint32_t symbols) const {
      const std::uint32_t differ = symbols ^ escapes;
      return ((differ - 0x01010101U) & ~differ & highest_bits) != 0;
    }
  };

  /// Bit 7 of each of the lane's symbols that is `escape`; `count` of the group are symbols.
  static KOKKOS_INLINE_FUNCTION std::uint32_t find(std::uint32_t symbols, unsigned escape, const Lane& lane,
                                                   int count) {
    const int mine = count - rans::steps * lane.number;
    const std::uint32_t found = escape >= rans::symbols ? 0U : zero_bytes(symbols ^ escape * 0x01010101U);
    return mine >= rans::steps ? found : mine <= 0 ? 0U : found & ((1U << static_cast<unsigned>(8 * mine)) - 1U);
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

/// Where tables are read from: the memory of the device, or, in another form, that of the team.
enum class TablesAre { as_given, turned, searched };

template <class ExecutionSpace, TablesAre How>
struct DecodeSymbols {
  using Team = SymbolsTeam<ExecutionSpace>;
  codec::SymbolTables tables;
  codec::SymbolBlock* blocks;
  std::int64_t count;

  KOKKOS_FUNCTION void operator()(const Team& team) const {
    auto* in_team_memory = make_tables(team);
    auto* windows = team_array<WordWindow>(team, blocks_of(team));
    const std::int64_t in_team = team.team_rank() / group_lanes;
    const std::int64_t number = std::int64_t{team.league_rank()} * blocks_of(team) + in_team;
    decode(team.team_rank(), in_team_memory, windows[in_team], number < count ? blocks + number : nullptr);
  }

  /// All threads of a warp come here; those without a block go along.
  KOKKOS_INLINE_FUNCTION void decode(int thread, void* own, WordWindow& window, codec::SymbolBlock* of_team) const {
    const Lane lane(thread);
    codec::SymbolBlock block{};
    codec::SymbolParts parts{};
    bool whole = false;
    bool streams = false;
    if (of_team != nullptr) {
      block = *of_team;
      whole = codec::open_block(block, parts);
      if (whole && parts.is_packed) {
        unpack_planes(parts.payload, block.count(), parts.argument, block.symbols, lane);
      } else if (whole) {
        whole = streams = parts.payload_bytes >= rans::states_bytes && parts.payload_bytes % 2 == 0;
      }
    }
    StreamDecoder decoder(lane, window, streams ? parts.payload : nullptr, parts.payload_bytes);
    EscapeReader escapes{parts.escapes, parts.escape_count};
    switch (compare_blocks(block, streams)) {
      case WarpBlocks::same:
        decode_whole_groups<true>(decoder, escapes, own, block, parts.argument, streams);
        break;
      case WarpBlocks::whole:
        decode_whole_groups<false>(decoder, escapes, own, block, parts.argument, streams);
        break;
      case WarpBlocks::unlike:
        decode_groups(decoder, escapes, own, block, parts.argument, streams);
    }
    const bool ended = decoder.ended() && escapes.fits && escapes.used == escapes.count;
    const bool good = lane.whole_group(!streams || ended);
    if (of_team != nullptr && lane.number == 0 && !(whole && good)) of_team->bytes = -1;
  }

 private:
  /// All threads of the team.
  KOKKOS_INLINE_FUNCTION void* make_tables(const Team& team) const {
    if constexpr (How == TablesAre::turned) {
      auto* turned = team_array<std::uint32_t>(team, rans::total);
      for (std::uint32_t i = team.team_rank(); i < rans::total; i += team.team_size()) {
        turned[i] = TurnedTable::turned(tables.slots[i]);
      }
      team.team_barrier();
      return turned;
    } else if constexpr (How == TablesAre::searched) {
      auto* searched = team_array<SearchTable>(team, tables.tables);
      for (std::int64_t t = 0; t < tables.tables; ++t) {
        for (std::uint32_t s = team.team_rank(); s <= rans::symbols; s += team.team_size()) {
          searched[t].starts[s] = s < tables.alphabets[t] ? tables.codes[t * rans::symbols + s].start : rans::total;
        }
        for (std::uint32_t i = team.team_rank(); i < rans::total / SearchTable::marked; i += team.team_size()) {
          const rans::Slot slot = tables.slots[t * rans::total + i * SearchTable::marked];
          const std::uint32_t frequency = slot >> rans::probability_bits & (rans::total - 1);
          searched[t].marks[i] = SearchTable::mark(slot >> 24U, frequency - (slot & (rans::total - 1)));
        }
      }
      team.team_barrier();
      return searched;
    } else {
      return nullptr;
    }
  }

  KOKKOS_INLINE_FUNCTION decltype(auto) table_at(void* own, std::int64_t table) const {
    if constexpr (How == TablesAre::turned) {
      return TurnedTable{TeamMemory(own)};
    } else if constexpr (How == TablesAre::searched) {
      return static_cast<const SearchTable*>(own)[table];
    } else {
      return WideTable{tables.slots + table * rans::total};
    }
  }

  /// All blocks of the warp have runs of the same size, of whole groups; if `Same`, also as many.
  template <bool Same>
  KOKKOS_INLINE_FUNCTION void decode_whole_groups(StreamDecoder& decoder, EscapeReader& escapes, void* own,
                                                  const codec::SymbolBlock& block, int choice, bool streams) const {
    const auto groups = largest_of_warp(static_cast<std::uint32_t>(streams ? block.run_symbols / rans::group : 0));
    const auto runs = static_cast<std::uint32_t>(streams ? block.runs : 0);
    const std::uint32_t most = Same ? runs : largest_of_warp(runs);
    auto* out = reinterpret_cast<std::uint32_t*>(block.symbols) + decoder.lane.number;
    RunTables run_tables(tables, block, choice, runs, false, decoder.lane);
    const RunTables::Table only{0, tables.escape(0)};
    for (std::uint32_t run = 0; run < most; ++run) {
      const RunTables::Table table = How == TablesAre::turned ? only : run_tables.at(run);
      const auto& of_table = table_at(own, table.number);
      const EscapeReader::Pattern pattern(table.escape);
      const bool takes = Same || run < runs;
      for (std::uint32_t g = 0; g < groups; ++g, out += group_lanes) {
        std::uint32_t symbols = decoder.whole_group(of_table, takes);
        const bool has_escapes = takes && pattern.is_in(symbols);
        if (any_of_warp(has_escapes || decoder.is_behind_window())) {
          decoder.turn_window();
          if (any_of_warp(has_escapes)) {
            const int there = takes ? rans::group : 0;
            const std::uint32_t found = EscapeReader::find(symbols, table.escape, decoder.lane, there);
            symbols = escapes.add(symbols, found, table.escape, decoder.lane);
          }
        }
        if (takes) *out = symbols;
      }
    }
  }

  /// Blocks of any layout, or none.
  KOKKOS_INLINE_FUNCTION void decode_groups(StreamDecoder& decoder, EscapeReader& escapes, void* own,
                                            const codec::SymbolBlock& block, int choice, bool streams) const {
    const Lane& lane = decoder.lane;
    const std::int64_t of_run = GroupPlace::groups_of_run(block);
    const auto mine = static_cast<std::uint32_t>(streams ? block.runs * of_run : 0);
    const std::uint32_t most = largest_of_warp(mine);
    GroupPlace place;
    std::int64_t table = 0;
    unsigned escape = rans::symbols;
    for (std::uint32_t g = 0; g < most; ++g) {
      const int here = g < mine ? place.count(block) : 0;
      if (here > 0 && place.in_run == 0) {
        table = block.table_of(tables, place.run, choice);
        escape = tables.escape(table);
      }
      std::uint32_t symbols = decoder.some(table_at(own, table), here);
      const std::uint32_t found = EscapeReader::find(symbols, escape, lane, here);
      if (any_of_warp(found != 0)) symbols = escapes.add(symbols, found, escape, lane);
      for (int t = 0; t < rans::steps && rans::steps * lane.number + t < here; ++t) {
        place.at(block, lane)[t] = static_cast<std::uint8_t>(symbols >> static_cast<unsigned>(8 * t) & 0xffU);
      }
      if (++place.in_run == of_run) place = {place.run + 1, 0};
    }
  }
};

/// Tables, blocks and all that they point to are in memory of `space`; coded bytes at even addresses. Asynchronous.
template <class ExecutionSpace>
void decode_symbols(const ExecutionSpace& space, const codec::SymbolTables& tables, codec::SymbolBlock* blocks,
                    std::int64_t count) {
  constexpr std::int64_t of_block = sizeof(WordWindow);
  constexpr std::int64_t of_team = alignof(WordWindow);
  constexpr std::int64_t turned = rans::total * sizeof(rans::Slot);
  constexpr std::int64_t most_searched = 39 << 10;  // a team's memory, less windows
  const std::int64_t searched = tables.tables * static_cast<std::int64_t>(sizeof(SearchTable));
  const auto run = [&](auto kernel, std::int64_t table_bytes) {
    Kokkos::parallel_for("seqkv::codec::decode_symbols", symbols_policy(space, count, of_team + table_bytes, of_block),
                         kernel);
  };
  if (tables.tables == 1) return run(DecodeSymbols<ExecutionSpace, TablesAre::turned>{tables, blocks, count}, turned);
  if (searched > most_searched) {
    return run(DecodeSymbols<ExecutionSpace, TablesAre::as_given>{tables, blocks, count}, 0);
  }
  run(DecodeSymbols<ExecutionSpace, TablesAre::searched>{tables, blocks, count}, searched);
}

}  // namespace seqkv::gpu
