// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// How threads of a GPU share symbol blocks: 8 threads a block, one a state of its stream, so that a warp works on 4
/// blocks and a wavefront of 64 on 8. The format is in src/codec/entropy/spec.md.
#pragma once

#include <Kokkos_Core.hpp>

#include "backends/gpu/lanes.hpp"
#include "codec/entropy/symbols.hpp"

namespace seqkv::gpu {

namespace rans = codec::rans;

inline constexpr int symbols_team = 256;
inline constexpr int blocks_of_team = symbols_team / group_lanes;

/// Where a group of 32 symbols stands in its block. Groups do not go over the ends of runs.
struct GroupPlace {
  std::int64_t run = 0;
  std::int64_t in_run = 0;

  static KOKKOS_INLINE_FUNCTION std::int64_t groups_of_run(const codec::SymbolBlock& block) {
    return (block.run_symbols + rans::group - 1) / rans::group;
  }
  KOKKOS_INLINE_FUNCTION std::uint8_t* at(const codec::SymbolBlock& block, const Lane& lane) const {
    return block.run(run) + in_run * rans::group + lane.number * rans::steps;
  }
  /// Symbols that the group has: 32, or fewer at the end of a run.
  KOKKOS_INLINE_FUNCTION int count(const codec::SymbolBlock& block) const {
    const std::int64_t rest = block.run_symbols - in_run * rans::group;
    return rest < rans::group ? static_cast<int>(rest) : static_cast<int>(rans::group);
  }
};

KOKKOS_INLINE_FUNCTION bool is_even(const void* at) { return reinterpret_cast<std::uintptr_t>(at) % 2 == 0; }

/// Whether lanes can take their four symbols as one word.
KOKKOS_INLINE_FUNCTION bool takes_words(const codec::SymbolBlock& block) {
  return reinterpret_cast<std::uintptr_t>(block.symbols) % 4 == 0 && block.run_symbols % 4 == 0;
}

/// The policy of kernels of so many blocks.
template <class ExecutionSpace>
Kokkos::TeamPolicy<ExecutionSpace> symbols_policy(const ExecutionSpace& space, std::int64_t blocks) {
  return {space, static_cast<int>((blocks + blocks_of_team - 1) / blocks_of_team), symbols_team};
}

/// A table that a team shares: a copy in memory of its own if `Shared`, which all threads of the team make.
template <bool Shared, class Team, class Entry>
KOKKOS_INLINE_FUNCTION const Entry* shared_copy(const Team& team, const Entry* from, std::int64_t count) {
  if constexpr (!Shared) return from;
  auto* copy = static_cast<Entry*>(team.team_scratch(0).get_shmem_aligned(count * sizeof(Entry), 16));
  for (std::int64_t i = team.team_rank(); i < count; i += team.team_size()) copy[i] = from[i];
  team.team_barrier();
  return copy;
}

}  // namespace seqkv::gpu
