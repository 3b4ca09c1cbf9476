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

/// numbers[c][r] = quantize(sum over k of rows[r][k] * matrix[c][k]).
struct ForwardTransform {
  std::int64_t rows = 0;
  const float* in = nullptr;  ///< [rows][inputs]
  std::int64_t ld_in = 0;
  kernels::PackedMatrix matrix;           ///< of float, [coefficients][inputs]
  const Quantizer* quantizers = nullptr;  ///< [coefficients]
  std::int16_t* numbers = nullptr;        ///< [coefficients][rows]: what one table codes stands together
  std::int64_t ld_numbers = 0;
};

/// out[r][i] += sum over c of dequantize(numbers[c][r]) * matrix[i][c], the chain starting with the old out[r][i].
struct InverseTransform {
  std::int64_t rows = 0;
  const std::int16_t* numbers = nullptr;  ///< [coefficients][rows], none of them no_number
  std::int64_t ld_numbers = 0;
  const Quantizer* quantizers = nullptr;  ///< [coefficients]
  kernels::PackedMatrix matrix;           ///< of float, [outputs][coefficients]
  float* out = nullptr;                   ///< [rows][outputs rounded up to 32]
  std::int64_t ld_out = 0;
};

}  // namespace seqkv::codec
