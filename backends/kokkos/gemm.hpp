// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Matrix product with packed weights, portable: one thread an output, its inner index in order.
#pragma once

#include <Kokkos_Core.hpp>

#include "core/float16.hpp"
#include "core/gemm.hpp"

namespace seqkv::kokkos {

/// One output. Kernels that several sources share are structs: nvcc's extended lambdas crash there.
struct ProductElement {
  kernels::Gemm args;
  KOKKOS_FUNCTION void operator()(const std::int64_t at) const {
    using kernels::panel_width;
    const std::int64_t m = at / args.b.outputs;
    const std::int64_t n = at % args.b.outputs;
    const std::int64_t depth = args.b.inputs;
    const std::int64_t base = (n / panel_width) * depth * panel_width + n % panel_width;
    const float* row = args.a + m * args.lda;
    float sum = 0;
    if (args.b.is_bf16) {
      const auto* weights = static_cast<const std::uint16_t*>(args.b.data) + base;
      for (std::int64_t k = 0; k < depth; ++k) sum = detmath::fma(row[k], bf16_to_float(weights[k * panel_width]), sum);
    } else {
      const auto* weights = static_cast<const float*>(args.b.data) + base;
      for (std::int64_t k = 0; k < depth; ++k) sum = detmath::fma(row[k], weights[k * panel_width], sum);
    }
    args.c[m * args.ldc + n] = sum;
  }
};

template <class ExecutionSpace>
void gemm(const ExecutionSpace& space, const kernels::Gemm& args) {
  using Policy = Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<std::int64_t>>;
  Kokkos::parallel_for("seqkv::model::gemm", Policy(space, 0, args.rows * args.b.outputs), ProductElement{args});
}

}  // namespace seqkv::kokkos
