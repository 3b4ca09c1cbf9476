// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "core/rope_table.hpp"

#include "core/detmath.hpp"

namespace seqkv {
namespace {

/// Llama 3.1: wavelengths above original / low_freq_factor are stretched by factor, those below
/// original / high_freq_factor stay, with a linear blend (in frequency) between.
float stretch_llama3(const RopeConfig& rope, float frequency) {
  const auto original = static_cast<float>(rope.original_max_positions);
  const auto low = static_cast<float>(rope.low_freq_factor);
  const auto high = static_cast<float>(rope.high_freq_factor);
  const auto factor = static_cast<float>(rope.factor);
  const float wavelength = 6.28318530717958647693F / frequency;
  if (wavelength < original / high) return frequency;
  if (wavelength > original / low) return frequency / factor;
  const float smooth = (original / wavelength - low) / (high - low);
  return (1.0F - smooth) * frequency / factor + smooth * frequency;
}

}  // namespace

std::vector<float> inverse_frequencies(const RopeConfig& rope) {
  std::vector<float> frequencies(static_cast<std::size_t>(rope.dim / 2));
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(rope.dim);
    float frequency = 1.0F / static_cast<float>(detmath::pow(rope.theta, exponent));
    if (rope.scaling == RopeScaling::linear) frequency /= static_cast<float>(rope.factor);
    if (rope.scaling == RopeScaling::llama3) frequency = stretch_llama3(rope, frequency);
    frequencies[i] = frequency;
  }
  return frequencies;
}

void rope_angles(const std::vector<float>& frequencies, std::int64_t position, float* cosine, float* sine) {
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    rope_angle(frequencies[i], position, cosine[i], sine[i]);
  }
}

}  // namespace seqkv
