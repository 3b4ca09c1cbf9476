// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "calibrate/fit.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "calibrate/regression.hpp"
#include "core/detmath.hpp"
#include "core/try.hpp"

namespace seqkv::calibration {
namespace {

/// A profile's unit: with a step of 1 everywhere the restored cache costs 0.02 nats a token of the continuation,
/// if every number of it is coded with an error of step^2 / 12. Many are not coded at all: it is the middle of what is
/// useful.
constexpr double nats_of_unit = 0.02;

/// Importance is predicted with an error; weights that followed it in full would trust it too much.
constexpr double trust = 0.85;

}  // namespace

/// What is passed along while a sub-block is learned.
struct Fit::Work {
  std::int64_t number = 0;
  std::int64_t columns = 0;  ///< features
  Rows inputs{0, 0, {}};     ///< features, then values
  Samples samples;
  Importance importance;
  Stored weight;                  ///< [columns]: log2 of a token's weight
  std::vector<float> log_weight;  ///< log2 g by row, as the codec rounds it
  Predicted predicted;
  Fitted out;
};

Fit::Fit(const Plan& plan, std::filesystem::path folder, const Floats& tokens)
    : plan_(plan),
      folder_(std::move(folder)),
      tokens_(tokens),
      hats_(plan.context - 1),
      weights_(weights_of(plan)),
      coder_(weights_),
      lossless_(plan) {
  if (!plan.pairs.empty()) references_.emplace(plan, folder_, tokens);
}

/// What the profile knows of a row's token.
float* Fit::write_token(std::int64_t row, float* out) const {
  const float* token = tokens_.row(plan_.rows[static_cast<std::size_t>(row)].token);
  return std::copy(token, token + plan_.sizes.token_width, out);
}

/// What is known below.
float* Fit::write_below(std::int64_t number, std::int64_t row, const std::vector<Floats>& below, float* out) const {
  for (std::int64_t b = number - plan_.window(number); b < number; ++b) {
    const float* from = below[static_cast<std::size_t>(b)].row(row);
    out = std::copy(from, from + plan_.width(), out);
  }
  return out;
}

/// Features, then values. Both must outlive it.
Rows Fit::inputs_of(const Work& work, const std::vector<Floats>& below) const {
  return Rows(plan_.rows_in_all(), work.columns + plan_.width(), [this, &work, &below](std::int64_t row, float* out) {
    *out++ = 1.0F;
    out = write_below(work.number, row, below, write_token(row, out));
    const float* values = work.samples.values.row(row);
    std::copy(values, values + plan_.width(), out);
  });
}

/// What gives log2 of a token's weight, and the weights that the codec makes of it.
void Fit::weigh(Work& work) {
  const std::int64_t window = plan_.window(work.number);
  // Where nothing stands below, the token itself says it.
  const std::int64_t first = window == 0 ? 1 : 1 + plan_.sizes.token_width;
  const Rows features(plan_.rows_in_all(), work.columns - first, [&](std::int64_t row, float* out) {
    window == 0 ? write_token(row, out) : write_below(work.number, row, decoded_, out);
  });
  work.importance = fit_importance(plan_, work.samples, features);
  Importance& importance = work.importance;
  const double unit =
      std::sqrt(24 * nats_of_unit /
                (static_cast<double>(plan_.context) * static_cast<double>(plan_.shape.components_per_token())));
  for (double& x : importance.metric.root.values) x /= unit;
  for (double& x : importance.metric.inverse.values) x *= unit;

  const double share = trust / (2 * std::numbers::ln2);
  std::vector<float> row(static_cast<std::size_t>(work.columns), 0.0F);
  row[0] = static_cast<float>(importance.constant * share);
  for (std::size_t i = 0; i < importance.inputs.size(); ++i) {
    row[static_cast<std::size_t>(first) + i] = static_cast<float>(importance.inputs[i] * share);
  }
  std::vector<double> hats = importance.hats;
  for (double& x : hats) x *= share;
  work.out.knots = hats_.knots(hats);
  work.weight = Stored::round(std::move(row));

  work.log_weight = log_weights(work.inputs, work.weight, plan_.rows, hats_, work.out.knots);
}

/// Quantizes with a step of 1, and keeps what a decoder will have.
void Fit::code(Work& work) {
  const FittedTransform& transform = work.out.transform;
  const Floats coefficients = transform.apply(work.predicted.residual);
  Floats decoded = transform.undo(coder_.code({coefficients, work.log_weight, transform.scales, transform.slope}));
  for_row_ranges(decoded.rows, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t r = first; r < last; ++r) {
      for (std::int64_t i = 0; i < plan_.width(); ++i) decoded.row(r)[i] += work.predicted.values.row(r)[i];
    }
  });
  decoded_.push_back(std::move(decoded));
}

/// A decoder without loss has exact values below.
void Fit::fit_lossless(Work& work) {
  if (!plan_.sizes.lossless) return;
  work.out.lossless = lossless_.next(work.number, work.samples.values,
                                     predict_from(work.out, inputs_of(work, exact_), work.columns, plan_.width()));
  exact_.push_back(std::move(work.samples.values));
}

Result<Fitted> Fit::next() {
  Work work;
  work.number = static_cast<std::int64_t>(decoded_.size());
  SEQKV_ASSIGN(work.samples, read_samples(plan_, folder_, work.number));
  work.columns = plan_.inputs(work.number);
  work.inputs = inputs_of(work, decoded_);
  weigh(work);
  work.predicted = fit_predictor({work.inputs, work.samples.values, work.weight, work.log_weight, weights_,
                                  work.importance.metric, plan_.rank(work.number), plan_.sizes.blocks},
                                 work.out);
  code(work);
  if (references_) {
    SEQKV_ASSIGN(work.out.reference,
                 references_->next(work.number, {work.out, work.weight, work.out.knots, work.importance.metric}));
  }
  fit_lossless(work);
  work.out.first_row = work.samples.first_row;
  const std::int64_t done = work.number + 1;
  if (done < plan_.subblocks()) {
    for (std::size_t b = 0; b < static_cast<std::size_t>(done - plan_.window(done)); ++b) {
      decoded_[b] = {};
      if (plan_.sizes.lossless) exact_[b] = {};
    }
  }
  return std::move(work.out);
}

}  // namespace seqkv::calibration
