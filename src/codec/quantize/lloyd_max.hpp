// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The scalar quantizer of least mean squared error for a component of a random unit vector.
#pragma once

#include <cstdint>
#include <vector>

namespace seqkv::codec {

/// The 2^bits centroids, ascending, of the Lloyd-Max quantizer for one component x of a vector that is uniform on
/// the unit sphere in `dim` >= 4 dimensions: density proportional to (1 - x^2)^((dim - 3) / 2) on [-1, 1]
/// (arXiv 2504.19874, Lemma 1). Computed with +, -, *, / and sqrt only: the same on every machine.
std::vector<double> lloyd_max_centroids(int bits, std::int64_t dim);

}  // namespace seqkv::codec
