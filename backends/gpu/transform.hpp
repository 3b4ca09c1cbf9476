// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Transforms with quantizers on a GPU: matrix products whose results, or whose rows, are numbers.
#pragma once

#include "backends/gpu/gemm.hpp"
#include "codec/transform/transform.hpp"

namespace seqkv::gpu {

struct ToNumbers {
  codec::ForwardTransform args;
  KOKKOS_INLINE_FUNCTION void operator()(std::int64_t row, std::int64_t c, float sum) const {
    args.numbers[c * args.ld_numbers + row] = codec::quantize(args.quantizers[c], sum);
  }
};

struct FromNumbers {
  static constexpr bool rows_are_neighbors = true;
  codec::InverseTransform args;
  KOKKOS_INLINE_FUNCTION float operator()(std::int64_t row, std::int64_t c) const {
    return codec::dequantize(args.quantizers[c], args.numbers[c * args.ld_numbers + row]);
  }
};

/// What is left of a chain that may have begun with zeros of either sign.
struct ToRestored {
  ToRows rows;
  KOKKOS_INLINE_FUNCTION void operator()(std::int64_t row, std::int64_t output, float sum) const {
    rows(row, output, sum + 0.0F);
  }
};

template <class ExecutionSpace>
void forward_transform(const ExecutionSpace& space, const codec::ForwardTransform& args) {
  if (args.rows == 0) return;
  product("seqkv::codec::forward_transform", space, args.rows, Weights{args.matrix.block, args.matrix.blocks},
          Rows(args.in, args.ld_in, args.matrix.block.inputs), ToNumbers{args});
}

template <class ExecutionSpace>
void inverse_transform(const ExecutionSpace& space, const codec::InverseTransform& args) {
  if (args.rows == 0) return;
  product("seqkv::codec::inverse_transform", space, args.rows, Weights{args.matrix.block, args.matrix.blocks},
          FromNumbers{args}, ToRestored{{args.out, args.ld_out}});
}

}  // namespace seqkv::gpu
