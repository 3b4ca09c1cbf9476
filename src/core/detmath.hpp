// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Deterministic arithmetic (DESIGN 4.1): the same bits on every machine that rounds +, -, *, /, sqrt and fma
/// as IEEE 754 says. Nothing here calls a math library but for fma and sqrt, which are exactly rounded, and
/// the build forbids contraction (-ffp-contract=off, --fmad=false), so each operation below is one rounding.
///
/// The functions are templates on the number type so that scalars, AVX2 and AVX-512 vectors (backends/cpu)
/// run the very same sequence of operations. They are always inlined: translation units built for newer
/// instruction sets must not leave copies that older machines could be linked to.
#pragma once

#if defined(__FAST_MATH__)
#error "seqkv's results are defined to the bit: compile without -ffast-math"
#endif

#include <cmath>
#include <cstdint>
#include <numbers>

#include "seqkv/inline.hpp"

namespace seqkv::detmath {

// ---- what a number type has to offer, for float -----------------------------------------------------------

SEQKV_INLINE float fma(float a, float b, float c) { return ::fmaf(a, b, c); }
SEQKV_INLINE float broadcast(float, float value) { return value; }
SEQKV_INLINE float sqrt(float x) { return ::sqrtf(x); }
SEQKV_INLINE std::uint32_t bits(float x) { return __builtin_bit_cast(std::uint32_t, x); }
SEQKV_INLINE float from_bits(std::uint32_t x) { return __builtin_bit_cast(float, x); }
/// x * 2^n where n stands in the low bits of `rounded` = 1.5 * 2^23 + n; x in [1/2, 2], n in [-126, 126].
SEQKV_INLINE float scale_by_rounded(float x, float rounded) { return from_bits(bits(x) + (bits(rounded) << 23U)); }
/// a where x < limit, else b. False for NaN.
SEQKV_INLINE float select_less(float x, float limit, float a, float b) { return x < limit ? a : b; }

// ---- float functions --------------------------------------------------------------------------------------

/// 2^x for x <= 126; 0 below -126 (no subnormals, minus infinity included); NaN gives NaN.
/// Relative error below 2.3e-7. Taylor polynomial of degree 6 on [-1/2, 1/2].
template <class F>
SEQKV_INLINE F exp2(F x) {
  const auto c = [&x](float value) { return broadcast(x, value); };
  const F clamped = select_less(x, c(-126.0F), c(-126.0F), x);
  const F rounded = clamped + c(12582912.0F);  // 1.5 * 2^23: the integer nearest to x in the low bits
  const F r = clamped - (rounded - c(12582912.0F));
  F p = c(1.5403530393381609954e-4F);  // ln(2)^k / k!, k = 6 .. 0
  p = fma(p, r, c(1.3333558146428443423e-3F));
  p = fma(p, r, c(9.6181291076284771619e-3F));
  p = fma(p, r, c(5.5504108664821579953e-2F));
  p = fma(p, r, c(2.4022650695910071233e-1F));
  p = fma(p, r, c(6.9314718055994530942e-1F));
  p = fma(p, r, c(1.0F));
  // The power of two is a factor of its own so that NaN stays NaN, whatever its payload does to the exponent.
  return select_less(x, c(-126.0F), c(0.0F), p * scale_by_rounded(c(1.0F), rounded));
}

/// e^x with the domain of exp2, scaled.
template <class F>
SEQKV_INLINE F exp(F x) {
  return exp2(x * broadcast(x, 1.44269504088896340736F));
}

/// x * sigmoid(x), the SiLU activation. For x below -87 the sigmoid is 0 in float.
template <class F>
SEQKV_INLINE F silu(F x) {
  const F zero = broadcast(x, 0.0F);
  const F one = broadcast(x, 1.0F);
  // sigmoid(x) = 1 / (1 + e^-|x|) for x >= 0 and e^-|x| / (1 + e^-|x|) below: the exponent is never positive.
  const F e = exp(select_less(x, zero, x, zero - x));
  return x * (select_less(x, zero, e, one) / (one + e));
}

// ---- double functions, for tables -------------------------------------------------------------------------

/// log2(x) for normal positive x, to about 1e-15. On the host.
double log2(double x);
/// 2^x for |x| <= 1000, to about 1e-15. On the host.
double exp2(double x);

/// c[0] + c[1] x + c[2] x^2 ..., Horner.
template <class... Others>
SEQKV_INLINE double polynomial(double x, double first, Others... others) {
  if constexpr (sizeof...(Others) == 0) {
    return first;
  } else {
    return ::fma(polynomial(x, others...), x, first);
  }
}

/// sine and cosine for |x| <= 2^30, to about 1e-15.
struct SinCos {
  double sin, cos;
};
SEQKV_INLINE SinCos sincos(double x) {
  // x = n pi/2 + r. pi/2 in three parts of 33, 33 and 53 bits: n times the first two is exact for |n| < 2^20,
  // and the fma keeps what is lost beyond that far below 1e-15 up to |x| = 2^30.
  constexpr double part1 = 1.57079632673412561417e+00;
  constexpr double part2 = 6.07710050630396597660e-11;
  constexpr double part3 = 2.02226624879595063154e-21;
  const double rounded = ::fma(x, 0.63661977236758134308, 6755399441055744.0);  // 1.5 * 2^52 and the number n
  const double n = rounded - 6755399441055744.0;
  const double r = ::fma(-n, part3, ::fma(-n, part2, ::fma(-n, part1, x)));
  const double r2 = r * r;
  const double s = r * polynomial(r2, 1.0, -1.0 / 6, 1.0 / 120, -1.0 / 5040, 1.0 / 362880, -1.0 / 39916800,
                                  1.0 / 6227020800.0, -1.0 / 1307674368000.0, 1.0 / 355687428096000.0);
  const double c = polynomial(r2, 1.0, -1.0 / 2, 1.0 / 24, -1.0 / 720, 1.0 / 40320, -1.0 / 3628800, 1.0 / 479001600,
                              -1.0 / 87178291200.0, 1.0 / 20922789888000.0);
  switch (__builtin_bit_cast(std::uint64_t, rounded) & 3U) {
    case 0:
      return {s, c};
    case 1:
      return {c, -s};
    case 2:
      return {-s, -c};
    default:
      return {-c, s};
  }
}

/// base^exponent for base > 0.
inline double pow(double base, double exponent) { return exp2(exponent * log2(base)); }
inline double log(double x) { return log2(x) * std::numbers::ln2; }

}  // namespace seqkv::detmath
