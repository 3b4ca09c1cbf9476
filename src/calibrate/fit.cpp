// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "calibrate/fit.hpp"

#include <algorithm>
#include <cmath>

#include "calibrate/regression.hpp"
#include "core/detmath.hpp"
#include "core/try.hpp"

namespace seqkv::calibration {
namespace {

constexpr double ln2 = 0.69314718055994530942;

/// A profile's unit: with a step of 1 everywhere the restored cache costs 0.02 nats a token of the continuation,
/// if every number of it is coded with an error of step^2 / 12. Many are not coded at all: it is the middle of what is
/// useful.
constexpr double nats_of_unit = 0.02;

/// Importance is predicted with an error; weights that followed it in full would trust it too much.
constexpr double trust = 0.85;

float exp2_of(float x) { return detmath::exp2(x); }

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
  std::vector<float> matter;      ///< by row: how much its residual's shape matters
  Floats predicted;               ///< [rows][width]
  Floats residual;
  Fitted out;
};

Fit::Fit(const Plan& plan, std::filesystem::path folder, const Floats& tokens)
    : plan_(plan),
      folder_(std::move(folder)),
      tokens_(tokens),
      hats_(plan.context - 1),
      weights_(weights_of(plan)),
      coder_(weights_),
      lossless_(plan) {}

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

  const double share = trust / (2 * ln2);
  std::vector<float> row(static_cast<std::size_t>(work.columns), 0.0F);
  row[0] = static_cast<float>(importance.constant * share);
  for (std::size_t i = 0; i < importance.inputs.size(); ++i) {
    row[static_cast<std::size_t>(first) + i] = static_cast<float>(importance.inputs[i] * share);
  }
  std::vector<double> hats = importance.hats;
  for (double& x : hats) x *= share;
  work.out.knots = hats_.knots(hats);
  work.weight = Stored::round(std::move(row));

  const Floats predicted = multiply(work.inputs, PackedFloats::pack(1, work.columns, work.weight.values));
  work.log_weight.resize(static_cast<std::size_t>(work.inputs.rows));
  std::vector<float> hat(static_cast<std::size_t>(hats_.count()));
  for (std::int64_t r = 0; r < work.inputs.rows; ++r) {
    hats_.write(plan_.rows[static_cast<std::size_t>(r)].block_behind, hat.data());
    float sum = predicted.row(r)[0];
    for (std::size_t k = 0; k < hat.size(); ++k) sum += hat[k] * work.out.knots[k];
    constexpr auto most = static_cast<float>(codec::most_grade);
    constexpr auto part = static_cast<float>(codec::grades_of_octave);
    work.log_weight[static_cast<std::size_t>(r)] = std::floor(std::clamp(sum * part, -most, most) + 0.5F) / part;
  }
}

/// What the stored predictor makes of rows of features.
Floats Fit::predict_from(const Work& work, const Rows& inputs) const {
  const std::int64_t width = plan_.width();
  const std::int64_t rank = work.out.rank;
  if (rank == 0) return multiply(inputs, PackedFloats::pack(width, work.columns, work.out.predict.values));
  const Floats squeezed = multiply(inputs, PackedFloats::pack(rank, work.columns, work.out.squeeze.values));
  return multiply(squeezed, PackedFloats::pack(width, rank, work.out.predict.values));
}

/// Coefficients and, where the plan has a rank, their factors, as they are stored; what they predict, and what is left.
void Fit::solve(Work& work) const {
  const std::int64_t width = plan_.width();
  const Dense moments = gram(work.inputs, work.matter);
  const Dense coefficients = least_squares(moments, work.columns);
  const std::int64_t rank = work.out.rank = plan_.rank(work.number);
  if (rank == 0) {
    work.out.predict = Stored::round(coefficients);
    work.predicted = predict_from(work, work.inputs);
    work.out.predict.append(work.weight);
  } else {
    // One part of the rank is the weight's: row 1 between, column 1 behind.
    const Factors factors = reduce_rank(moments, work.columns, coefficients, work.importance.metric, rank - 1);
    Stored squeeze = Stored::round(factors.squeeze);
    const auto behind_constant = squeeze.values.begin() + work.columns;
    squeeze.values.insert(behind_constant, work.weight.values.begin(), work.weight.values.end());
    if (work.weight.dtype == DType::f32) squeeze.dtype = DType::f32;
    Dense expand(width + 1, rank);
    for (std::int64_t j = 0; j < width; ++j) {
      expand(j, 0) = factors.expand(j, 0);
      for (std::int64_t k = 2; k < rank; ++k) expand(j, k) = factors.expand(j, k - 1);
    }
    expand(width, 1) = 1;
    work.out.squeeze = std::move(squeeze);
    work.out.predict = Stored::round(expand);
    work.predicted = predict_from(work, work.inputs);
  }
  work.residual = Floats(work.inputs.rows, width);
  for_row_ranges(work.inputs.rows, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t r = first; r < last; ++r) {
      const float* exact = work.samples.values.row(r);
      for (std::int64_t i = 0; i < width; ++i) work.residual.row(r)[i] = exact[i] - work.predicted.row(r)[i];
    }
  });
}

