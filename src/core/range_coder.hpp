// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// A range coder (Martin 1979, with carries as in Schindler's) for intervals of [0, total), total below 2^32.
///
/// A block is a number in [0, 1), its bytes the digits behind the point. `low` and `range` have 56 bits; a byte leaves
/// when the range is below 2^48, so that it never is below 2^48 where it is divided, and an interval's share of it is
/// exact to total / 2^48. A carry out of `low` goes into the bytes that have left.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace seqkv {

/// [start, start + width) of [0, total).
struct Interval {
  std::uint64_t start = 0;
  std::uint64_t width = 0;
};

inline constexpr unsigned range_bits = 56;
inline constexpr std::uint64_t range_one = std::uint64_t{1} << range_bits;
inline constexpr std::uint64_t range_least = std::uint64_t{1} << (range_bits - 8);
inline constexpr std::size_t range_bytes = range_bits / 8;

class RangeEncoder {
 public:
  void put(const Interval& interval, std::uint64_t total) {
    const std::uint64_t unit = range_ / total;
    low_ += unit * interval.start;
    range_ = unit * interval.width;
    if (low_ >= range_one) carry();
    for (; range_ < range_least; range_ <<= 8U) {
      out_.push_back(static_cast<std::byte>(low_ >> (range_bits - 8)));
      low_ = (low_ & (range_least - 1)) << 8U;
    }
  }

  /// Bytes that have left.
  std::size_t size() const { return out_.size(); }

  /// As few bytes as name a number in the range, where zeros follow.
  std::vector<std::byte> finish() && {
    for (unsigned bytes = 0; bytes <= range_bytes; ++bytes) {
      const std::uint64_t step = range_one >> (8 * bytes);
      const std::uint64_t number = (low_ + step - 1) / step * step;
      if (number >= low_ + range_) continue;
      low_ = number;
      if (low_ >= range_one) carry();
      for (unsigned i = 1; i <= bytes; ++i) out_.push_back(static_cast<std::byte>(low_ >> (range_bits - 8 * i)));
      break;
    }
    return std::move(out_);
  }

 private:
  /// There is a byte below 255 to take it: the number is below 1.
  void carry() {
    low_ -= range_one;
    for (std::size_t i = out_.size(); i-- > 0;) {
      out_[i] = static_cast<std::byte>(std::to_integer<unsigned>(out_[i]) + 1);
      if (out_[i] != std::byte{0}) break;
    }
  }

  std::uint64_t low_ = 0;
  std::uint64_t range_ = range_one - 1;
  std::vector<std::byte> out_;
};

class RangeDecoder {
 public:
  explicit RangeDecoder(std::span<const std::byte> bytes) : bytes_(bytes) {
    for (std::size_t i = 0; i < range_bytes; ++i) code_ = code_ << 8U | next();
  }

  /// A point of the interval that was put.
  std::uint64_t point(std::uint64_t total) {
    unit_ = range_ / total;
    const std::uint64_t point = code_ / unit_;
    return point < total ? point : total - 1;  // what is left of the range by division, or damage
  }
  void take(const Interval& interval) {
    code_ -= unit_ * interval.start;
    range_ = unit_ * interval.width;
    for (; range_ < range_least; range_ <<= 8U) code_ = (code_ << 8U | next()) & (range_one - 1);
  }

  /// Whether an encoder could have written more than it did: no more than its last bytes are missing.
  bool overran() const { return read_ > bytes_.size() + range_bytes; }
  /// Whether the encoder of what was taken wrote so many bytes.
  bool at_end() const { return !overran() && read_ >= bytes_.size(); }

 private:
  std::uint64_t next() {
    const std::size_t at = read_++;
    return at < bytes_.size() ? std::to_integer<std::uint64_t>(bytes_[at]) : 0;
  }

  std::span<const std::byte> bytes_;
  std::size_t read_ = 0;
  std::uint64_t code_ = 0;
  std::uint64_t range_ = range_one - 1;
  std::uint64_t unit_ = 1;
};

}  // namespace seqkv
