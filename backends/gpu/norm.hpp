// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Residual addition and RMSNorm on a GPU: 16 threads a row.
#pragma once

#include "backends/gpu/row_sum.hpp"
#include "backends/kokkos/norm.hpp"

namespace seqkv::gpu {

struct NormRow {
  static constexpr int at_once = 4;  ///< values of a thread that are on their way
  kernels::Norm args;

  KOKKOS_INLINE_FUNCTION void operator()(std::int64_t m, int thread, bool is_there) const {
    float* x = args.x + m * args.ldx;
    float* y = args.y + m * args.ldy;
    const std::int64_t width = is_there ? args.width : 0;
    float chain = 0;
    for (std::int64_t first = thread; first < width; first += at_once * row_threads) {
      float values[at_once];
      SEQKV_UNROLL for (int i = 0; i < at_once; ++i) values[i] = value(m, first + i * row_threads);
      SEQKV_UNROLL for (int i = 0; i < at_once; ++i) {
        const std::int64_t at = first + i * row_threads;
        if (at < width) {
          x[at] = values[i];
          chain = detmath::fma(values[i], values[i], chain);
        }
      }
    }
    const float scale = kokkos::inverse_rms(sum_of_row(chain), args.width, args.epsilon);
    for (std::int64_t i = thread; i < width; i += row_threads) y[i] = x[i] * scale * args.weight[i];
  }

 private:
  /// x + delta + bias, 0 behind the row's end.
  KOKKOS_INLINE_FUNCTION float value(std::int64_t m, std::int64_t i) const {
    if (i >= args.width) return 0;
    const float x = args.x[m * args.ldx + i];
    if (args.delta == nullptr) return x;
    const float delta = args.delta[m * args.ldd + i];
    return x + (args.bias == nullptr ? delta : delta + args.bias[i]);
  }
};

template <class ExecutionSpace>
void norm(const ExecutionSpace& space, const kernels::Norm& args) {
  for_rows("seqkv::model::norm", space, args.rows, NormRow{args});
}

}  // namespace seqkv::gpu
