// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Symbol blocks, several at a time, so that their streams fill the registers of the rANS kernels. The bytes of
/// backends/kokkos/symbols.hpp; bench/codec/symbols shows what it buys. Only for the translation units that define
/// SEQKV_ISA (see simd.hpp).
#pragma once

#include "backends/cpu/arena.hpp"
#include "backends/cpu/count_symbols.hpp"
#include "backends/cpu/rans_decode.hpp"
#include "backends/cpu/rans_encode.hpp"
#include "codec/entropy/symbols.hpp"

namespace seqkv::cpu::SEQKV_ISA {

/// Bytes of memory for blocks of `runs` runs together.
inline std::int64_t symbols_memory(std::int64_t blocks, std::int64_t runs) {
  return Arena::size<rans::Stream>(blocks) + Arena::size<codec::SymbolParts>(blocks) + Arena::size<rans::Run>(runs) +
         64 * blocks;  // each block's runs are a piece
}

inline int cheapest_choice(const codec::SymbolTables& tables, const codec::SymbolBlock& block) {
  return codec::cheapest_choice(tables, block, [&](const std::uint8_t* symbols, std::uint32_t* counts) {
    SymbolCounter counter;
    codec::for_each_sample(block.run_symbols,
                           [&](std::int64_t first, std::int64_t count) { counter.add(symbols + first, count); });
    counter.sum(counts);
  });
}

/// Runs of a single group, as predictive codecs have them: between two changes of tables there is nothing that several
/// streams could share, and the scalar coder is faster.
inline bool have_short_runs(const codec::SymbolBlock* blocks, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    if (blocks[i].run_symbols > rans::group) return false;
  }
  return true;
}

template <class Gather>
inline void encode_symbols(const codec::SymbolTables& tables, codec::SymbolBlock* blocks, std::int64_t count,
                           std::byte* memory) {
  if (have_short_runs(blocks, count)) {
    for (std::int64_t i = 0; i < count; ++i) codec::encode_block(tables, blocks[i]);
    return;
  }
  Arena arena{memory};
  auto* streams = arena.take<rans::Stream>(count);
  auto* choices = arena.take<int>(count);
  for (std::int64_t i = 0; i < count; ++i) {
    const codec::SymbolBlock& block = blocks[i];
    choices[i] = cheapest_choice(tables, block);
    auto* runs = arena.take<rans::Run>(block.runs);
    for (std::int64_t r = 0; r < block.runs; ++r) {
      const std::int64_t table = block.table_of(tables, r, choices[i]);
      runs[r] = {codec::coded_symbols(tables, block, r, table), block.run_symbols, table};
    }
    streams[i] = {runs, block.runs, codec::end_of_stream(block), 0};
  }
  RansEncoder<Gather>({tables.codes, tables.intervals}, streams, count).run();
  for (std::int64_t i = 0; i < count; ++i) codec::close_block(tables, blocks[i], choices[i], streams[i].coded);
}

template <class Gather>
inline void decode_symbols(const codec::SymbolTables& tables, codec::SymbolBlock* blocks, std::int64_t count,
                           std::byte* memory) {
  if (have_short_runs(blocks, count)) {
    for (std::int64_t i = 0; i < count; ++i) codec::decode_block(tables, blocks[i]);
    return;
  }
  Arena arena{memory};
  auto* streams = arena.take<rans::Stream>(count);
  auto* parts = arena.take<codec::SymbolParts>(count);
  std::int64_t used = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    codec::SymbolBlock& block = blocks[i];
    if (!codec::open_block(block, parts[i])) {
      block.bytes = -1;
    } else if (parts[i].is_packed) {
      codec::unpack_planes(parts[i].payload, block.count(), parts[i].argument, block.symbols);
    } else {
      auto* runs = arena.take<rans::Run>(block.runs);
      for (std::int64_t r = 0; r < block.runs; ++r) {
        runs[r] = {block.run(r), block.run_symbols, block.table_of(tables, r, parts[i].argument)};
      }
      streams[used++] = {runs, block.runs, parts[i].payload, parts[i].payload_bytes};
    }
  }
  RansDecoder<Gather>({tables.slots, tables.intervals}, streams, used).run();
  used = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    codec::SymbolBlock& block = blocks[i];
    if (block.bytes < 0 || parts[i].is_packed) continue;
    const bool whole = streams[used++].bytes >= 0;
    if (!whole || !codec::add_escapes(tables, block, parts[i])) block.bytes = -1;
  }
}

}  // namespace seqkv::cpu::SEQKV_ISA
