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
  bool has_fours;  ///< rows begin at multiples of 16 bytes, and, by that, have room for inner indices up to a four

  Rows(const float* from, std::int64_t distance, std::int64_t depth, std::int64_t blocks)
      : data(from), ld(distance), has_fours(reinterpret_cast<std::uintptr_t>(from) % 16 == 0 && distance % 4 == 0) {
    has_fours = has_fours && (depth % 4 == 0 || blocks == 1);
  }

  KOKKOS_INLINE_FUNCTION FourFloats four(std::int64_t row, std::int64_t k) const {
    return *reinterpret_cast<const FourFloats*>(data + row * ld + k);
  }
  KOKKOS_INLINE_FUNCTION float operator()(std::int64_t row, std::int64_t k) const { return data[row * ld + k]; }
};

struct ToRows {
  static constexpr bool rows_are_neighbors = false;
  float* data;
  std::int64_t ld;
  KOKKOS_INLINE_FUNCTION bool has_fours(std::int64_t, std::int64_t output) const {
    return ((reinterpret_cast<std::uintptr_t>(data) / 4 | static_cast<std::uintptr_t>(ld | output)) & 3U) == 0;
  }
  KOKKOS_INLINE_FUNCTION void four(std::int64_t row, std::int64_t output, const FourFloats& sums) const {
    *reinterpret_cast<FourFloats*>(data + row * ld + output) = sums;
  }
  KOKKOS_INLINE_FUNCTION void operator()(std::int64_t row, std::int64_t output, float sum) const {
    data[row * ld + output] = sum;
  }
};

template <class ExecutionSpace>
void gemm(const ExecutionSpace& space, const kernels::Gemm& args) {
  if (args.rows < least_rows) return kokkos::gemm(space, args);
  product("seqkv::model::gemm", space, args.rows, Weights{args.b, 1}, Rows(args.a, args.lda, args.b.inputs, 1),
          ToRows{args.c, args.ldc});
}

}  // namespace seqkv::gpu
