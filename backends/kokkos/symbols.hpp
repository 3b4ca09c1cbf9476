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

  KOKKOS_FUNCTION void operator()(const std::int64_t i) const { codec::encode_block(tables, blocks[i]); }
};

struct DecodeSymbols {
  codec::SymbolTables tables;
  codec::SymbolBlock* blocks;

  KOKKOS_FUNCTION void operator()(const std::int64_t i) const { codec::decode_block(tables, blocks[i]); }
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
