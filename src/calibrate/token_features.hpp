// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// What a profile knows of a token: its embedding as the first layer sees it, of which keys and values of layer 0 are
/// linear functions.
#pragma once

#include <span>
#include <vector>

#include "calibrate/plan.hpp"
#include "calibrate/products.hpp"

namespace seqkv::calibration {

/// `embedding` is [vocabulary][hidden]. The result is [vocabulary][plan.token_width]: rows of one norm, projected on
/// the principal directions of the plan's text where they are too wide.
Floats token_features(const Plan& plan, const std::vector<float>& embedding, std::int64_t hidden, double epsilon);

}  // namespace seqkv::calibration
