// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Predicting the numbers of a sub-block from features, in the way that costs least, and the transform of what is left.
#pragma once

#include <array>

#include "calibrate/fit_transform.hpp"
#include "calibrate/importance.hpp"

namespace seqkv::calibration {

/// Names as in docs/profile.md.
struct FittedPredictor {
  std::int64_t rank = 0;  ///< 0: there is no `squeeze`
  Stored squeeze;         ///< [rank][inputs]: the constant, what the weight is made of, what numbers are made of
  Stored predict;         ///< [width + 1][inputs], or `expand` [width + 1][rank]
  FittedTransform transform;
};

/// What is to be predicted, and from what.
struct Targets {
  const Rows& inputs;                 ///< features, the constant 1 first, then values
  const Floats& values;               ///< [rows][width]
  const Stored& weight;               ///< [features]: log2 of a token's weight
  std::span<const float> log_weight;  ///< log2 g by row, as the codec rounds it
  std::span<const float> weights;     ///< how much rows count
  const SquareRoot& metric;
  std::int64_t rank = 0;    ///< 0: a whole matrix
  std::int64_t blocks = 1;  ///< of the transform

  std::int64_t columns() const { return inputs.columns - values.columns; }
};

/// What the stored predictor makes of rows, and what it leaves.
struct Predicted {
  Floats values;  ///< [rows][width]
  Floats residual;
  std::vector<float> matter;  ///< by row: how much its residual's shape matters
};

/// log2 of the weights that the codec makes of features and of the distance to the end of the block.
std::vector<float> log_weights(const Rows& inputs, const Stored& weight, std::span<const Row> rows, const Hats& hats,
                               const std::array<float, codec::distance_knots>& knots);

/// What a stored predictor makes of rows that begin with its features.
Floats predict_from(const FittedPredictor& predictor, const Rows& inputs, std::int64_t columns, std::int64_t width);

Floats difference(const Floats& a, const Floats& b);

/// Mean squares of residuals in a metric, by row.
std::vector<float> weighted_sizes(const Floats& residual, const SquareRoot& metric);

/// How much the shapes of residuals of these sizes matter, of mean 1: those that are coded finer than they can be
/// predicted count by what they save, others by their weight.
std::vector<float> matter_of(std::span<const float> log_weight, std::span<const float> weights,
                             std::span<const float> sizes);

/// Least squares, rows by how much their residuals will matter.
Predicted fit_predictor(const Targets& targets, FittedPredictor& out);

}  // namespace seqkv::calibration
