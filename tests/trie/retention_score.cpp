// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Scores of nodes against sums over tokens and over all uses.
#include "seqkv/retention.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "support/result.hpp"
#include "support/retention.hpp"

namespace seqkv {
namespace {

using test::policies;
using test::value_of;

TEST(RecomputeCost, IsTheSumOverTokensAndWhatTheyAttendTo) {
  const RecomputeCost cost{100.0, 3.0};
  double sum = 0.0;
  for (int position = 512; position < 768; ++position) sum += 100.0 + 3.0 * (position + 1);
  EXPECT_EQ(cost.of(512, 256), sum);
  EXPECT_EQ(cost.of(0, 512) + cost.of(512, 256), cost.of(0, 768));
  EXPECT_EQ(cost.of(7, 0), 0.0);
}

TEST(RecomputeCost, OfAModel) {
  // Two FLOP a weight; q k and the sum of v, each a multiply and an add for a component of a layer's heads.
  const RecomputeCost cost = RecomputeCost::of_model(1000.0, 2, 64);
  EXPECT_EQ(cost.per_token, 2000.0);
  EXPECT_EQ(cost.per_token_pair, 4.0 * 2 * 64);
}

TEST(RetentionScore, PriorRateHalvesWithEachBit) {
  EXPECT_EQ(prior_rate_of(0.0, 5.0), 5.0);
  EXPECT_DOUBLE_EQ(prior_rate_of(3.0, 8.0), 1.0);
  EXPECT_EQ(prior_rate_of(1e6, 5.0), 0.0);
  EXPECT_EQ(prior_rate_of(std::numeric_limits<double>::infinity(), 5.0), 0.0);
}

TEST(RetentionScore, WeightIsTheSumOfHalvedUsesAndPrior) {
  const double half_life = 3.0;
  const std::vector<double> times = {1.0, 1.5, 4.0, 11.0};
  RetentionState state = first_use({7, 21.0, 0.25}, times[0], half_life);
  for (std::size_t i = 1; i < times.size(); ++i) state = next_use(state, times[i], half_life);
  const double now = 12.5;
  double sum = 0.25 * half_life / std::log(2.0) * std::exp2(-(now - times[0]) / half_life);
  for (const double time : times) sum += std::exp2(-(now - time) / half_life);
  EXPECT_NEAR(reuse_rate(state, now, half_life), sum * std::log(2.0) / half_life, 1e-14);
  EXPECT_NEAR(retention_value(state, now, half_life), 3.0 * sum * std::log(2.0) / half_life, 1e-13);
  EXPECT_EQ(state.hits, 4);
  EXPECT_EQ(state.last_use, 11.0);
}

TEST(RetentionScore, RateOfSteadyUsesIsTheirRateWhateverThePrior) {
  for (const double prior : {0.0, 0.01, 0.5, 100.0}) {
    RetentionState state = first_use({1, 1.0, prior}, 0.0, 200.0);
    for (int i = 1; i < 20000; ++i) state = next_use(state, 4.0 * i, 200.0);
    EXPECT_NEAR(reuse_rate(state, 4.0 * 19999, 200.0), 0.25, 0.01) << prior;
  }
}

TEST(RetentionScore, ATruePriorIsRightFromTheStart) {
  const RetentionState state = first_use({1, 1.0, 0.25}, 0.0, 200.0);
  EXPECT_NEAR(reuse_rate(state, 0.0, 200.0), 0.25 + std::log(2.0) / 200.0, 1e-12);
}

TEST(RetentionScore, WhatWasForgottenIsZeroAndNotWrong) {
  const RetentionState state = first_use({1, 1.0, 1.0}, 0.0, 1e-3);
  EXPECT_EQ(reuse_rate(state, 1e6, 1e-3), 0.0);
  EXPECT_EQ(next_use(state, 1e6, 1e-3).weight, 1.0);
}

TEST(RetentionScore, OrderByRankIsOrderByValueAtAnyLaterTime) {
  std::mt19937_64 engine(1);
  std::uniform_real_distribution<double> uniform(0.0, 1.0);
  const double half_life = 5.0;
  const auto random_state = [&] {
    double now = 10.0 * uniform(engine);
    RetentionState state = first_use(
        {1 + static_cast<std::int64_t>(engine() % 9), 0.1 + uniform(engine), uniform(engine)}, now, half_life);
    for (auto uses = engine() % 6; uses > 0; --uses) state = next_use(state, now += 4.0 * uniform(engine), half_life);
    return state;
  };
  for (int i = 0; i < 2000; ++i) {
    const RetentionState a = random_state();
    const RetentionState b = random_state();
    const bool below = retention_rank(RetentionPolicy::value, a, half_life, 0.0) <
                       retention_rank(RetentionPolicy::value, b, half_life, 0.0);
    for (const double now : {40.0, 55.0, 300.0}) {
      EXPECT_EQ(below, retention_value(a, now, half_life) < retention_value(b, now, half_life));
    }
  }
}

TEST(RetentionPolicy, NamesGoBothWays) {
  for (const RetentionPolicy policy : policies) {
    EXPECT_EQ(value_of(parse_retention_policy(to_string(policy))), policy);
  }
  EXPECT_CODE(parse_retention_policy("LRU"), ErrorCode::invalid_argument);
  EXPECT_CODE(parse_retention_policy(""), ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace seqkv
