// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "calibrate/fit_predictor.hpp"

#include <algorithm>
#include <cmath>

#include "calibrate/regression.hpp"
#include "core/detmath.hpp"

namespace seqkv::calibration {
namespace {

/// Coefficients and, where there is a rank, their factors, as they are stored; what they predict, and what is left.
void solve(const Targets& targets, FittedPredictor& out, Predicted& predicted) {
  const std::int64_t width = targets.values.columns;
  const std::int64_t columns = targets.columns();
  const Dense moments = gram(targets.inputs, predicted.matter);
  const Dense coefficients = least_squares(moments, columns);
  const std::int64_t rank = out.rank = targets.rank;
  if (rank == 0) {
    out.predict = Stored::round(coefficients);
    predicted.values = predict_from(out, targets.inputs, columns, width);
    out.predict.append(targets.weight);
  } else {
    // One part of the rank is the weight's: row 1 between, column 1 behind.
    const Factors factors = reduce_rank(moments, columns, coefficients, targets.metric, rank - 1);
    Stored squeeze = Stored::round(factors.squeeze);
    const auto behind_constant = squeeze.values.begin() + columns;
    squeeze.values.insert(behind_constant, targets.weight.values.begin(), targets.weight.values.end());
    if (targets.weight.dtype == DType::f32) squeeze.dtype = DType::f32;
    Dense expand(width + 1, rank);
    for (std::int64_t j = 0; j < width; ++j) {
      expand(j, 0) = factors.expand(j, 0);
      for (std::int64_t k = 2; k < rank; ++k) expand(j, k) = factors.expand(j, k - 1);
    }
    expand(width, 1) = 1;
    out.squeeze = std::move(squeeze);
    out.predict = Stored::round(expand);
    predicted.values = predict_from(out, targets.inputs, columns, width);
  }
  predicted.residual = difference(targets.values, predicted.values);
}

}  // namespace

std::vector<float> log_weights(const Rows& inputs, const Stored& weight, std::span<const Row> rows, const Hats& hats,
                               const std::array<float, codec::distance_knots>& knots) {
  const auto columns = static_cast<std::int64_t>(weight.values.size());
  const Floats predicted = multiply(inputs, PackedFloats::pack(1, columns, weight.values));
  std::vector<float> out(static_cast<std::size_t>(inputs.rows));
  std::vector<float> hat(static_cast<std::size_t>(hats.count()));
  for (std::int64_t r = 0; r < inputs.rows; ++r) {
    hats.write(rows[static_cast<std::size_t>(r)].block_behind, hat.data());
    float sum = predicted.row(r)[0];
    for (std::size_t k = 0; k < hat.size(); ++k) sum += hat[k] * knots[k];
    constexpr auto most = static_cast<float>(codec::most_grade);
    constexpr auto part = static_cast<float>(codec::grades_of_octave);
    out[static_cast<std::size_t>(r)] = std::floor(std::clamp(sum * part, -most, most) + 0.5F) / part;
  }
  return out;
}

Floats predict_from(const FittedPredictor& predictor, const Rows& inputs, std::int64_t columns, std::int64_t width) {
  const std::int64_t rank = predictor.rank;
  if (rank == 0) return multiply(inputs, PackedFloats::pack(width, columns, predictor.predict.values));
  const Floats squeezed = multiply(inputs, PackedFloats::pack(rank, columns, predictor.squeeze.values));
  return multiply(squeezed, PackedFloats::pack(width, rank, predictor.predict.values));
}

Floats difference(const Floats& a, const Floats& b) {
  Floats out(a.rows, a.columns);
  for_row_ranges(a.rows, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t r = first; r < last; ++r) {
      for (std::int64_t i = 0; i < a.columns; ++i) out.row(r)[i] = a.row(r)[i] - b.row(r)[i];
    }
  });
  return out;
}

std::vector<float> weighted_sizes(const Floats& residual, const SquareRoot& metric) {
  const Floats weighted = multiply(residual, metric.root);
  std::vector<float> size(static_cast<std::size_t>(weighted.rows));
  for (std::int64_t r = 0; r < weighted.rows; ++r) {
    float sum = 0;
    for (std::int64_t i = 0; i < weighted.columns; ++i) sum += weighted.row(r)[i] * weighted.row(r)[i];
    size[static_cast<std::size_t>(r)] = sum / static_cast<float>(weighted.columns);
  }
  return size;
}

std::vector<float> matter_of(std::span<const float> log_weight, std::span<const float> weights,
                             std::span<const float> sizes) {
  std::vector<float> matter(sizes.size());
  double sum = 0;
  for (std::size_t r = 0; r < matter.size(); ++r) {
    const float square = detmath::exp2(2 * log_weight[r]);
    matter[r] = weights[r] * square / (1 + square * sizes[r]);
    sum += matter[r];
  }
  for (float& m : matter) m *= static_cast<float>(static_cast<double>(matter.size()) / sum);
  return matter;
}

Predicted fit_predictor(const Targets& targets, FittedPredictor& out) {
  Predicted predicted;
  const auto matter_if = [&](std::span<const float> sizes) {
    return matter_of(targets.log_weight, targets.weights, sizes);
  };
  std::vector<float> size(static_cast<std::size_t>(targets.inputs.rows), 6.0F);
  predicted.matter = matter_if(size);
  solve(targets, out, predicted);
  size = weighted_sizes(predicted.residual, targets.metric);
  double mean = 0;
  double all = 0;
  for (std::size_t r = 0; r < size.size(); ++r) {
    mean += double{targets.weights[r]} * size[r];
    all += targets.weights[r];
  }
  std::fill(size.begin(), size.end(), static_cast<float>(mean / all / 2));
  predicted.matter = matter_if(size);
  solve(targets, out, predicted);
  predicted.matter = matter_if(weighted_sizes(predicted.residual, targets.metric));
  out.transform = fit_transform({predicted.residual, targets.log_weight, predicted.matter, targets.weights},
                                targets.metric, targets.blocks);
  return predicted;
}

}  // namespace seqkv::calibration
