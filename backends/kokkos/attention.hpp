// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Causal attention with online softmax over tiles of 64 keys, portable: one team a (row, query head).
#pragma once

#include <Kokkos_Core.hpp>
#include <cfloat>

#include "backends/kokkos/row_sum.hpp"

namespace seqkv::kokkos {

/// One query head of one row, by a team.
template <class ExecutionSpace>
struct AttentionHead {
  using Team = typename Kokkos::TeamPolicy<ExecutionSpace>::member_type;
  using Scratch = Kokkos::View<float*, typename ExecutionSpace::scratch_memory_space, Kokkos::MemoryUnmanaged>;

  kernels::Attention args;
  KOKKOS_FUNCTION void operator()(const Team& team) const {
    using kernels::key_tile;
    const std::int64_t dim = args.heads.head_dim;
    const std::int64_t group = args.heads.query_heads / args.heads.kv_heads;
    const std::int64_t m = team.league_rank() / args.heads.query_heads;
    const std::int64_t head = team.league_rank() % args.heads.query_heads;
    const kernels::RowInfo row = args.info[m];
    const kernels::CacheTable& cache = args.caches[row.sequence];
    const float* q = args.q + m * args.ldq + head * dim;
    const std::int64_t begin = kernels::first_visible(row.position, args.window);
    const std::int64_t end = row.position + 1;
    const Scratch p(team.team_scratch(0), key_tile);
    const Scratch out(team.team_scratch(0), dim);
    Kokkos::parallel_for(Kokkos::TeamThreadRange(team, dim), [&](const std::int64_t i) { out(i) = 0; });
    float maximum = -FLT_MAX;
    float denominator = 0;
    for (std::int64_t tile = begin / key_tile; tile * key_tile < end; ++tile) {
      const float* keys = kernels::key_tile_at(cache, args.heads, args.layer, head / group, tile);
      const std::int64_t low = Kokkos::max(begin - tile * key_tile, std::int64_t{0});
      const std::int64_t rest = end - tile * key_tile;
      const std::int64_t high = rest < key_tile ? rest : key_tile;
      float tile_maximum = -FLT_MAX;
      Kokkos::parallel_reduce(
          Kokkos::TeamThreadRange(team, low, high),
          [&](const std::int64_t j, float& largest) {
            float score = 0;
            for (std::int64_t i = 0; i < dim; ++i) score = detmath::fma(q[i], keys[i * key_tile + j], score);
            p(j) = score;
            largest = score > largest ? score : largest;
          },
          Kokkos::Max<float>(tile_maximum));
      team.team_barrier();
      const float raised = tile_maximum > maximum ? tile_maximum : maximum;
      const float shrink = detmath::exp2(maximum - raised);
      maximum = raised;
      Kokkos::parallel_for(Kokkos::TeamThreadRange(team, key_tile), [&](const std::int64_t j) {
        p(j) = j >= low && j < high ? detmath::exp2(p(j) - raised) : 0.0F;
      });
      team.team_barrier();
      const float sum = row_sum(key_tile, [&](std::int64_t j, float acc) { return acc + p(j); });
      denominator = detmath::fma(denominator, shrink, sum);
      Kokkos::parallel_for(Kokkos::TeamThreadRange(team, dim), [&](const std::int64_t i) {
        float acc = out(i) * shrink;
        for (std::int64_t j = low; j < high; ++j) {
          const float* values = kernels::value_row_at(cache, args.heads, args.layer, head / group, tile * key_tile + j);
          acc = detmath::fma(p(j), values[i], acc);
        }
        out(i) = acc;
      });
      team.team_barrier();
    }
    const float scale = 1.0F / denominator;
    Kokkos::parallel_for(Kokkos::TeamThreadRange(team, dim),
                         [&](const std::int64_t i) { args.out[m * args.ldo + head * dim + i] = out(i) * scale; });
  }
};

template <class ExecutionSpace>
void attention(const ExecutionSpace& space, const kernels::Attention& args) {
  using Kernel = AttentionHead<ExecutionSpace>;
  const auto teams = static_cast<int>(args.rows * args.heads.query_heads);
  const auto bytes = Kernel::Scratch::shmem_size(kernels::key_tile) + Kernel::Scratch::shmem_size(args.heads.head_dim);
  Kokkos::parallel_for(
      "seqkv::model::attention",
      Kokkos::TeamPolicy<ExecutionSpace>(space, teams, Kokkos::AUTO).set_scratch_size(0, Kokkos::PerTeam(bytes)),
      Kernel{args});
}

}  // namespace seqkv::kokkos
