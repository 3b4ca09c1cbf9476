// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Matrix product with packed weights on a GPU.
#pragma once

#include "backends/gpu/product.hpp"

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

/// One output, as kokkos::ProductElement, with weights on their way: of few rows there are too few threads to wait for
/// each other's.
struct OutputOfFew {
  static constexpr int at_once = 16;
  kernels::Gemm args;

  KOKKOS_FUNCTION void operator()(const std::int64_t at) const {
    const std::int64_t m = at / args.b.outputs;
    const std::int64_t n = at % args.b.outputs;
    const float* row = args.a + m * args.lda;
    const Weights weights{args.b, 1};
    const std::int64_t first = weights.place(0, n);
    const std::int64_t depth = args.b.inputs;
    float sum = 0;
    std::int64_t k = 0;
    for (; k + at_once <= depth; k += at_once) {
      float some[at_once];
      SEQKV_UNROLL for (int i = 0; i < at_once; ++i) some[i] = weights.one(first + (k + i) * kernels::panel_width);
      SEQKV_UNROLL for (int i = 0; i < at_once; ++i) sum = detmath::fma(row[k + i], some[i], sum);
    }
    for (; k < depth; ++k) sum = detmath::fma(row[k], weights.one(first + k * kernels::panel_width), sum);
    args.c[m * args.ldc + n] = sum;
  }
};

template <class ExecutionSpace>
void gemm(const ExecutionSpace& space, const kernels::Gemm& args) {
  if (args.rows < least_rows) {
    using Policy = Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<std::int64_t>>;
    Kokkos::parallel_for("seqkv::model::gemm", Policy(space, 0, args.rows * args.b.outputs), OutputOfFew{args});
    return;
  }
  product("seqkv::model::gemm", space, args.rows, Weights{args.b, 1}, Rows(args.a, args.lda, args.b.inputs, 1),
          ToRows{args.c, args.ldc});
}

}  // namespace seqkv::gpu
