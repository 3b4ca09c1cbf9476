// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Residual addition and RMSNorm, 16 elements at a time.
#pragma once

#include "backends/cpu/simd.hpp"
#include "model/kernels.hpp"

namespace seqkv::cpu::SEQKV_ISA {

/// 1 / sqrt(mean of x^2 + epsilon).
SEQKV_INLINE float inverse_rms(const float* x, std::int64_t width, float epsilon) {
  f32x16 squares = splat(0.0F);
  for_each_vector(width, [&](std::int64_t i, auto load_, auto) {
    const f32x16 value = load_(x + i);
    squares = fma(value, value, squares);
  });
  return 1.0F / detmath::sqrt(fold_sum(squares) / static_cast<float>(width) + epsilon);
}

inline void norm_rows(const kernels::Norm& args, std::int64_t first, std::int64_t last) {
  for (std::int64_t m = first; m < last; ++m) {
    float* x = args.x + m * args.ldx;
    float* y = args.y + m * args.ldy;
    if (args.delta != nullptr) {
      const float* delta = args.delta + m * args.ldd;
      for_each_vector(args.width, [&](std::int64_t i, auto load_, auto store_) {
        f32x16 step = load_(delta + i);
        if (args.bias != nullptr) step = step + load_(args.bias + i);
        store_(x + i, load_(x + i) + step);
      });
    }
    const f32x16 scale = splat(inverse_rms(x, args.width, args.epsilon));
    for_each_vector(args.width, [&](std::int64_t i, auto load_, auto store_) {
      store_(y + i, load_(x + i) * scale * load_(args.weight + i));
    });
  }
}

}  // namespace seqkv::cpu::SEQKV_ISA
