// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "calibrate/importance.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/detmath.hpp"

namespace seqkv::calibration {
namespace {

/// e^-h, h held where a token's share may reasonably be.
float falling(float h) { return detmath::exp(-std::clamp(h, -14.0F, 14.0F)); }

/// Ridge on standardized features. Ten times more or less changes little.
constexpr double feature_ridge = 4e-3;
constexpr double hat_ridge = 1e-6;
/// A few tokens get a thousand times what was expected of them: they must not lead.
constexpr float most_ratio = 20;
constexpr int scoring_steps = 5;
/// Weights are damped around their mean, in logarithms; where most tokens have no share at all, as behind a sliding
/// window, that mean is far below those that have one, and they would lose theirs.
constexpr double least_level = -8;

/// x * coefficients for each row.
std::vector<float> times(const Rows& features, const std::vector<double>& coefficients) {
  Dense row(1, features.columns);
  row.values = coefficients;
  const Floats product = multiply(features, row);
  std::vector<float> out(static_cast<std::size_t>(features.rows));
  for (std::int64_t r = 0; r < features.rows; ++r) out[static_cast<std::size_t>(r)] = product.row(r)[0];
  return out;
}

double weighted_mean(std::span<const float> values, std::span<const float> weights) {
  double sum = 0;
  double all = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    sum += double{weights[i]} * values[i];
    all += weights[i];
  }
  return sum / all;
}

/// Squared norms of rows.
std::vector<float> energies(const Floats& x) {
  std::vector<float> out(static_cast<std::size_t>(x.rows));
  for_row_ranges(x.rows, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t r = first; r < last; ++r) {
      float sum = 0;
      for (std::int64_t i = 0; i < x.columns; ++i) sum += x.row(r)[i] * x.row(r)[i];
      out[static_cast<std::size_t>(r)] = sum;
    }
  });
  return out;
}

/// Mean over draws, with a transform before if there is one.
std::vector<float> mean_energy(const Samples& samples, const Dense* transform) {
  std::vector<float> sum(static_cast<std::size_t>(samples.values.rows), 0.0F);
  for (const Floats& gradient : samples.gradients) {
    const std::vector<float> one = energies(transform == nullptr ? gradient : multiply(gradient, *transform));
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += one[i] / static_cast<float>(samples.gradients.size());
  }
  return sum;
}

/// The hats of the rows' distances to the end.
Floats distances(const Plan& plan, const Hats& hats) {
  Floats out(plan.rows_in_all(), hats.count());
  for_row_ranges(out.rows, [&](std::int64_t from, std::int64_t to) {
    for (std::int64_t r = from; r < to; ++r) hats.write(plan.rows[static_cast<std::size_t>(r)].behind, out.row(r));
  });
  return out;
}

/// The mean of g g^T, each row divided by what its distance alone makes of it.
Dense mean_metric(const Plan& plan, const Samples& samples, const Floats& hats, std::span<const float> weights) {
  const std::vector<float> energy = mean_energy(samples, nullptr);
  const LogMean by_distance = fit_log_mean(hats, energy, weights, hats.columns, 0);
  const double level = weighted_mean(by_distance.h, weights);
  std::vector<float> scaled(weights.size());
  double all = 0;
  for (std::size_t i = 0; i < scaled.size(); ++i) {
    scaled[i] = weights[i] * falling(by_distance.h[i] - static_cast<float>(level));
    all += weights[i];
  }
  const std::int64_t width = samples.values.columns;
  Dense sum(width, width);
  for (const Floats& gradient : samples.gradients) {
    const Dense one = gram(gradient, scaled);
    for (std::size_t i = 0; i < sum.values.size(); ++i) sum.values[i] += one.values[i];
  }
  const double scale =
      1 / (all * static_cast<double>(samples.gradients.size()) * static_cast<double>(plan.continuation));
  double trace = 0;
  for (std::int64_t i = 0; i < width; ++i) trace += sum(i, i) * scale / static_cast<double>(width);
  for (double& x : sum.values) x *= 0.99 * scale;
  for (std::int64_t i = 0; i < width; ++i) sum(i, i) += 0.01 * trace + 1e-30;
  return sum;
}

}  // namespace

Hats::Hats(std::int64_t most) : count_(1) {
  while (count_ < codec::distance_knots && (std::int64_t{1} << count_) <= most) ++count_;
}

void Hats::write(float distance, float* out) const {
  std::fill(out, out + count_, 0.0F);
  std::int64_t octave = 0;
  while (octave + 1 < count_ && static_cast<float>(std::int64_t{2} << octave) <= distance) ++octave;
  const auto start = static_cast<float>(std::int64_t{1} << octave);
  const float part = octave + 1 < count_ ? (distance - start) / start : 0.0F;
  out[octave] = 1 - part;
  if (octave + 1 < count_) out[octave + 1] = part;
}

std::array<float, codec::distance_knots> Hats::knots(std::span<const double> coefficients) const {
  std::array<float, codec::distance_knots> out{};
  for (std::int64_t k = 0; k < codec::distance_knots; ++k) {
    out[static_cast<std::size_t>(k)] =
        static_cast<float>(coefficients[static_cast<std::size_t>(std::min(k, count_ - 1))]);
  }
  return out;
}

