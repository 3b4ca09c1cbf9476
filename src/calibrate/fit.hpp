// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// What a profile says of each sub-block, learned in the order in which the codec works: every fit sees below it what a
/// decoder will have.
#pragma once

#include <array>

#include "calibrate/importance.hpp"
#include "calibrate/lossless.hpp"
#include "calibrate/stored.hpp"
#include "codec/entropy/tables.hpp"

namespace seqkv::calibration {

/// Of one (layer, kind); names as in Profile::Data::Subblock.
struct Fitted {
  Stored predict;  ///< [width + 1][1 + token_width + window * width]
  Stored forward;  ///< [coefficients][width], coefficients by falling scale, rows of zeros fill up the last tile
  Stored inverse;  ///< [width][coefficients]
  std::int64_t coefficients = 0;
  std::array<float, codec::distance_knots> knots{};
  std::vector<std::int16_t> scales;
  std::int32_t slope = 0;
  std::vector<float> first_row;
  FittedLossless lossless;
};

/// Tables for scales of 2^-5 to 2^7 steps, by quarter octaves.
inline constexpr std::int32_t least_class = -20;
inline constexpr int tables = 49;

class Fit {
 public:
  /// `tokens` are the features of all tokens, as they are stored.
  Fit(const Plan& plan, std::filesystem::path folder, const Floats& tokens);

  /// Sub-block after sub-block, from 0 on. Errors: those of read_samples.
  Result<Fitted> next();

  /// For the symbols that the fit has seen.
  std::vector<codec::Frequencies> make_tables() const;
  std::vector<codec::Frequencies> make_lossless_tables() const { return lossless_.make_tables(); }

 private:
  struct Work;
  using Counts = std::vector<std::array<double, codec::rans::symbols>>;  ///< [tables], from 0
  void fill_features(Work& work, const std::vector<Floats>& below) const;
  void weigh(Work& work);
  void predict(Work& work) const;
  void transform(Work& work) const;
  void scale(Work& work) const;
  void sort(Work& work, const std::vector<double>& variance) const;
  void code(Work& work);
  void fit_lossless(Work& work);
  void code_row(const Work& work, std::int64_t row, float* restored, Counts& counts) const;

  const Plan& plan_;
  std::filesystem::path folder_;
  const Floats& tokens_;
  Hats hats_;
  std::vector<float> weights_;   ///< of rows
  std::vector<Floats> decoded_;  ///< [sub-blocks so far], those that nothing needs any more are empty
  std::vector<Floats> exact_;    ///< the same as they were
  LosslessFit lossless_;
  Counts counts_;
};

}  // namespace seqkv::calibration
