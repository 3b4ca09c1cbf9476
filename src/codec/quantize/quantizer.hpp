// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The uniform quantizer of a coefficient, with a dead zone and centroids (spec.md). No Kokkos here.
#pragma once

#include <cstdint>

#include "core/detmath.hpp"

namespace seqkv::codec {

/// Steps are powers of two or anything else; each coefficient has its own.
struct Quantizer {
  float step;
  float inverse_step;  ///< rounded 1 / step
  float rounding;      ///< 1/2 rounds to nearest; less widens the zone that becomes 0 and moves all thresholds outward
  float shift[3];      ///< added to the magnitude 1, to 2, and to all above when values are restored; at most 0

  /// Plain rounding.
  static SEQKV_INLINE Quantizer uniform(float step) { return {step, 1.0F / step, 0.5F, {0.0F, 0.0F, 0.0F}}; }
};

inline constexpr int largest_number = 32767;

/// What stands for a value that has no number: NaN, infinity, or a magnitude beyond largest_number steps.
inline constexpr std::int16_t no_number = -32768;

/// sign(z) floor(|z| / step + rounding).
SEQKV_INLINE std::int16_t quantize(const Quantizer& quantizer, float z) {
  const float y = z * quantizer.inverse_step;
  const float magnitude = detmath::from_bits(detmath::bits(y) & 0x7fffffffU) + quantizer.rounding;
  if (!(magnitude < static_cast<float>(largest_number) + 1.0F)) return no_number;
  const auto number = static_cast<std::int16_t>(static_cast<std::int32_t>(magnitude));
  return detmath::bits(y) >> 31U != 0 ? static_cast<std::int16_t>(-number) : number;
}

/// sign(q) (|q| + shift) step; 0 for 0.
SEQKV_INLINE float dequantize(const Quantizer& quantizer, std::int16_t number) {
  if (number == 0) return 0.0F;
  const int magnitude = number < 0 ? -static_cast<int>(number) : number;
  const float shift = quantizer.shift[magnitude < 3 ? magnitude - 1 : 2];
  const float value = (static_cast<float>(magnitude) + shift) * quantizer.step;
  return number < 0 ? -value : value;
}

}  // namespace seqkv::codec
