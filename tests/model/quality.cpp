// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// The quality figures against their definitions.
#include "seqkv/quality.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace seqkv {
namespace {

TEST(Quality, EqualLogitsAreNoDistanceApart) {
  const std::vector<float> logits = {1, 2, 3, 3, 2, 1};
  QualityMeter meter;
  meter.add(logits, logits, std::vector<std::optional<Token>>{Token{0}, {}});
  const Quality quality = meter.result();
  EXPECT_EQ(quality.kl_mean, 0);
  EXPECT_EQ(quality.kl_p99, 0);
  EXPECT_EQ(quality.top1, 1);
  EXPECT_EQ(quality.delta_nll, 0);
  EXPECT_EQ(quality.rows, 2);
}

TEST(Quality, MatchesACaseDoneByHand) {
  // p = (3/4, 1/4), q = (1/2, 1/2): KL = 3/4 ln(3/2) + 1/4 ln(1/2); the second token follows.
  const std::vector<float> exact = {std::log(3.0F), 0};
  const std::vector<float> restored = {5, 5};
  QualityMeter meter;
  meter.add(exact, restored, std::vector<std::optional<Token>>{Token{1}});
  const Quality quality = meter.result();
  EXPECT_NEAR(quality.kl_mean, 0.75 * std::log(1.5) + 0.25 * std::log(0.5), 1e-7);
  EXPECT_NEAR(quality.delta_nll, std::log(2.0) - std::log(4.0), 1e-7);
  EXPECT_EQ(quality.top1, 1);
}

TEST(Quality, ThePercentileIsOverRows) {
  QualityMeter meter;
  for (int i = 0; i < 101; ++i) {
    const std::vector<float> exact = {static_cast<float>(i) / 100.0F, 0};
    meter.add(exact, std::vector<float>{0, 0}, std::vector<std::optional<Token>>{{}});
  }
  const Quality quality = meter.result();
  EXPECT_GT(quality.kl_p99, quality.kl_mean);
  const double p = 1.0 / (1.0 + std::exp(-0.99));
  EXPECT_NEAR(quality.kl_p99, p * std::log(2 * p) + (1 - p) * std::log(2 * (1 - p)), 1e-4);
}

TEST(Quality, SurprisalIsInBits) {
  const std::vector<float> logits = {0, 0, 0, 0, std::log(3.0F), 0, -100, -100};
  EXPECT_NEAR(surprisal_bits(logits, std::vector<Token>{3, 1}), 2 + 2, 1e-6);
}

}  // namespace
}  // namespace seqkv
