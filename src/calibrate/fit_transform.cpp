// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "calibrate/fit_transform.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "calibrate/code_samples.hpp"
#include "codec/predict/arguments.hpp"
#include "core/bytes.hpp"
#include "core/detmath.hpp"

namespace seqkv::calibration {
namespace {

/// The smallest step at which coefficients must still be there.
constexpr double least_step_log2 = -2.5;
constexpr double least_slope = 0.3;
constexpr double largest_slope = 1.7;

/// Blocks [blocks][rows][columns] along the diagonal of a matrix of zeros.
PackedFloats whole(const Stored& stored, std::int64_t blocks, std::int64_t rows, std::int64_t columns) {
  std::vector<float> out(static_cast<std::size_t>(blocks * rows * blocks * columns), 0.0F);
  for (std::int64_t r = 0; r < blocks * rows; ++r) {
    const auto from = stored.values.begin() + r * columns;
    std::copy(from, from + columns, out.begin() + (r * blocks + r / rows) * columns);
  }
  return PackedFloats::pack(blocks * rows, blocks * columns, out);
}

/// Matrices in full, before they are sorted and cut.
struct Directions {
  Dense forward;  ///< [width][width]
  Dense inverse;
};

Directions principal_directions(const Residuals& residuals, const SquareRoot& metric, std::int64_t blocks) {
  Dense covariance = gram(residuals.values, residuals.matter);
  double all = 0;
  for (const float m : residuals.matter) all += m;
  for (double& x : covariance.values) x /= all;
  Directions out{Dense(covariance.rows, covariance.rows), Dense(covariance.rows, covariance.rows)};
  for (std::int64_t b = 0; b < blocks; ++b) {
    const Dense root = diagonal_block(metric.root, blocks, b);
    const Eigenpairs eigen = symmetric_eigen(multiply(multiply(root, diagonal_block(covariance, blocks, b)), root));
    set_diagonal_block(out.forward, b, multiply(transpose(eigen.vectors), root));
    set_diagonal_block(out.inverse, b, multiply(diagonal_block(metric.inverse, blocks, b), eigen.vectors));
  }
  return out;
}

/// Variances of the weighted coefficients where the weight is 1 and grows with this slope.
std::vector<double> variances(const Residuals& residuals, const Floats& coefficients, double slope) {
  std::vector<double> out(static_cast<std::size_t>(coefficients.columns), 1e-18);
  double all = 0;
  for (std::int64_t r = 0; r < coefficients.rows; ++r) {
    const auto at = static_cast<std::size_t>(r);
    const double weight = residuals.matter[at];
    const float factor = detmath::exp2(static_cast<float>(-2 * (slope - 1)) * residuals.log_weight[at]);
    all += weight;
    const float* z = coefficients.row(r);
    for (std::size_t c = 0; c < out.size(); ++c) out[c] += weight * factor * z[c] * z[c];
  }
  for (double& v : out) v /= all;
  return out;
}

/// How scales grow with the weight: regression of the residuals' sizes on log2 g.
double slope_of(const Residuals& residuals, const Floats& coefficients) {
  const std::vector<double> variance = variances(residuals, coefficients, 1);
  std::vector<float> share(variance.size());
  double sum = 0;
  for (const double v : variance) sum += std::min(4 * v, 1.0);
  for (std::size_t c = 0; c < share.size(); ++c) {
    share[c] = static_cast<float>(std::min(4 * variance[c], 1.0) / sum / variance[c]);
  }
  std::vector<double> size(static_cast<std::size_t>(coefficients.rows));
  double all = 0;
  double mean_weight = 0;
  double mean_size = 0;
  for (std::int64_t r = 0; r < coefficients.rows; ++r) {
    const auto at = static_cast<std::size_t>(r);
    double energy = 1e-3;
    for (std::int64_t c = 0; c < coefficients.columns; ++c) {
      energy += double{share[static_cast<std::size_t>(c)]} * coefficients.row(r)[c] * coefficients.row(r)[c];
    }
    size[at] = detmath::log2(energy) / 2;
    all += residuals.weights[at];
    mean_weight += double{residuals.weights[at]} * residuals.log_weight[at];
    mean_size += residuals.weights[at] * size[at];
  }
  mean_weight /= all;
  mean_size /= all;
  double covariance = 0;
  double spread = 1e-6;
  for (std::size_t r = 0; r < size.size(); ++r) {
    const double x = residuals.log_weight[r] - mean_weight;
    covariance += residuals.weights[r] * x * (size[r] - mean_size) / all;
    spread += residuals.weights[r] * x * x / all;
  }
  return std::clamp(1 + covariance / spread, least_slope, largest_slope);
}

/// The largest coefficients of each block first, in whole tiles; what is never coded at any useful step is left out.
void keep_largest(const Residuals& residuals, const std::vector<double>& variance, FittedTransform& transform) {
  const std::int64_t blocks = transform.blocks;
  const std::int64_t width = residuals.values.columns;
  const std::int64_t dim = width / blocks;
  const auto variance_of = [&](std::int64_t c) { return variance[static_cast<std::size_t>(c)]; };
  float most = -static_cast<float>(codec::most_grade);
  for (const float w : residuals.log_weight) most = std::max(most, w);
  const double least = least_class / 4.0 + least_step_log2 - transform.slope / 256.0 * most;
  std::vector<std::int64_t> order(static_cast<std::size_t>(width));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  std::int64_t kept = 0;  // of the block that needs the most
  for (std::int64_t b = 0; b < blocks; ++b) {
    const auto first = order.begin() + b * dim;
    std::stable_sort(first, first + dim,
                     [&](std::int64_t a, std::int64_t c) { return variance_of(a) > variance_of(c); });
    std::int64_t some = 0;
    while (some < dim &&
           (some % codec::tile_coefficients != 0 || some == 0 || detmath::log2(variance_of(first[some])) / 2 > least)) {
      ++some;
    }
    kept = std::max(kept, some);
  }
  const std::int64_t padded = round_up(kept, codec::tile_coefficients);
  std::vector<float> forward(static_cast<std::size_t>(padded * width), 0.0F);
  std::vector<float> inverse(forward.size(), 0.0F);
  for (std::int64_t b = 0; b < blocks; ++b) {
    for (std::int64_t k = 0; k < padded; ++k) {
      if (k >= kept) {
        transform.scales.push_back(transform.scales.back());
        continue;
      }
      const std::int64_t c = order[static_cast<std::size_t>(b * dim + k)];
      const double log_scale = detmath::log2(variance_of(c)) / 2;
      constexpr double bound = 20000;
      transform.scales.push_back(
          static_cast<std::int16_t>(std::clamp(std::floor(log_scale * codec::scale_parts + 0.5), -bound, bound)));
      for (std::int64_t i = 0; i < dim; ++i) {
        const auto from = static_cast<std::size_t>(c * width + b * dim + i);
        const auto across = static_cast<std::size_t>((b * dim + i) * width + c);
        forward[static_cast<std::size_t>((b * padded + k) * dim + i)] = transform.forward.values[from];
        inverse[static_cast<std::size_t>((b * dim + i) * padded + k)] = transform.inverse.values[across];
      }
    }
  }
  transform.coefficients = blocks * padded;
  transform.forward.values = std::move(forward);
  transform.inverse.values = std::move(inverse);
}

}  // namespace

Floats FittedTransform::apply(const Floats& rows) const {
  return multiply(rows, whole(forward, blocks, coefficients / blocks, rows.columns / blocks));
}

Floats FittedTransform::undo(const Floats& numbers) const {
  const auto width = static_cast<std::int64_t>(inverse.values.size()) / (coefficients / blocks);
  return multiply(numbers, whole(inverse, blocks, width / blocks, coefficients / blocks));
}

FittedTransform fit_transform(const Residuals& residuals, const SquareRoot& metric, std::int64_t blocks) {
  const std::int64_t width = residuals.values.columns;
  const Directions directions = principal_directions(residuals, metric, blocks);
  FittedTransform out;
  out.blocks = blocks;
  out.forward = Stored::round(directions.forward);
  out.inverse = Stored::round(directions.inverse);
  const Floats coefficients = multiply(residuals.values, PackedFloats::pack(width, width, out.forward.values));
  const double slope = slope_of(residuals, coefficients);
  out.slope = static_cast<std::int32_t>(std::floor(slope * 256 + 0.5));
  keep_largest(residuals, variances(residuals, coefficients, slope), out);
  return out;
}

}  // namespace seqkv::calibration
