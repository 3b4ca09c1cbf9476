// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// What a profile knows of a token: its embedding as the first layer sees it, of which keys and values of layer 0 are
/// linear functions, or what of it says most of all layers.
#pragma once

#include <filesystem>

#include "calibrate/plan.hpp"
#include "calibrate/products.hpp"

namespace seqkv::calibration {

/// Rows scaled to a mean square of 1, as the first layer does.
Rows normalized(const Rows& embedding, double epsilon);

/// `embedding` is [vocabulary][hidden], normalized. The result is [vocabulary][plan.sizes.token_width]: the embedding,
/// or where it is wider its directions that explain most of the sampled values of all sub-blocks, in their metrics, by
/// least squares (reduced-rank regression as in regression.hpp, whose targets are all of them).
/// Errors: those of read_samples.
Result<Floats> token_features(const Plan& plan, const std::filesystem::path& folder, const Rows& embedding);

}  // namespace seqkv::calibration
