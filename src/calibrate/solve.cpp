// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "calibrate/solve.hpp"

#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>

namespace seqkv::calibration {
namespace {

using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Map = Eigen::Map<RowMajor>;
using ConstMap = Eigen::Map<const RowMajor>;

Map map(Dense& a) { return {a.values.data(), a.rows, a.columns}; }
ConstMap map(const Dense& a) { return {a.values.data(), a.rows, a.columns}; }

SquareRoot root_of(const Dense& matrix, double floor) {
  const Eigenpairs eigen = symmetric_eigen(matrix);
  double mean = 0;
  for (const double v : eigen.values) mean += v / static_cast<double>(eigen.values.size());
  Dense scaled = eigen.vectors;
  Dense inverse = eigen.vectors;
  for (std::int64_t c = 0; c < matrix.columns; ++c) {
    const double root = std::sqrt(std::max(eigen.values[static_cast<std::size_t>(c)], std::max(floor * mean, 1e-300)));
    for (std::int64_t r = 0; r < matrix.rows; ++r) {
      scaled(r, c) *= root;
      inverse(r, c) /= root;
    }
  }
  const Dense vectors = transpose(eigen.vectors);
  return {multiply(scaled, vectors), multiply(inverse, vectors)};
}

}  // namespace

Dense transpose(const Dense& a) {
  Dense out(a.columns, a.rows);
  map(out) = map(a).transpose();
  return out;
}

Dense multiply(const Dense& a, const Dense& b) {
  Dense out(a.rows, b.columns);
  map(out).noalias() = map(a) * map(b);
  return out;
}

Cholesky::Cholesky(const Dense& matrix) : factor_(matrix) {
  // In place: matrices are large.
  Eigen::Ref<RowMajor> view = map(factor_);
  const Eigen::LLT<Eigen::Ref<RowMajor>> llt(view);
}

Dense Cholesky::solve(const Dense& right) const { return solve_upper(solve_lower(right)); }

Dense Cholesky::solve_lower(const Dense& right) const {
  Dense out = right;
  const ConstMap lower = map(factor_);
  Map x = map(out);
  lower.triangularView<Eigen::Lower>().solveInPlace(x);
  return out;
}

Dense Cholesky::solve_upper(const Dense& right) const {
  Dense out = right;
  const ConstMap lower = map(factor_);
  Map x = map(out);
  lower.transpose().triangularView<Eigen::Upper>().solveInPlace(x);
  return out;
}

Eigenpairs symmetric_eigen(const Dense& matrix) {
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(map(matrix));
  const std::int64_t n = matrix.rows;
  Eigenpairs out{std::vector<double>(static_cast<std::size_t>(n)), Dense(n, n)};
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t from = n - 1 - i;
    out.values[static_cast<std::size_t>(i)] = solver.eigenvalues()[from];
    Eigen::Index largest = 0;
    solver.eigenvectors().col(from).cwiseAbs().maxCoeff(&largest);
    const double sign = solver.eigenvectors()(largest, from) < 0 ? -1 : 1;
    for (std::int64_t r = 0; r < n; ++r) out.vectors(r, i) = sign * solver.eigenvectors()(r, from);
  }
  return out;
}

Dense diagonal_block(const Dense& matrix, std::int64_t blocks, std::int64_t block) {
  Dense out(matrix.rows / blocks, matrix.columns / blocks);
  map(out) = map(matrix).block(block * out.rows, block * out.columns, out.rows, out.columns);
  return out;
}

void set_diagonal_block(Dense& matrix, std::int64_t block, const Dense& values) {
  map(matrix).block(block * values.rows, block * values.columns, values.rows, values.columns) = map(values);
}

SquareRoot symmetric_root(const Dense& matrix, std::int64_t blocks, double floor) {
  SquareRoot out{Dense(matrix.rows, matrix.columns), Dense(matrix.rows, matrix.columns)};
  for (std::int64_t b = 0; b < blocks; ++b) {
    const SquareRoot root = root_of(diagonal_block(matrix, blocks, b), floor);
    set_diagonal_block(out.root, b, root.root);
    set_diagonal_block(out.inverse, b, root.inverse);
  }
  return out;
}

}  // namespace seqkv::calibration
