// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Encoding batches of symbol blocks on a GPU. The same bytes as the portable kernel (backends/kokkos/symbols.hpp).
#pragma once

#include <Kokkos_Core.hpp>
#include <type_traits>

#include "backends/gpu/block_encoder.hpp"
#include "backends/gpu/choose_tables.hpp"
#include "backends/gpu/symbol_group.hpp"
#include "backends/gpu/team_memory.hpp"

namespace seqkv::gpu {

/// The 8 threads pack side by side.
KOKKOS_INLINE_FUNCTION void pack_planes(const std::uint8_t* numbers, std::int64_t count, int bits, std::byte* out,
                                        const Lane& lane) {
  const std::int64_t bytes = codec::plane_bytes(count);
  for (std::int64_t j = lane.number; j < bytes; j += group_lanes) {
    std::uint64_t eight = 0;
    for (std::int64_t i = 8 * j; i < count && i < 8 * j + 8; ++i) {
      eight |= std::uint64_t{numbers[i]} << static_cast<unsigned>(8 * (i - 8 * j));
    }
    eight = codec::transpose_bits(eight);
    for (int b = 0; b < bits; ++b) {
      out[b * bytes + j] = static_cast<std::byte>(eight >> static_cast<unsigned>(8 * b) & 0xffU);
    }
  }
}

template <class ExecutionSpace, bool Shared>
struct EncodeSymbols {
  using Team = SymbolsTeam<ExecutionSpace>;
  codec::SymbolTables tables;
  codec::SymbolBlock* blocks;
  std::int64_t count;
  bool is_chosen;  ///< by choose_tables()

  using Codes = std::conditional_t<Shared, WideCodes, CodesAsGiven>;

  KOKKOS_FUNCTION void operator()(const Team& team) const {
    const Codes codes = codes_for(team);
    auto* windows = team_array<WordWindow>(team, blocks_of(team));
    const std::int64_t in_team = team.team_rank() / group_lanes;
    const std::int64_t number = std::int64_t{team.league_rank()} * blocks_of(team) + in_team;
    encode(team.team_rank(), codes, windows[in_team], number < count ? blocks + number : nullptr);
  }

  /// All threads of a warp come here; those without a block go along.
  KOKKOS_INLINE_FUNCTION void encode(int thread, const Codes& codes, WordWindow& window,
                                     codec::SymbolBlock* of_team) const {
    codec::SymbolBlock block{};
    const bool works = of_team != nullptr;
    if (works) block = *of_team;
    const int choice = works && is_chosen ? static_cast<int>(block.bytes) : 0;
    std::byte* end = works ? codec::end_of_stream(block) : nullptr;
    if (!is_even(end)) --end;
    std::byte* const end_of_escapes = works ? end_of_escapes_of(block) : nullptr;
    BlockEncoder encoder(thread, window, end, end_of_escapes);
    const Lane& lane = encoder.lane;
    switch (compare_blocks(block, works)) {
      case WarpBlocks::same:
        encode_whole_groups<true>(encoder, codes, block, choice, works);
        break;
      case WarpBlocks::whole:
        encode_whole_groups<false>(encoder, codes, block, choice, works);
        break;
      case WarpBlocks::unlike:
        encode_groups(encoder, codes, block, choice, works);
    }
    encoder.finish(works);
    const Parts parts{encoder.begin(), end - encoder.begin(), encoder.escapes, end_of_escapes - encoder.escapes,
                      bits_of(lane.bits_of_any(encoder.seen))};
    sync_warp();
    close(lane, block, choice, parts, works);
    if (works && lane.number == 0) of_team->bytes = block.bytes;
  }

 private:
  /// All threads of the team.
  KOKKOS_INLINE_FUNCTION Codes codes_for(const Team& team) const {
    if constexpr (Shared) {
      const std::int64_t all = tables.tables * std::int64_t{rans::symbols};
      auto* wide = team_array<WideCode>(team, all);
      for (std::int64_t i = team.team_rank(); i < all; i += team.team_size()) wide[i] = WideCode(tables.codes[i]);
      team.team_barrier();
      return {TeamMemory(wide)};
    } else {
      return {tables.codes};
    }
  }

  /// What an encoder has left in the room of its block.
  struct Parts {
    const std::byte* stream;
    std::int64_t stream_bytes;
    const std::byte* escapes;
    std::int64_t escape_count;
    int bits;  ///< of the largest symbol
  };

