// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "calibrate/regression.hpp"

#include <algorithm>
#include <cmath>

namespace seqkv::calibration {

void add_ridge(Dense& normal) {
  double largest = 0;
  for (std::int64_t i = 0; i < normal.rows; ++i) largest = std::max(largest, normal(i, i));
  for (std::int64_t i = 0; i < normal.rows; ++i) normal(i, i) += 3e-4 * normal(i, i) + 1e-9 * largest + 1e-30;
}

Dense least_squares(const Dense& moments, std::int64_t inputs) {
  const std::int64_t targets = moments.columns - inputs;
  Dense normal(inputs, inputs);
  Dense right(inputs, targets);
  for (std::int64_t i = 0; i < inputs; ++i) {
    for (std::int64_t j = 0; j < inputs; ++j) normal(i, j) = moments(i, j);
    for (std::int64_t j = 0; j < targets; ++j) right(i, j) = moments(i, inputs + j);
  }
  add_ridge(normal);
  return transpose(Cholesky(normal).solve(right));
}

Factors reduce_rank(const Dense& moments, std::int64_t inputs, const Dense& coefficients, const SquareRoot& metric,
                    std::int64_t rank) {
  const std::int64_t targets = coefficients.rows;
  // The normal equations give (G + ridge) B without a product as large as G.
  Dense right(inputs, targets);
  for (std::int64_t i = 1; i < inputs; ++i) {
    for (std::int64_t j = 0; j < targets; ++j) {
      right(i, j) = moments(i, inputs + j) - moments(i, 0) / moments(0, 0) * moments(0, inputs + j);
    }
  }
  const Dense explained = multiply(multiply(metric.root, multiply(coefficients, right)), metric.root);
  Dense symmetric = explained;
  for (std::int64_t i = 0; i < targets; ++i) {
    for (std::int64_t j = 0; j < targets; ++j) symmetric(i, j) = (explained(i, j) + explained(j, i)) / 2;
  }
  const Eigenpairs eigen = symmetric_eigen(symmetric);
  Dense best(targets, rank - 1);
  for (std::int64_t i = 0; i < targets; ++i) {
    for (std::int64_t k = 0; k < rank - 1; ++k) best(i, k) = eigen.vectors(i, k);
  }
  const Dense squeeze = multiply(transpose(best), multiply(metric.root, coefficients));
  const Dense expand = multiply(metric.inverse, best);
  Factors out{Dense(rank, inputs), Dense(targets, rank)};
  out.squeeze(0, 0) = 1;
  for (std::int64_t k = 1; k < rank; ++k) {
    const double size = std::sqrt(
        std::max(eigen.values[static_cast<std::size_t>(k - 1)] / moments(0, 0), 1e-12 * eigen.values[0] + 1e-30));
    double middle = 0;
    for (std::int64_t i = 1; i < inputs; ++i) {
      out.squeeze(k, i) = squeeze(k - 1, i) / size;
      middle += out.squeeze(k, i) * moments(0, i) / moments(0, 0);
    }
    out.squeeze(k, 0) = -middle;
    for (std::int64_t j = 0; j < targets; ++j) out.expand(j, k) = expand(j, k - 1) * size;
  }
  for (std::int64_t j = 0; j < targets; ++j) out.expand(j, 0) = moments(0, inputs + j) / moments(0, 0);
  return out;
}

}  // namespace seqkv::calibration
