// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Register-blocked matrix product: MR rows times 16 NV columns stay in registers while the inner index runs in
/// order, so that each output is one chain of fused multiply-adds like in the portable kernel.
#pragma once

#include "backends/cpu/simd.hpp"
#include "core/gemm.hpp"

namespace seqkv::cpu::SEQKV_ISA {

#if defined(__AVX512F__)
inline constexpr int most_rows = 12;  // 12 x 2 sums, 2 columns, 1 broadcast: 27 of 32 registers
inline constexpr int most_vectors = 2;
#else
inline constexpr int most_rows = 6;  // 6 x 2 sums, 2 columns, 1 broadcast: 15 of 16 registers
inline constexpr int most_vectors = 1;
#endif

/// Rows of b one after the other, or those of a list.
struct AllRows {
  SEQKV_INLINE std::int64_t operator()(std::int64_t k) const { return k; }
};
struct SomeRows {
  const std::int32_t* rows;
  SEQKV_INLINE std::int64_t operator()(std::int64_t k) const { return rows[k]; }
};

/// c[MR][16 NV] (+)= a[MR][depth] * b[row_of(depth)][16 NV].
template <int MR, int NV, class B, class RowOf>
SEQKV_INLINE void multiply_tile(std::int64_t depth, const float* a, std::int64_t lda, const B* b, std::int64_t ldb,
                                float* c, std::int64_t ldc, bool accumulate, RowOf row_of) {
  f32x16 sum[MR][NV];
#pragma GCC unroll 12
  for (int m = 0; m < MR; ++m) {
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) sum[m][v] = accumulate ? load(c + m * ldc + v * lanes) : splat(0.0F);
  }
  for (std::int64_t k = 0; k < depth; ++k) {
    f32x16 column[NV];
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) column[v] = load(b + row_of(k) * ldb + v * lanes);
#pragma GCC unroll 12
    for (int m = 0; m < MR; ++m) {
      const f32x16 factor = splat(a[m * lda + k]);
#pragma GCC unroll 2
      for (int v = 0; v < NV; ++v) sum[m][v] = fma(factor, column[v], sum[m][v]);
    }
  }
#pragma GCC unroll 12
  for (int m = 0; m < MR; ++m) {
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) store(c + m * ldc + v * lanes, sum[m][v]);
  }
}

/// The tile function for `rows` = 1 .. most_rows.
template <int NV, class B, class RowOf, int MR = most_rows>
SEQKV_INLINE void multiply_rows_of(std::int64_t rows, std::int64_t depth, const float* a, std::int64_t lda, const B* b,
                                   std::int64_t ldb, float* c, std::int64_t ldc, bool accumulate, RowOf row_of) {
  if constexpr (MR == 1) {
    multiply_tile<1, NV>(depth, a, lda, b, ldb, c, ldc, accumulate, row_of);
  } else {
    if (rows == MR) {
      multiply_tile<MR, NV>(depth, a, lda, b, ldb, c, ldc, accumulate, row_of);
    } else {
      multiply_rows_of<NV, B, RowOf, MR - 1>(rows, depth, a, lda, b, ldb, c, ldc, accumulate, row_of);
    }
  }
}

/// c[rows][columns] (+)= a[rows][depth] * b[row_of(depth)][columns]; columns a multiple of 16.
template <class B, class RowOf = AllRows>
inline void multiply(std::int64_t rows, std::int64_t columns, std::int64_t depth, const float* a, std::int64_t lda,
                     const B* b, std::int64_t ldb, float* c, std::int64_t ldc, bool accumulate, RowOf row_of = {}) {
  for (std::int64_t m = 0; m < rows; m += most_rows) {
    const std::int64_t some = rows - m < most_rows ? rows - m : most_rows;
    std::int64_t n = 0;
    for (; n + lanes * most_vectors <= columns; n += lanes * most_vectors) {
      multiply_rows_of<most_vectors>(some, depth, a + m * lda, lda, b + n, ldb, c + m * ldc + n, ldc, accumulate,
                                     row_of);
    }
    for (; n < columns; n += lanes) {
      multiply_rows_of<1>(some, depth, a + m * lda, lda, b + n, ldb, c + m * ldc + n, ldc, accumulate, row_of);
    }
  }
}

/// Inner indices of a piece: that much of a panel stays in the first-level cache while rows pass by.
inline constexpr std::int64_t gemm_piece = 384;

/// Panels [first_panel, last_panel) of kernels::Gemm, rows [first, last). The inner index goes in pieces, so that what
/// all panels read of the rows stays in the second-level cache; sums wait in c meanwhile, exact, so the chain is not
/// broken.
inline void gemm_panels(const kernels::Gemm& args, std::int64_t first_panel, std::int64_t last_panel,
                        std::int64_t first, std::int64_t last) {
  using kernels::panel_width;
  const std::int64_t depth = args.b.inputs;
  for (std::int64_t k = 0; k < depth; k += gemm_piece) {
    const std::int64_t some = depth - k < gemm_piece ? depth - k : gemm_piece;
    const float* a = args.a + first * args.lda + k;
    for (std::int64_t panel = first_panel; panel < last_panel; ++panel) {
      const std::int64_t left = args.b.outputs - panel * panel_width;
      const std::int64_t columns = left <= lanes ? lanes : panel_width;
      float* c = args.c + first * args.ldc + panel * panel_width;
      const std::int64_t at = (panel * depth + k) * panel_width;
      if (args.b.is_bf16) {
        multiply(last - first, columns, some, a, args.lda, static_cast<const std::uint16_t*>(args.b.data) + at,
                 panel_width, c, args.ldc, k > 0);
      } else {
        multiply(last - first, columns, some, a, args.lda, static_cast<const float*>(args.b.data) + at, panel_width, c,
                 args.ldc, k > 0);
      }
    }
  }
}

}  // namespace seqkv::cpu::SEQKV_ISA
