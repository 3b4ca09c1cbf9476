// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Linear transforms of rows with the quantizer in the same pass: what the portable kernels (backends/kokkos) and their
/// specializations (backends/cpu) compute. No Kokkos here. The maths is in spec.md.
///
/// Pointers are to memory of the execution space; "ld" is the distance of rows in elements. Every result is defined to
/// the bit: a coefficient, or a restored component, is one chain of fused multiply-adds in the order of the inner
/// index.
#pragma once

#include "codec/quantize/quantizer.hpp"
#include "core/gemm.hpp"

namespace seqkv::codec {

/// Matrices of one size that stand along a diagonal, zeros elsewhere: block b takes inputs from b * block.inputs on and
/// gives outputs from b * block.outputs on.
struct DiagonalMatrix {
  kernels::PackedMatrix block;  ///< of float; the first, the others follow packed_size() elements apart
  std::int64_t blocks = 1;

  SEQKV_INLINE std::int64_t inputs() const { return blocks * block.inputs; }
  SEQKV_INLINE std::int64_t outputs() const { return blocks * block.outputs; }
  SEQKV_INLINE std::int64_t panels() const { return (block.outputs + kernels::panel_width - 1) / kernels::panel_width; }
  /// Panel p of block b: [block.inputs][panel_width].
  SEQKV_INLINE const float* panel(std::int64_t b, std::int64_t p) const {
    return static_cast<const float*>(block.data) + (b * panels() + p) * block.inputs * kernels::panel_width;
  }
};

/// numbers[c][r] = quantize(sum over k of rows[r][k] * matrix[c][k]).
struct ForwardTransform {
  std::int64_t rows = 0;
  const float* in = nullptr;  ///< [rows][inputs]
  std::int64_t ld_in = 0;
  DiagonalMatrix matrix;                  ///< [coefficients][inputs]
  const Quantizer* quantizers = nullptr;  ///< [coefficients]
  std::int16_t* numbers = nullptr;        ///< [coefficients][rows]: what one table codes stands together
  std::int64_t ld_numbers = 0;
};

/// out[r][i] = (sum over c of dequantize(numbers[c][r]) * matrix[i][c]) + 0. Numbers that are 0 may be left out: with
/// the 0 added at the end not even the sign of a 0 depends on them.
struct InverseTransform {
  std::int64_t rows = 0;
  const std::int16_t* numbers = nullptr;  ///< [coefficients][rows], none of them no_number
  std::int64_t ld_numbers = 0;
  const Quantizer* quantizers = nullptr;  ///< [coefficients]
  DiagonalMatrix matrix;                  ///< [outputs][coefficients]
  float* out = nullptr;                   ///< [rows][outputs rounded up to 32]
  std::int64_t ld_out = 0;
};

}  // namespace seqkv::codec