  /// Where escapes end before they are moved. A symbol takes at most 12 bits, so that the stream, which ends with the
  /// room, begins behind that for all blocks that are not packed; and where the parts go is in front of where they are.
  static KOKKOS_INLINE_FUNCTION std::byte* end_of_escapes_of(const codec::SymbolBlock& block) {
    constexpr std::int64_t apart = 8;
    return block.coded + codec::SymbolBlock::head_bytes + codec::SymbolBlock::escape_count_bytes + block.count() +
           apart;
  }

  /// Of the largest of four bytes.
  static KOKKOS_INLINE_FUNCTION int bits_of(std::uint32_t four) {
    four |= four >> 16U;
    four |= four >> 8U;
    int bits = 0;
    while ((four & 0xffU) >> static_cast<unsigned>(bits) != 0) ++bits;
    return bits;
  }

  /// The lane's symbols of a group, 0 behind its end.
  static KOKKOS_INLINE_FUNCTION std::uint32_t load(const codec::SymbolBlock& block, const GroupPlace& place,
                                                   const Lane& lane, int count) {
    const std::uint8_t* from = place.at(block, lane);
    std::uint32_t symbols = 0;
    for (int t = 0; t < rans::steps && rans::steps * lane.number + t < count; ++t) {
      symbols |= std::uint32_t{from[t]} << static_cast<unsigned>(8 * t);
    }
    return symbols;
  }

  /// All blocks of the warp have runs of the same size, of whole groups; if `Same`, also as many. Symbols are read two
  /// groups ahead.
  template <bool Same>
  KOKKOS_INLINE_FUNCTION void encode_whole_groups(BlockEncoder& encoder, const Codes& codes,
                                                  const codec::SymbolBlock& block, int choice, bool works) const {
    const auto of_run = largest_of_warp(static_cast<std::uint32_t>(works ? block.run_symbols / rans::group : 0));
    const std::uint32_t mine = of_run * static_cast<std::uint32_t>(works ? block.runs : 0);
    const std::uint32_t most = Same ? mine : largest_of_warp(mine);
    RunTables run_tables(tables, block, choice, static_cast<std::uint32_t>(works ? block.runs : 0), true, encoder.lane);
    // The lane's symbols of the group that is read, and how many are left with it.
    const auto* at =
        reinterpret_cast<const std::uint32_t*>(block.symbols) + std::int64_t{mine} * group_lanes + encoder.lane.number;
    std::uint32_t left = mine;
    const auto load = [&]() {
      if (left == 0) return 0U;
      --left;
      at -= group_lanes;
      return *at;
    };
    std::uint32_t symbols = load();
    std::uint32_t later = load();
    RunTables::Table table{0, 0};
    std::uint32_t run = 0;
    std::uint32_t in_run = 0;
    const auto next_group = [&]() {
      if (in_run == 0) table = run_tables.at(run++);
      if (++in_run == of_run) in_run = 0;
      const SymbolGroup group(symbols, codes.from(table.number * rans::symbols), table.escape);
      symbols = later;
      later = load();
      return group;
    };
    if constexpr (Shared) {
      for (std::uint32_t turn = 0; turn < most; ++turn) encoder.add_whole(next_group(), Same || turn < mine);
    } else {
      // Codes that are far away are read a group ahead, too.
      SymbolGroup ahead = next_group();
      for (std::uint32_t turn = 0; turn < most; ++turn) {
        const SymbolGroup group = ahead;
        ahead = next_group();
        encoder.add_whole(group, Same || turn < mine);
      }
    }
  }

  /// Blocks of any layout, or none.
  KOKKOS_INLINE_FUNCTION void encode_groups(BlockEncoder& encoder, const Codes& codes, const codec::SymbolBlock& block,
                                            int choice, bool works) const {
    const std::int64_t of_run = GroupPlace::groups_of_run(block);
    const auto mine = static_cast<std::uint32_t>(works ? block.runs * of_run : 0);
    const std::uint32_t most = largest_of_warp(mine);
    GroupPlace place{block.runs - 1, of_run - 1};
    std::int64_t table = 0;
    unsigned escape = rans::symbols;
    for (std::uint32_t g = 0; g < most; ++g) {
      const int here = g < mine ? place.count(block) : 0;
      if (here > 0 && place.in_run == of_run - 1) {
        table = block.table_of(tables, place.run, choice);
        escape = tables.escape(table);
      }
      const std::uint32_t symbols = here > 0 ? load(block, place, encoder.lane, here) : 0U;
      encoder.add_some(SymbolGroup(symbols, codes.from(static_cast<std::uint32_t>(table * rans::symbols)), escape),
                       here);
      if (place.in_run-- == 0) place = {place.run - 1, of_run - 1};
    }
  }

