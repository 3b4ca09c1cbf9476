// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "codec/transform/hartley.hpp"

#include <cmath>

#include "core/detmath.hpp"

namespace seqkv::codec {

std::vector<float> hartley_matrix(std::int64_t n) {
  std::vector<float> matrix(static_cast<std::size_t>(n * n));
  const double scale = 1.0 / std::sqrt(static_cast<double>(n));
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      const auto [s, c] =
          detmath::sincos(6.28318530717958647693 * static_cast<double>(i * j % n) / static_cast<double>(n));
      matrix[i * n + j] = static_cast<float>((s + c) * scale);
    }
  }
  return matrix;
}

}  // namespace seqkv::codec
