// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The transform of a sub-block's residuals: principal directions in the metric, and the scales of what they give.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "calibrate/products.hpp"
#include "calibrate/stored.hpp"

namespace seqkv::calibration {

/// Names as in docs/profile.md.
struct FittedTransform {
  std::int64_t blocks = 1;
  std::int64_t coefficients = 0;  ///< of all blocks
  Stored forward;  ///< [blocks][coefficients / blocks][width / blocks], by falling scale, rows of zeros fill up tiles
  Stored inverse;  ///< [blocks][width / blocks][coefficients / blocks]
  std::vector<std::int16_t> scales;
  std::int32_t slope = 0;

  /// Coefficients of rows, and rows of coefficients.
  Floats apply(const Floats& rows) const;
  Floats undo(const Floats& coefficients) const;
};

/// What is known of each row of residuals.
struct Residuals {
  const Floats& values;
  std::span<const float> log_weight;  ///< log2 g, as the codec rounds it
  std::span<const float> matter;      ///< how much their shape matters
  std::span<const float> weights;     ///< how much they count
};

FittedTransform fit_transform(const Residuals& residuals, const SquareRoot& metric, std::int64_t blocks);

}  // namespace seqkv::calibration
