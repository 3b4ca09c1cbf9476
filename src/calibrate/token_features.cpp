// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "calibrate/token_features.hpp"

#include <cmath>
#include <numeric>

#include "calibrate/importance.hpp"
#include "calibrate/regression.hpp"
#include "core/try.hpp"

namespace seqkv::calibration {
namespace {

/// x -= a b^T / all: moments about means from moments and sums.
void center(Dense& x, std::span<const double> a, std::span<const double> b, double all) {
  for (std::int64_t i = 0; i < x.rows; ++i) {
    for (std::int64_t j = 0; j < x.columns; ++j) {
      x(i, j) -= a[static_cast<std::size_t>(i)] * b[static_cast<std::size_t>(j)] / all;
    }
  }
}

/// [hidden][plan.sizes.token_width]
Result<Dense> best_directions(const Plan& plan, const std::filesystem::path& folder, const Rows& embedding) {
  const std::int64_t hidden = embedding.columns;
  const std::int64_t width = plan.width();
  const std::vector<float> weights = weights_of(plan);
  const double all = std::accumulate(weights.begin(), weights.end(), 0.0);
  const Rows inputs(plan.rows_in_all(), hidden, [&](std::int64_t row, float* out) {
    embedding.write(plan.rows[static_cast<std::size_t>(row)].token, out);
  });
  const std::vector<double> sums = weighted_sum(inputs, weights);
  Dense normal = gram(inputs, weights);
  center(normal, sums, sums, all);
  add_ridge(normal);
  const Cholesky factor(normal);
  Dense explained(hidden, hidden);
  for (std::int64_t b = 0; b < plan.subblocks(); ++b) {
    SEQKV_ASSIGN(const Samples samples, read_samples(plan, folder, b));
    const Rows both(plan.rows_in_all(), hidden + width, [&](std::int64_t row, float* out) {
      inputs.write(row, out);
      std::copy(samples.values.row(row), samples.values.row(row) + width, out + hidden);
    });
    const Dense moments = gram(both, weights, hidden);
    Dense right(hidden, width);
    for (std::int64_t i = 0; i < hidden; ++i) {
      for (std::int64_t j = 0; j < width; ++j) right(i, j) = moments(i, hidden + j);
    }
    center(right, sums, weighted_sum(samples.values, weights), all);
    const Dense part = factor.solve_lower(multiply(right, metric_root(plan, samples).root));
    const Dense square = multiply(part, transpose(part));
    for (std::size_t i = 0; i < square.values.size(); ++i) explained.values[i] += square.values[i];
  }
  const Eigenpairs eigen = symmetric_eigen(explained);
  Dense best(hidden, plan.sizes.token_width);
  for (std::int64_t i = 0; i < hidden; ++i) {
    for (std::int64_t k = 0; k < best.columns; ++k) best(i, k) = eigen.vectors(i, k) * std::sqrt(all);
  }
  return factor.solve_upper(best);
}

}  // namespace

Rows normalized(const Rows& embedding, double epsilon) {
  return {embedding.rows, embedding.columns, [embedding, epsilon](std::int64_t row, float* out) {
            embedding.write(row, out);
            double sum = 0;
            for (std::int64_t i = 0; i < embedding.columns; ++i) sum += double{out[i]} * out[i];
            const auto scale =
                static_cast<float>(1 / std::sqrt(sum / static_cast<double>(embedding.columns) + epsilon));
            for (std::int64_t i = 0; i < embedding.columns; ++i) out[i] *= scale;
          }};
}

Result<Floats> token_features(const Plan& plan, const std::filesystem::path& folder, const Rows& embedding) {
  Floats out(embedding.rows, plan.sizes.token_width);
  if (plan.sizes.token_width == 0) return out;
  if (plan.sizes.token_width < embedding.columns) {
    SEQKV_ASSIGN(const Dense directions, best_directions(plan, folder, embedding));
    return multiply(embedding, transpose(directions));
  }
  for_row_ranges(out.rows, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t r = first; r < last; ++r) embedding.write(r, out.row(r));
  });
  return out;
}

}  // namespace seqkv::calibration
