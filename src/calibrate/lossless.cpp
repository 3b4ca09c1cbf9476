// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "calibrate/lossless.hpp"

#include <algorithm>
#include <cmath>

#include "calibrate/fit_predictor.hpp"
#include "calibrate/regression.hpp"
#include "codec/predict/lossless_steps.hpp"
#include "core/rope_table.hpp"

namespace seqkv::calibration {
namespace {

/// A row's weight is one over its energy and this share of the mean energy: what the logarithm of its size makes of it.
constexpr float share_of_mean = 0.05F;

/// Unit lower triangular A with A S A^T diagonal: rows say what is left of a component once those before are known.
Dense whiten(const Dense& s) {
  const std::int64_t n = s.rows;
  Dense lower(n, n);
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j <= i; ++j) {
      double sum = s(i, j);
      for (std::int64_t k = 0; k < j; ++k) sum -= lower(i, k) * lower(j, k);
      lower(i, j) = i == j ? std::sqrt(std::max(sum, 1e-12 * s(i, i))) : sum / lower(j, j);
    }
  }
  Dense out(n, n);
  for (std::int64_t j = 0; j < n; ++j) {
    out(j, j) = 1 / lower(j, j);
    for (std::int64_t i = j + 1; i < n; ++i) {
      double sum = 0;
      for (std::int64_t k = j; k < i; ++k) sum -= lower(i, k) * out(k, j);
      out(i, j) = sum / lower(i, i);
    }
  }
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j <= i; ++j) out(i, j) *= lower(i, i);
  }
  return out;
}

PackedFloats square(std::int64_t width, const Stored& matrix) {
  return PackedFloats::pack(width, width, matrix.values);
}

}  // namespace

LosslessFit::LosslessFit(const Plan& plan) : plan_(plan), counts_(codec::lossless_tables) {
  const std::vector<float> frequencies = inverse_frequencies(plan.shape.rope);
  pairs_ = static_cast<std::int64_t>(frequencies.size());
  cosine_.resize(plan.rows.size() * frequencies.size());
  sine_.resize(cosine_.size());
  std::int64_t at = 0;
  for (const auto& positions : plan.positions) {
    for (const std::int64_t position : positions) {
      rope_angles(frequencies, position, cosine_.data() + at, sine_.data() + at);
      at += pairs_;
    }
  }
}

void LosslessFit::weigh(const Floats& residual) {
  const std::int64_t rows = residual.rows;
  std::vector<float> uniform;
  for (const Row& row : plan_.rows) uniform.push_back(row.weight);
  Floats squares(rows, residual.columns);
  for_row_ranges(rows, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t r = first; r < last; ++r) {
      for (std::int64_t i = 0; i < residual.columns; ++i) squares.row(r)[i] = residual.row(r)[i] * residual.row(r)[i];
    }
  });
  std::vector<double> mean = weighted_sum(squares, uniform);
  double all = 0;
  for (const float w : uniform) all += w;
  weights_ = std::move(uniform);
  for (std::int64_t r = 0; r < rows; ++r) {
    double energy = 0;
    for (std::int64_t i = 0; i < residual.columns; ++i) {
      energy += squares.row(r)[i] / (mean[static_cast<std::size_t>(i)] / all + 1e-30);
    }
    weights_[static_cast<std::size_t>(r)] /=
        static_cast<float>(energy / static_cast<double>(residual.columns)) + share_of_mean;
  }
}

/// What the residuals below say goes to the prediction; returns what is left.
Floats LosslessFit::correct_from_below(const Floats& residual, Floats& predicted, FittedLossless& out) const {
  const std::int64_t width = plan_.width();
  Floats both(residual.rows, 2 * width);
  for_row_ranges(residual.rows, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t r = first; r < last; ++r) {
      std::copy(residual_.row(r), residual_.row(r) + width, both.row(r));
      std::copy(residual.row(r), residual.row(r) + width, both.row(r) + width);
    }
  });
  const Dense moments = gram(both, weights_);
  Dense normal(width, width);
  Dense right(width, width);
  for (std::int64_t i = 0; i < width; ++i) {
    for (std::int64_t j = 0; j < width; ++j) {
      normal(i, j) = moments(i, j);
      right(i, j) = moments(i, width + j);
    }
  }
  add_ridge(normal);
  const Dense solution = transpose(Cholesky(normal).solve(right));
  out.below = Stored::round({solution.values.begin(), solution.values.end()});
  const Floats correction = multiply(residual_, square(width, out.below));
  for_row_ranges(residual.rows, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t r = first; r < last; ++r) {
      for (std::int64_t i = 0; i < width; ++i) predicted.row(r)[i] += correction.row(r)[i];
    }
  });
  return difference(residual, correction);
}

