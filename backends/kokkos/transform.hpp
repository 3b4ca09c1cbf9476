// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Transforms with quantizers, portable: one thread an output, its inner index in order.
#pragma once

#include <Kokkos_Core.hpp>

#include "codec/transform/transform.hpp"

namespace seqkv::kokkos {

/// Element (n, 0) of a packed matrix; elements along the inner index are panel_width apart.
KOKKOS_INLINE_FUNCTION const float* packed_row(const kernels::PackedMatrix& matrix, std::int64_t n) {
  using kernels::panel_width;
  return static_cast<const float*>(matrix.data) + n / panel_width * matrix.inputs * panel_width + n % panel_width;
}

struct ForwardTransformElement {
  codec::ForwardTransform args;

  KOKKOS_FUNCTION void operator()(const std::int64_t at) const {
    const std::int64_t row = at / args.matrix.outputs;
    const std::int64_t c = at % args.matrix.outputs;
    const float* weights = packed_row(args.matrix, c);
    const float* in = args.in + row * args.ld_in;
    float sum = 0;
    for (std::int64_t k = 0; k < args.matrix.inputs; ++k) {
      sum = detmath::fma(in[k], weights[k * kernels::panel_width], sum);
    }
    args.numbers[c * args.ld_numbers + row] = codec::quantize(args.quantizers[c], sum);
  }
};

struct InverseTransformElement {
  codec::InverseTransform args;

  KOKKOS_FUNCTION void operator()(const std::int64_t at) const {
    const std::int64_t row = at / args.matrix.outputs;
    const std::int64_t i = at % args.matrix.outputs;
    const float* weights = packed_row(args.matrix, i);
    float& out = args.out[row * args.ld_out + i];
    float sum = out;
    for (std::int64_t c = 0; c < args.matrix.inputs; ++c) {
      const float value = codec::dequantize(args.quantizers[c], args.numbers[c * args.ld_numbers + row]);
      sum = detmath::fma(value, weights[c * kernels::panel_width], sum);
    }
    out = sum;
  }
};

template <class ExecutionSpace>
void forward_transform(const ExecutionSpace& space, const codec::ForwardTransform& args) {
  using Policy = Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<std::int64_t>>;
  Kokkos::parallel_for("seqkv::codec::forward_transform", Policy(space, 0, args.rows * args.matrix.outputs),
                       ForwardTransformElement{args});
}

template <class ExecutionSpace>
void inverse_transform(const ExecutionSpace& space, const codec::InverseTransform& args) {
  using Policy = Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<std::int64_t>>;
  Kokkos::parallel_for("seqkv::codec::inverse_transform", Policy(space, 0, args.rows * args.matrix.outputs),
                       InverseTransformElement{args});
}

}  // namespace seqkv::kokkos
