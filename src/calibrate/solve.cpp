// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "calibrate/solve.hpp"

#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>
#include <Eigen/QR>
#include <algorithm>
#include <cmath>

namespace seqkv::calibration {
namespace {

using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Map = Eigen::Map<RowMajor>;
using ConstMap = Eigen::Map<const RowMajor>;

Map map(Dense& a) { return {a.values.data(), a.rows, a.columns}; }
ConstMap map(const Dense& a) { return {a.values.data(), a.rows, a.columns}; }

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

Dense Cholesky::solve(const Dense& right) const {
  Dense out = right;
  const auto lower = map(factor_).triangularView<Eigen::Lower>();
  Map x = map(out);
  lower.solveInPlace(x);
  lower.transpose().solveInPlace(x);
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

SquareRoot symmetric_root(const Dense& matrix, double floor) {
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

Dense orthonormal(const Dense& columns) {
  const Eigen::HouseholderQR<Eigen::MatrixXd> qr(map(columns));
  const Eigen::MatrixXd q = qr.householderQ() * Eigen::MatrixXd::Identity(columns.rows, columns.columns);
  Dense out(columns.rows, columns.columns);
  map(out) = q;
  return out;
}

}  // namespace seqkv::calibration
