// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Differences between what a forward pass expects and what an engine had, as adaptive binary decisions
/// (docs/replay.md). Differences are of integers in the order of the numbers: one is to the next number of the dtype.
///
/// Encoder and decoder run the same functions: `coder.bit(bit, place)` writes a bit and returns it, or ignores it and
/// returns the one it has read. The arithmetic is of integers, and of floats with each step rounded once.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <span>
#include <vector>

#include "core/range_coder.hpp"
#include "seqkv/dtype.hpp"

namespace seqkv::replay {

/// The probability of a bit, from the bits seen.
struct AdaptiveBit {
  static constexpr std::uint32_t step = 2;
  static constexpr std::uint32_t most = 1U << 16U;
  std::array<std::uint32_t, 2> seen = {1, 1};

  std::uint32_t total() const { return seen[0] + seen[1]; }
  Interval interval(bool bit) const { return {bit ? seen[0] : 0U, seen[bit ? 1 : 0]}; }
  void update(bool bit) {
    seen[bit ? 1 : 0] += step;
    if (total() > most) seen = {(seen[0] + 1) / 2, (seen[1] + 1) / 2};
  }
};

class BitEncoder {
 public:
  bool bit(bool value, AdaptiveBit& place) {
    coder_.put(place.interval(value), place.total());
    place.update(value);
    return value;
  }
  bool flat_bit(bool value) {
    coder_.put({value ? 1U : 0U, 1}, 2);
    return value;
  }
  /// Bytes so far; the last few bits are on their way.
  std::size_t size() const { return coder_.size(); }
  std::vector<std::byte> finish() && { return std::move(coder_).finish(); }

 private:
  RangeEncoder coder_;
};

class BitDecoder {
 public:
  explicit BitDecoder(std::span<const std::byte> bytes) : coder_(bytes) {}
  bool bit(bool, AdaptiveBit& place) {
    const bool value = coder_.point(place.total()) >= place.seen[0];
    coder_.take(place.interval(value));
    place.update(value);
    return value;
  }
  bool flat_bit(bool) {
    const bool value = coder_.point(2) != 0;
    coder_.take({value ? 1U : 0U, 1});
    return value;
  }
  bool overran() const { return coder_.overran(); }
  bool at_end() const { return coder_.at_end(); }

 private:
  RangeDecoder coder_;
};

/// How far the rows of a block have been from what was expected, relative to the average of each channel; carried from
/// layer to layer.
using RowDrift = std::vector<float>;

/// Differences of one tensor of one layer: rows (tokens) of channels, over the blocks of a session.
class DifferenceModel {
 public:
  DifferenceModel(std::int64_t channels, DType dtype)
      : dtype_(dtype), error_(static_cast<std::size_t>(channels), 0.0F), places_(classes) {}

  /// One row; `at(channel)` is the place of a channel in both spans. `exact` is read, or written.
  template <class Coder, class At>
  void code_row(Coder& coder, std::span<const std::int32_t> expected, std::span<std::int32_t> exact, const At& at,
                float& drift) {
    const float rate = std::max(1.0F / 64.0F, 1.0F / static_cast<float>(++rows_));
    bool last = false;
    for (std::size_t channel = 0; channel < error_.size(); ++channel) {
      const std::size_t place = at(channel);
      const float ulp = ulp_of(expected[place]);
      float& error = error_[channel];
      Places& here = places_[class_of(error * drift / ulp)];
      const std::int64_t difference =
          code(coder, std::int64_t{exact[place]} - std::int64_t{expected[place]}, here, last);
      exact[place] = wrapped(expected[place] + difference);
      last = difference != 0;
      const float size = static_cast<float>(difference < 0 ? -difference : difference) * ulp;
      const float least = ulp * 0x1p-16F;
      const float relative = std::min(size / std::max(error, least), 8.0F);
      drift = std::max(drift + (relative - drift) * (1.0F / 64.0F), 1.0F / 64.0F);
      error = std::max(error + (size - error) * rate, least);
    }
  }

 private:
  static constexpr int classes = 40;
  static constexpr int widths = 33;
  struct Places {
    std::array<AdaptiveBit, 2> zero;  ///< by whether the difference before was zero
    AdaptiveBit negative;
    std::array<AdaptiveBit, widths> longer;
    std::array<AdaptiveBit, widths> high;  ///< the bit below the leading one
  };

  template <class Coder>
  static std::int64_t code(Coder& coder, std::int64_t difference, Places& places, bool last) {
    if (coder.bit(difference == 0, places.zero[last ? 1 : 0])) return 0;
    const bool negative = coder.bit(difference < 0, places.negative);
    const auto size = static_cast<std::uint64_t>(negative ? -difference : difference);
    const int length = std::bit_width(size);
    int bits = 1;
    while (bits < widths && coder.bit(length > bits, places.longer[static_cast<std::size_t>(bits)])) ++bits;
    std::uint64_t value = 1;
    for (int i = bits - 2; i >= 0; --i) {
      const bool wanted = (size >> static_cast<unsigned>(i) & 1U) != 0;
      const bool bit =
          i == bits - 2 ? coder.bit(wanted, places.high[static_cast<std::size_t>(bits - 1)]) : coder.flat_bit(wanted);
      value = 2 * value + std::uint64_t{bit};
    }
    return negative ? -static_cast<std::int64_t>(value) : static_cast<std::int64_t>(value);
  }

  /// A class of half octaves, from 2^-14 of a step to 2^6 of them.
  static std::size_t class_of(float expected) {
    const int half_octaves = static_cast<int>(std::bit_cast<std::uint32_t>(expected) >> 22U) - 2 * (127 - 14);
    return static_cast<std::size_t>(std::clamp(half_octaves, 0, classes - 1));
  }
  /// The distance of neighbors at a number, times a constant of the dtype.
  float ulp_of(std::int32_t ordered) const {
    const auto magnitude = static_cast<std::uint32_t>(ordered < 0 ? -1 - ordered : ordered);
    const unsigned mantissa = dtype_ == DType::bf16 ? 7 : dtype_ == DType::f16 ? 10 : 23;
    const std::uint32_t exponent = std::clamp<std::uint32_t>(magnitude >> mantissa, 1, 200);
    return std::bit_cast<float>((exponent + (dtype_ == DType::f16 ? 100U : 0U)) << 23U);
  }
  /// A damaged stream may lead out of the dtype.
  std::int32_t wrapped(std::int64_t ordered) const {
    return dtype_ == DType::f32 ? static_cast<std::int32_t>(ordered) : static_cast<std::int16_t>(ordered);
  }

  DType dtype_;
  std::vector<float> error_;  ///< by channel, an average of the size of differences
  std::vector<Places> places_;
  std::int64_t rows_ = 0;
};

}  // namespace seqkv::replay
