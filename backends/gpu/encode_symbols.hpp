// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Encoding batches of symbol blocks on a GPU. The same bytes as the portable kernel (backends/kokkos/symbols.hpp).
#pragma once

#include <Kokkos_Core.hpp>

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

/// One block on its way, as one of its 8 threads sees it. Symbols are taken from the last to the first.
struct BlockEncoder {
  Lane lane;
  std::uint16_t* words = nullptr;  ///< the last that has been written
  std::uint32_t state = rans::lower_bound;
  std::uint32_t escapes = 0;  ///< of this lane
  std::uint32_t bits = 0;     ///< of all symbols of this lane, by bytes

  explicit KOKKOS_INLINE_FUNCTION BlockEncoder(int thread) : lane(thread) {}

  /// The arithmetic is that of rans::Encoder::add_symbol.
  KOKKOS_INLINE_FUNCTION void step(const rans::Code* codes, unsigned symbol, bool takes) {
    const rans::Code code = codes[symbol];
    const std::uint32_t frequency = code.frequency;
    std::uint32_t x = state;
    const bool is_full = takes && x >> (32U - rans::probability_bits) >= frequency;
    const WarpMask all = ballot(is_full);
    words -= lane.count_in_group(all);
    if (is_full) {
      words[lane.count_below(all)] = static_cast<std::uint16_t>(x & 0xffffU);
      x >>= 16U;
    }
    const auto quotient = static_cast<std::uint32_t>(static_cast<float>(x) * code.reciprocal);
    const std::uint32_t rest = x - quotient * frequency;
    const std::uint32_t added = rest >= frequency ? rans::total - frequency : 0U;
    if (takes) state = (quotient << rans::probability_bits) + rest + code.start + added;
  }

