// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The sum over a row that norms and softmax share: 16 chains, folded in a fixed order (model/kernels.hpp). No
/// Kokkos here: kernels of CPUs use it, too.
#pragma once

#include "core/detmath.hpp"
#include "model/kernels.hpp"

namespace seqkv::kokkos {

/// Sum over i < count of f(i), where step(i, acc) returns acc plus the i-th term in one rounding.
template <class Step>
SEQKV_INLINE float row_sum(std::int64_t count, const Step& step) {
  float lanes[kernels::sum_lanes] = {};
  for (std::int64_t i = 0; i < count; ++i) {
    float& lane = lanes[i % kernels::sum_lanes];
    lane = step(i, lane);
  }
  for (std::int64_t half = kernels::sum_lanes / 2; half > 0; half /= 2) {
    for (std::int64_t j = 0; j < half; ++j) lanes[j] += lanes[j + half];
  }
  return lanes[0];
}

/// 1 / sqrt(mean + epsilon), of the sum of `width` squares.
SEQKV_INLINE float inverse_rms(float squares, std::int64_t width, float epsilon) {
  return 1.0F / detmath::sqrt(squares / static_cast<float>(width) + epsilon);
}

/// The same of x(i), i < width.
template <class Get>
SEQKV_INLINE float inverse_rms(std::int64_t width, float epsilon, const Get& x) {
  const float squares = row_sum(width, [&x](std::int64_t i, float sum) { return detmath::fma(x(i), x(i), sum); });
  return inverse_rms(squares, width, epsilon);
}

}  // namespace seqkv::kokkos
