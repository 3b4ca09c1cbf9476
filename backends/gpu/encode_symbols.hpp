// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Encoding batches of symbol blocks on a GPU. The same bytes as the portable kernel (backends/kokkos/symbols.hpp).
#pragma once

#include <Kokkos_Core.hpp>

#include "backends/gpu/choose_tables.hpp"
#include "backends/gpu/symbol_group.hpp"

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

/// A rans::Code as it is read at once.
class PackedCode {
 public:
  KOKKOS_DEFAULTED_FUNCTION PackedCode() = default;
  explicit KOKKOS_INLINE_FUNCTION PackedCode(const rans::Code* code)
      : bits_(*reinterpret_cast<const EightBytes*>(code)) {}
  KOKKOS_INLINE_FUNCTION std::uint32_t frequency() const { return static_cast<std::uint32_t>(bits_) & 0xffffU; }
  KOKKOS_INLINE_FUNCTION std::uint32_t start() const { return static_cast<std::uint32_t>(bits_) >> 16U; }
  KOKKOS_INLINE_FUNCTION float reciprocal() const {
    return detmath::from_bits(static_cast<std::uint32_t>(bits_ >> 32U));
  }

 private:
  std::uint64_t bits_;
};

/// One block on its way, as one of its 8 threads sees it. Symbols are taken from the last to the first: words and
/// escapes are written toward the front.
struct BlockEncoder {
  const Lane lane;
  std::uint16_t* words = nullptr;  ///< the last that has been written
  std::byte* escapes = nullptr;    ///< the last that has been written
  std::uint32_t state = rans::lower_bound;
  std::uint32_t seen = 0;  ///< bits of all symbols of this lane, by bytes

  explicit KOKKOS_INLINE_FUNCTION BlockEncoder(int thread) : lane(thread) {}

  /// What comes out is what rans::Encoder::add_symbol makes. The quotient is at least 16 and below 2^20, so that adding
  /// 2^23 brings it to the lowest bits; less 1/2 it is rounded down, as the reciprocal is, to what is at most 1 too
  /// few.
  KOKKOS_INLINE_FUNCTION void step(PackedCode code, bool takes) {
    constexpr float rounded_down = 8388608.0F - 0.5F;
    const std::uint32_t frequency = code.frequency();
    const bool is_full = takes && state >> (32U - rans::probability_bits) >= frequency;
    const WarpMask all = ballot(is_full);
    words -= lane.count_in_group(all);
    if (is_full) words[lane.count_below(all)] = static_cast<std::uint16_t>(state & 0xffffU);
    const std::uint32_t x = is_full ? state >> 16U : state;
    const std::uint32_t quotient =
        detmath::bits(detmath::fma(static_cast<float>(x), code.reciprocal(), rounded_down)) & 0x7fffffU;
    const std::uint32_t rest = x - quotient * frequency;
    const std::uint32_t added = rest >= frequency ? rans::total - frequency : 0U;
    if (takes) state = (quotient << rans::probability_bits) + rest + code.start() + added;
  }

  /// A group as a lane has it: four symbols, the first in the lowest byte, and what codes them.
  struct Group {
    std::uint32_t symbols;
    unsigned escape;
    PackedCode codes[rans::steps];

    static KOKKOS_INLINE_FUNCTION unsigned symbol(std::uint32_t symbols, int t) {
      return symbols >> static_cast<unsigned>(8 * t) & 0xffU;
    }
    KOKKOS_INLINE_FUNCTION Group(std::uint32_t of_lane, const rans::Code* table, unsigned from)
        : symbols(of_lane), escape(from) {
      SEQKV_UNROLL for (int t = 0; t < rans::steps; ++t) {
        const unsigned s = symbol(symbols, t);
        codes[t] = PackedCode(table + (s < escape ? s : escape));
      }
    }
  };

  /// A group of 32 symbols, or none.
  KOKKOS_INLINE_FUNCTION void add_whole(const Group& group, bool takes = true) {
    std::uint32_t all_below = ~0U;  // its highest bit: whether all symbols are below the escape
    SEQKV_UNROLL for (int t = rans::steps - 1; t >= 0; --t) {
      all_below &= Group::symbol(group.symbols, t) - group.escape;
      step(group.codes[t], takes);
    }
    if (takes) seen |= group.symbols;
    const bool escapes_here = takes && all_below >> 31U == 0;
    if (any_of_warp(escapes_here)) keep_escapes(group, takes ? rans::group : 0);
  }

