// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The parts of TurboQuant's rotation (backends/kokkos/hadamard.hpp) on many rows, for sizes that are multiples of 16.
/// Only for the translation units that define SEQKV_ISA (see simd.hpp).
#pragma once

#include "backends/cpu/hadamard.hpp"
#include "codec/transform/rotation.hpp"
#include "core/random_bits.hpp"

namespace seqkv::cpu::SEQKV_ISA {

/// 16 columns of a row times the Hartley matrix: a chain of fused multiply-adds an output. Odd is rotation.odd, or 0.
template <int Odd>
SEQKV_INLINE void multiply_hartley(const codec::Rotation& rotation, float* x) {
  const std::int64_t odd = Odd > 0 ? Odd : rotation.odd;
  f32x16 column[Odd > 0 ? Odd : codec::Rotation::most_dim / lanes];
#pragma GCC unroll 7
  for (std::int64_t j = 0; j < odd; ++j) column[j] = load(x + j * rotation.power);
#pragma GCC unroll 7
  for (std::int64_t j = 0; j < odd; ++j) {
    f32x16 sum = splat(0.0F);
#pragma GCC unroll 7
    for (std::int64_t i = 0; i < odd; ++i) sum = fma(splat(rotation.hartley[j * odd + i]), column[i], sum);
    store(x + j * rotation.power, sum);
  }
}

template <int Odd>
inline void multiply_hartley(const codec::Rotation& rotation, float* x, std::int64_t rows) {
  for (float* end = x + rows * rotation.dim; x < end; x += rotation.dim) {
    for (std::int64_t p = 0; p < rotation.power; p += lanes) multiply_hartley<Odd>(rotation, x + p);
  }
}

/// The orthogonal matrix without its scale.
inline void spread_rows(const codec::Rotation& rotation, float* x, std::int64_t rows) {
  hadamard_rows(x, rows * rotation.odd, rotation.power);
  if (rotation.odd == 1) return;
  // The sizes that models have: 96, 192; 80, 160; 112, 224.
  if (rotation.odd == 3) return multiply_hartley<3>(rotation, x, rows);
  if (rotation.odd == 5) return multiply_hartley<5>(rotation, x, rows);
  if (rotation.odd == 7) return multiply_hartley<7>(rotation, x, rows);
  multiply_hartley<0>(rotation, x, rows);
}

/// signed_factors[i] = factor, its sign changed where the rotation changes that of component i: multiplying by them is
/// one rounding, as multiplying by the factor.
inline void fill_signs(const codec::Rotation& rotation, float factor, float* signed_factors) {
  for (std::int64_t i = 0; i < rotation.dim; ++i) {
    const std::uint64_t bits = random_bits(rotation.seed, static_cast<std::uint64_t>(i / 64));
    const auto sign = static_cast<std::uint32_t>(bits >> static_cast<std::uint64_t>(i % 64) & 1U) << 31U;
    signed_factors[i] = detmath::from_bits(detmath::bits(factor) ^ sign);
  }
}

}  // namespace seqkv::cpu::SEQKV_ISA