  /// The lane's four symbols, the first in the lowest byte; `count` of the group are symbols.
  template <bool Whole>
  KOKKOS_INLINE_FUNCTION void group(const rans::Code* codes, unsigned escape, std::uint32_t symbols, int count) {
    bits |= symbols;
    SEQKV_UNROLL for (int t = rans::steps - 1; t >= 0; --t) {
      const bool takes = Whole || rans::steps * lane.number + t < count;
      const unsigned symbol = symbols >> static_cast<unsigned>(8 * t) & 0xffU;
      if (takes && symbol >= escape) ++escapes;
      step(codes, symbol < escape ? symbol : escape, takes);
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
  using Team = typename Kokkos::TeamPolicy<ExecutionSpace>::member_type;
  codec::SymbolTables tables;
  codec::SymbolBlock* blocks;
  std::int64_t count;

  KOKKOS_FUNCTION void operator()(const Team& team) const {
    const auto* codes = shared_copy<Shared>(team, tables.codes, tables.tables * std::int64_t{rans::symbols});
    const std::int64_t number = std::int64_t{team.league_rank()} * blocks_of_team + team.team_rank() / group_lanes;
    encode(team.team_rank(), codes, number < count ? blocks + number : nullptr);
  }

  /// All threads of a warp come here; those without a block go along.
  KOKKOS_FUNCTION void encode(int thread, const rans::Code* codes, codec::SymbolBlock* of_team) const {
    BlockEncoder encoder(thread);
    const Lane& lane = encoder.lane;
    codec::SymbolBlock block{};
    bool works = of_team != nullptr;
    if (works) {
      block = *of_team;
      if (!is_even(block.coded)) {  // nobody of this library does that
        works = false;
        if (lane.number == 0) codec::encode_block(tables, *of_team);
      }
    }
    const int choice = cheapest_choice(lane, block, works);
    std::byte* end = works ? codec::end_of_stream(block) : nullptr;
    if (!is_even(end)) --end;
    encoder.words = reinterpret_cast<std::uint16_t*>(end);
    encode_groups(encoder, codes, block, choice, works);
    if (works) encoder.finish();
    const std::uint32_t escapes = lane.sum(encoder.escapes);
    std::uint32_t any = lane.bits_of_any(encoder.bits);
    any |= any >> 16U;
    any |= any >> 8U;
    int bits = 0;
    while ((any & 0xffU) >> static_cast<unsigned>(bits) != 0) ++bits;
    close(lane, block, choice, encoder.words, reinterpret_cast<const std::byte*>(end), escapes, bits, works);
    if (works && lane.number == 0) of_team->bytes = block.bytes;
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

  /// codec::cheapest_choice by 8 threads: sums of integers, in any order the same.
  KOKKOS_INLINE_FUNCTION int cheapest_choice(const Lane& lane, const codec::SymbolBlock& block, bool works) const {
    constexpr int together = 3;
    const std::int64_t of_run = GroupPlace::groups_of_run(block);
    const std::int64_t stride = block.run_symbols >= codec::sampled_run ? 4 : 1;
    const bool by_words = takes_words(block);
    std::uint64_t least = ~std::uint64_t{0};
    int cheapest = 0;
    const int choices = works && block.choices > 1 ? block.choices : 0;
    const auto most = static_cast<int>(largest_of_warp(static_cast<std::uint32_t>(choices)));
    for (int first = 0; first < most; first += together) {
      std::uint64_t costs[together] = {};
      GroupPlace place;
      for (place.run = 0; first < choices && place.run < block.runs; ++place.run) {
        for (place.in_run = 0; place.in_run < of_run; place.in_run += stride) {
          const int here = place.count(block);
          const std::uint32_t symbols = load(block, place, lane, here, by_words);
          SEQKV_UNROLL for (int c = 0; c < together; ++c) {
            const std::uint32_t* of_table =
                tables.costs + block.table_of(tables, place.run, first + c) * std::int64_t{rans::symbols};
            for (int t = 0; t < rans::steps && rans::steps * lane.number + t < here; ++t) {
              costs[c] += of_table[symbols >> static_cast<unsigned>(8 * t) & 0xffU];
            }
          }
        }
      }
      for (int c = 0; c < together; ++c) {
        const std::uint64_t cost = lane.sum(costs[c]);
        if (first + c >= choices || cost >= least) continue;
        least = cost;
        cheapest = first + c;
      }
    }
    return cheapest;
  }

  KOKKOS_INLINE_FUNCTION void encode_groups(BlockEncoder& encoder, const rans::Code* codes,
                                            const codec::SymbolBlock& block, int choice, bool works) const {
    const std::int64_t of_run = GroupPlace::groups_of_run(block);
    const auto mine = static_cast<std::uint32_t>(works ? block.runs * of_run : 0);
    const std::uint32_t most = largest_of_warp(mine);
    const bool by_words = takes_words(block);
    GroupPlace place{block.runs - 1, of_run - 1};
    const rans::Code* of_table = codes;
    unsigned escape = rans::symbols;
    const auto enter_run = [&]() {
      if (place.run < 0 || !works) return;
      const std::int64_t table = block.table_of(tables, place.run, choice);
      of_table = codes + table * rans::symbols;
      escape = tables.escape(table);
    };
    enter_run();
    for (std::uint32_t g = 0; g < most; ++g) {
      const int here = g < mine ? place.count(block) : 0;
      const std::uint32_t symbols = here > 0 ? load(block, place, encoder.lane, here, by_words) : 0U;
      if (any_of_warp(here != rans::group)) {
        encoder.group<false>(of_table, escape, symbols, here);
      } else {
        encoder.group<true>(of_table, escape, symbols, here);
      }
      if (place.in_run-- == 0) {
        place.in_run = of_run - 1;
        --place.run;
        enter_run();
      }
    }
  }

  /// codec::close_block by 8 threads.
  KOKKOS_INLINE_FUNCTION void close(const Lane& lane, codec::SymbolBlock& block, int choice,
                                    const std::uint16_t* stream, const std::byte* end, std::uint32_t escapes, int bits,
                                    bool works) const {
    const std::int64_t stream_bytes = works ? end - reinterpret_cast<const std::byte*>(stream) : 0;
    const std::int64_t packed = works ? codec::packed_bytes(bits, block.count()) : 0;
    std::byte* at = block.coded + codec::SymbolBlock::head_bytes;
    const bool is_packed = packed <= stream_bytes + escapes;
    if (works && lane.number == 0) {
      block.coded[0] = static_cast<std::byte>(
          is_packed ? 0U : codec::block_kind::rans | (escapes > 0 ? codec::block_kind::escapes : 0U));
      block.coded[1] = static_cast<std::byte>(is_packed ? bits : choice);
      if (!is_packed && escapes > 0) {
        rans::store16(at, escapes & 0xffffU);
        rans::store16(at + 2, escapes >> 16U);
      }
    }
    if (works && is_packed) {
      pack_planes(block.symbols, block.count(), bits, at, lane);
      block.bytes = codec::SymbolBlock::head_bytes + packed;
    }
    const bool streams = works && !is_packed;
    if (streams && escapes > 0) at += codec::SymbolBlock::escape_count_bytes;
    move_words_down(lane, reinterpret_cast<std::uint16_t*>(at), stream, streams ? stream_bytes / 2 : 0);
    if (streams) block.bytes = at + stream_bytes + escapes - block.coded;
    write_escapes(lane, block, choice, at + stream_bytes, streams && escapes > 0);
  }

  /// Words that 8 threads have read before any of them writes.
  static KOKKOS_INLINE_FUNCTION void move_words_down(const Lane& lane, std::uint16_t* to, const std::uint16_t* from,
                                                     std::int64_t count) {
    const auto most = std::int64_t{largest_of_warp(static_cast<std::uint32_t>(count))};
    for (std::int64_t i = lane.number; i < most + lane.number; i += group_lanes) {
      const std::uint16_t word = i < count ? from[i] : std::uint16_t{0};
      sync_warp();
      if (i < count) to[i] = word;
    }
  }

  KOKKOS_INLINE_FUNCTION void write_escapes(const Lane& lane, const codec::SymbolBlock& block, int choice,
                                            std::byte* to, bool works) const {
    const std::int64_t of_run = GroupPlace::groups_of_run(block);
    const auto mine = static_cast<std::uint32_t>(works ? block.runs * of_run : 0);
    const std::uint32_t most = largest_of_warp(mine);
    const bool by_words = takes_words(block);
    GroupPlace place;
    for (std::uint32_t g = 0; g < most; ++g) {
      const int here = g < mine ? place.count(block) : 0;
      const unsigned escape = here > 0 ? tables.escape(block.table_of(tables, place.run, choice)) : rans::symbols;
      const std::uint32_t symbols = here > 0 ? load(block, place, lane, here, by_words) : 0U;
      std::uint32_t found = 0;
      for (unsigned t = 0; t < rans::steps; ++t) {
        found += (symbols >> (8 * t) & 0xffU) >= escape ? 1U : 0U;
      }
      if (any_of_warp(found != 0)) {
        std::uint32_t after = lane.sum_below(found);
        for (unsigned t = 0; t < rans::steps; ++t) {
          const unsigned symbol = symbols >> (8 * t) & 0xffU;
          if (symbol >= escape) to[after++] = static_cast<std::byte>(symbol - escape);
        }
        to += lane.sum(found);
      }
      if (++place.in_run == of_run) {
        place.in_run = 0;
        ++place.run;
      }
    }
  }
};

/// Tables, blocks and all that they point to are in memory of `space`. Asynchronous.
template <class ExecutionSpace>
void encode_symbols(const ExecutionSpace& space, const codec::SymbolTables& tables, codec::SymbolBlock* blocks,
                    std::int64_t count) {
  constexpr int most_shared_tables = 8;
  auto policy = symbols_policy(space, count);
  if (tables.tables <= most_shared_tables) {
    policy.set_scratch_size(0,
                            Kokkos::PerTeam(static_cast<int>(tables.tables * rans::symbols * sizeof(rans::Code)) + 16));
    Kokkos::parallel_for("seqkv::codec::encode_symbols", policy,
                         EncodeSymbols<ExecutionSpace, true>{tables, blocks, count});
  } else {
    Kokkos::parallel_for("seqkv::codec::encode_symbols", policy,
                         EncodeSymbols<ExecutionSpace, false>{tables, blocks, count});
  }
}

}  // namespace seqkv::gpu