  /// `count` of the group are symbols.
  KOKKOS_INLINE_FUNCTION void add_some(const Group& group, int count) {
    seen |= group.symbols;
    for (int t = rans::steps - 1; t >= 0; --t) step(group.codes[t], rans::steps * lane.number + t < count);
    keep_escapes(group, count);
  }

  KOKKOS_INLINE_FUNCTION void keep_escapes(const Group& group, int count) {
    const auto escapes_at = [&](int t) {
      return rans::steps * lane.number + t < count && Group::symbol(group.symbols, t) >= group.escape;
    };
    std::uint32_t found = 0;
    for (int t = 0; t < rans::steps; ++t) found += escapes_at(t) ? 1U : 0U;
    escapes -= lane.sum(found);
    std::byte* to = escapes + lane.sum_below(found);
    for (int t = 0; t < rans::steps; ++t) {
      if (escapes_at(t)) *to++ = static_cast<std::byte>(Group::symbol(group.symbols, t) - group.escape);
    }
  }

  /// Writes the states in front of the words.
  KOKKOS_INLINE_FUNCTION void finish() {
    words -= rans::states_bytes / 2;
    words[2 * lane.number] = static_cast<std::uint16_t>(state & 0xffffU);
    words[2 * lane.number + 1] = static_cast<std::uint16_t>(state >> 16U);
  }
};

template <class ExecutionSpace, bool Shared>
struct EncodeSymbols {
  using Team = SymbolsTeam<ExecutionSpace>;
  codec::SymbolTables tables;
  codec::SymbolBlock* blocks;
  std::int64_t count;
  bool is_chosen;  ///< by choose_tables()

  KOKKOS_FUNCTION void operator()(const Team& team) const {
    const auto* codes = shared_copy<Shared>(team, tables.codes, tables.tables * std::int64_t{rans::symbols});
    const std::int64_t number = std::int64_t{team.league_rank()} * blocks_of(team) + team.team_rank() / group_lanes;
    encode(team.team_rank(), codes, number < count ? blocks + number : nullptr);
  }

  /// All threads of a warp come here; those without a block go along.
  KOKKOS_INLINE_FUNCTION void encode(int thread, const rans::Code* codes, codec::SymbolBlock* of_team) const {
    BlockEncoder encoder(thread);
    const Lane& lane = encoder.lane;
    codec::SymbolBlock block{};
    const bool works = of_team != nullptr;
    if (works) block = *of_team;
    const int choice = works && is_chosen ? static_cast<int>(block.bytes) : 0;
    std::byte* end = works ? codec::end_of_stream(block) : nullptr;
    if (!is_even(end)) --end;
    std::byte* const end_of_escapes = works ? end_of_escapes_of(block) : nullptr;
    encoder.words = reinterpret_cast<std::uint16_t*>(end);
    encoder.escapes = end_of_escapes;
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
    if (works) encoder.finish();
    const Parts parts{encoder.words, works ? end - reinterpret_cast<std::byte*>(encoder.words) : 0, encoder.escapes,
                      end_of_escapes - encoder.escapes, bits_of(lane.bits_of_any(encoder.seen))};
    sync_warp();
    close(lane, block, choice, parts, works);
    if (works && lane.number == 0) of_team->bytes = block.bytes;
  }

 private:
  /// What an encoder has left in the room of its block.
  struct Parts {
    const std::uint16_t* stream;
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
                                                   const Lane& lane, int count, bool by_words) {
    const std::uint8_t* from = place.at(block, lane);
    if (by_words && count == rans::group) return *reinterpret_cast<const std::uint32_t*>(from);
    std::uint32_t symbols = 0;
    for (int t = 0; t < rans::steps && rans::steps * lane.number + t < count; ++t) {
      symbols |= std::uint32_t{from[t]} << static_cast<unsigned>(8 * t);
    }
    return symbols;
  }

