// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Heads, biases, per-head norms and rotary embedding on a GPU: 16 threads a head of a row.
#pragma once

#include "backends/gpu/row_sum.hpp"
#include "backends/kokkos/rope.hpp"

namespace seqkv::gpu {

struct RopeRow {
  kernels::Rope args;

  KOKKOS_INLINE_FUNCTION void operator()(std::int64_t at, int thread, bool is_there) const {
    const kokkos::RopeHead head(args, at);
    const std::int64_t dim = args.heads.head_dim;
    float scale = 1;
    if (args.q_norm != nullptr || args.k_norm != nullptr) {
      // All threads of a warp: also those with values, which have no norm.
      float chain = 0;
      for (std::int64_t i = thread; i < dim; i += row_threads) chain = detmath::fma(head(i), head(i), chain);
      scale = kokkos::inverse_rms(sum_of_row(chain), dim, args.epsilon);
    }
    if (is_there) head.write(thread, row_threads, scale);
  }
};

template <class ExecutionSpace>
void rope(const ExecutionSpace& space, const kernels::Rope& args) {
  for_rows("seqkv::model::rope", space, args.rows * args.heads.all_heads(), RopeRow{args});
}

}  // namespace seqkv::gpu