  /// codec::close_block by 8 threads.
  KOKKOS_INLINE_FUNCTION void close(const Lane& lane, codec::SymbolBlock& block, int choice, const Parts& parts,
                                    bool works) const {
    const std::int64_t packed = works ? codec::packed_bytes(parts.bits, block.count()) : 0;
    const bool is_packed = packed <= parts.stream_bytes + parts.escape_count;
    const bool has_escapes = parts.escape_count > 0;
    const bool streams = works && !is_packed;
    std::byte* at = block.coded + codec::SymbolBlock::head_bytes;
    std::byte* const stream = at + (has_escapes ? codec::SymbolBlock::escape_count_bytes : 0);
    const auto sync = [] { sync_warp(); };
    const WordMover<decltype(sync)> mover{lane.number, group_lanes, sync};
    const std::int64_t words = streams ? parts.stream_bytes / 2 : 0;
    mover.move(reinterpret_cast<std::uint16_t*>(stream), reinterpret_cast<const std::uint16_t*>(parts.stream), words,
               largest_of_warp(mover.of_rounds(words)));
    move_bytes(lane, stream + parts.stream_bytes, parts.escapes, streams ? parts.escape_count : 0);
    if (streams) {
      block.bytes = stream + parts.stream_bytes + parts.escape_count - block.coded;
    } else if (works) {
      pack_planes(block.symbols, block.count(), parts.bits, at, lane);
      block.bytes = codec::SymbolBlock::head_bytes + packed;
    }
    if (!works || lane.number != 0) return;
    block.coded[0] = static_cast<std::byte>(
        is_packed ? 0U : codec::block_kind::rans | (has_escapes ? codec::block_kind::escapes : 0U));
    block.coded[1] = static_cast<std::byte>(is_packed ? parts.bits : choice);
    if (is_packed || !has_escapes) return;
    rans::store16(at, static_cast<std::uint32_t>(parts.escape_count) & 0xffffU);
    rans::store16(at + 2, static_cast<std::uint32_t>(parts.escape_count) >> 16U);
  }

  /// Toward the front, some a thread at a time.
  static KOKKOS_INLINE_FUNCTION void move_bytes(const Lane& lane, std::byte* to, const std::byte* from,
                                                std::int64_t count) {
    constexpr int together = 8;
    const auto most = std::int64_t{largest_of_warp(static_cast<std::uint32_t>(count))};
    for (std::int64_t first = 0; first < most; first += together * group_lanes) {
      std::byte some[together];
      SEQKV_UNROLL for (int j = 0; j < together; ++j) {
        const std::int64_t i = first + j * group_lanes + lane.number;
        some[j] = i < count ? from[i] : std::byte{0};
      }
      sync_warp();
      SEQKV_UNROLL for (int j = 0; j < together; ++j) {
        const std::int64_t i = first + j * group_lanes + lane.number;
        if (i < count) to[i] = some[j];
      }
      sync_warp();
    }
  }
};

/// Tables, blocks and all that they point to are in memory of `space`; room for coded bytes at even addresses.
/// Asynchronous.
template <class ExecutionSpace>
void encode_symbols(const ExecutionSpace& space, const codec::SymbolTables& tables, codec::SymbolBlock* blocks,
                    std::int64_t count) {
  constexpr int most_shared_tables = 8;
  const std::int64_t table_bytes = tables.tables * std::int64_t{rans::symbols * sizeof(WideCode)};
  const bool are_chosen = tables.tables > 1;
  if (are_chosen) choose_tables(space, tables, blocks, count);
  const auto run = [&](auto kernel, std::int64_t of_team) {
    Kokkos::parallel_for("seqkv::codec::encode_symbols",
                         symbols_policy(space, count, of_team + std::int64_t{alignof(WordWindow)}, sizeof(WordWindow)),
                         kernel);
  };
  if (tables.tables <= most_shared_tables) {
    run(EncodeSymbols<ExecutionSpace, true>{tables, blocks, count, are_chosen}, table_bytes);
  } else {
    run(EncodeSymbols<ExecutionSpace, false>{tables, blocks, count, are_chosen}, 0);
  }
}

}  // namespace seqkv::gpu
