// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Transforms with quantizers, portable: one thread an output, its inner index in order.
#pragma once

#include <Kokkos_Core.hpp>

#include "codec/transform/transform.hpp"

namespace seqkv::kokkos {

/// Element (n, 0) of a diagonal matrix's blocks; elements along the inner index are panel_width apart.
KOKKOS_INLINE_FUNCTION const float* packed_row(const codec::DiagonalMatrix& matrix, std::int64_t n) {
  using kernels::panel_width;
  const std::int64_t in_block = n % matrix.block.outputs;
  return matrix.panel(n / matrix.block.outputs, in_block / panel_width) + in_block % panel_width;
}

struct ForwardTransformElement {
  codec::ForwardTransform args;

  KOKKOS_FUNCTION void operator()(const std::int64_t at) const {
    const std::int64_t row = at / args.matrix.outputs();
    const std::int64_t c = at % args.matrix.outputs();
    const std::int64_t depth = args.matrix.block.inputs;
    const float* weights = packed_row(args.matrix, c);
    const float* in = args.in + row * args.ld_in + c / args.matrix.block.outputs * depth;
    float sum = 0;
    for (std::int64_t k = 0; k < depth; ++k) sum = detmath::fma(in[k], weights[k * kernels::panel_width], sum);
    args.numbers[c * args.ld_numbers + row] = codec::quantize(args.quantizers[c], sum);
  }
};

struct InverseTransformElement {
  codec::InverseTransform args;

  KOKKOS_FUNCTION void operator()(const std::int64_t at) const {
    const std::int64_t row = at / args.matrix.outputs();
    const std::int64_t i = at % args.matrix.outputs();
    const std::int64_t depth = args.matrix.block.inputs;
    const std::int64_t first = i / args.matrix.block.outputs * depth;
    const float* weights = packed_row(args.matrix, i);
    float sum = 0;
    for (std::int64_t k = 0; k < depth; ++k) {
      const std::int16_t number = args.numbers[(first + k) * args.ld_numbers + row];
      if (number == 0) continue;
      const float value = codec::dequantize(args.quantizers[first + k], number);
      sum = detmath::fma(value, weights[k * kernels::panel_width], sum);
    }
    args.out[row * args.ld_out + i] = sum + 0.0F;
  }
};

template <class ExecutionSpace>
void forward_transform(const ExecutionSpace& space, const codec::ForwardTransform& args) {
  using Policy = Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<std::int64_t>>;
  Kokkos::parallel_for("seqkv::codec::forward_transform", Policy(space, 0, args.rows * args.matrix.outputs()),
                       ForwardTransformElement{args});
}

template <class ExecutionSpace>
void inverse_transform(const ExecutionSpace& space, const codec::InverseTransform& args) {
  using Policy = Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<std::int64_t>>;
  Kokkos::parallel_for("seqkv::codec::inverse_transform", Policy(space, 0, args.rows * args.matrix.outputs()),
                       InverseTransformElement{args});
}

}  // namespace seqkv::kokkos
