// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The numbers of a floating-point type in bins of one width, and their places inside of a bin: what predictive coding
/// without loss codes. Integers only. No Kokkos here. The format is in lossless.md.
#pragma once

#include "codec/lossless/layout.hpp"

namespace seqkv::codec {

/// Bits of variable number, the lowest first, to `out` and on; up to 7 bytes behind the last are overwritten.
struct BitWriter {
  std::byte* out;
  std::int64_t most;  ///< bytes of room, beside 8 more
  std::int64_t bytes = 0;
  std::uint64_t held = 0;
  unsigned count = 0;  ///< of bits held, below 8
  bool overflow = false;

  /// `value` has at most 48 bits, and no others set.
  SEQKV_INLINE void put(std::uint64_t value, unsigned bits) {
    held |= value << count;
    count += bits;
    for (int i = 0; i < 8; ++i) out[bytes + i] = static_cast<std::byte>(held >> static_cast<unsigned>(8 * i) & 0xffU);
    bytes += count / 8;
    held = held >> (count & ~7U);
    count &= 7U;
    if (bytes <= most) return;
    overflow = true;
    bytes = 0;
  }
  SEQKV_INLINE void finish() {
    if (count > 0) out[bytes++] = static_cast<std::byte>(held);
    overflow = overflow || bytes > most;
  }
};

/// The reverse. Bits behind the end are zero.
struct BitReader {
  const std::byte* in;
  std::int64_t bytes;
  std::int64_t at = 0;  ///< bits

  /// At least 57 bits from `at` on.
  SEQKV_INLINE std::uint64_t peek() const {
    std::uint64_t bits = 0;
    const std::int64_t first = at / 8;
    const std::int64_t some = bytes - first < 8 ? bytes - first : 8;
    if (some == 8) {
      for (int i = 0; i < 8; ++i) bits |= std::uint64_t{static_cast<std::uint8_t>(in[first + i])} << (8 * i);
    } else {
      for (int i = 0; i < some; ++i) bits |= std::uint64_t{static_cast<std::uint8_t>(in[first + i])} << (8 * i);
    }
    return bits >> static_cast<unsigned>(at % 8);
  }
  /// `bits` is at most 31.
  SEQKV_INLINE std::uint32_t take(unsigned bits) {
    const auto value = static_cast<std::uint32_t>(peek() & ((std::uint64_t{1} << bits) - 1));
    at += bits;
    return value;
  }
  /// Exactly what is there has been taken.
  SEQKV_INLINE bool finished() const { return at <= 8 * bytes && at > 8 * (bytes - 1); }
};

/// Bin m >= 0 has the numbers in [m 2^k, (m + 1) 2^k) while these are no farther apart than 2^k; each number beyond has
/// a bin of its own. Negative numbers are in ~bin(magnitude). Whatever the bits are: infinity and NaN follow the
/// largest.
struct FloatBins {
  FloatLayout layout;
  std::int32_t width;  ///< exponent field of 2^k, at least 1: below it all is one bin

  /// Bits of 0 in front of the 1 that says which power of two a number of bin 0 has.
  static constexpr int most_zeros = 15;

  SEQKV_INLINE FloatBins(const FloatLayout& of, std::int32_t log2_width) : layout(of) {
    const std::int32_t field = log2_width + (1 << (of.exponent_bits - 1U)) - 1;
    width = field > 1 ? field : 1;
  }

  SEQKV_INLINE unsigned magnitude_bits() const { return layout.mantissa_bits + layout.exponent_bits; }
  SEQKV_INLINE std::uint32_t mantissa_mask() const { return (1U << layout.mantissa_bits) - 1U; }
  /// The first number that has a bin of its own, with its bin 2^mantissa_bits.
  SEQKV_INLINE std::int64_t first_lone() const {
    return (std::int64_t{width} + layout.mantissa_bits) << layout.mantissa_bits;
  }

