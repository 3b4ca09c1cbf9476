// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Batches of symbol blocks, portable: one thread a block. What a block is, is in codec/entropy/symbols.hpp; the format
/// in src/codec/entropy/spec.md.
#pragma once

#include <Kokkos_Core.hpp>

#include "codec/entropy/symbols.hpp"

namespace seqkv::kokkos {

// Structs, not lambdas: several sources run them (codec/batch.hpp).
struct EncodeSymbols {
  codec::SymbolTables tables;
  codec::SymbolBlock* blocks;

  KOKKOS_FUNCTION void operator()(const std::int64_t i) const {
    using namespace codec;
    SymbolBlock& block = blocks[i];
    const int choice = cheapest_choice(tables, block, [&](const std::uint8_t* symbols, std::uint32_t* counts) {
      for (int s = 0; s < rans::symbols; ++s) counts[s] = 0;
      for_each_sample(block.run_symbols, [&](std::int64_t first, std::int64_t count) {
        for (std::int64_t j = first; j < first + count; ++j) ++counts[symbols[j]];
      });
    });
    rans::Encoder encoder;
    encoder.start(end_of_stream(block));
    for (std::int64_t r = block.runs - 1; r >= 0; --r) {
      const std::int64_t table = block.table_of(tables, r, choice);
      encoder.encode(tables.codes + table * rans::symbols, coded_symbols(tables, block, r, table), block.run_symbols);
    }
    close_block(tables, block, choice, encoder.finish());
  }
};

struct DecodeSymbols {
  codec::SymbolTables tables;
  codec::SymbolBlock* blocks;

  KOKKOS_FUNCTION void operator()(const std::int64_t i) const {
    using namespace codec;
    SymbolBlock& block = blocks[i];
    SymbolParts parts;
    bool whole = open_block(block, parts);
    if (whole && parts.is_packed) {
      unpack_planes(parts.payload, block.count(), parts.argument, block.symbols);
    } else if (whole) {
      rans::Decoder decoder;
      decoder.start(parts.payload, parts.payload_bytes);
      for (std::int64_t r = 0; r < block.runs; ++r) {
        const std::int64_t table = block.table_of(tables, r, parts.argument);
        decoder.decode(tables.slots + table * rans::total, block.run(r), block.run_symbols);
      }
      whole = decoder.finished() && add_escapes(tables, block, parts);
    }
    if (!whole) block.bytes = -1;
  }
};

/// Tables, blocks and all that they point to are in memory of `space`. Asynchronous.
template <class ExecutionSpace>
void encode_symbols(const ExecutionSpace& space, const codec::SymbolTables& tables, codec::SymbolBlock* blocks,
                    std::int64_t count) {
  using Policy =
      Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<std::int64_t>, Kokkos::Schedule<Kokkos::Dynamic>>;
  Kokkos::parallel_for("seqkv::codec::encode_symbols", Policy(space, 0, count), EncodeSymbols{tables, blocks});
}

template <class ExecutionSpace>
void decode_symbols(const ExecutionSpace& space, const codec::SymbolTables& tables, codec::SymbolBlock* blocks,
                    std::int64_t count) {
  using Policy =
      Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<std::int64_t>, Kokkos::Schedule<Kokkos::Dynamic>>;
  Kokkos::parallel_for("seqkv::codec::decode_symbols", Policy(space, 0, count), DecodeSymbols{tables, blocks});
}

}  // namespace seqkv::kokkos
