// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// What calibration is made of: roots and solutions, products, regressions, sizes, importance.
#include <gtest/gtest.h>

#include <random>

#include "calibrate/importance.hpp"
#include "calibrate/regression.hpp"
#include "calibrate/sizes.hpp"
#include "calibrate/solve.hpp"
#include "support/caches.hpp"
#include "support/result.hpp"

namespace seqkv::test {
namespace {

TEST(Solve, RootsAndSolutions) {
  calibration::Dense a(3, 3);
  a.values = {4, 1, 0, 1, 3, -1, 0, -1, 2};
  const calibration::SquareRoot root = calibration::symmetric_root(a, 1, 1e-6);
  const calibration::Dense square = calibration::multiply(root.root, root.root);
  const calibration::Dense one = calibration::multiply(root.root, root.inverse);
  calibration::Dense right(3, 1);
  right.values = {1, 2, 3};
  const calibration::Dense back = calibration::multiply(a, calibration::Cholesky(a).solve(right));
  for (std::int64_t r = 0; r < 3; ++r) {
    EXPECT_NEAR(back(r, 0), right(r, 0), 1e-12);
    for (std::int64_t c = 0; c < 3; ++c) {
      EXPECT_NEAR(square(r, c), a(r, c), 1e-12);
      EXPECT_NEAR(one(r, c), r == c ? 1 : 0, 1e-12);
    }
  }
}

TEST(Solve, RootsOfBlocks) {
  calibration::Dense a(4, 4);
  a.values = {4, 1, 9, 9, 1, 3, 9, 9, 9, 9, 5, 2, 9, 9, 2, 2};
  const calibration::SquareRoot root = calibration::symmetric_root(a, 2, 1e-6);
  const calibration::Dense square = calibration::multiply(root.root, root.root);
  const calibration::Dense one = calibration::multiply(root.root, root.inverse);
  for (std::int64_t r = 0; r < 4; ++r) {
    for (std::int64_t c = 0; c < 4; ++c) {
      EXPECT_NEAR(square(r, c), r / 2 == c / 2 ? a(r, c) : 0, 1e-12);
      EXPECT_NEAR(one(r, c), r == c ? 1 : 0, 1e-12);
    }
  }
}

/// Targets that depend on two directions of the features, and by far more in the metric on one of them.
TEST(Regression, RankKeepsWhatMattersInTheMetric) {
  constexpr std::int64_t rows = 4000;
  constexpr std::int64_t inputs = 6;
  constexpr std::int64_t targets = 4;
  calibration::Floats all(rows, inputs + targets);
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (std::int64_t r = 0; r < rows; ++r) {
    float* x = all.row(r);
    x[0] = 1;
    for (std::int64_t i = 1; i < inputs; ++i) x[i] = normal(random) + 2;
    const float one = x[1] - x[2];
    const float two = x[3] + x[4];
    for (std::int64_t j = 0; j < targets; ++j) x[inputs + j] = (j < 2 ? one : two) + static_cast<float>(j);
  }
  const calibration::Dense moments = calibration::gram(all, std::vector<float>(rows, 1.0F));
  const calibration::Dense full = calibration::least_squares(moments, inputs);
  calibration::SquareRoot metric{calibration::Dense(targets, targets), calibration::Dense(targets, targets)};
  for (std::int64_t j = 0; j < targets; ++j) {
    metric.root(j, j) = j < 2 ? 10 : 1;
    metric.inverse(j, j) = 1 / metric.root(j, j);
  }
  const auto error_of = [&](std::int64_t rank, std::int64_t target) {
    const calibration::Factors factors = calibration::reduce_rank(moments, inputs, full, metric, rank);
    const calibration::Dense product = calibration::multiply(factors.expand, factors.squeeze);
    double sum = 0;
    for (std::int64_t r = 0; r < rows; ++r) {
      double predicted = 0;
      for (std::int64_t i = 0; i < inputs; ++i) predicted += product(target, i) * all.row(r)[i];
      const double error = predicted - all.row(r)[inputs + target];
      sum += error * error / rows;
    }
    return sum;
  };
  EXPECT_NEAR(error_of(1, 0), 2, 0.15) << "the constant alone: the mean";
  EXPECT_LT(error_of(2, 0), 0.01) << "one direction is the heavy one";
  EXPECT_NEAR(error_of(2, 3), 2, 0.15);
  EXPECT_LT(error_of(3, 3), 0.01);
}

TEST(Sizes, FollowOneRule) {
  using calibration::budget_of;
  using calibration::choose_sizes;
  using calibration::cost_of;
  ModelConfig config;  // Llama 3 8B
  config.hidden = 4096;
  config.intermediate = 14336;
  config.layers = 32;
  config.query_heads = 32;
  config.kv_heads = 8;
  config.head_dim = 128;
  config.vocabulary = 128'256;
  CalibrateOptions options;
  const calibration::Sizes sizes = value_of(choose_sizes(config, options));
  EXPECT_EQ(sizes.blocks, 8);
  EXPECT_EQ(sizes.token_width, 72);
  EXPECT_EQ(sizes.rank, 144);
  const calibration::Budget cost = cost_of(config, sizes);
  EXPECT_LE(cost.bytes, 16'060'522'496 / 100);
  EXPECT_LE(cost.products, 6'979'321'856 / 100);
  calibration::Sizes more = sizes;
  more.rank += 16;
  EXPECT_GT(cost_of(config, more).products, budget_of(config, options).products) << "the largest that fits";

  std::int64_t before = 0;
  for (options.effort = 1; options.effort <= 9; ++options.effort) {
    const calibration::Budget some = cost_of(config, value_of(choose_sizes(config, options)));
    EXPECT_LE(some.bytes, budget_of(config, options).bytes) << options.effort;
    EXPECT_LE(some.products, budget_of(config, options).products) << options.effort;
    EXPECT_GE(some.bytes, before) << options.effort;
    before = some.bytes;
  }
  options.effort = 5;
  options.profile_bytes = 1 << 20;
  EXPECT_CODE(choose_sizes(config, options), ErrorCode::invalid_argument);
}

TEST(Products, GramIsTheSumOfProducts) {
  constexpr std::int64_t rows = 1100;
  constexpr std::int64_t columns = 150;
  calibration::Floats a(rows, columns);
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> weights;
  for (std::int64_t r = 0; r < rows; ++r) {
    weights.push_back(std::abs(normal(random)));
    for (std::int64_t c = 0; c < columns; ++c) a.row(r)[c] = normal(random);
  }
  const calibration::Dense gram = calibration::gram(a, weights);
  for (std::int64_t i = 0; i < columns; i += 7) {
    for (std::int64_t j = 0; j < columns; j += 11) {
      double sum = 0;
      for (std::int64_t r = 0; r < rows; ++r)
        sum += double{weights[static_cast<std::size_t>(r)]} * a.row(r)[i] * a.row(r)[j];
      EXPECT_NEAR(gram(i, j), sum, 1e-3);
    }
  }
}

TEST(Importance, LogMeanFindsTheLaw) {
  // Values that are exponential with the mean 2^(x): their log mean is ln 2 * x.
  constexpr std::int64_t rows = 20000;
  calibration::Floats features(rows, 2);
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  std::exponential_distribution<float> exponential;
  std::vector<float> values;
  for (std::int64_t r = 0; r < rows; ++r) {
    const float x = normal(random);
    features.row(r)[0] = 1;
    features.row(r)[1] = x;
    values.push_back(std::exp2(x + 3) * exponential(random));
  }
  const auto fit = calibration::fit_log_mean(features, values, std::vector<float>(rows, 1.0F), 1, 1e-6);
  EXPECT_NEAR(fit.coefficients[0], 3 * std::log(2.0), 0.05);
  EXPECT_NEAR(fit.coefficients[1], std::log(2.0), 0.05);
}

TEST(Importance, HatsAreTheCodecsKnots) {
  const calibration::Hats hats(40);
  ASSERT_EQ(hats.count(), 6);
  std::vector<float> out(6);
  hats.write(24, out.data());
  EXPECT_EQ(out, (std::vector<float>{0, 0, 0, 0, 0.5F, 0.5F}));
  hats.write(100, out.data());
  EXPECT_EQ(out, (std::vector<float>{0, 0, 0, 0, 0, 1}));
  const std::vector<double> coefficients = {1, 2, 3, 4, 5, 6};
  const auto knots = hats.knots(coefficients);
  EXPECT_EQ(knots[5], 6);
  EXPECT_EQ(knots[23], 6);
}

}  // namespace
}  // namespace seqkv::test