  SEQKV_INLINE std::int64_t bin_of(std::uint32_t u) const {
    const std::uint32_t magnitude = u & ((1U << magnitude_bits()) - 1U);
    const auto exponent = static_cast<std::int32_t>(magnitude >> layout.mantissa_bits);
    const std::int32_t above = exponent - width;
    std::int64_t bin = 0;
    if (above >= static_cast<std::int32_t>(layout.mantissa_bits)) {
      bin = std::int64_t{magnitude} - first_lone() + (std::int64_t{1} << layout.mantissa_bits);
    } else if (above >= 0) {
      const std::uint32_t significand = (magnitude & mantissa_mask()) | (1U << layout.mantissa_bits);
      bin = significand >> (layout.mantissa_bits - static_cast<unsigned>(above));
    }
    return (u >> magnitude_bits() & 1U) != 0 ? ~bin : bin;
  }

  /// Writes which number of its bin it is.
  SEQKV_INLINE void put_place(std::uint32_t u, BitWriter& to) const {
    const std::uint32_t magnitude = u & ((1U << magnitude_bits()) - 1U);
    const std::int32_t above = static_cast<std::int32_t>(magnitude >> layout.mantissa_bits) - width;
    if (above >= static_cast<std::int32_t>(layout.mantissa_bits)) return;
    if (above >= 0) {
      const unsigned bits = layout.mantissa_bits - static_cast<unsigned>(above);
      return to.put(magnitude & ((1U << bits) - 1U), bits);
    }
    const std::int32_t zeros = -1 - above;
    if (zeros >= most_zeros) return to.put(std::uint64_t{magnitude} << most_zeros, most_zeros + magnitude_bits());
    const auto shift = static_cast<unsigned>(zeros);
    to.put((std::uint64_t{magnitude & mantissa_mask()} << 1U | 1U) << shift, shift + 1 + layout.mantissa_bits);
  }

  /// The bits of the number; any bin and any place give some. False: not those of one that belongs there.
  SEQKV_INLINE bool take(std::int64_t bin, BitReader& from, std::uint32_t& u) const {
    const std::uint64_t sign = bin < 0 ? 1U : 0U;
    const std::int64_t of_magnitude = bin < 0 ? ~bin : bin;
    std::uint64_t magnitude = 0;
    if (of_magnitude >> layout.mantissa_bits != 0) {
      magnitude = static_cast<std::uint64_t>(of_magnitude - (std::int64_t{1} << layout.mantissa_bits) + first_lone());
    } else if (of_magnitude > 0) {
      unsigned above = 0;
      while (of_magnitude >> (above + 1U) != 0) ++above;
      const unsigned bits = layout.mantissa_bits - above;
      const auto significand = static_cast<std::uint32_t>(of_magnitude) << bits | from.take(bits);
      magnitude = (static_cast<std::uint64_t>(width) + above) << layout.mantissa_bits | (significand & mantissa_mask());
    } else {
      magnitude = take_below_width(from);
    }
    u = static_cast<std::uint32_t>(sign << magnitude_bits() | (magnitude & ((1U << magnitude_bits()) - 1U)));
    return magnitude >> magnitude_bits() == 0;
  }

 private:
  SEQKV_INLINE std::uint64_t take_below_width(BitReader& from) const {
    const std::uint64_t bits = from.peek();
    int zeros = 0;
    while (zeros < most_zeros && (bits >> static_cast<unsigned>(zeros) & 1U) == 0) ++zeros;
    if (zeros == most_zeros) {
      from.at += most_zeros;
      return from.take(magnitude_bits());
    }
    from.at += zeros + 1;
    const std::uint32_t mantissa = from.take(layout.mantissa_bits);
    const std::int32_t exponent = width - 1 - zeros;
    return exponent < 0 ? ~std::uint64_t{0} : static_cast<std::uint64_t>(exponent) << layout.mantissa_bits | mantissa;
  }
};

}  // namespace seqkv::codec
