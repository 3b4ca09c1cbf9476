// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The discrete Hartley matrix, for head sizes that are not powers of two.
#pragma once

#include <cstdint>
#include <vector>

namespace seqkv::codec {

/// (cos(2 pi i j / n) + sin(2 pi i j / n)) / sqrt(n), row-major [n][n]: symmetric, orthogonal, its own inverse
/// (Hartley 1942).
std::vector<float> hartley_matrix(std::int64_t n);

}  // namespace seqkv::codec
