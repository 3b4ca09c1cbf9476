// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "core/detmath.hpp"

#include <array>
#include <bit>

namespace seqkv::detmath {
namespace {

/// Sum of c[k] x^k, Horner.
template <std::size_t N>
double polynomial(const std::array<double, N>& c, double x) {
  double p = c[N - 1];
  for (std::size_t k = N - 1; k-- > 0;) p = std::fma(p, x, c[k]);
  return p;
}

}  // namespace

double log2(double x) {
  // x = m 2^e with m in [sqrt(1/2), sqrt(2)); ln m = 2 atanh(s), s = (m - 1) / (m + 1), |s| < 0.172.
  const auto raw = std::bit_cast<std::uint64_t>(x);
  int e = static_cast<int>(raw >> 52U) - 1023;
  double m = std::bit_cast<double>((raw & 0xfffffffffffffULL) | 0x3ff0000000000000ULL);
  if (m > 1.41421356237309504880) {
    m *= 0.5;
    ++e;
  }
  const double s = (m - 1.0) / (m + 1.0);
  static constexpr std::array<double, 11> odd = {1.0,      1.0 / 3,  1.0 / 5,  1.0 / 7,  1.0 / 9, 1.0 / 11,
                                                 1.0 / 13, 1.0 / 15, 1.0 / 17, 1.0 / 19, 1.0 / 21};
  const double ln_m = 2.0 * s * polynomial(odd, s * s);
  return std::fma(ln_m, 1.44269504088896340736, static_cast<double>(e));
}

double exp2(double x) {
  const double rounded = x + 6755399441055744.0;  // 1.5 * 2^52
  const double r = (x - (rounded - 6755399441055744.0)) * 0.69314718055994530942;
  static constexpr std::array<double, 15> taylor = {1.0,
                                                    1.0,
                                                    1.0 / 2,
                                                    1.0 / 6,
                                                    1.0 / 24,
                                                    1.0 / 120,
                                                    1.0 / 720,
                                                    1.0 / 5040,
                                                    1.0 / 40320,
                                                    1.0 / 362880,
                                                    1.0 / 3628800,
                                                    1.0 / 39916800,
                                                    1.0 / 479001600,
                                                    1.0 / 6227020800.0,
                                                    1.0 / 87178291200.0};
  const auto exponent = std::bit_cast<std::uint64_t>(rounded) << 52U;
  return std::bit_cast<double>(std::bit_cast<std::uint64_t>(polynomial(taylor, r)) + exponent);
}

}  // namespace seqkv::detmath
