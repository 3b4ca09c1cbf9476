// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "calibrate/reference_fit.hpp"

#include <algorithm>

#include "calibrate/code_samples.hpp"
#include "calibrate/samples.hpp"
#include "codec/predict/ecsq_arguments.hpp"
#include "core/try.hpp"

namespace seqkv::calibration {
namespace {

/// A reference has errors of its own, which residuals would only code again: they are rounded to coarser steps. By how
/// much is a compromise of size and quality (docs/decisions/reference.md).
constexpr int octaves_coarser = 2;

/// The unit of numbers becomes 2^octaves_coarser times as large.
void coarsen(FittedTransform& transform) {
  constexpr float factor = 1 << octaves_coarser;
  for (float& x : transform.forward.values) x /= factor;
  for (float& x : transform.inverse.values) x *= factor;
  transform.forward = Stored::round(std::move(transform.forward.values));
  transform.inverse = Stored::round(std::move(transform.inverse.values));
  for (std::int16_t& scale : transform.scales) {
    scale = static_cast<std::int16_t>(scale - octaves_coarser * codec::scale_parts);
  }
}

/// What a decoder has of residuals that are coded with a step of 1.
Floats restored(const FittedTransform& transform, const Floats& predicted, const Floats& residual,
                std::span<const float> log_weight, const std::vector<float>& weights) {
  SampleCoder coder(weights);
  const Floats coefficients = transform.apply(residual);
  Floats out = transform.undo(coder.code({coefficients, log_weight, transform.scales, transform.slope}));
  for_row_ranges(out.rows, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t r = first; r < last; ++r) {
      for (std::int64_t i = 0; i < out.columns; ++i) out.row(r)[i] += predicted.row(r)[i];
    }
  });
  return out;
}

}  // namespace

ReferenceFit::ReferenceFit(const Plan& plan, std::filesystem::path folder, const Floats& tokens)
    : plan_(plan),
      folder_(std::move(folder)),
      tokens_(tokens),
      hats_(plan.context - 1),
      weights_(plan.predicted_rows.size(), 1.0F) {}

/// The constant, the token, what is decoded below. `below` must outlive it.
Rows ReferenceFit::features(const std::vector<Floats>& below, std::int64_t number) const {
  return Rows(static_cast<std::int64_t>(weights_.size()), plan_.inputs(number),
              [this, &below, number](std::int64_t row, float* out) {
                const float* token = tokens_.row(plan_.predicted_rows[static_cast<std::size_t>(row)].token);
                *out++ = 1.0F;
                out = std::copy(token, token + plan_.sizes.token_width, out);
                for (std::int64_t b = number - plan_.window(number); b < number; ++b) {
                  const float* from = below[static_cast<std::size_t>(b)].row(row);
                  out = std::copy(from, from + plan_.width(), out);
                }
              });
}

/// What a decoder has of a sub-block without references.
Floats ReferenceFit::code_linearly(const LinearFit& linear, std::int64_t number, const std::vector<Row>& rows,
                                   const std::vector<Floats>& below, const Floats& exact) const {
  const Rows inputs = features(below, number);
  const std::vector<float> log_weight = log_weights(inputs, linear.weight, rows, hats_, linear.knots);
  const Floats predicted = predict_from(linear.predictor, inputs, plan_.inputs(number), plan_.width());
  return restored(linear.predictor.transform, predicted, difference(exact, predicted), log_weight, weights_);
}

Result<std::optional<FittedTransform>> ReferenceFit::next(std::int64_t number, const LinearFit& linear) {
  SEQKV_ASSIGN(const PairSamples samples, read_pairs(plan_, folder_, number));
  source_.push_back(code_linearly(linear, number, plan_.source_rows, source_, samples.source));
  std::optional<FittedTransform> out;
  if (number < 2) {
    decoded_.push_back(code_linearly(linear, number, plan_.predicted_rows, decoded_, samples.predicted));
  } else {
    out = fit(linear, number, samples.predicted);
  }
  forget(number + 1);
  return out;
}

FittedTransform ReferenceFit::fit(const LinearFit& linear, std::int64_t number, const Floats& exact) {
  const std::vector<float> log_weight =
      log_weights(features(decoded_, number), linear.weight, plan_.predicted_rows, hats_, linear.knots);
  const Floats& predicted = source_.back();
  const Floats residual = difference(exact, predicted);
  const std::vector<float> matter = matter_of(log_weight, weights_, weighted_sizes(residual, linear.metric));
  FittedTransform out = fit_transform({residual, log_weight, matter, weights_}, linear.metric, plan_.sizes.blocks);
  coarsen(out);
  decoded_.push_back(restored(out, predicted, residual, log_weight, weights_));
  return out;
}

/// What nothing needs any more before sub-block `number`.
void ReferenceFit::forget(std::int64_t number) {
  for (std::int64_t b = 0; number < plan_.subblocks() && b < number - plan_.window(number); ++b) {
    decoded_[static_cast<std::size_t>(b)] = {};
    source_[static_cast<std::size_t>(b)] = {};
  }
}

}  // namespace seqkv::calibration
