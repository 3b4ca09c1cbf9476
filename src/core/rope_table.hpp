// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Angles of rotary position embedding.
#pragma once

#include <cstdint>
#include <vector>

#include "core/detmath.hpp"
#include "seqkv/kv.hpp"

namespace seqkv {

/// inv_frequency(i) for i < dim / 2, in float like the reference (transformers' rope_utils): a pair turns by
/// position * inv_frequency radians.
std::vector<float> inverse_frequencies(const RopeConfig& rope);

/// cos and sin of the angle of a pair at `position`; the angle is the float product, as in the reference.
SEQKV_INLINE void rope_angle(float frequency, std::int64_t position, float& cosine, float& sine) {
  const auto [s, c] = detmath::sincos(static_cast<float>(position) * frequency);
  cosine = static_cast<float>(c);
  sine = static_cast<float>(s);
}
/// Of each pair.
void rope_angles(const std::vector<float>& frequencies, std::int64_t position, float* cosine, float* sine);

}  // namespace seqkv
