// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Little-endian numbers in byte strings, and bounds-checked reading of untrusted bytes.
#pragma once

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace seqkv {

static_assert(std::endian::native == std::endian::little,
              "seqkv's file formats are little-endian and are read and written without byte swaps");

template <class T>
concept Number = std::integral<T> || std::floating_point<T>;

template <Number T>
T load_le(const std::byte* from) noexcept {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

template <Number T>
void store_le(std::byte* to, T value) noexcept {
  std::memcpy(to, &value, sizeof(T));
}

inline std::span<const std::byte> as_bytes(std::string_view text) noexcept {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

template <class T>
std::span<const std::byte> as_bytes(std::span<const T> values) noexcept {
  return std::as_bytes(values);
}

/// a rounded up to a multiple of b.
template <std::integral T>
constexpr T round_up(T a, T b) noexcept {
  return (a + b - 1) / b * b;
}

template <std::integral T>
constexpr T divide_up(T a, T b) noexcept {
  return (a + b - 1) / b;
}

/// a * b without overflow: false if the product does not fit.
template <std::integral T>
[[nodiscard]] bool checked_multiply(T a, T b, T& product) noexcept {
  return !__builtin_mul_overflow(a, b, &product);
}

/// Appends numbers and bytes to a growing byte string.
class ByteWriter {
 public:
  ByteWriter() = default;
  /// Takes over the memory of bytes that are no longer needed.
  explicit ByteWriter(std::vector<std::byte> memory) : bytes_(std::move(memory)) { bytes_.clear(); }

  template <Number T>
  void put(T value) {
    std::array<std::byte, sizeof(T)> raw;
    store_le(raw.data(), value);
    put(raw);
  }
  void put(std::span<const std::byte> raw);
  /// Its length in 32 bits, then the text.
  void put_text(std::string_view text);
  /// With zeros, to the next multiple.
  void pad_to(std::size_t alignment);
  /// Room for so many bytes in all.
  void reserve(std::size_t size) { bytes_.reserve(size); }

  std::size_t size() const noexcept { return bytes_.size(); }
  std::byte* data() noexcept { return bytes_.data(); }
  std::vector<std::byte> take() && { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

/// Reads numbers and bytes off a span and never past its end: after the first short read everything reads
/// as zero and ok() is false.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  template <Number T>
  T get() noexcept {
    const auto raw = get_bytes(sizeof(T));
    return raw.empty() ? T{} : load_le<T>(raw.data());
  }
  /// The next `count` bytes, or an empty span (and ok() false) if there are not so many.
  std::span<const std::byte> get_bytes(std::size_t count) noexcept {
    if (!ok_ || count > bytes_.size() - position_) {
      ok_ = false;
      return {};
    }
    const auto raw = bytes_.subspan(position_, count);
    position_ += count;
    return raw;
  }
  std::string get_string(std::size_t count) {
    const auto raw = get_bytes(count);
    return {reinterpret_cast<const char*>(raw.data()), raw.size()};
  }
  /// What put_text() wrote.
  std::string get_text() { return get_string(get<std::uint32_t>()); }
  /// Skips to the next multiple of `alignment`; false if a skipped byte is not zero.
  [[nodiscard]] bool skip_padding(std::size_t alignment) noexcept {
    for (std::byte b : get_bytes(round_up(position_, alignment) - position_)) {
      if (b != std::byte{0}) return false;
    }
    return ok_;
  }

  bool ok() const noexcept { return ok_; }
  std::size_t position() const noexcept { return position_; }
  std::size_t remaining() const noexcept { return bytes_.size() - position_; }

 private:
  std::span<const std::byte> bytes_;
  std::size_t position_ = 0;
  bool ok_ = true;
};

}  // namespace seqkv
