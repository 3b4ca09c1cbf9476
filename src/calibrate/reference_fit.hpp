// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The transform of what is left of a sub-block where another context of the same tokens predicts it: learned from
/// documents behind two preambles each, one of which has been coded without a reference.
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

  /// Sub-block after sub-block, from 0 on. None for the first layer, whose numbers follow from the token. Errors: those
  /// of read_pairs.
  Result<std::optional<FittedTransform>> next(std::int64_t number, const LinearFit& linear);

 private:
  Rows features(const std::vector<Floats>& below, std::int64_t number) const;
  Floats code_linearly(const LinearFit& linear, std::int64_t number, const std::vector<Row>& rows,
                       const std::vector<Floats>& below, const Floats& exact) const;
  FittedTransform fit(const LinearFit& linear, std::int64_t number, const Floats& exact);
  void forget(std::int64_t number);

  const Plan& plan_;
  std::filesystem::path folder_;
  const Floats& tokens_;
  Hats hats_;
  std::vector<float> weights_;   ///< of rows: all the same
  std::vector<Floats> source_;   ///< [sub-blocks so far] decoded in the other context; those not needed are empty
  std::vector<Floats> decoded_;  ///< the same in the context that is predicted
};

}  // namespace seqkv::calibration