LogMean fit_log_mean(const Rows& features, std::span<const float> values, std::span<const float> weights,
                     std::int64_t free, double ridge) {
  const auto rows = static_cast<std::size_t>(features.rows);
  const std::int64_t columns = features.columns;
  double all = 0;
  for (const float w : weights) all += w;
  const auto penalty = [&](std::int64_t i) { return i < free ? hat_ridge : 2 * ridge; };
  Dense information = gram(features, weights);
  for (double& x : information.values) x /= all;
  for (std::int64_t i = 0; i < columns; ++i) information(i, i) += penalty(i);
  const Cholesky solver(information);

  std::vector<float> sorted(values.begin(), values.end());
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(rows / 2), sorted.end());
  const double least = 1e-3 * std::max(double{sorted[rows / 2]}, 1e-3 * weighted_mean(values, weights)) + 1e-36;
  std::vector<float> pull(rows);
  LogMean out{std::vector<double>(static_cast<std::size_t>(columns)), std::vector<float>(rows, 0.0F)};
  // So that the mean of value * exp(-h) is 1: the first features, which add up to 1, are shifted.
  const auto level = [&] {
    double sum = 0;
    for (std::size_t r = 0; r < rows; ++r) sum += double{weights[r]} * values[r] * falling(out.h[r]);
    const double shift = sum > 0 ? detmath::log(sum / all) : 0;
    for (std::int64_t i = 0; i < free; ++i) out.coefficients[static_cast<std::size_t>(i)] += shift;
    for (float& h : out.h) h += static_cast<float>(shift);
  };
  for (int step = 0; step <= scoring_steps; ++step) {
    for (std::size_t r = 0; r < rows; ++r) {
      const float ratio = step == 0 ? static_cast<float>(detmath::log(values[r] + least))
                                    : std::min(values[r] * falling(out.h[r]), most_ratio) - 1;
      pull[r] = weights[r] * ratio;
    }
    Dense right(columns, 1);
    right.values = weighted_sum(features, pull);
    for (std::int64_t i = 0; i < columns; ++i) {
      right(i, 0) = right(i, 0) / all - (step == 0 ? 0 : penalty(i) * out.coefficients[static_cast<std::size_t>(i)]);
    }
    const Dense change = solver.solve(right);
    for (std::size_t i = 0; i < out.coefficients.size(); ++i) out.coefficients[i] += change.values[i];
    out.h = times(features, out.coefficients);
    level();
  }
  return out;
}

std::vector<float> weights_of(const Plan& plan) {
  std::vector<float> out;
  for (const Row& row : plan.rows) out.push_back(row.weight);
  return out;
}

SquareRoot metric_root(const Plan& plan, const Samples& samples) {
  const Hats hats(plan.context - 1);
  const std::vector<float> weights = weights_of(plan);
  return symmetric_root(mean_metric(plan, samples, distances(plan, hats), weights), plan.sizes.blocks, 1e-6);
}

Importance fit_importance(const Plan& plan, const Samples& samples, const Rows& features) {
  const std::int64_t columns = features.columns;
  const Hats hats(plan.context - 1);
  const std::vector<float> weights = weights_of(plan);
  const Floats distance = distances(plan, hats);
  SquareRoot metric = metric_root(plan, samples);
  std::vector<float> energy = mean_energy(samples, &metric.inverse);
  const double mean = std::max(weighted_mean(energy, weights), 1e-36);
  for (float& e : energy) e = static_cast<float>(e / mean);

  // Features of mean 0 and of one scale; those that hardly vary say nothing.
  std::vector<double> middle = weighted_sum(features, weights);
  double all = 0;
  for (const float w : weights) all += w;
  for (double& x : middle) x /= all;
  const auto center = [&](std::int64_t row, float* out) {
    features.write(row, out);
    for (std::int64_t i = 0; i < columns; ++i) out[i] -= static_cast<float>(middle[static_cast<std::size_t>(i)]);
  };
  std::vector<double> spread(static_cast<std::size_t>(columns));
  std::vector<float> centered(static_cast<std::size_t>(columns));
  for (std::int64_t r = 0; r < features.rows; ++r) {
    center(r, centered.data());
    for (std::int64_t i = 0; i < columns; ++i) {
      const double x = centered[static_cast<std::size_t>(i)];
      spread[static_cast<std::size_t>(i)] += weights[static_cast<std::size_t>(r)] * x * x / all;
    }
  }
  double largest = 0;
  for (double& s : spread) largest = std::max(largest, s = std::sqrt(s));
  for (double& s : spread) s = 4 * (s + 1e-4 * largest + 1e-30);
  const Rows inputs(features.rows, hats.count() + columns, [&](std::int64_t row, float* out) {
    std::copy(distance.row(row), distance.row(row) + hats.count(), out);
    center(row, out += hats.count());
    for (std::int64_t i = 0; i < columns; ++i) out[i] /= static_cast<float>(spread[static_cast<std::size_t>(i)]);
  });
  const LogMean fit = fit_log_mean(inputs, energy, weights, hats.count(), feature_ridge);

  Importance out;
  const double level = std::max(weighted_mean(fit.h, weights), least_level);
  const double scale = std::sqrt(mean / (static_cast<double>(plan.width()) * static_cast<double>(plan.continuation))) *
                       detmath::exp2(level / 2 / std::numbers::ln2);
  out.hats.assign(fit.coefficients.begin(), fit.coefficients.begin() + hats.count());
  out.constant = -level;
  for (std::int64_t i = 0; i < columns; ++i) {
    const auto at = static_cast<std::size_t>(i);
    out.inputs.push_back(fit.coefficients[static_cast<std::size_t>(hats.count() + i)] / spread[at]);
    out.constant -= out.inputs[at] * middle[at];
  }
  out.metric = std::move(metric);
  for (double& x : out.metric.root.values) x *= scale;
  for (double& x : out.metric.inverse.values) x /= scale;
  return out;
}

}  // namespace seqkv::calibration