/// Mean squares of the residuals in the metric, by row.
std::vector<float> Fit::weighted_sizes(const Work& work) const {
  const std::int64_t width = plan_.width();
  const Floats weighted = multiply(work.residual, work.importance.metric.root);
  std::vector<float> size(static_cast<std::size_t>(weighted.rows));
  for (std::int64_t r = 0; r < weighted.rows; ++r) {
    float sum = 0;
    for (std::int64_t i = 0; i < width; ++i) sum += weighted.row(r)[i] * weighted.row(r)[i];
    size[static_cast<std::size_t>(r)] = sum / static_cast<float>(width);
  }
  return size;
}

/// Least squares, rows by how much their residuals will matter: those that are coded finer than they can be predicted
/// count by what they save, others by their weight.
void Fit::predict(Work& work) const {
  work.matter.resize(static_cast<std::size_t>(work.inputs.rows));
  const auto weigh_rows = [&](const auto& size_of_residual) {
    double sum = 0;
    for (std::size_t r = 0; r < work.matter.size(); ++r) {
      const float square = exp2_of(2 * work.log_weight[r]);
      work.matter[r] = weights_[r] * square / (1 + square * size_of_residual(r));
      sum += work.matter[r];
    }
    for (float& m : work.matter) m *= static_cast<float>(static_cast<double>(work.matter.size()) / sum);
  };
  weigh_rows([](std::size_t) { return 6.0F; });
  solve(work);
  std::vector<float> size = weighted_sizes(work);
  double mean = 0;
  double all = 0;
  for (std::size_t r = 0; r < size.size(); ++r) {
    mean += double{weights_[r]} * size[r];
    all += weights_[r];
  }
  const auto half = static_cast<float>(mean / all / 2);
  weigh_rows([half](std::size_t) { return half; });
  solve(work);
  size = weighted_sizes(work);
  weigh_rows([&](std::size_t r) { return size[r]; });
}

/// Quantizes with a step of 1, and keeps what a decoder will have.
void Fit::code(Work& work) {
  const FittedTransform& transform = work.out.transform;
  const Floats coefficients = transform.apply(work.residual);
  Floats decoded = transform.undo(coder_.code({coefficients, work.log_weight, transform.scales, transform.slope}));
  for_row_ranges(decoded.rows, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t r = first; r < last; ++r) {
      for (std::int64_t i = 0; i < plan_.width(); ++i) decoded.row(r)[i] += work.predicted.row(r)[i];
    }
  });
  decoded_.push_back(std::move(decoded));
}

/// A decoder without loss has exact values below.
void Fit::fit_lossless(Work& work) {
  if (!plan_.sizes.lossless) return;
  work.out.lossless = lossless_.next(work.number, work.samples.values, predict_from(work, inputs_of(work, exact_)));
  exact_.push_back(std::move(work.samples.values));
}

Result<Fitted> Fit::next() {
  Work work;
  work.number = static_cast<std::int64_t>(decoded_.size());
  SEQKV_ASSIGN(work.samples, read_samples(plan_, folder_, work.number));
  work.columns = plan_.inputs(work.number);
  work.inputs = inputs_of(work, decoded_);
  weigh(work);
  predict(work);
  work.out.transform = fit_transform({work.residual, work.log_weight, work.matter, weights_}, work.importance.metric,
                                     plan_.sizes.blocks);
  code(work);
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
