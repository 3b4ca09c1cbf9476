// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// The rotation of TurboQuant: orthogonal, its own inverse but for the signs, spreading; and the Walsh-Hadamard
// transform of every kind of CPU kernels that this machine has, against the portable one.
#include "backends/kokkos/hadamard.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "codec/transform/hartley.hpp"
#include "support/kernels.hpp"

namespace seqkv {
namespace {

kokkos::Rotation rotation_of(std::int64_t dim, const std::vector<float>& hartley) {
  kokkos::Rotation rotation;
  rotation.dim = dim;
  rotation.power = dim & -dim;
  rotation.odd = dim / rotation.power;
  rotation.scale = 1.0F / std::sqrt(static_cast<float>(rotation.power));
  rotation.hartley = hartley.data();
  rotation.seed = 7;
  return rotation;
}

double norm(const std::vector<float>& x) {
  double sum = 0;
  for (float v : x) sum += double{v} * double{v};
  return std::sqrt(sum);
}

class RotationTest : public testing::TestWithParam<std::int64_t> {
 protected:
  std::vector<float> hartley = codec::hartley_matrix(GetParam() / (GetParam() & -GetParam()));
  kokkos::Rotation rotation = rotation_of(GetParam(), hartley);
};

TEST_P(RotationTest, InverseUndoesForwardAndKeepsTheNorm) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<std::size_t>(GetParam()));
  for (float& v : x) v = normal(random);
  std::vector<float> y = x;
  rotation.forward(y.data());
  EXPECT_NEAR(norm(y), norm(x), 1e-4 * norm(x));
  rotation.inverse(y.data());
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(y[i], x[i], 1e-5);
}

TEST_P(RotationTest, SpreadsASingleComponentOverAll) {
  for (std::int64_t hot : {std::int64_t{0}, GetParam() / 2, GetParam() - 1}) {
    std::vector<float> x(static_cast<std::size_t>(GetParam()), 0.0F);
    x[static_cast<std::size_t>(hot)] = 1.0F;
    rotation.forward(x.data());
    const double bound = 1.5 / std::sqrt(static_cast<double>(GetParam()));  // cas() reaches sqrt(2)
    for (float v : x) EXPECT_LE(std::abs(v), bound);
  }
}

INSTANTIATE_TEST_SUITE_P(Dims, RotationTest, testing::Values(4, 6, 7, 16, 64, 80, 96, 112, 120, 128, 256, 512));

/// Rows of numbers of all magnitudes; the further ones with NaN, infinities, zeros and sums beyond float's range.
std::vector<float> rows_of(std::int64_t size, std::int64_t rows) {
  test::Numbers numbers(static_cast<std::uint32_t>(size + rows));
  std::vector<float> x = numbers.take(rows * size);
  for (std::int64_t r = 1; r < rows; ++r) {
    float* row = &x[static_cast<std::size_t>(r * size)];
    if (r % 6 == 1) std::fill(row, row + size, r % 12 == 1 ? 0.0F : -0.0F);
    for (std::int64_t i = 0; i < size; ++i) row[i] *= std::ldexp(1.0F, r % 6 == 2 ? 126 : r % 6 == 3 ? -140 : 0);
    if (r % 6 == 4) row[numbers.below(size)] = std::nanf("");
    if (r % 6 == 5) row[numbers.below(size)] = INFINITY;
  }
  return x;
}

TEST(HadamardRows, HaveTheBitsOfThePortableTransform) {
  for (std::int64_t size = 16; size <= 4096; size *= 2) {
    for (std::int64_t rows : {1, 2, 3, 13, 40}) {
      const std::vector<float> x = rows_of(size, rows);
      std::vector<float> expected = x;
      for (std::int64_t r = 0; r < rows; ++r)
        kokkos::walsh_hadamard(&expected[static_cast<std::size_t>(r * size)], size);
      for (const cpu::Kernels* cpu : test::cpu_kernels()) {
        std::vector<float> actual = x;
        cpu->hadamard_rows(actual.data(), rows, size);
        // A NaN is a NaN: which one a sum of two hands on is nobody's promise.
        for (std::size_t i = 0; i < x.size(); ++i) {
          if (std::isnan(actual[i]) && std::isnan(expected[i])) actual[i] = expected[i];
        }
        EXPECT_TRUE(test::same_bits(actual, expected)) << cpu->name << ", " << rows << " rows of " << size;
      }
    }
  }
}

TEST(Hartley, MatchesItsDefinition) {
  const auto matrix = codec::hartley_matrix(5);
  for (int i = 0; i < 5; ++i) {
    for (int j = 0; j < 5; ++j) {
      const double angle = 2 * 3.14159265358979323846 * i * j / 5;
      EXPECT_NEAR(matrix[i * 5 + j], (std::cos(angle) + std::sin(angle)) / std::sqrt(5.0), 1e-7);
    }
  }
}

TEST(RandomBits, AreThoseOfSplitmix64) {
  // The first outputs for seed 1234567, as published with the generator.
  EXPECT_EQ(random_bits(1234567, 0), 6457827717110365317ULL);
  EXPECT_EQ(random_bits(1234567, 1), 3203168211198807973ULL);
}

}  // namespace
}  // namespace seqkv
