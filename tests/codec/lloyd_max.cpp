// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// The quantizer's centroids against published distortions.
#include "codec/quantize/lloyd_max.hpp"

#include <gtest/gtest.h>
#include <algorithm>
#include <array>

#include <cmath>

namespace seqkv::codec {
namespace {

/// dim * E|x - c(x)|^2 for one component of a random unit vector, by a fine Riemann sum: the distortion of the whole
/// vector.
double distortion(const std::vector<double>& centroids, std::int64_t dim) {
  constexpr int steps = 400'000;
  double mass = 0;
  double error = 0;
  for (int i = 0; i < steps; ++i) {
    const double x = -1.0 + 2.0 * (i + 0.5) / steps;
    const double density = std::pow(1.0 - x * x, 0.5 * static_cast<double>(dim - 3));
    double best = 4.0;
    for (double c : centroids) best = std::min(best, (x - c) * (x - c));
    mass += density;
    error += density * best;
  }
  return static_cast<double>(dim) * error / mass;
}

TEST(LloydMax, HasTheExactDistortions) {
  // shared/reference/kv-codecs.md, section 2.3: exact columns for d = 64 and d = 128.
  const std::vector<std::array<double, 2>> exact = {
      {0.35839, 0.36089}, {0.11453, 0.11600}, {0.03339, 0.03397}, {0.00913, 0.00931}, {0.00240, 0.00245}};
  for (int bits = 1; bits <= 5; ++bits) {
    EXPECT_NEAR(distortion(lloyd_max_centroids(bits, 64), 64) / exact[bits - 1][0], 1.0, 3e-3) << bits;
    EXPECT_NEAR(distortion(lloyd_max_centroids(bits, 128), 128) / exact[bits - 1][1], 1.0, 3e-3) << bits;
  }
}

TEST(LloydMax, IsSymmetricAndAscending) {
  for (std::int64_t dim : {4, 5, 80, 512}) {
    const auto centroids = lloyd_max_centroids(5, dim);
    ASSERT_EQ(centroids.size(), 32U);
    for (std::size_t k = 0; k < 32; ++k) {
      EXPECT_EQ(centroids[k], -centroids[31 - k]);
      EXPECT_TRUE(k == 0 || centroids[k] > centroids[k - 1]);
    }
  }
}

TEST(LloydMax, OneBitHasItsClosedForm) {
  // E|x| on the sphere in 3 dimensions would be 1/2; for dim -> infinity it tends to sqrt(2 / (pi dim)).
  const auto centroids = lloyd_max_centroids(1, 512);
  EXPECT_NEAR(centroids[1] * std::sqrt(512.0), std::sqrt(2.0 / 3.14159265358979), 1e-3);
}

}  // namespace
}  // namespace seqkv::codec
