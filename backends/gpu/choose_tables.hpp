// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Which tables cost the symbols of a block least, on a GPU: a team a block counts symbols by class, and multiplies
/// counts with costs. Sums of integers, the same in any order: what codec::cheapest_choice gives.
#pragma once

#include <Kokkos_Core.hpp>

#include "backends/gpu/symbol_group.hpp"
#include "backends/gpu/team_memory.hpp"
#include "codec/entropy/symbols.hpp"

namespace seqkv::gpu {

/// Leaves the choice of a block in its `bytes`, which encoding sets later.
template <class ExecutionSpace>
struct ChooseTables {
  using Team = typename Kokkos::TeamPolicy<ExecutionSpace>::member_type;
  static constexpr int team_threads = 256;
  static constexpr unsigned counted = 64;                ///< symbols below, the others are rare
  static constexpr std::int64_t most_counts = 36 << 10;  ///< bytes
  codec::SymbolTables tables;
  codec::SymbolBlock* blocks;
  std::int64_t classes;  ///< below this one, whose symbols are counted

  static std::int64_t counted_classes(const codec::SymbolTables& tables) {
    const std::int64_t most = most_counts / static_cast<std::int64_t>(counted * sizeof(std::uint32_t));
    return tables.tables < most ? tables.tables : most;
  }
  std::int64_t scratch_bytes() const {
    return classes * static_cast<std::int64_t>(counted * sizeof(std::uint32_t)) +
           codec::most_choices * static_cast<std::int64_t>(sizeof(std::uint64_t)) + 32;
  }

  KOKKOS_FUNCTION void operator()(const Team& team) const {
    codec::SymbolBlock& block = blocks[team.league_rank()];
    const std::int64_t numbers = classes * counted;
    auto* costs = team_array<unsigned long long>(team, codec::most_choices);
    auto* counts = team_array<std::uint32_t>(team, numbers);
    for (std::int64_t i = team.team_rank(); i < numbers; i += team.team_size()) counts[i] = 0;
    for (int c = team.team_rank(); c < block.choices; c += team.team_size()) costs[c] = 0;
    team.team_barrier();
    if (block.choices > 1) {
      count_groups(team, block, counts, costs);
      team.team_barrier();
      for (std::int64_t i = team.team_rank(); i < numbers; i += team.team_size()) {
        if (counts[i] > 0) add(block, static_cast<unsigned>(i / counted), i % counted, counts[i], costs);
      }
      team.team_barrier();
    }
    if (team.team_rank() != 0) return;
    int cheapest = 0;
    for (int c = 1; c < block.choices; ++c) {
      if (costs[c] < costs[cheapest]) cheapest = c;
    }
    block.bytes = cheapest;
  }

 private:
  /// Symbols of a class at what each choice takes for them.
  KOKKOS_INLINE_FUNCTION void add(const codec::SymbolBlock& block, unsigned of_class, std::int64_t symbol,
                                  std::uint64_t count, unsigned long long* costs) const {
    for (int c = 0; c < block.choices; ++c) {
      const std::int64_t table = block.table_of_class(tables, static_cast<int>(of_class), c);
      Kokkos::atomic_add(&costs[c], count * tables.costs[table * rans::symbols + symbol]);
    }
  }

  /// A thread a group of the sample (codec::for_each_sample).
  KOKKOS_INLINE_FUNCTION void count_groups(const Team& team, const codec::SymbolBlock& block, std::uint32_t* counts,
                                           unsigned long long* costs) const {
    const std::int64_t stride = block.run_symbols >= codec::sampled_run ? 4 : 1;
    const std::int64_t of_run = (GroupPlace::groups_of_run(block) + stride - 1) / stride;
    const bool by_words = takes_words(block);
    for (std::int64_t g = team.team_rank(); g < block.runs * of_run; g += team.team_size()) {
      const GroupPlace place{g / of_run, g % of_run * stride};
      const int here = place.count(block);
      const std::uint8_t* from = block.run(place.run) + place.in_run * rans::group;
      const unsigned of_class = block.classes[place.run];
      std::uint32_t zeros = 0;
      for (int i = 0; i < here; i += 4) {
        std::uint32_t four = 0;
        if (by_words) {
          four = *reinterpret_cast<const std::uint32_t*>(from + i);
        } else {
          for (int j = 0; j < 4 && i + j < here; ++j)
            four |= std::uint32_t{from[i + j]} << static_cast<unsigned>(8 * j);
        }
        const int left = here - i < 4 ? here - i : 4;
        for (int j = 0; j < left; ++j, four >>= 8U) {
          const unsigned symbol = four & 0xffU;
          if (symbol == 0) {
            ++zeros;
          } else {
            count(block, of_class, symbol, 1, counts, costs);
          }
        }
      }
      if (zeros > 0) count(block, of_class, 0, zeros, counts, costs);
    }
  }

  KOKKOS_INLINE_FUNCTION void count(const codec::SymbolBlock& block, unsigned of_class, unsigned symbol,
                                    std::uint32_t some, std::uint32_t* counts, unsigned long long* costs) const {
    if (of_class < classes && symbol < counted) {
      Kokkos::atomic_add(&counts[of_class * counted + symbol], some);
    } else {
      add(block, of_class, symbol, some, costs);
    }
  }
};

template <class ExecutionSpace>
void choose_tables(const ExecutionSpace& space, const codec::SymbolTables& tables, codec::SymbolBlock* blocks,
                   std::int64_t count) {
  using Kernel = ChooseTables<ExecutionSpace>;
  const Kernel kernel{tables, blocks, Kernel::counted_classes(tables)};
  Kokkos::TeamPolicy<ExecutionSpace> policy(space, static_cast<int>(count), Kernel::team_threads);
  policy.set_scratch_size(0, Kokkos::PerTeam(static_cast<int>(kernel.scratch_bytes())));
  Kokkos::parallel_for("seqkv::codec::choose_tables", policy, kernel);
}

}  // namespace seqkv::gpu
