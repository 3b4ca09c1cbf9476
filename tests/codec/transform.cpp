// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Quantizers and transforms: what they are by definition, on every execution space and with every kernel of this CPU.
#include "codec/transform/transform.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "backends/cpu/launch_transform.hpp"
#include "backends/gpu/transform.hpp"
#include "backends/kokkos/transform.hpp"
#include "core/bytes.hpp"
#include "support/kernels.hpp"
#include "support/spaces.hpp"

namespace seqkv {
namespace {

using codec::Quantizer;
using test::Array;

// ---- quantizers -------------------------------------------------------------------------------------------------

TEST(Quantizer, RoundsToTheNearestMultipleOfTheStep) {
  const Quantizer plain = Quantizer::uniform(0.25F);
  for (int q = -300; q <= 300; ++q) {
    const auto value = static_cast<float>(q) * 0.25F;
    EXPECT_EQ(codec::quantize(plain, value), q);
    EXPECT_EQ(codec::quantize(plain, value + 0.124F), q);
    EXPECT_EQ(codec::quantize(plain, value - 0.124F), q);
    EXPECT_EQ(codec::dequantize(plain, static_cast<std::int16_t>(q)), value);
  }
}

TEST(Quantizer, TheDeadZoneAndTheCentroidsAreWhereTheyAreSaid) {
  const Quantizer dead = {1.0F, 1.0F, 0.25F, {-0.2F, -0.1F, -0.05F}};
  EXPECT_EQ(codec::quantize(dead, 0.7499F), 0);
  EXPECT_EQ(codec::quantize(dead, -0.7499F), 0);
  EXPECT_EQ(codec::quantize(dead, 0.75F), 1);
  EXPECT_EQ(codec::quantize(dead, -1.75F), -2);
  EXPECT_EQ(codec::dequantize(dead, 0), 0.0F);
  EXPECT_EQ(codec::dequantize(dead, 1), 1.0F - 0.2F);
  EXPECT_EQ(codec::dequantize(dead, -2), -(2.0F - 0.1F));
  EXPECT_EQ(codec::dequantize(dead, 3), 3.0F - 0.05F);
  EXPECT_EQ(codec::dequantize(dead, -100), -(100.0F - 0.05F));
}

TEST(Quantizer, WhatHasNoNumberIsMarked) {
  const Quantizer plain = Quantizer::uniform(1.0F);
  EXPECT_EQ(codec::quantize(plain, 32767.4F), 32767);
  EXPECT_EQ(codec::quantize(plain, -32767.4F), -32767);
  const float huge = std::numeric_limits<float>::max();
  const float infinity = std::numeric_limits<float>::infinity();
  for (float value : {32767.5F, -32768.0F, 1e9F, huge, -infinity, infinity, std::nanf("")}) {
    EXPECT_EQ(codec::quantize(plain, value), codec::no_number) << value;
  }
}

// ---- transforms -------------------------------------------------------------------------------------------------

/// Numbers of a transform, by definition.
struct Case {
  std::int64_t rows, inputs, outputs, blocks;  ///< inputs and outputs of all blocks
  std::vector<float> in, matrix, packed;       ///< matrix with the zeros beside its blocks
  std::vector<Quantizer> quantizers;

  Case(std::int64_t m, std::int64_t k, std::int64_t n, std::int64_t count)
      : rows(m), inputs(k), outputs(n), blocks(count) {
    test::Numbers numbers(static_cast<std::uint32_t>(m * 7919 + k * 131 + n));
    in = numbers.take(rows * inputs);
    if (rows > 2) {  // rows without numbers
      in[static_cast<std::size_t>(inputs)] = std::nanf("");
      in[static_cast<std::size_t>(2 * inputs)] = 1e30F;
    }
    matrix = numbers.take(outputs * inputs);
    const std::int64_t depth = inputs / blocks;
    const std::int64_t height = outputs / blocks;
    packed.resize(static_cast<std::size_t>(blocks * kernels::packed_size(height, depth)));
    for (std::int64_t row = 0; row < outputs; ++row) {
      const std::int64_t block = row / height;
      const std::int64_t panel = block * ((height + 31) / 32) + row % height / 32;
      for (std::int64_t i = 0; i < inputs; ++i) {
        float& x = matrix[static_cast<std::size_t>(row * inputs + i)];
        if (i / depth != block) {
          x = 0;
        } else {
          packed[static_cast<std::size_t>((panel * depth + i % depth) * 32 + row % height % 32)] = x;
        }
      }
    }
    for (std::int64_t c = 0; c < std::max(inputs, outputs); ++c) {
      const float step = 0.05F * static_cast<float>(1 + c % 7);
      quantizers.push_back(c % 3 == 0 ? Quantizer::uniform(step)
                                      : Quantizer{step, 1.0F / step, 0.3F, {-0.1F, -0.05F, -0.02F}});
    }
  }

