// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Transforms with quantizers on a GPU: matrix products whose results, or whose rows, are numbers.
#pragma once

#include "backends/gpu/gemm.hpp"
#include "codec/transform/transform.hpp"

namespace seqkv::gpu {

struct alignas(8) FourNumbers {
  std::int16_t x[4];
};

struct ToNumbers {
  static constexpr bool rows_are_neighbors = true;
  codec::ForwardTransform args;
  KOKKOS_INLINE_FUNCTION bool has_fours(std::int64_t row, std::int64_t) const {
    return ((reinterpret_cast<std::uintptr_t>(args.numbers) / 2 | static_cast<std::uintptr_t>(args.ld_numbers | row)) &
            3U) == 0;
  }
  KOKKOS_INLINE_FUNCTION void four(std::int64_t row, std::int64_t c, const FourFloats& sums) const {
    const codec::Quantizer quantizer = args.quantizers[c];
    FourNumbers numbers;
    SEQKV_UNROLL for (int i = 0; i < 4; ++i) numbers.x[i] = codec::quantize(quantizer, sums.x[i]);
    *reinterpret_cast<FourNumbers*>(args.numbers + c * args.ld_numbers + row) = numbers;
  }
  KOKKOS_INLINE_FUNCTION void operator()(std::int64_t row, std::int64_t c, float sum) const {
    args.numbers[c * args.ld_numbers + row] = codec::quantize(args.quantizers[c], sum);
  }
};

struct FromNumbers {
  static constexpr bool rows_are_neighbors = true;
  codec::InverseTransform args;
  bool has_fours;

  explicit FromNumbers(const codec::InverseTransform& of)
      : args(of),
        has_fours(reinterpret_cast<std::uintptr_t>(of.numbers) % sizeof(FourNumbers) == 0 && of.ld_numbers % 4 == 0) {}

  KOKKOS_INLINE_FUNCTION float operator()(std::int64_t row, std::int64_t c) const {
    return codec::dequantize(args.quantizers[c], args.numbers[c * args.ld_numbers + row]);
  }
  KOKKOS_INLINE_FUNCTION FourFloats four(std::int64_t row, std::int64_t c) const {
    const codec::Quantizer quantizer = args.quantizers[c];
    const auto numbers = *reinterpret_cast<const FourNumbers*>(args.numbers + c * args.ld_numbers + row);
    FourFloats out;
    SEQKV_UNROLL for (int i = 0; i < 4; ++i) out.x[i] = codec::dequantize(quantizer, numbers.x[i]);
    return out;
  }
};

/// What is left of a chain that may have begun with zeros of either sign.
struct ToRestored {
  static constexpr bool rows_are_neighbors = false;
  ToRows rows;
  KOKKOS_INLINE_FUNCTION bool has_fours(std::int64_t row, std::int64_t output) const {
    return rows.has_fours(row, output);
  }
  KOKKOS_INLINE_FUNCTION void four(std::int64_t row, std::int64_t output, const FourFloats& sums) const {
    rows.four(row, output, {{sums.x[0] + 0.0F, sums.x[1] + 0.0F, sums.x[2] + 0.0F, sums.x[3] + 0.0F}});
  }
  KOKKOS_INLINE_FUNCTION void operator()(std::int64_t row, std::int64_t output, float sum) const {
    rows(row, output, sum + 0.0F);
  }
};

template <class ExecutionSpace>
void forward_transform(const ExecutionSpace& space, const codec::ForwardTransform& args) {
  if (args.rows == 0) return;
  product("seqkv::codec::forward_transform", space, args.rows, Weights{args.matrix.block, args.matrix.blocks},
          Rows(args.in, args.ld_in, args.matrix.block.inputs, args.matrix.blocks), ToNumbers{args});
}

template <class ExecutionSpace>
void inverse_transform(const ExecutionSpace& space, const codec::InverseTransform& args) {
  if (args.rows == 0) return;
  product("seqkv::codec::inverse_transform", space, args.rows, Weights{args.matrix.block, args.matrix.blocks},
          FromNumbers(args), ToRestored{{args.out, args.ld_out}});
}

}  // namespace seqkv::gpu
