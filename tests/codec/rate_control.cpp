// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Targets of bits and of KL become steps.
#include "codec/predict/rate_control.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "seqkv/codec.hpp"
#include "seqkv/transfer.hpp"
#include "support/caches.hpp"
#include "support/files.hpp"
#include "support/profiles.hpp"
#include "support/spaces.hpp"

namespace seqkv {
namespace {

using test::value_of;

std::shared_ptr<const Profile> profile_with(const test::ScratchFolder& scratch, const KvShape& shape,
                                            const std::string& curve) {
  test::ProfileParts parts = test::made_up_profile(shape);
  parts.metadata["seqkv.curve"] = curve;
  return value_of(Profile::load(parts.write(scratch.path() / "profile")));
}

double step_of(const Codec& codec) { return std::get<EcsqSpec>(codec.quantizer()).step; }

/// KL = step^2 / 100: powers are straight in logarithms.
TEST(RateControl, KlGoesByTheCurve) {
  const test::ScratchFolder scratch;
  const KvShape shape = test::shape_of(2, 1, 16, DType::bf16);
  const auto profile =
      profile_with(scratch, shape, "[[4, 0.1, 0.16], [2, 0.2, 0.04], [1, 0.4, 0.01], [0.5, 0.8, 0.0025]]");
  for (const double kl : {0.003, 0.01, 0.0625, 0.1599}) {
    const Codec asked = value_of(Codec::parse(fmt::format("linear+ecsq:kl={}", kl)));
    EXPECT_FALSE(asked.is_settled());
    const Codec codec = value_of(asked.with_profile(profile));
    EXPECT_TRUE(codec.is_settled());
    EXPECT_NEAR(step_of(codec) / (10 * std::sqrt(kl)), 1, 1e-3) << kl;
    EXPECT_EQ(value_of(Codec::parse_stored(codec.spec())), codec);  // the string says it all
  }
  for (const char* spec : {"linear+ecsq:kl=0.0012", "linear+ecsq:kl=0.3"}) {
    EXPECT_CODE(value_of(Codec::parse(spec)).with_profile(profile), ErrorCode::invalid_argument);
  }
}

TEST(RateControl, OneNoisyPointHardlyMatters) {
  const test::ScratchFolder scratch;
  const KvShape shape = test::shape_of(2, 1, 16, DType::bf16);
  const auto profile = profile_with(
      scratch, shape, "[[4, 0.1, 0.16], [2, 0.2, 0.04], [1, 0.4, 0.007], [0.5, 0.8, 0.0025], [0.25, 1, 0.0006]]");
  const Codec codec = value_of(value_of(Codec::parse("linear+ecsq:kl=0.01")).with_profile(profile));
  EXPECT_NEAR(step_of(codec), 1, 0.15);
}

TEST(RateControl, AProfileWithoutACurveNamesNoStep) {
  const test::ScratchFolder scratch;
  const auto profile = profile_with(scratch, test::shape_of(2, 1, 16, DType::bf16), "[]");
  EXPECT_CODE(value_of(Codec::parse("linear+ecsq:kl=0.01")).with_profile(profile), ErrorCode::invalid_argument);
}

/// A line through the two nearest points stays at one of them where bits fall by a jump.
TEST(RateControl, FindsWhatLiesBehindAJump) {
  const test::ScratchFolder scratch;
  const auto profile = profile_with(scratch, test::shape_of(2, 1, 16, DType::bf16), "[]");
  const auto bits = [](double step) {
    const double x = std::log(step);
    return x < 2.2 ? std::exp(3.0) : x < 2.6 ? 1.0 : std::exp(-0.02);
  };
  codec::StepSearch search(*profile, 1.0);
  int tries = 1;
  while (!search.tell(bits(search.step()))) ++tries;
  EXPECT_EQ(search.best_bits(), 1.0);
  EXPECT_EQ(bits(search.best_step()), 1.0);
  EXPECT_LE(tries, 16);
}

template <class Space>
class Settle : public testing::Test {
 protected:
  Space space;
  test::ScratchFolder scratch;
  KvShape shape = test::shape_of(3, 2, 16, DType::bf16);
  std::shared_ptr<const Profile> profile = profile_with(scratch, shape, "[]");
  KvCache cache = test::random_cache(shape, 1500, 3);
  std::vector<Token> ids = test::random_tokens(1500, 4, 50);

  Result<Codec> settled(const std::string& spec, int cores = 0) {
    TransferOptions options;
    options.profile = profile;
    options.cores = cores;
    return settle(space, value_of(Codec::parse(spec)), source_of(cache.view(), ids), 128, options);
  }
  double bits_with(const Codec& codec) {
    std::size_t bytes = 0;
    for (const auto& block : value_of(encode(space, codec, cache.view(), ids, 0, 128))) bytes += block.size();
    return 8.0 * static_cast<double>(bytes) / (1500.0 * static_cast<double>(shape.components_per_token()));
  }
};
TYPED_TEST_SUITE(Settle, test::Spaces);

TYPED_TEST(Settle, BitsAreHitWithinAPercent) {
  for (const double bits : {1.0, 2.5, 6.0}) {
    const Codec codec = value_of(this->settled(fmt::format("linear+ecsq:bits={}", bits)));
    EXPECT_NEAR(this->bits_with(codec) / bits, 1, 0.01) << codec.spec();
    EXPECT_EQ(value_of(this->settled(fmt::format("linear+ecsq:bits={}", bits), 1)), codec);
  }
}

TYPED_TEST(Settle, WhatNeedsNoStepComesBack) {
  for (const char* spec : {"none+lossless", "linear+turboquant:3", "linear+ecsq:step=0.5"}) {
    EXPECT_EQ(value_of(this->settled(spec)).spec(), spec);
  }
}

TYPED_TEST(Settle, TargetsThatCannotBeHitAreRefused) {
  EXPECT_CODE(this->settled("linear+ecsq:bits=0.002"), ErrorCode::invalid_argument);
  EXPECT_CODE(this->settled("linear+ecsq:bits=30"), ErrorCode::invalid_argument);
  const Codec target = value_of(value_of(Codec::parse("linear+ecsq:bits=2")).with_profile(this->profile));
  EXPECT_CODE(encode(this->space, target, this->cache.view(), this->ids, 0, 128), ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace seqkv
