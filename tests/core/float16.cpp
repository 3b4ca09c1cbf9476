// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// The 16-bit formats: every value there and back, and rounding to nearest even against a definition that
// searches for the nearest value in double, where everything in question is exact.
#include "core/float16.hpp"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <string>

namespace seqkv {
namespace {

/// A 16-bit float by its number of exponent and mantissa bits.
struct Format {
  const char* name;
  int exponent_bits;
  int mantissa_bits;
  float (*widen)(std::uint16_t);
  std::uint16_t (*narrow)(float);
};

// Named functions, because those under test are always inlined.
float widen_bf16(std::uint16_t h) { return bf16_to_float(h); }
float widen_f16(std::uint16_t h) { return f16_to_float(h); }
std::uint16_t narrow_bf16(float x) { return float_to_bf16(x); }
std::uint16_t narrow_f16(float x) { return float_to_f16(x); }

constexpr Format bf16{"bf16", 8, 7, widen_bf16, narrow_bf16};
constexpr Format f16{"f16", 5, 10, widen_f16, narrow_f16};

bool is_nan(const Format& format, std::uint32_t h) {
  const std::uint32_t infinity = ((1U << format.exponent_bits) - 1U) << format.mantissa_bits;
  return (h & 0x7fffU) > infinity;
}

/// The value by IEEE 754's definition. The exponent of all ones is read as one more binade, which is what
/// rounding sees beyond the largest number.
double value(const Format& format, std::uint32_t magnitude) {
  const int bias = (1 << (format.exponent_bits - 1)) - 1;
  const int exponent = static_cast<int>(magnitude >> format.mantissa_bits);
  const auto mantissa = static_cast<double>(magnitude & ((1U << format.mantissa_bits) - 1U));
  const double one = std::ldexp(1.0, format.mantissa_bits);
  return exponent == 0 ? std::ldexp(mantissa / one, 1 - bias) : std::ldexp(1.0 + mantissa / one, exponent - bias);
}

/// The 16 bits nearest to x, ties to the even ones, by bisection over all magnitudes.
std::uint16_t nearest(const Format& format, float x) {
  const auto sign = static_cast<std::uint16_t>(std::signbit(x) ? 0x8000 : 0);
  const std::uint32_t infinity = ((1U << format.exponent_bits) - 1U) << format.mantissa_bits;
  const double size = std::abs(double{x});
  std::uint32_t low = 0;  // value(low) <= size
  std::uint32_t high = infinity;
  if (size >= value(format, high)) return static_cast<std::uint16_t>(sign | infinity);
  while (high - low > 1) {
    const std::uint32_t middle = (low + high) / 2;
    (value(format, middle) <= size ? low : high) = middle;
  }
  const double below = size - value(format, low);
  const double above = value(format, high) - size;
  const bool up = above < below || (above == below && low % 2 == 1);
  return static_cast<std::uint16_t>(sign | (up ? high : low));
}

class Float16Test : public testing::TestWithParam<Format> {};

INSTANTIATE_TEST_SUITE_P(Formats, Float16Test, testing::Values(bf16, f16),
                         [](const auto& instance) { return std::string(instance.param.name); });

TEST_P(Float16Test, EveryValueIsWhatTheStandardSays) {
  for (std::uint32_t h = 0; h < 0x8000; ++h) {
    const float wide = GetParam().widen(static_cast<std::uint16_t>(h));
    const std::uint32_t infinity = ((1U << GetParam().exponent_bits) - 1U) << GetParam().mantissa_bits;
    if (h < infinity) {
      ASSERT_EQ(double{wide}, value(GetParam(), h)) << h;
    } else {
      ASSERT_EQ(std::isinf(wide), h == infinity) << h;
      ASSERT_EQ(std::isnan(wide), h > infinity) << h;
    }
    const float negative = GetParam().widen(static_cast<std::uint16_t>(h | 0x8000U));
    ASSERT_EQ(std::bit_cast<std::uint32_t>(negative), std::bit_cast<std::uint32_t>(wide) | 0x80000000U) << h;
  }
}

TEST_P(Float16Test, EveryValueComesBack) {
  for (std::uint32_t h = 0; h < 0x10000; ++h) {
    const std::uint16_t back = GetParam().narrow(GetParam().widen(static_cast<std::uint16_t>(h)));
    // Only a signaling NaN changes: it becomes the quiet one of the same payload.
    const std::uint32_t quiet = 1U << (GetParam().mantissa_bits - 1);
    ASSERT_EQ(back, is_nan(GetParam(), h) ? h | quiet : h) << h;
  }
}

TEST_P(Float16Test, MiddlesGoToTheEvenNeighborAndBesideThemToTheNearer) {
  const std::uint32_t infinity = ((1U << GetParam().exponent_bits) - 1U) << GetParam().mantissa_bits;
  for (std::uint32_t h = 0; h < infinity; ++h) {
    const auto middle = static_cast<float>((value(GetParam(), h) + value(GetParam(), h + 1)) / 2);  // exact
    const std::uint32_t even = h % 2 == 0 ? h : h + 1;
    ASSERT_EQ(GetParam().narrow(middle), even) << h;
    ASSERT_EQ(GetParam().narrow(-middle), even | 0x8000U) << h;
    ASSERT_EQ(GetParam().narrow(std::nextafter(middle, 0.0F)), h);
    ASSERT_EQ(GetParam().narrow(std::nextafter(middle, std::numeric_limits<float>::infinity())), h + 1);
  }
}

TEST_P(Float16Test, RandomFloatsRoundToTheNearest) {
  std::mt19937_64 random(16);
  for (int i = 0; i < 500'000; ++i) {
    const auto bits = static_cast<std::uint32_t>(random());
    const auto x = std::bit_cast<float>(bits);
    if (std::isnan(x)) continue;
    ASSERT_EQ(GetParam().narrow(x), nearest(GetParam(), x)) << std::hex << bits;
    // Most random bits are far outside of f16: the same mantissa again, near its range.
    int exponent = 0;
    const float nearer = std::ldexp(std::frexp(x, &exponent), static_cast<int>(bits % 45) - 27);
    ASSERT_EQ(GetParam().narrow(nearer), nearest(GetParam(), nearer)) << nearer;
  }
}

TEST_P(Float16Test, NotANumberStaysOne) {
  std::mt19937_64 random(17);
  for (int i = 0; i < 100'000; ++i) {
    std::uint32_t payload = static_cast<std::uint32_t>(random()) & 0x7fffffU;
    if (i < 23) payload = 1U << i;  // a payload that the cut leaves nothing of
    if (payload == 0) continue;
    for (std::uint32_t sign : {0U, 0x80000000U}) {
      const std::uint16_t h = GetParam().narrow(std::bit_cast<float>(sign | 0x7f800000U | payload));
      ASSERT_TRUE(is_nan(GetParam(), h)) << std::hex << payload;
      ASSERT_EQ(h >> 15U, sign >> 31U);
    }
  }
}

TEST_P(Float16Test, TheEndsOfTheRange) {
  const float infinity = std::numeric_limits<float>::infinity();
  const auto inf = static_cast<std::uint16_t>(((1U << GetParam().exponent_bits) - 1U) << GetParam().mantissa_bits);
  EXPECT_EQ(GetParam().narrow(infinity), inf);
  EXPECT_EQ(GetParam().narrow(-infinity), inf | 0x8000U);
  EXPECT_EQ(GetParam().narrow(std::numeric_limits<float>::max()), inf);
  EXPECT_EQ(GetParam().narrow(0.0F), 0);
  EXPECT_EQ(GetParam().narrow(-0.0F), 0x8000);
  EXPECT_EQ(GetParam().narrow(std::numeric_limits<float>::denorm_min()), 0);
}

// Other implementations of the same standard, where the compiler has them.
#if defined(__FLT16_MANT_DIG__)
TEST(Float16, AgreesWithTheCompilersHalf) {
  std::mt19937_64 random(18);
  for (int i = 0; i < 500'000; ++i) {
    const auto x = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
    if (std::isnan(x)) continue;
    const float scaled = i % 2 == 0 ? x : std::fmod(x, 70000.0F);
    ASSERT_EQ(float_to_f16(scaled), __builtin_bit_cast(std::uint16_t, static_cast<_Float16>(scaled))) << scaled;
  }
}
#endif

TEST(Float16, LoadsAndStoresByDtype) {
  for (DType dtype : {DType::bf16, DType::f16, DType::f32}) {
    std::array<float, 4> memory{};
    store_from_float(memory.data(), dtype, 3, -1.5F);
    EXPECT_EQ(load_as_float(memory.data(), dtype, 3), -1.5F) << to_string(dtype);
    EXPECT_EQ(load_as_float(memory.data(), dtype, 2), 0.0F) << to_string(dtype);
  }
}

TEST(Float16, CopiesOfOneDtypeKeepEveryBit) {
  for (std::uint32_t h = 0; h < 0x10000; ++h) {
    for (DType dtype : {DType::bf16, DType::f16}) {
      const std::array<std::uint16_t, 4> from = {0, static_cast<std::uint16_t>(h)};
      std::array<std::uint16_t, 4> to = {};
      copy_element(from.data(), dtype, 1, to.data(), dtype, 1);
      ASSERT_EQ(to, from) << to_string(dtype);
    }
  }
  const std::uint32_t signaling = 0x7f800001U;
  std::uint32_t to = 0;
  copy_element(&signaling, DType::f32, 0, &to, DType::f32, 0);
  EXPECT_EQ(to, signaling);
}

TEST(Float16, CopiesBetweenDtypesRound) {
  const float third = 1.0F / 3.0F;
  std::uint16_t half = 0;
  copy_element(&third, DType::f32, 0, &half, DType::f16, 0);
  EXPECT_EQ(half, float_to_f16(third));
  std::uint16_t brain = 0;
  copy_element(&half, DType::f16, 0, &brain, DType::bf16, 0);
  EXPECT_EQ(brain, float_to_bf16(f16_to_float(half)));
}

}  // namespace
}  // namespace seqkv
