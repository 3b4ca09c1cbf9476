// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Runs the CPU kernels of symbol blocks in parallel on a Kokkos host space.
#pragma once

#include <Kokkos_Core.hpp>
#include <algorithm>

#include "backends/cpu/kernels.hpp"

namespace seqkv::cpu {

/// Calls code(tables, blocks, count, memory) for groups of blocks, threads taking them one by one.
template <class ExecutionSpace>
void for_each_group(const char* label, const ExecutionSpace& space, const Kernels& kernels,
                    const codec::SymbolTables& tables, codec::SymbolBlock* blocks, std::int64_t count,
                    void (*code)(const codec::SymbolTables&, codec::SymbolBlock*, std::int64_t, std::byte*)) {
  using Policy = Kokkos::TeamPolicy<ExecutionSpace, Kokkos::Schedule<Kokkos::Dynamic>>;
  constexpr std::size_t alignment = 64;
  const std::int64_t group = kernels.rans_streams;
  std::int64_t most_runs = 0;
  for (std::int64_t i = 0; i < count; ++i) most_runs = std::max(most_runs, blocks[i].runs);
  const auto memory = static_cast<std::size_t>(kernels.symbols_memory(group, group * most_runs));
  Policy policy(space, static_cast<int>((count + group - 1) / group), 1);
  policy.set_scratch_size(1, Kokkos::PerTeam(static_cast<int>(memory + alignment)));
  Kokkos::parallel_for(label, policy, [=](const typename Policy::member_type& team) {
    const std::int64_t first = team.league_rank() * group;
    code(tables, blocks + first, std::min(group, count - first),
         static_cast<std::byte*>(team.team_scratch(1).get_shmem_aligned(memory, alignment)));
  });
}

template <class ExecutionSpace>
void encode_symbols(const Kernels& kernels, const ExecutionSpace& space, const codec::SymbolTables& tables,
                    codec::SymbolBlock* blocks, std::int64_t count) {
  for_each_group("seqkv::codec::encode_symbols", space, kernels, tables, blocks, count, kernels.symbols_encode.best());
}

template <class ExecutionSpace>
void decode_symbols(const Kernels& kernels, const ExecutionSpace& space, const codec::SymbolTables& tables,
                    codec::SymbolBlock* blocks, std::int64_t count) {
  for_each_group("seqkv::codec::decode_symbols", space, kernels, tables, blocks, count, kernels.symbols_decode.best());
}

}  // namespace seqkv::cpu
