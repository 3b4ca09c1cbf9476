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

/// The features of a reference, which were behind the others, to the front of each row.
void references_first(Stored& stored, std::int64_t columns, std::int64_t references) {
  for (auto row = stored.values.begin(); row != stored.values.end(); row += columns) {
    std::rotate(row, row + (columns - references), row + columns);
  }
}

/// What a decoder has of residuals that are coded with a step of 1.
Floats restored(const FittedPredictor& predictor, const Floats& predicted, const Floats& residual,
                std::span<const float> log_weight, const std::vector<float>& weights) {
  const FittedTransform& transform = predictor.transform;
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
      weights_(plan.predicted_rows.size(), 1.0F),
      fitted_(static_cast<std::size_t>(plan.subblocks())) {}

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
  return restored(linear.predictor, predicted, difference(exact, predicted), log_weight, weights_);
}

Result<void> ReferenceFit::next(std::int64_t number, LinearFit linear) {
  SEQKV_ASSIGN(PairSamples samples, read_pairs(plan_, folder_, number));
  source_.push_back(code_linearly(linear, number, plan_.source_rows, source_, samples.source));
  linear_.push_back(std::move(linear));
  exact_.push_back(std::move(samples.predicted));
  if (number % 2 == 1) fit_layer(number / 2);
  return {};
}

/// Keys are predicted from the keys and values of the reference, so both must be there.
void ReferenceFit::fit_layer(std::int64_t layer) {
  for (std::int64_t number = 2 * layer; number < 2 * layer + 2; ++number) {
    const auto in_layer = static_cast<std::size_t>(number % 2);
    if (layer == 0) {
      decoded_.push_back(code_linearly(linear_[in_layer], number, plan_.predicted_rows, decoded_, exact_[in_layer]));
    } else {
      fit(number, exact_[in_layer]);
    }
  }
  linear_.clear();
  exact_.clear();
  const std::int64_t done = 2 * layer + 2;
  for (std::int64_t b = 0; done < plan_.subblocks() && b < done - plan_.window(done); ++b) {
    decoded_[static_cast<std::size_t>(b)] = {};
    source_[static_cast<std::size_t>(b)] = {};
  }
}

void ReferenceFit::fit(std::int64_t number, const Floats& exact) {
  const LinearFit& linear = linear_[static_cast<std::size_t>(number % 2)];
  const std::int64_t width = plan_.width();
  const std::int64_t references = 2 * width;
  const Rows known = features(decoded_, number);
  const std::vector<float> log_weight = log_weights(known, linear.weight, plan_.predicted_rows, hats_, linear.knots);
  const Floats* of_layer = &source_[static_cast<std::size_t>(number / 2 * 2)];
  const Rows inputs(known.rows, known.columns + references + width, [&](std::int64_t row, float* out) {
    known.write(row, out);
    out += known.columns;
    for (const Floats* from : {&of_layer[0], &of_layer[1], &exact}) {
      out = std::copy(from->row(row), from->row(row) + width, out);
    }
  });
  Stored weight = linear.weight;
  weight.values.resize(static_cast<std::size_t>(known.columns + references), 0.0F);
  FittedPredictor out;
  const std::int64_t columns = known.columns + references;
  const std::int64_t rank = useful_rank(plan_.sizes.rank, columns, width + 1);
  const Predicted predicted =
      fit_predictor({inputs, exact, weight, log_weight, weights_, linear.metric, rank, plan_.sizes.blocks}, out);
  coarsen(out.transform);
  decoded_.push_back(restored(out, predicted.values, predicted.residual, log_weight, weights_));
  references_first(rank == 0 ? out.predict : out.squeeze, columns, references);
  fitted_[static_cast<std::size_t>(number)] = std::move(out);
}

}  // namespace seqkv::calibration
