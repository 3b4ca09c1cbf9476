// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The forward pass' kernels, differentiated (reverse mode), portable. Every result is one chain in a fixed order.
#pragma once

#include <Kokkos_Core.hpp>

#include "backends/kokkos/row_sum.hpp"

namespace seqkv::kokkos {

/// y = x * scale * weight, scale = 1 / sqrt(mean(x^2) + epsilon): returns what the gradient of y adds to that of x.
/// With g = dy * weight: dx = scale * (g - x * scale^2 * mean(g x)).
template <class X, class Gradient, class Add>
KOKKOS_INLINE_FUNCTION void norm_gradient(std::int64_t width, float epsilon, const X& x, const Gradient& g,
                                          const Add& add) {
  const float scale = inverse_rms(width, epsilon, x);
  const float dot = row_sum(width, [&](std::int64_t i, float sum) { return detmath::fma(g(i), x(i), sum); });
  const float shared = dot / static_cast<float>(width) * scale * scale;
  for (std::int64_t i = 0; i < width; ++i) add(i, scale * (g(i) - x(i) * shared));
}

/// dx += the gradient through y = norm(x).
struct NormGradientRow {
  std::int64_t width;
  const float* x;
  std::int64_t ldx;
  const float* weight;
  float epsilon;
  const float* dy;
  std::int64_t lddy;
  float* dx;
  std::int64_t lddx;

  KOKKOS_FUNCTION void operator()(const std::int64_t m) const {
    const float* row = x + m * ldx;
    const float* gradient = dy + m * lddy;
    float* out = dx + m * lddx;
    norm_gradient(
        width, epsilon, [=](std::int64_t i) { return row[i]; }, [&](std::int64_t i) { return gradient[i] * weight[i]; },
        [&](std::int64_t i, float add) { out[i] += add; });
  }
};

/// act = silu(gate + bias) * (up + bias): gate and up become their own gradients.
struct GatedGradientElement {
  std::int64_t width;
  float* gate_up;
  std::int64_t ldg;
  const float* bias;
  const float* dact;
  std::int64_t lda;

  KOKKOS_FUNCTION void operator()(const std::int64_t at) const {
    const std::int64_t m = at / width;
    const std::int64_t i = at % width;
    float& gate = gate_up[m * ldg + i];
    float& up = gate_up[m * ldg + width + i];
    const float a = bias == nullptr ? gate : gate + bias[i];
    const float b = bias == nullptr ? up : up + bias[width + i];
    const float d = dact[m * lda + i];
    // sigmoid(a) = silu(a) / a, with its limit at 0.
    const float silu = detmath::silu(a);
    const float sigmoid = a == 0.0F ? 0.5F : silu / a;
    gate = d * b * (sigmoid + silu * (1.0F - sigmoid));
    up = d * silu;
  }
};

/// Row m of the logits becomes the gradient of the log-probability of a token drawn from their softmax: one-hot minus
/// probabilities. The draw is the first token whose cumulated probability exceeds uniform[m], in [0, 1). Sums are
/// double: vocabularies are long, and the draws shall be of the model's distribution.
struct DrawRow {
  std::int64_t vocabulary;
  float* logits;
  std::int64_t ld;
  const float* uniform;

  KOKKOS_FUNCTION void operator()(const std::int64_t m) const {
    float* row = logits + m * ld;
    float largest = row[0];
    for (std::int64_t v = 1; v < vocabulary; ++v) largest = row[v] > largest ? row[v] : largest;
    double sum = 0;
    for (std::int64_t v = 0; v < vocabulary; ++v) sum += row[v] = detmath::exp(row[v] - largest);
    const double target = uniform[m] * sum;
    std::int64_t drawn = 0;
    double cumulated = row[0];
    while (cumulated <= target && drawn + 1 < vocabulary) cumulated += row[++drawn];
    const auto inverse = static_cast<float>(1.0 / sum);
    for (std::int64_t v = 0; v < vocabulary; ++v) row[v] = (v == drawn ? 1.0F : 0.0F) - row[v] * inverse;
  }
};

/// A packed matrix, transposed: element (k, n) of the result is (n, k) of the source. One element of the result each.
struct TransposeElement {
  kernels::PackedMatrix from;
  void* to;
  std::int64_t padded;  ///< from.inputs rounded up to panels

  KOKKOS_FUNCTION void operator()(const std::int64_t at) const {
    using kernels::panel_width;
    const std::int64_t k = at / from.outputs;
    const std::int64_t n = at % from.outputs;
    const std::int64_t target = (k / panel_width * from.outputs + n) * panel_width + k % panel_width;
    const std::int64_t source = (n / panel_width * from.inputs + k) * panel_width + n % panel_width;
    const bool there = k < from.inputs;
    if (from.is_bf16) {
      static_cast<std::uint16_t*>(to)[target] = there ? static_cast<const std::uint16_t*>(from.data)[source] : 0;
    } else {
      static_cast<float*>(to)[target] = there ? static_cast<const float*>(from.data)[source] : 0.0F;
    }
  }
};

}  // namespace seqkv::kokkos
