// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "calibrate/token_features.hpp"

#include <algorithm>
#include <cmath>

namespace seqkv::calibration {
namespace {

Floats normalized(const std::vector<float>& embedding, std::int64_t hidden, double epsilon) {
  Floats out(static_cast<std::int64_t>(embedding.size()) / hidden, hidden);
  for_row_ranges(out.rows, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t r = first; r < last; ++r) {
      const float* from = embedding.data() + r * hidden;
      double sum = 0;
      for (std::int64_t i = 0; i < hidden; ++i) sum += double{from[i]} * from[i];
      const auto scale = static_cast<float>(1 / std::sqrt(sum / static_cast<double>(hidden) + epsilon));
      for (std::int64_t i = 0; i < hidden; ++i) out.row(r)[i] = from[i] * scale;
    }
  });
  return out;
}

/// x^T y, rows in chains of 512.
Dense cross_product(const Floats& x, const Floats& y) {
  constexpr std::int64_t chain = 512;
  Dense sum(x.columns, y.columns);
  for (std::int64_t first = 0; first < x.rows; first += chain) {
    const std::int64_t rows = std::min(chain, x.rows - first);
    Floats turned(x.columns, rows);
    std::vector<float> right(static_cast<std::size_t>(y.columns * rows));
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t i = 0; i < x.columns; ++i) turned.row(i)[r] = x.row(first + r)[i];
      for (std::int64_t i = 0; i < y.columns; ++i) right[static_cast<std::size_t>(i * rows + r)] = y.row(first + r)[i];
    }
    const Floats part = multiply(turned, PackedFloats::pack(y.columns, rows, right));
    for (std::int64_t i = 0; i < x.columns; ++i) {
      for (std::int64_t j = 0; j < y.columns; ++j) sum(i, j) += part.row(i)[j];
    }
  }
  return sum;
}

}  // namespace

Floats token_features(const Plan& plan, const std::vector<float>& embedding, std::int64_t hidden, double epsilon) {
  Floats all = normalized(embedding, hidden, epsilon);
  if (plan.token_width == hidden) return all;
  // The tokens that occur, each by the root of how often: the principal directions are those of their second moments.
  std::vector<double> counts(static_cast<std::size_t>(all.rows));
  for (const Chunk& chunk : plan.chunks) {
    for (const Token token : chunk) counts[token] += 1;
  }
  std::vector<std::int64_t> used;
  for (std::int64_t t = 0; t < all.rows; ++t) {
    if (counts[static_cast<std::size_t>(t)] > 0) used.push_back(t);
  }
  Floats weighted(static_cast<std::int64_t>(used.size()), hidden);
  for (std::int64_t r = 0; r < weighted.rows; ++r) {
    const std::int64_t token = used[static_cast<std::size_t>(r)];
    const auto weight = static_cast<float>(std::sqrt(counts[static_cast<std::size_t>(token)]));
    for (std::int64_t i = 0; i < hidden; ++i) weighted.row(r)[i] = weight * all.row(token)[i];
  }
  // Subspace iteration from a random start, with some directions to spare.
  constexpr int iterations = 4;
  const std::int64_t directions = std::min(hidden, plan.token_width + plan.token_width / 4);
  Random random(1);
  Dense basis(hidden, directions);
  for (double& x : basis.values) x = random.uniform() - 0.5;
  basis = orthonormal(basis);
  for (int i = 0; i < iterations; ++i)
    basis = orthonormal(cross_product(weighted, multiply(weighted, transpose(basis))));
  // Rotated so that the best come first.
  const Floats projected = multiply(weighted, transpose(basis));
  const Eigenpairs eigen = symmetric_eigen(gram(projected, std::vector<float>(used.size(), 1.0F)));
  Dense rotation(directions, plan.token_width);
  for (std::int64_t r = 0; r < directions; ++r) {
    for (std::int64_t c = 0; c < plan.token_width; ++c) rotation(r, c) = eigen.vectors(r, c);
  }
  return multiply(all, transpose(multiply(basis, rotation)));
}

}  // namespace seqkv::calibration
