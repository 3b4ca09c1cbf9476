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
  bool has_fours;  ///< rows begin at multiples of 16 bytes, and have room for inner indices rounded up to fours

  Rows(const float* from, std::int64_t distance, std::int64_t depth)
      : data(from), ld(distance), has_fours(reinterpret_cast<std::uintptr_t>(from) % 16 == 0 && distance % 4 == 0) {
    const bool is_padded = distance % kernels::panel_width == 0 && distance - depth < kernels::panel_width;
    has_fours = has_fours && (depth % 4 == 0 || is_padded);
  }

  KOKKOS_INLINE_FUNCTION FourFloats four(std::int64_t row, std::int64_t k) const {
    return *reinterpret_cast<const FourFloats*>(data + row * ld + k);
  }
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
  product("seqkv::model::gemm", space, args.rows, Weights{args.b, 1}, Rows(args.a, args.lda, args.b.inputs),
          ToRows{args.c, args.ldc});
}

}  // namespace seqkv::gpu
