// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The linear algebra of calibration in double precision (Eigen, one thread).
#pragma once

#include <cstdint>
#include <vector>

namespace seqkv::calibration {

/// A matrix row by row.
struct Dense {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::vector<double> values;

  Dense() = default;
  Dense(std::int64_t r, std::int64_t c) : rows(r), columns(c), values(static_cast<std::size_t>(r * c)) {}
  double& operator()(std::int64_t r, std::int64_t c) { return values[static_cast<std::size_t>(r * columns + c)]; }
  double operator()(std::int64_t r, std::int64_t c) const { return values[static_cast<std::size_t>(r * columns + c)]; }
};

Dense transpose(const Dense& a);
Dense multiply(const Dense& a, const Dense& b);

/// A symmetric positive definite matrix that is factored once.
class Cholesky {
 public:
  explicit Cholesky(const Dense& matrix);
  /// The solution for each column of `right`.
  Dense solve(const Dense& right) const;

 private:
  Dense factor_;
};

/// Eigenvalues by falling value; vectors are columns, each with its largest component positive, so that they are
/// defined.
struct Eigenpairs {
  std::vector<double> values;
  Dense vectors;
};
Eigenpairs symmetric_eigen(const Dense& matrix);

/// The symmetric square root of a positive semidefinite matrix and its inverse; eigenvalues below `floor` times their
/// mean are raised to that.
struct SquareRoot {
  Dense root;
  Dense inverse;
};
SquareRoot symmetric_root(const Dense& matrix, double floor);

/// Columns made orthonormal, in order.
Dense orthonormal(const Dense& columns);

}  // namespace seqkv::calibration
