// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// What a profile says of each sub-block, learned in the order in which the codec works: every fit sees below it what a
/// decoder will have.
#pragma once

#include <array>
#include <optional>

#include "calibrate/code_samples.hpp"
#include "calibrate/fit_predictor.hpp"
#include "calibrate/lossless.hpp"
#include "calibrate/reference_fit.hpp"

namespace seqkv::calibration {

/// Of one (layer, kind); names as in docs/profile.md.
struct Fitted : FittedPredictor {
  std::optional<FittedTransform> reference;  ///< of what another context leaves
  std::array<float, codec::distance_knots> knots{};
  std::vector<float> first_row;
  FittedLossless lossless;
};

class Fit {
 public:
  /// `tokens` are the features of all tokens, as they are stored.
  Fit(const Plan& plan, std::filesystem::path folder, const Floats& tokens);

  /// Sub-block after sub-block, from 0 on. Errors: those of read_samples.
  Result<Fitted> next();

  /// For the symbols that the fit has seen.
  std::vector<codec::Frequencies> make_tables() const { return coder_.make_tables(); }
  std::vector<codec::Frequencies> make_lossless_tables() const { return lossless_.make_tables(); }

 private:
  struct Work;
  Rows inputs_of(const Work& work, const std::vector<Floats>& below) const;
  float* write_token(std::int64_t row, float* out) const;
  float* write_below(std::int64_t number, std::int64_t row, const std::vector<Floats>& below, float* out) const;
  void weigh(Work& work);
  void code(Work& work);
  void fit_lossless(Work& work);

  const Plan& plan_;
  std::filesystem::path folder_;
  const Floats& tokens_;
  Hats hats_;
  std::vector<float> weights_;   ///< of rows
  std::vector<Floats> decoded_;  ///< [sub-blocks so far], those that nothing needs any more are empty
  std::vector<Floats> exact_;    ///< the same as they were, for coding without loss
  SampleCoder coder_;
  LosslessFit lossless_;
  std::optional<ReferenceFit> references_;
};

}  // namespace seqkv::calibration
