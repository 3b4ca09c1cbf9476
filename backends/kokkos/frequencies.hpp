// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Integer frequencies of tokens, portable: one team a row. And what coders ask of them: the interval of a token, the
/// token of a point.
#pragma once

#include <Kokkos_Core.hpp>
#include <cfloat>

#include "replay/frequencies.hpp"
#include "seqkv/kv.hpp"

namespace seqkv::kokkos {

template <class ExecutionSpace>
struct FrequencyRow {
  using Team = typename Kokkos::TeamPolicy<ExecutionSpace>::member_type;

  kernels::Frequencies args;
  KOKKOS_FUNCTION void operator()(const Team& team) const {
    using kernels::frequency_group;
    const std::int64_t m = team.league_rank();
    const std::int64_t count = args.vocabulary;
    const std::int64_t groups = args.groups();
    const float* x = args.logits + m * args.ld_logits;
    std::uint32_t* f = args.frequency + m * count;
    float largest = -FLT_MAX;
    Kokkos::parallel_reduce(
        Kokkos::TeamThreadRange(team, count),
        [&](const std::int64_t i, float& most) { most = x[i] > most ? x[i] : most; }, Kokkos::Max<float>(largest));
    std::uint64_t sum = 0;
    Kokkos::parallel_reduce(
        Kokkos::TeamThreadRange(team, count),
        [&](const std::int64_t i, std::uint64_t& partial) {
          f[i] = static_cast<std::uint32_t>(kernels::frequency_weight(x[i], largest));
          partial += f[i];
        },
        sum);
    team.team_barrier();
    const unsigned shift = kernels::frequency_shift(sum);
    std::uint32_t total = 0;
    Kokkos::parallel_reduce(
        Kokkos::TeamThreadRange(team, groups),
        [&](const std::int64_t g, std::uint32_t& partial) {
          std::uint32_t of_group = 0;
          for (std::int64_t i = g * frequency_group; i < count && i < (g + 1) * frequency_group; ++i) {
            f[i] = (f[i] >> shift) + 1;
            of_group += f[i];
          }
          args.group[m * groups + g] = of_group;
          partial += of_group;
        },
        total);
    Kokkos::single(Kokkos::PerTeam(team), [&]() { args.total[m] = total; });
  }
};

template <class ExecutionSpace>
void frequencies(const ExecutionSpace& space, const kernels::Frequencies& args) {
  Kokkos::parallel_for("seqkv::replay::frequencies",
                       Kokkos::TeamPolicy<ExecutionSpace>(space, static_cast<int>(args.rows), Kokkos::AUTO),
                       FrequencyRow<ExecutionSpace>{args});
}

/// A token, and [start, start + width) of [0, total) that it has.
struct TokenInterval {
  std::uint32_t start, width;
  Token token;
};

/// Row m: the interval of out[m].token.
struct IntervalOfToken {
  kernels::Frequencies args;
  TokenInterval* out;
  KOKKOS_FUNCTION void operator()(const std::int64_t m) const {
    const std::int64_t groups = args.groups();
    const std::uint32_t* f = args.frequency + m * args.vocabulary;
    const std::int64_t token = out[m].token;
    const std::int64_t group = token / kernels::frequency_group;
    std::uint32_t start = 0;
    for (std::int64_t g = 0; g < group; ++g) start += args.group[m * groups + g];
    for (std::int64_t i = group * kernels::frequency_group; i < token; ++i) start += f[i];
    out[m].start = start;
    out[m].width = f[token];
  }
};

/// Row m: the token whose interval has the point out[m].start, below the total.
struct TokenAtPoint {
  kernels::Frequencies args;
  TokenInterval* out;
  KOKKOS_FUNCTION void operator()(const std::int64_t m) const {
    const std::int64_t groups = args.groups();
    const std::uint32_t* f = args.frequency + m * args.vocabulary;
    const std::uint32_t* of_group = args.group + m * groups;
    std::uint32_t rest = out[m].start;
    std::int64_t g = 0;
    for (; g + 1 < groups && rest >= of_group[g]; ++g) rest -= of_group[g];
    std::int64_t token = g * kernels::frequency_group;
    for (; token + 1 < args.vocabulary && rest >= f[token]; ++token) rest -= f[token];
    out[m].start -= rest;
    out[m].width = f[token];
    out[m].token = static_cast<Token>(token);
  }
};

}  // namespace seqkv::kokkos
