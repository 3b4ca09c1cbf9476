// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// How much errors matter: a metric for the numbers of a sub-block, and a weight for each token that a decoder can
/// predict from what stands below.
#pragma once

#include <array>
#include <span>

#include "calibrate/samples.hpp"
#include "codec/predict/arguments.hpp"

namespace seqkv::calibration {

/// How a token's share depends on its distance to the end, d: hat k is 1 at 2^k and falls linearly to 0 at 2^(k-1) and
/// 2^(k+1), which is how the codec reads a profile's knots. The last hat stays 1.
class Hats {
 public:
  /// For distances up to `most`.
  explicit Hats(std::int64_t most);
  std::int64_t count() const { return count_; }
  void write(float distance, float* out) const;
  /// The knots of a profile from one number a hat: the last is held.
  std::array<float, codec::distance_knots> knots(std::span<const double> coefficients) const;

 private:
  std::int64_t count_;
};

/// log of the mean of non-negative numbers E as a linear function of features: gamma regression with a log link, that
/// is, least sum of weight * (E exp(-h) + h), h = x * coefficients. `ridge` holds back all coefficients but the first
/// `free` ones. Fisher scoring from least squares on logarithms.
struct LogMean {
  std::vector<double> coefficients;
  std::vector<float> h;  ///< by row
};
LogMean fit_log_mean(const Rows& features, std::span<const float> values, std::span<const float> weights,
                     std::int64_t free, double ridge);

/// E[g g^T] / continuation of a token with features x is about exp(h(x)) root * root.
struct Importance {
  SquareRoot metric;           ///< plan.sizes.blocks blocks along the diagonal
  std::vector<double> hats;    ///< coefficients of the distance
  std::vector<double> inputs;  ///< of the features, as they are
  double constant = 0;         ///< part of h, which is about 0 in the mean
};

/// How much each row counts.
std::vector<float> weights_of(const Plan& plan);

/// The root of a sub-block's metric, the mean of g g^T, each row divided by what its distance alone makes of it.
SquareRoot metric_root(const Plan& plan, const Samples& samples);

Importance fit_importance(const Plan& plan, const Samples& samples, const Rows& features);

}  // namespace seqkv::calibration
