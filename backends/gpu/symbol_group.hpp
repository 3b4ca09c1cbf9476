// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// How threads of a GPU share symbol blocks: 8 threads a block, one a state of its stream, so that a warp works on 4
/// blocks and a wavefront of 64 on 8. The format is in src/codec/entropy/spec.md.
#pragma once

#include <Kokkos_Core.hpp>

#include "backends/gpu/lanes.hpp"
#include "backends/gpu/word_window.hpp"
#include "codec/entropy/symbols.hpp"

namespace seqkv::gpu {

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

/// Whether lanes can take their four symbols as one word.
KOKKOS_INLINE_FUNCTION bool takes_words(const codec::SymbolBlock& block) {
  return reinterpret_cast<std::uintptr_t>(block.symbols) % 4 == 0 && block.run_symbols % 4 == 0;
}

/// What the blocks of a warp have in common.
enum class WarpBlocks {
  same,    ///< all have streams of as many runs, of the same size and without groups that are not whole
  whole,   ///< the same, but for numbers of runs, or some have no stream
  unlike,  ///< neither
};
KOKKOS_INLINE_FUNCTION WarpBlocks compare_blocks(const codec::SymbolBlock& block, bool streams) {
  // No && between what all threads have to come to.
  const auto runs = static_cast<std::uint32_t>(streams ? block.runs : 0);
  const auto of_run = static_cast<std::uint32_t>(streams ? block.run_symbols : 0);
  const bool same_runs = largest_of_warp(runs) == runs;
  const bool same_size = largest_of_warp(of_run) == of_run;
  const bool is_whole = !streams || (same_size && takes_words(block) && of_run % rans::group == 0);
  const bool all_whole = !any_of_warp(!is_whole);
  const bool all_same = !any_of_warp(!(streams && same_runs));
  return !all_whole ? WarpBlocks::unlike : all_same ? WarpBlocks::same : WarpBlocks::whole;
}

/// Tables of the runs of a block in the order in which they are coded, with the symbol from which on they escape. 8
/// threads read the classes of 8 runs, 8 runs ahead: what is far away is there when it is asked for.
class RunTables {
 public:
  struct Table {
    std::uint32_t number;
    std::uint32_t escape;
  };

  /// `runs` of the block, the last first if `backward`.
  KOKKOS_INLINE_FUNCTION RunTables(const codec::SymbolTables& tables, const codec::SymbolBlock& block, int choice,
                                   std::uint32_t runs, bool backward, const Lane& lane)
      : tables_(tables), block_(block), choice_(choice), runs_(runs), backward_(backward), lane_(lane) {
    ahead_ = load(static_cast<std::uint32_t>(lane.number));
  }

  /// Of the run of this turn, behind the last table 0. All threads of the warp; turns follow each other from 0 on.
  KOKKOS_INLINE_FUNCTION Table at(std::uint32_t turn) {
    if (turn % group_lanes == 0) {
      here_ = ahead_;
      ahead_ = load(turn + group_lanes + static_cast<std::uint32_t>(lane_.number));
    }
    const std::uint32_t both = value_of_thread(here_, lane_.first_bit + turn % group_lanes);
    return {both & 0xffffU, both >> 16U};
  }

 private:
  KOKKOS_INLINE_FUNCTION std::uint32_t load(std::uint32_t turn) const {
    const std::int64_t run = backward_ ? std::int64_t{runs_} - 1 - turn : turn;
    const std::int64_t table = turn < runs_ ? block_.table_of(tables_, run, choice_) : 0;
    return static_cast<std::uint32_t>(table) | tables_.escape(table) << 16U;
  }

  const codec::SymbolTables& tables_;
  const codec::SymbolBlock& block_;
  int choice_;
  std::uint32_t runs_;
  bool backward_;
  Lane lane_;
  std::uint32_t here_ = 0;
  std::uint32_t ahead_ = 0;
};

// Threads of a team: many where they share a table, few where there are few blocks, so that all of the GPU works.
inline constexpr int most_symbols_team = 256;
inline constexpr int least_symbols_team = 64;

template <class ExecutionSpace>
using SymbolsPolicy = Kokkos::TeamPolicy<ExecutionSpace, Kokkos::LaunchBounds<most_symbols_team, 4>>;
template <class ExecutionSpace>
using SymbolsTeam = typename SymbolsPolicy<ExecutionSpace>::member_type;

template <class Team>
KOKKOS_INLINE_FUNCTION int blocks_of(const Team& team) {
  return team.team_size() / group_lanes;
}

/// The policy of kernels of so many blocks, with memory for each team and for each block.
template <class ExecutionSpace>
SymbolsPolicy<ExecutionSpace> symbols_policy(const ExecutionSpace& space, std::int64_t blocks, std::int64_t team_bytes,
                                             std::int64_t block_bytes) {
  const bool are_few = group_lanes * blocks < space.concurrency() / 4;
  const int threads = are_few ? least_symbols_team : most_symbols_team;
  const std::int64_t of_team = threads / group_lanes;
  SymbolsPolicy<ExecutionSpace> policy(space, static_cast<int>((blocks + of_team - 1) / of_team), threads);
  policy.set_scratch_size(0, Kokkos::PerTeam(static_cast<int>(team_bytes + of_team * block_bytes + 64)));
  return policy;
}

}  // namespace seqkv::gpu
