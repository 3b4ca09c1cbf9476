// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// What codes the distance of a number from what was expected.
#include <gtest/gtest.h>

#include <random>

#include "replay/difference_coder.hpp"

namespace seqkv {
namespace {

/// Differences of every size, whatever is expected.
TEST(DifferenceModel, EveryDifferenceComesBack) {
  for (const DType dtype : {DType::bf16, DType::f16, DType::f32}) {
    std::mt19937 random(3);
    std::vector<std::int32_t> expected, exact;
    constexpr std::size_t channels = 5;
    constexpr std::size_t rows = 400;
    for (std::size_t i = 0; i < channels * rows; ++i) {
      const auto any = [&] {
        return dtype == DType::f32 ? static_cast<std::int32_t>(random()) : static_cast<std::int16_t>(random());
      };
      expected.push_back(any());
      exact.push_back(random() % 3 == 0 ? any() : expected.back());
    }
    const auto run = [&](auto& coder, std::vector<std::int32_t>& numbers) {
      replay::DifferenceModel model(channels, dtype);
      for (std::size_t row = 0; row < rows; ++row) {
        float drift = 1;
        model.code_row(
            coder, expected, numbers, [=](std::size_t channel) { return row * channels + channel; }, drift);
      }
    };
    replay::BitEncoder encoder;
    std::vector<std::int32_t> numbers = exact;
    run(encoder, numbers);
    EXPECT_EQ(numbers, exact);
    const auto bytes = std::move(encoder).finish();
    replay::BitDecoder decoder(bytes);
    numbers.assign(exact.size(), 0);
    run(decoder, numbers);
    EXPECT_EQ(numbers, exact) << to_string(dtype);
    EXPECT_TRUE(decoder.at_end());
  }
}

}  // namespace
}  // namespace seqkv
