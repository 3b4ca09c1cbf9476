// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// What a profile says for coding without loss: how the residuals of the predictor follow from each other, how large
/// the rest is, and how its symbols are distributed. Learned on exact values, which is what a decoder will have.
#pragma once

#include <array>

#include "calibrate/plan.hpp"
#include "calibrate/products.hpp"
#include "calibrate/stored.hpp"
#include "calibrate/symbol_counts.hpp"
#include "codec/predict/lossless_arguments.hpp"

namespace seqkv::calibration {

/// Of one (layer, kind); names as in Profile::Data::Subblock.
struct FittedLossless {
  Stored below;   ///< [width][width]; nothing for the first
  Stored within;  ///< [width][width]
  std::vector<std::int16_t> scales;
};

class LosslessFit {
 public:
  explicit LosslessFit(const Plan& plan);

  /// Sub-block after sub-block: its values and what is predicted of them from exact values below.
  FittedLossless next(std::int64_t number, const Floats& values, Floats predicted);

  /// For the symbols that the fit has seen.
  std::vector<codec::Frequencies> make_tables() const;

 private:
  void weigh(const Floats& residual);
  Floats correct_from_below(const Floats& residual, Floats& predicted, FittedLossless& out) const;
  Stored fit_within(const codec::PredictiveStep& order, const Floats& residual) const;
  std::vector<std::int16_t> measure(const codec::PredictiveStep& order, const Floats& rest) const;
  void count(const codec::LosslessStep& step, const Floats& values);

  const Plan& plan_;
  std::vector<float> cosine_, sine_;  ///< [rows][pairs]
  std::int64_t pairs_;
  std::vector<float> weights_;  ///< of rows, for the sub-block at hand
  Floats residual_;             ///< of the sub-block below
  SymbolCounts counts_;
};

}  // namespace seqkv::calibration
