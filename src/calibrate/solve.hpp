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
  /// The same for the lower factor alone, and for its transpose.
  Dense solve_lower(const Dense& right) const;
  Dense solve_upper(const Dense& right) const;

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

/// One of several equal blocks along the diagonal.
Dense diagonal_block(const Dense& matrix, std::int64_t blocks, std::int64_t block);
void set_diagonal_block(Dense& matrix, std::int64_t block, const Dense& values);

/// The symmetric square roots of the blocks along the diagonal of a positive semidefinite matrix and their inverses,
/// zero elsewhere; eigenvalues below `floor` times their mean are raised to that.
struct SquareRoot {
  Dense root;
  Dense inverse;
};
SquareRoot symmetric_root(const Dense& matrix, std::int64_t blocks, double floor);

}  // namespace seqkv::calibration
