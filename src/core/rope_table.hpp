// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Angles of rotary position embedding.
#pragma once

#include <cstdint>
#include <vector>

#include "seqkv/kv.hpp"

namespace seqkv {

/// inv_frequency(i) for i < dim / 2, in float like the reference (transformers' rope_utils): a pair turns by
/// position * inv_frequency radians.
std::vector<float> inverse_frequencies(const RopeConfig& rope);

/// cos and sin of the angle of each pair at `position`; the angle is the float product, as in the reference.
void rope_angles(const std::vector<float>& frequencies, std::int64_t position, float* cosine, float* sine);

}  // namespace seqkv
