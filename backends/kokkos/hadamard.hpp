// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The rotation of TurboQuant: random signs, then an orthogonal matrix that spreads every component over all
/// others. For dim = 2^k m with m odd it is the Kronecker product of the Walsh-Hadamard matrix of size 2^k and the
/// discrete Hartley matrix of size m; both are symmetric and their own inverses.
#pragma once

#include <Kokkos_Core.hpp>

#include "codec/transform/rotation.hpp"
#include "core/detmath.hpp"
#include "core/random_bits.hpp"

namespace seqkv::kokkos {

/// In place, not normalized; size a power of two. Butterflies in the order 1, 2, 4, ...
KOKKOS_INLINE_FUNCTION void walsh_hadamard(float* x, std::int64_t size) {
  for (std::int64_t half = 1; half < size; half *= 2) {
    for (std::int64_t base = 0; base < size; base += 2 * half) {
      for (std::int64_t i = base; i < base + half; ++i) {
        const float a = x[i];
        const float b = x[i + half];
        x[i] = a + b;
        x[i + half] = a - b;
      }
    }
  }
}

struct Rotation : codec::Rotation {
  KOKKOS_INLINE_FUNCTION void flip_signs(float* x) const {
    std::uint64_t bits = 0;
    for (std::int64_t i = 0; i < dim; ++i) {
      if (i % 64 == 0) bits = random_bits(seed, static_cast<std::uint64_t>(i / 64));
      if ((bits >> static_cast<std::uint64_t>(i % 64) & 1U) != 0) x[i] = -x[i];
    }
  }

  /// x[j * power + p] over j, for each p: one chain of fused multiply-adds an output.
  KOKKOS_INLINE_FUNCTION void multiply_hartley(float* x) const {
    float column[most_dim];
    for (std::int64_t p = 0; p < power; ++p) {
      for (std::int64_t j = 0; j < odd; ++j) column[j] = x[j * power + p];
      for (std::int64_t j = 0; j < odd; ++j) {
        float sum = 0;
        for (std::int64_t i = 0; i < odd; ++i) sum = detmath::fma(hartley[j * odd + i], column[i], sum);
        x[j * power + p] = sum;
      }
    }
  }

  KOKKOS_INLINE_FUNCTION void spread(float* x) const {
    for (std::int64_t j = 0; j < odd; ++j) walsh_hadamard(x + j * power, power);
    if (odd > 1) multiply_hartley(x);
    for (std::int64_t i = 0; i < dim; ++i) x[i] *= scale;
  }

  KOKKOS_INLINE_FUNCTION void forward(float* x) const {
    flip_signs(x);
    spread(x);
  }
  KOKKOS_INLINE_FUNCTION void inverse(float* x) const {
    spread(x);
    flip_signs(x);
  }
};

}  // namespace seqkv::kokkos
