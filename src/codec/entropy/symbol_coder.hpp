// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Coding symbol blocks on an execution space: with the kernels of this CPU where it is a host, else with the portable
/// one. All write the same bytes.
#pragma once

#include <Kokkos_Core.hpp>

#include "backends/cpu/launch_symbols.hpp"
#include "backends/gpu/decode_symbols.hpp"
#include "backends/gpu/encode_symbols.hpp"
#include "backends/kokkos/symbols.hpp"
#include "core/mirrored.hpp"

namespace seqkv::codec {

/// Codes blocks (symbols.hpp); tables, blocks and all that they point to are in memory of `space`, coded bytes of
/// devices at even addresses. Asynchronous.
template <class ExecutionSpace>
void encode_symbols(const ExecutionSpace& space, const SymbolTables& tables, SymbolBlock* blocks, std::int64_t count) {
  if constexpr (is_host_space<ExecutionSpace>) {
    if (const cpu::Kernels* best = cpu::kernels()) return cpu::encode_symbols(*best, space, tables, blocks, count);
    kokkos::encode_symbols(space, tables, blocks, count);
  } else {
    gpu::encode_symbols(space, tables, blocks, count);
  }
}

/// The reverse. Any bytes are safe to give; where they are no block, block.bytes becomes -1.
template <class ExecutionSpace>
void decode_symbols(const ExecutionSpace& space, const SymbolTables& tables, SymbolBlock* blocks, std::int64_t count) {
  if constexpr (is_host_space<ExecutionSpace>) {
    if (const cpu::Kernels* best = cpu::kernels()) return cpu::decode_symbols(*best, space, tables, blocks, count);
    kokkos::decode_symbols(space, tables, blocks, count);
  } else {
    gpu::decode_symbols(space, tables, blocks, count);
  }
}

/// The same where coded bytes may have any address.
template <class ExecutionSpace>
void encode_symbols_anywhere(const ExecutionSpace& space, const SymbolTables& tables, SymbolBlock* blocks,
                             std::int64_t count) {
  if constexpr (is_host_space<ExecutionSpace>) return encode_symbols(space, tables, blocks, count);
  kokkos::encode_symbols(space, tables, blocks, count);
}
template <class ExecutionSpace>
void decode_symbols_anywhere(const ExecutionSpace& space, const SymbolTables& tables, SymbolBlock* blocks,
                             std::int64_t count) {
  if constexpr (is_host_space<ExecutionSpace>) return decode_symbols(space, tables, blocks, count);
  kokkos::decode_symbols(space, tables, blocks, count);
}

}  // namespace seqkv::codec
