// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Rows on 16 neighboring threads of a warp, each with one of the 16 chains of a row's sum (model/kernels.hpp).
#pragma once

#include <Kokkos_Core.hpp>

#include "backends/gpu/lanes.hpp"
#include "core/detmath.hpp"
#include "model/kernels.hpp"

namespace seqkv::gpu {

inline constexpr int row_threads = static_cast<int>(kernels::sum_lanes);

/// The row's sum for all of its threads: as the chains are folded everywhere, 16 to 8 to 4 to 2 to 1.
KOKKOS_INLINE_FUNCTION float sum_of_row(float chain) {
  for (int half = row_threads / 2; half > 0; half /= 2) chain += exchange_float(chain, half);
  return chain;
}

/// The largest of the threads' values, none of which is NaN.
KOKKOS_INLINE_FUNCTION float largest_of_row(float value) {
  for (int half = row_threads / 2; half > 0; half /= 2) {
    const float other = exchange_float(value, half);
    value = other > value ? other : value;
  }
  return value;
}

inline constexpr int row_team = 128;

/// `count` rows, by teams of 8: calls `row(number, thread, is_there)` with all of a warp's threads; where a row is not
/// there, the last one's number is given.
template <class ExecutionSpace, class Row>
struct RowTeam {
  using Policy = Kokkos::TeamPolicy<ExecutionSpace, Kokkos::LaunchBounds<row_team>>;
  std::int64_t count;
  Row row;
  KOKKOS_FUNCTION void operator()(const typename Policy::member_type& team) const {
    const std::int64_t at = team.league_rank() * (row_team / row_threads) + team.team_rank() / row_threads;
    row(Kokkos::min(at, count - 1), team.team_rank() % row_threads, at < count);
  }
};

template <class ExecutionSpace, class Row>
void for_rows(const char* label, const ExecutionSpace& space, std::int64_t count, const Row& row) {
  using Kernel = RowTeam<ExecutionSpace, Row>;
  constexpr std::int64_t of_team = row_team / row_threads;
  const auto teams = static_cast<int>((count + of_team - 1) / of_team);
  Kokkos::parallel_for(label, typename Kernel::Policy(space, teams, row_team), Kernel{count, row});
}

}  // namespace seqkv::gpu
