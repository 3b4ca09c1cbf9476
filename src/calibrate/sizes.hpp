// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// How large a profile is: one rule for all models (docs/calibrate.md, "Size").
#pragma once

#include <cstdint>

#include "seqkv/calibrate.hpp"

namespace seqkv::calibration {

struct Sizes {
  std::int64_t layers_below = 0;  ///< whose decoded values predict one above
  std::int64_t token_width = 0;   ///< what a profile knows of a token; may be 0
  std::int64_t rank = 0;          ///< of predictors, where that is cheaper than a whole matrix; 0: they are whole
  std::int64_t blocks = 1;        ///< of transforms
  bool lossless = false;          ///< whether coding without loss is learned, too
};

/// What a profile may cost.
struct Budget {
  std::int64_t bytes = 0;
  std::int64_t products = 0;  ///< multiply-adds to code a token
};

Budget budget_of(const ModelConfig& config, const CalibrateOptions& options);

/// What a profile of these sizes costs, its numbers in f16.
Budget cost_of(const ModelConfig& config, const Sizes& sizes);

/// The largest sizes within the budget, or the smallest that there are. Errors: invalid_argument (the profile may take
/// so many bytes only, and none is that small).
Result<Sizes> choose_sizes(const ModelConfig& config, const CalibrateOptions& options);

/// As Profile::Data::window.
inline std::int64_t window_of(std::int64_t number, std::int64_t layers_below) {
  const std::int64_t layer = number / 2;
  return number - 2 * (layer > layers_below ? layer - layers_below : 0);
}

/// The rank of a sub-block's predictor with so many inputs and outputs; 0: a whole matrix is no larger.
inline std::int64_t useful_rank(std::int64_t rank, std::int64_t inputs, std::int64_t outputs) {
  return rank * (inputs + outputs) < inputs * outputs ? rank : 0;
}

}  // namespace seqkv::calibration
