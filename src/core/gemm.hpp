// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Matrix products as the forward pass and the codecs' transforms ask for them. Every result is defined to the bit:
/// each output is one chain of fused multiply-adds in the order of the inner index. No Kokkos here (model/kernels.hpp).
#pragma once

#include <cstdint>

namespace seqkv::kernels {

inline constexpr std::int64_t panel_width = 32;  ///< outputs of a packed matrix that stand together

/// A weight matrix [outputs][inputs] in panels: element (n, k) is at ((n / 32) * inputs + k) * 32 + n % 32;
/// outputs beyond the last are zero.
struct PackedMatrix {
  const void* data = nullptr;
  bool is_bf16 = false;  ///< else float
  std::int64_t outputs = 0;
  std::int64_t inputs = 0;
};

/// Elements of a packed matrix.
constexpr std::int64_t packed_size(std::int64_t outputs, std::int64_t inputs) {
  return (outputs + panel_width - 1) / panel_width * panel_width * inputs;
}

/// c[m][n] = sum over k of a[m][k] * b[n][k]. c has room for outputs rounded up to 32 columns.
struct Gemm {
  std::int64_t rows = 0;
  const float* a = nullptr;  ///< [rows][inputs]
  std::int64_t lda = 0;
  PackedMatrix b;
  float* c = nullptr;
  std::int64_t ldc = 0;
};

}  // namespace seqkv::kernels
