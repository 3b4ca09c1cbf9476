// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Matrix product with packed weights on a GPU.
#pragma once

#include "backends/gpu/product.hpp"
#include "backends/kokkos/gemm.hpp"

namespace seqkv::gpu {

struct Rows {
  static constexpr bool rows_are_neighbors = false;
  const float* data;
  std::int64_t ld;
  KOKKOS_INLINE_FUNCTION float operator()(std::int64_t row, std::int64_t k) const { return data[row * ld + k]; }
};

struct ToRows {
  float* data;
  std::int64_t ld;
  KOKKOS_INLINE_FUNCTION void operator()(std::int64_t row, std::int64_t output, float sum) const {
    data[row * ld + output] = sum;
  }
};

template <class ExecutionSpace>
void gemm(const ExecutionSpace& space, const kernels::Gemm& args) {
  if (args.rows < least_rows) return kokkos::gemm(space, args);
  product("seqkv::model::gemm", space, args.rows, Weights{args.b, 1}, Rows{args.a, args.lda}, ToRows{args.c, args.ldc});
}

}  // namespace seqkv::gpu
