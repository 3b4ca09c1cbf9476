// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Least squares with a ridge, and the same of a lower rank.
#pragma once

#include "calibrate/solve.hpp"

namespace seqkv::calibration {

/// To the diagonal of normal equations a small share of itself, and so much that equations of zeros can be solved.
void add_ridge(Dense& normal);

/// `moments` are the sums of products of features (`inputs` of them, the first is 1) and of targets behind them. The
/// coefficients of each target by the features: [targets][inputs].
Dense least_squares(const Dense& moments, std::int64_t inputs);

/// Coefficients as a product, expand * squeeze.
struct Factors {
  Dense squeeze;  ///< [rank][inputs]: the first row is the constant, of the others the mean square is 1
  Dense expand;   ///< [targets][rank]
};

/// Of all coefficients of this rank those that lose least of what least squares explain, errors weighted by root *
/// root, `inverse` that of the symmetric `root`: reduced-rank regression (Izenman 1975), with the ridge of
/// least_squares() (Mukherjee and Zhu 2011). What is explained in the metric has the moments S = root B^T (G + ridge) B
/// root of coefficients B and centered features G; its largest eigenvectors are kept.
Factors reduce_rank(const Dense& moments, std::int64_t inputs, const Dense& coefficients, const SquareRoot& metric,
                    std::int64_t rank);

}  // namespace seqkv::calibration
