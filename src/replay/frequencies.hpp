// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// A model's next-token distribution in integers, from which tokens are coded (docs/replay.md). The contract of the
/// portable kernels (backends/kokkos) and of their specializations (backends/cpu). No Kokkos here.
///
/// Of a row of logits x with the largest m:
///   w_i = floor(2^30 exp2((x_i - m) log2 e)), in float and each step rounded once; 0 where that is no number
///   f_i = floor(w_i / 2^shift) + 1, with the least shift that brings the sum of the w below 2^31
/// Every token has a frequency, and the sum of all fits into 32 bits.
#pragma once

#include <cstdint>

#include "core/detmath.hpp"
#include "seqkv/inline.hpp"

namespace seqkv::kernels {

inline constexpr std::int64_t frequency_group = 256;   ///< tokens whose frequencies are also stored as a sum
inline constexpr float frequency_one = 1073741824.0F;  ///< 2^30
inline constexpr unsigned frequency_sum_bits = 31;

struct Frequencies {
  std::int64_t rows = 0;
  std::int64_t vocabulary = 0;
  const float* logits = nullptr;
  std::int64_t ld_logits = 0;
  std::uint32_t* frequency = nullptr;  ///< [rows][vocabulary]
  std::uint32_t* group = nullptr;      ///< [rows][groups]
  std::uint32_t* total = nullptr;      ///< [rows]

  SEQKV_INLINE std::int64_t groups() const { return (vocabulary + frequency_group - 1) / frequency_group; }
};

/// w_i as a float, a whole number.
template <class F>
SEQKV_INLINE F frequency_weight(F logit, F largest) {
  using detmath::broadcast;  // of floats; those of vectors stand beside them
  using detmath::select_less;
  const auto c = [&logit](float value) { return broadcast(logit, value); };
  const F weight = detmath::exp2((logit - largest) * c(1.44269504088896340736F)) * c(frequency_one);
  return select_less(weight, c(2.0F * frequency_one), weight, c(0.0F));
}

/// The shift of a row whose w have this sum.
SEQKV_INLINE unsigned frequency_shift(std::uint64_t sum) {
  unsigned shift = 0;
  while ((sum >> shift) >> frequency_sum_bits != 0) ++shift;
  return shift;
}

}  // namespace seqkv::kernels
