// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/advise.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "support/result.hpp"

namespace seqkv {
namespace {

TEST(Advise, BreaksEvenWhereTheArithmeticSays) {
  const std::vector<RestoreCost> costs = {
      {"raw", 32768, 1e-6, 0}, {"small", 800, 50e-6, 0.004}, {"coarse", 300, 40e-6, 0.02}, {"tokens", 1, 1e-3, 0}};
  const auto spans = frontier(costs, 0.01);
  ASSERT_EQ(spans.size(), 3U);
  EXPECT_EQ(spans[0].cost, 3U);
  EXPECT_EQ(spans[1].cost, 1U);
  EXPECT_EQ(spans[2].cost, 0U);
  EXPECT_DOUBLE_EQ(spans[0].to, 799 / 950e-6);
  EXPECT_DOUBLE_EQ(spans[1].to, 31968 / 49e-6);
  EXPECT_TRUE(std::isinf(spans[2].to));
  EXPECT_EQ(fastest(costs, 1e6, 0.01), 1U);
  EXPECT_EQ(fastest(costs, 1e6, 0.1), 2U);
  EXPECT_EQ(fastest(costs, 1e6, -1), std::nullopt);
  EXPECT_TRUE(frontier(costs, -1).empty());
}

/// The spans are what asking at each bandwidth gives, whatever the costs.
TEST(Advise, FrontierIsTheFastestEverywhere) {
  std::mt19937 random(5);
  std::uniform_real_distribution<double> exponent(-3, 3);
  for (int round = 0; round < 200; ++round) {
    std::vector<RestoreCost> costs;
    for (int i = 0; i < 12; ++i) {
      costs.push_back({"", std::round(std::pow(10, exponent(random)) * 20), std::pow(10, exponent(random)), i / 12.0});
    }
    if (round % 2 == 0) costs.push_back(costs[3]);
    const auto spans = frontier(costs, 0.5);
    double from = 0;
    for (const FrontierSpan& span : spans) {
      ASSERT_EQ(span.from, from);
      ASSERT_LE(span.from, span.to);
      from = span.to;
      for (int k = 0; k < 5; ++k) {
        const double part = 0.1 + 0.2 * k;
        const double bandwidth =
            std::isinf(span.to) ? span.from * (1 + part) + part : std::lerp(span.from, span.to, part);
        const double best = costs[*fastest(costs, bandwidth, 0.5)].seconds(bandwidth);
        ASSERT_NEAR(costs[span.cost].seconds(bandwidth), best, 1e-9 * best);
      }
    }
    ASSERT_TRUE(std::isinf(from));
  }
}

TEST(Advise, OperationsAreThoseOfTheLayers) {
  const auto config = test::value_of(ModelConfig::load(SEQKV_MODEL "/config.json"));
  // docs-7m: hidden 256, 4 query and 2 KV heads of 64, 8 layers.
  const double projections = 2 * 256.0 * 512;
  const double rest = 2 * (256.0 * 256 + 3 * 256.0 * static_cast<double>(config.intermediate));
  EXPECT_DOUBLE_EQ(prefill_operations(config, 1), 8 * projections + 7 * (rest + 4 * 256));
  EXPECT_DOUBLE_EQ(prefill_operations(config, 100), 100 * (8 * projections + 7 * rest) + 7 * 4.0 * 256 * 5050);
}

}  // namespace
}  // namespace seqkv