/// Least squares of each component on those that are coded before it.
Stored LosslessFit::fit_within(const codec::PredictiveStep& order, const Floats& residual) const {
  const std::int64_t width = plan_.width();
  const Dense moments = gram(residual, weights_);
  std::vector<std::int64_t> component;
  std::vector<std::int64_t> known;  // so many before it
  for (std::int64_t n = 0; n < codec::units_of(order); ++n) {
    const codec::Unit unit = codec::unit_at(order, n);
    const auto before = static_cast<std::int64_t>(component.size());
    for (int m = 0; m < unit.count; ++m) {
      component.push_back(unit.component[m]);
      known.push_back(before);
    }
  }
  Dense sorted(width, width);
  for (std::int64_t i = 0; i < width; ++i) {
    for (std::int64_t j = 0; j < width; ++j) {
      sorted(i, j) = moments(component[static_cast<std::size_t>(i)], component[static_cast<std::size_t>(j)]);
    }
  }
  add_ridge(sorted);
  const Dense left = whiten(sorted);
  std::vector<float> within(static_cast<std::size_t>(width * width), 0.0F);
  for (std::int64_t i = 0; i < width; ++i) {
    const std::int64_t before = known[static_cast<std::size_t>(i)];
    for (std::int64_t j = 0; j < before; ++j) {
      // The second of a pair does not know the first, which is replaced by what is known of it.
      const double through = before < i ? left(i, before) * left(before, j) : 0;
      within[static_cast<std::size_t>(component[static_cast<std::size_t>(i)] * width +
                                      component[static_cast<std::size_t>(j)])] =
          static_cast<float>(through - left(i, j));
    }
  }
  return Stored::round(std::move(within));
}

/// Scales of what is left; a pair has one, since it is turned.
std::vector<std::int16_t> LosslessFit::measure(const codec::PredictiveStep& order, const Floats& rest) const {
  const Dense moments = gram(rest, weights_);
  double all = 1e-30;
  for (const float w : weights_) all += w;
  std::vector<std::int16_t> scales(static_cast<std::size_t>(plan_.width()));
  for (std::int64_t n = 0; n < codec::units_of(order); ++n) {
    const codec::Unit unit = codec::unit_at(order, n);
    double variance = 0;
    for (int m = 0; m < unit.count; ++m) variance += moments(unit.component[m], unit.component[m]) / all / unit.count;
    constexpr double most = codec::most_lossless_scale;
    const double scale = std::floor(8 * detmath::log2(variance + 1e-70) + 0.5);
    for (int m = 0; m < unit.count; ++m) {
      scales[static_cast<std::size_t>(unit.component[m])] = static_cast<std::int16_t>(std::clamp(scale, -most, most));
    }
  }
  return scales;
}

/// Symbols as the codec makes them.
void LosslessFit::count(const codec::LosslessStep& step, const Floats& values) {
  const DType dtype = plan_.shape.dtype;
  counts_.add(values.rows, [&](std::int64_t first, std::int64_t last, SymbolCounts::Tables& counts) {
    for (std::int64_t r = first; r < last; ++r) {
      const double weight = plan_.rows[static_cast<std::size_t>(r)].weight;
      const float* row = values.row(r);
      for (std::int64_t n = 0; n < codec::units_of(step); ++n) {
        const codec::Unit unit = codec::unit_at(step, n);
        float expected[2];
        float refined[2];
        float exact[2] = {row[unit.component[0]], row[unit.component[1]]};
        const float* corrections = step.corrections + r * step.ld_residuals;
        const float correction[2] = {corrections[unit.component[0]], corrections[unit.component[1]]};
        codec::expect_unit(step, r, unit, expected);
        codec::refine_unit(step, r, unit, correction, refined);
        codec::turn_unit(step, r, unit, 1.0F, exact);
        for (int m = 0; m < unit.count; ++m) {
          const std::int32_t scale = step.scales[unit.component[m]];
          const codec::FloatBins bins(codec::layout_of(dtype), codec::log2_bin(scale));
          const std::int64_t difference =
              bins.bin_of(codec::rounded_bits(dtype, exact[m])) - bins.bin_of(codec::rounded_bits(dtype, refined[m]));
          const int table = codec::lossless_table(dtype, scale, expected[m], codec::lossless_tables);
          counts[static_cast<std::size_t>(table)][codec::lossless_symbol(difference)] += weight;
        }
      }
    }
  });
}

FittedLossless LosslessFit::next(std::int64_t number, const Floats& values, Floats predicted) {
  const std::int64_t width = plan_.width();
  FittedLossless out;
  codec::LosslessStep step;
  step.model.width = width;
  step.heads = plan_.shape.kv_heads;
  if (number % 2 == 0 && pairs_ > 0) {
    step.cosine = cosine_.data();
    step.sine = sine_.data();
    step.rope_pairs = pairs_;
  }
  Floats residual = difference(values, predicted);
  weigh(residual);
  if (number > 0) residual = correct_from_below(residual, predicted, out);
  out.within = fit_within(step, residual);
  const Floats correction = multiply(residual, square(width, out.within));
  out.scales = measure(step, difference(residual, correction));
  step.scales = out.scales.data();
  step.predicted = predicted.row(0);
  step.ld_predicted = predicted.ld;
  step.corrections = const_cast<float*>(correction.row(0));  // counting only reads
  step.ld_residuals = correction.ld;
  count(step, values);
  residual_ = std::move(residual);
  return out;
}

std::vector<codec::Frequencies> LosslessFit::make_tables() const {
  constexpr double middle = 0.125;  // of a quarter octave
  constexpr int least = codec::largest_lossless_class + 1 - codec::lossless_tables;
  return counts_.make_tables(
      codec::TableFamily::of_scales(codec::lossless_tables, detmath::exp2(least / 4.0 + middle),
                                    detmath::exp2(codec::largest_lossless_class / 4.0 + middle)));
}

}  // namespace seqkv::calibration
