// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Residual addition and RMSNorm, portable: one thread a row.
#pragma once

#include <Kokkos_Core.hpp>

#include "backends/kokkos/row_sum.hpp"

namespace seqkv::kokkos {

struct NormRow {
  kernels::Norm args;
  KOKKOS_FUNCTION void operator()(const std::int64_t m) const {
    float* x = args.x + m * args.ldx;
    float* y = args.y + m * args.ldy;
    if (args.delta != nullptr) {
      const float* delta = args.delta + m * args.ldd;
      for (std::int64_t i = 0; i < args.width; ++i) {
        x[i] += args.bias == nullptr ? delta[i] : delta[i] + args.bias[i];
      }
    }
    const float scale = inverse_rms(args.width, args.epsilon, [x](std::int64_t i) { return x[i]; });
    for (std::int64_t i = 0; i < args.width; ++i) y[i] = x[i] * scale * args.weight[i];
  }
};

template <class ExecutionSpace>
void norm(const ExecutionSpace& space, const kernels::Norm& args) {
  using Policy = Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<std::int64_t>>;
  Kokkos::parallel_for("seqkv::model::norm", Policy(space, 0, args.rows), NormRow{args});
}

}  // namespace seqkv::kokkos
