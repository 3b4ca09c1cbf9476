// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Deterministic arithmetic: close to the math library's results, and the very bits that every other platform
// has (the golden patterns), since what an encoder and a decoder compute must agree.
#include "core/detmath.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

namespace seqkv {
namespace {

constexpr float infinite = std::numeric_limits<float>::infinity();

/// |got - exact| / |exact|.
double relative_error(double got, double exact) { return std::abs(got - exact) / std::abs(exact); }

/// The largest value of `error` over numbers from `first` to `last`, `count` of them.
template <class Error>
double worst(double first, double last, int count, const Error& error) {
  double largest = 0;
  for (int i = 0; i <= count; ++i) largest = std::max(largest, error(first + (last - first) * i / count));
  return largest;
}

/// Bits that are not numbers by every payload that once ran into the exponent, quiet and signaling, both
/// signs.
std::vector<float> not_numbers() {
  std::vector<float> values;
  for (std::uint32_t payload = 0; payload < 512; ++payload) {
    values.push_back(std::bit_cast<float>(0x7fc00000U | payload));
    values.push_back(std::bit_cast<float>(0xffc00000U | payload));
    if (payload > 0) values.push_back(std::bit_cast<float>(0x7f800000U | payload));
  }
  return values;
}

// ---- float ------------------------------------------------------------------------------------------------

TEST(DetmathFloat, Exp2IsCloseToTheExactPower) {
  const auto error = [](double x) {
    const auto f = static_cast<float>(x);
    return relative_error(detmath::exp2(f), std::exp2(double{f}));
  };
  EXPECT_LT(worst(-126, 126, 2'000'000, error), 2.3e-7);
}

TEST(DetmathFloat, Exp2OfWholeNumbersIsExact) {
  for (int n = -126; n <= 126; ++n) {
    EXPECT_EQ(detmath::exp2(static_cast<float>(n)), std::ldexp(1.0F, n)) << n;
  }
}

TEST(DetmathFloat, ExpLosesWithTheArgument) {
  // x log2(e) is rounded to a float before the power: the relative error grows as |x| 2^-24.
  const auto error = [](double x) {
    const auto f = static_cast<float>(x);
    return relative_error(detmath::exp(f), std::exp(double{f})) / (1.0 + std::abs(double{f}));
  };
  EXPECT_LT(worst(-87, 87, 2'000'000, error), 2.0e-7);
}

TEST(DetmathFloat, SiluIsCloseToTheExactProduct) {
  const auto error = [](double x) {
    const auto f = static_cast<float>(x);
    const double exact = double{f} / (1.0 + std::exp(-double{f}));
    return f == 0.0F ? 0.0 : relative_error(detmath::silu(f), exact) / (1.0 + std::max(-double{f}, 0.0));
  };
  EXPECT_LT(worst(-87, 100, 2'000'000, error), 2.5e-7);
}

TEST(DetmathFloat, PowersBelowTheNormalNumbersAreZero) {
  EXPECT_EQ(detmath::exp2(-126.0F), std::numeric_limits<float>::min());
  for (float x : {std::nextafter(-126.0F, -200.0F), -127.0F, -150.0F, -1e30F, -infinite}) {
    EXPECT_EQ(std::bit_cast<std::uint32_t>(detmath::exp2(x)), 0U) << x;
    EXPECT_EQ(std::bit_cast<std::uint32_t>(detmath::exp(x)), 0U) << x;
  }
}

TEST(DetmathFloat, NotANumberStaysOne) {
  for (float x : not_numbers()) {
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
    EXPECT_TRUE(std::isnan(detmath::exp2(x))) << std::hex << bits;
    EXPECT_TRUE(std::isnan(detmath::exp(x))) << std::hex << bits;
    EXPECT_TRUE(std::isnan(detmath::silu(x))) << std::hex << bits;
  }
}

TEST(DetmathFloat, SiluFarFromZero) {
  EXPECT_EQ(detmath::silu(0.0F), 0.0F);
  EXPECT_EQ(detmath::silu(1e30F), 1e30F);
  EXPECT_EQ(detmath::silu(infinite), infinite);
  EXPECT_EQ(detmath::silu(-88.0F), 0.0F);
  EXPECT_EQ(detmath::silu(-1e30F), 0.0F);
}

TEST(DetmathFloat, GoldenBits) {
  struct Golden {
    float x;
    std::uint32_t exp2, exp, silu;
  };
  const std::vector<Golden> golden = {
      {-125.7F, 0x009d963aU, 0x00000000U, 0x80000000U}, {-80.25F, 0x175744fdU, 0x059578a5U, 0x88bb6c47U},
      {-10.0F, 0x3a800000U, 0x383e6bceU, 0xb9ee03fdU},  {-3.3F, 0x3dcfefc6U, 0x3d1712d0U, 0xbdf06786U},
      {-1.25F, 0x3ed744fdU, 0x3e92b0c2U, 0xbe8e8731U},  {-0.5F, 0x3f3504f5U, 0x3f1b4598U, 0xbe414d03U},
      {-0.01F, 0x3f7e3b4fU, 0x3f7d73e8U, 0xbba30554U},  {0.0F, 0x3f800000U, 0x3f800000U, 0x00000000U},
      {0.3F, 0x3f9d9624U, 0x3facc82cU, 0x3e307800U},    {0.7F, 0x3fcfefc6U, 0x4000e153U, 0x3eef7a7eU},
      {1.0F, 0x40000000U, 0x402df854U, 0x3f3b26a7U},    {3.0F, 0x41000000U, 0x41a0af2dU, 0x4036e4ecU},
      {17.77F, 0x485a464cU, 0x4c470262U, 0x418e28f6U},  {50.5F, 0x58b504f2U, 0x63e7b2b2U, 0x424a0000U},
      {87.0F, 0x6b000000U, 0x7e36d7f0U, 0x42ae0000U},
  };
  for (const Golden& g : golden) {
    EXPECT_EQ(std::bit_cast<std::uint32_t>(detmath::exp2(g.x)), g.exp2) << "exp2 " << g.x;
    EXPECT_EQ(std::bit_cast<std::uint32_t>(detmath::exp(g.x)), g.exp) << "exp " << g.x;
    EXPECT_EQ(std::bit_cast<std::uint32_t>(detmath::silu(g.x)), g.silu) << "silu " << g.x;
  }
}

// ---- double -----------------------------------------------------------------------------------------------

TEST(DetmathDouble, Log2IsCloseToTheExactLogarithm) {
  const auto error = [](double e) {
    const double x = std::exp2(e);
    return std::abs(detmath::log2(x) - std::log2(x)) / std::max(1.0, std::abs(std::log2(x)));
  };
  EXPECT_LT(worst(-1000, 1000, 200'000, error), 1e-15);
  EXPECT_LT(worst(-1, 1, 200'000, error), 1e-15);
}

TEST(DetmathDouble, LogIsCloseToTheExactLogarithm) {
  const auto error = [](double e) {
    const double x = std::exp2(e);
    return std::abs(detmath::log(x) - std::log(x)) / std::max(1.0, std::abs(std::log(x)));
  };
  EXPECT_LT(worst(-1000, 1000, 200'000, error), 1e-15);
}

TEST(DetmathDouble, Exp2IsCloseToTheExactPower) {
  EXPECT_LT(worst(-1000, 1000, 400'000, [](double x) { return relative_error(detmath::exp2(x), std::exp2(x)); }),
            1e-15);
}

TEST(DetmathDouble, Exp2AndLog2OfWholeNumbersAreExact) {
  for (int n = -1000; n <= 1000; ++n) {
    EXPECT_EQ(detmath::exp2(double(n)), std::ldexp(1.0, n));
    EXPECT_EQ(detmath::log2(std::ldexp(1.0, n)), double(n));
  }
}

TEST(DetmathDouble, SincosIsCloseUpToTwoToTheThirty) {
  const auto error = [](double x) {
    const auto [s, c] = detmath::sincos(x);
    return std::max(std::abs(s - std::sin(x)), std::abs(c - std::cos(x)));
  };
  EXPECT_LT(worst(-20, 20, 400'000, error), 1e-15);
  EXPECT_LT(worst(-0x1p30, 0x1p30, 400'000, error), 1e-15);
}

TEST(DetmathDouble, SincosNearMultiplesOfHalfPi) {
  // Where one of the two vanishes the reduction must not lose what is left.
  for (int n = -1'000'000; n <= 1'000'000; n += 997) {
    const double x = n * 1.5707963267948966;
    const auto [s, c] = detmath::sincos(x);
    EXPECT_NEAR(s, std::sin(x), 1e-15) << n;
    EXPECT_NEAR(c, std::cos(x), 1e-15) << n;
  }
}

TEST(DetmathDouble, PowIsCloseToTheExactPower) {
  for (double base = 1e-3; base < 1e7; base *= 1.37) {
    for (double exponent = -30; exponent <= 30; exponent += 0.37) {
      const double exact = std::pow(base, exponent);
      // The exponent of 2 is a product of this size, rounded to a double.
      const double scale = 1.0 + std::abs(exponent * std::log2(base));
      EXPECT_LT(relative_error(detmath::pow(base, exponent), exact), 4e-16 * scale) << base << "^" << exponent;
    }
  }
}

TEST(DetmathDouble, GoldenBits) {
  struct Golden {
    double got;
    std::uint64_t bits;
  };
  const std::vector<Golden> golden = {
      {detmath::log2(1e-300), 0xc08f24a09f1a8b89ULL},
      {detmath::log2(0.1), 0xc00a934f0979a371ULL},
      {detmath::log2(0.7), 0xbfe0776228967d13ULL},
      {detmath::log2(1.5), 0x3fe2b803473f7ad1ULL},
      {detmath::log2(1e10), 0x40409c1165ec0627ULL},
      {detmath::log(3.0), 0x3ff193ea7aad030bULL},
      {detmath::exp2(-999.5), 0x0176a09e667f3bccULL},
      {detmath::exp2(-1.3), 0x3fd9fdf8bcce533dULL},
      {detmath::exp2(0.1), 0x3ff125fbee250664ULL},
      {detmath::exp2(7.77), 0x406b48c8f7f24cc8ULL},
      {detmath::exp2(999.9), 0x7e6ddb680117aa8eULL},
      {detmath::sincos(-1e9).sin, 0xbfe1778cae83c69bULL},
      {detmath::sincos(-2.0).cos, 0xbfdaa22657537205ULL},
      {detmath::sincos(0.1).sin, 0x3fb98eaecb8bcb2cULL},
      {detmath::sincos(1.0).cos, 0x3fe14a280fb5068cULL},
      {detmath::sincos(100.25).sin, 0xbfd1bf00980dc35dULL},
      {detmath::sincos(123456.789).cos, 0x3faa74d27c41b22aULL},
      {detmath::sincos(1073741823.5).sin, 0xbfed67cfe9ce9164ULL},
      {detmath::pow(10000.0, 0.015625), 0x3ff279fcaca404e6ULL},
      {detmath::pow(500000.0, 0.984375), 0x4118dc3277bc0b8cULL},
      {detmath::pow(0.37, -2.5), 0x4028047337fd210eULL},
  };
  for (std::size_t i = 0; i < golden.size(); ++i) {
    EXPECT_EQ(std::bit_cast<std::uint64_t>(golden[i].got), golden[i].bits) << "entry " << i;
  }
}

}  // namespace
}  // namespace seqkv