  /// All blocks of the warp have runs of the same size, of whole groups; if `Same`, also as many. Symbols are read two
  /// groups ahead, and what codes them one.
  template <bool Same>
  KOKKOS_INLINE_FUNCTION void encode_whole_groups(BlockEncoder& encoder, const rans::Code* codes,
                                                  const codec::SymbolBlock& block, int choice, bool works) const {
    using Group = BlockEncoder::Group;
    const auto of_run = largest_of_warp(static_cast<std::uint32_t>(works ? block.run_symbols / rans::group : 0));
    const std::uint32_t mine = of_run * static_cast<std::uint32_t>(works ? block.runs : 0);
    const std::uint32_t most = Same ? mine : largest_of_warp(mine);
    RunTables run_tables(tables, block, choice, static_cast<std::uint32_t>(works ? block.runs : 0), true, encoder.lane);
    const auto* const first = reinterpret_cast<const std::uint32_t*>(block.symbols) + encoder.lane.number;
    const auto load = [&](std::uint32_t turn) {
      return turn < mine ? first[std::int64_t{mine - 1 - turn} * group_lanes] : 0U;
    };
    RunTables::Table table{0, 0};
    std::uint32_t run = 0;
    std::uint32_t in_run = 0;
    const auto next_group = [&](std::uint32_t symbols) {
      if (in_run == 0) table = run_tables.at(run++);
      if (++in_run == of_run) in_run = 0;
      return Group(symbols, codes + std::int64_t{table.number} * rans::symbols, table.escape);
    };
    if (most == 0) return;
    Group group = next_group(load(0));
    std::uint32_t symbols = load(1);
    for (std::uint32_t turn = 0; turn < most; ++turn) {
      const std::uint32_t later = load(turn + 2);
      const Group next = next_group(symbols);
      encoder.add_whole(group, Same || turn < mine);
      group = next;
      symbols = later;
    }
  }

  /// Blocks of any layout, or none.
  KOKKOS_INLINE_FUNCTION void encode_groups(BlockEncoder& encoder, const rans::Code* codes,
                                            const codec::SymbolBlock& block, int choice, bool works) const {
    const std::int64_t of_run = GroupPlace::groups_of_run(block);
    const auto mine = static_cast<std::uint32_t>(works ? block.runs * of_run : 0);
    const std::uint32_t most = largest_of_warp(mine);
    GroupPlace place{block.runs - 1, of_run - 1};
    const rans::Code* of_table = codes;
    unsigned escape = rans::symbols;
    for (std::uint32_t g = 0; g < most; ++g) {
      const int here = g < mine ? place.count(block) : 0;
      if (here > 0 && place.in_run == of_run - 1) {
        const std::int64_t table = block.table_of(tables, place.run, choice);
        of_table = codes + table * rans::symbols;
        escape = tables.escape(table);
      }
      const std::uint32_t symbols = here > 0 ? load(block, place, encoder.lane, here, false) : 0U;
      encoder.add_some(BlockEncoder::Group(symbols, of_table, escape), here);
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
    move_down(lane, reinterpret_cast<std::uint16_t*>(stream), parts.stream, streams ? parts.stream_bytes / 2 : 0);
    move_down(lane, stream + parts.stream_bytes, parts.escapes, streams ? parts.escape_count : 0);
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

  /// What 8 threads have read before any of them writes, some a thread at a time.
  template <class T>
  static KOKKOS_INLINE_FUNCTION void move_down(const Lane& lane, T* to, const T* from, std::int64_t count) {
    constexpr int together = 8;
    const auto most = std::int64_t{largest_of_warp(static_cast<std::uint32_t>(count))};
    for (std::int64_t first = 0; first < most; first += together * group_lanes) {
      T some[together];
      SEQKV_UNROLL for (int j = 0; j < together; ++j) {
        const std::int64_t i = first + j * group_lanes + lane.number;
        some[j] = i < count ? from[i] : T{};
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
  const std::int64_t table_bytes = tables.tables * std::int64_t{rans::symbols * sizeof(rans::Code)};
  const bool are_chosen = tables.tables > 1;
  if (are_chosen) choose_tables(space, tables, blocks, count);
  if (tables.tables <= most_shared_tables) {
    Kokkos::parallel_for("seqkv::codec::encode_symbols", symbols_policy(space, count, table_bytes, 0),
                         EncodeSymbols<ExecutionSpace, true>{tables, blocks, count, are_chosen});
  } else {
    Kokkos::parallel_for("seqkv::codec::encode_symbols", symbols_policy(space, count, 0, 0),
                         EncodeSymbols<ExecutionSpace, false>{tables, blocks, count, are_chosen});
  }
}

}  // namespace seqkv::gpu
