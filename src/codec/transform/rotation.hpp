// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The rotation of TurboQuant as plain numbers: what the portable kernel (backends/kokkos/hadamard.hpp, the definition)
/// and its specializations (backends/cpu) share. No Kokkos here.
#pragma once

#include <cstdint>

namespace seqkv::codec {

struct Rotation {
  static constexpr std::int64_t most_dim = 512;

  std::int64_t dim = 0;
  std::int64_t power = 1;          ///< the largest power of two that divides dim
  std::int64_t odd = 1;            ///< dim / power
  float scale = 1;                 ///< 1 / sqrt(power)
  const float* hartley = nullptr;  ///< [odd][odd], normalized; not read where odd is 1
  std::uint64_t seed = 0;          ///< component i changes its sign if bit i % 64 of random_bits(seed, i / 64) is 1
};

}  // namespace seqkv::codec
