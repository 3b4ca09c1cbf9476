// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// How a sub-block is predicted from the same tokens in another context: learned from documents behind two preambles
/// each, one of which has been coded without a reference.
#pragma once

#include <filesystem>
#include <optional>

#include "calibrate/fit_predictor.hpp"

namespace seqkv::calibration {

/// What has been learned of a sub-block without references.
struct LinearFit {
  FittedPredictor predictor;
  Stored weight;  ///< [inputs]
  std::array<float, codec::distance_knots> knots{};
  SquareRoot metric;
};

class ReferenceFit {
 public:
  /// `tokens` are the features of all tokens, as they are stored. Precondition: the plan has pairs.
  ReferenceFit(const Plan& plan, std::filesystem::path folder, const Floats& tokens);

  /// Sub-block after sub-block, from 0 on. Errors: those of read_pairs.
  Result<void> next(std::int64_t number, LinearFit linear);

  /// None for the first layer, whose numbers follow from the token.
  const std::optional<FittedPredictor>& fitted(std::int64_t number) const {
    return fitted_[static_cast<std::size_t>(number)];
  }

 private:
  Rows features(const std::vector<Floats>& below, std::int64_t number) const;
  Floats code_linearly(const LinearFit& linear, std::int64_t number, const std::vector<Row>& rows,
                       const std::vector<Floats>& below, const Floats& exact) const;
  void fit_layer(std::int64_t layer);
  void fit(std::int64_t number, const Floats& exact);

  const Plan& plan_;
  std::filesystem::path folder_;
  const Floats& tokens_;
  Hats hats_;
  std::vector<float> weights_;     ///< of rows: all the same
  std::vector<LinearFit> linear_;  ///< of the layer at hand
  std::vector<Floats> exact_;      ///< of the layer at hand, in the context that is predicted
  std::vector<Floats> source_;     ///< [sub-blocks so far] decoded in the other context; those not needed are empty
  std::vector<Floats> decoded_;    ///< the same in the context that is predicted
  std::vector<std::optional<FittedPredictor>> fitted_;
};

}  // namespace seqkv::calibration