  std::vector<std::int16_t> forward() const {
    std::vector<std::int16_t> numbers;
    for (std::int64_t c = 0; c < outputs; ++c) {
      for (std::int64_t r = 0; r < rows; ++r) {
        float sum = 0;
        for (std::int64_t k = 0; k < inputs; ++k) {
          if (k / (inputs / blocks) != c / (outputs / blocks)) continue;  // not even a NaN comes from other blocks
          sum = std::fmaf(in[r * inputs + k], matrix[c * inputs + k], sum);
        }
        numbers.push_back(codec::quantize(quantizers[c], sum));
      }
    }
    return numbers;
  }

  /// Numbers for the inverse, [inputs][rows].
  std::vector<std::int16_t> some_numbers() const {
    std::vector<std::int16_t> numbers(static_cast<std::size_t>(inputs * rows));
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      const bool is_zero = i / static_cast<std::size_t>(rows) % 3 == 1;  // whole coefficients, which may be skipped
      numbers[i] = static_cast<std::int16_t>(is_zero ? 0 : static_cast<int>(i * 2654435761U >> 20U) % 9 - 4);
    }
    if (!numbers.empty()) numbers[0] = 32767;
    return numbers;
  }

  std::vector<float> inverse(const std::vector<std::int16_t>& numbers, std::vector<float> out, std::int64_t ld) const {
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t i = 0; i < outputs; ++i) {
        float& sum = out[static_cast<std::size_t>(r * ld + i)] = 0;
        for (std::int64_t c = 0; c < inputs; ++c) {
          sum = std::fmaf(codec::dequantize(quantizers[c], numbers[c * rows + r]), matrix[i * inputs + c], sum);
        }
      }
    }
    return out;
  }
};

template <class Space>
class Transforms : public testing::Test {
 protected:
  Space space;
};
TYPED_TEST_SUITE(Transforms, test::Spaces);

constexpr std::int64_t sizes[][4] = {{1, 1, 1, 1},     {3, 32, 32, 1},   {47, 33, 31, 1},    {48, 64, 64, 1},
                                     {49, 65, 100, 1}, {100, 80, 80, 1}, {256, 128, 128, 1}, {97, 512, 300, 1},
                                     {70, 160, 96, 2}, {33, 30, 36, 3},  {100, 256, 256, 4}, {5, 40, 8, 2}};

TYPED_TEST(Transforms, ForwardGivesTheNumbersOfTheDefinition) {
  for (const auto& [rows, inputs, outputs, blocks] : sizes) {
    const Case test(rows, inputs, outputs, blocks);
    const Array<TypeParam, float> in(test.in), matrix(test.packed);
    const Array<TypeParam, Quantizer> quantizers(test.quantizers);
    for (const test::Implementation& by : test::implementations<TypeParam>()) {
      const Array<TypeParam, std::int16_t> numbers(std::vector<std::int16_t>(static_cast<std::size_t>(rows * outputs)));
      const codec::ForwardTransform args{rows,
                                         in.data(),
                                         inputs,
                                         {{matrix.data(), false, outputs / blocks, inputs / blocks}, blocks},
                                         quantizers.data(),
                                         numbers.data(),
                                         rows};
      if constexpr (is_host_space<TypeParam>) {
        by.cpu != nullptr ? cpu::forward_transform(*by.cpu, this->space, args)
                          : kokkos::forward_transform(this->space, args);
      } else {
        by.gpu ? gpu::forward_transform(this->space, args) : kokkos::forward_transform(this->space, args);
      }
      this->space.fence("seqkv::test: numbers are read");
      EXPECT_EQ(numbers.read(), test.forward()) << by.name << " " << rows << " x " << inputs << " x " << outputs;
    }
  }
}

TYPED_TEST(Transforms, InverseIsTheChainOfTheDefinition) {
  for (const auto& [rows, inputs, outputs, blocks] : sizes) {
    const Case test(rows, inputs, outputs, blocks);
    const std::int64_t ld = round_up<std::int64_t>(outputs, 32);
    const std::vector<float> before = test::Numbers(7).take(rows * ld);
    const auto numbers = test.some_numbers();
    const auto expected = test.inverse(numbers, before, ld);
    const Array<TypeParam, std::int16_t> on_device(numbers);
    const Array<TypeParam, float> matrix(test.packed);
    const Array<TypeParam, Quantizer> quantizers(test.quantizers);
    for (const test::Implementation& by : test::implementations<TypeParam>()) {
      const Array<TypeParam, float> out(before);
      const codec::InverseTransform args{rows,
                                         on_device.data(),
                                         rows,
                                         quantizers.data(),
                                         {{matrix.data(), false, outputs / blocks, inputs / blocks}, blocks},
                                         out.data(),
                                         ld};
      if constexpr (is_host_space<TypeParam>) {
        by.cpu != nullptr ? cpu::inverse_transform(*by.cpu, this->space, args)
                          : kokkos::inverse_transform(this->space, args);
      } else {
        by.gpu ? gpu::inverse_transform(this->space, args) : kokkos::inverse_transform(this->space, args);
      }
      this->space.fence("seqkv::test: values are read");
      const auto values = out.read();
      for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t i = 0; i < outputs; ++i) {
          ASSERT_EQ(values[r * ld + i], expected[r * ld + i])
              << by.name << " " << rows << " x " << inputs << " x " << outputs;
        }
      }
    }
  }
}

}  // namespace
}  // namespace seqkv
