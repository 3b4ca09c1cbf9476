// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Checksums (XXH3-64, against accidents) and identities (SHA-256, against collisions somebody made).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace seqkv {

/// XXH3-64, as specified by xxHash 0.8: the same on every machine.
std::uint64_t xxh3_64(std::span<const std::byte> bytes, std::uint64_t seed = 0) noexcept;

/// A SHA-256 digest.
struct Digest {
  std::array<std::byte, 32> bytes{};

  friend bool operator==(const Digest&, const Digest&) = default;
  friend auto operator<=>(const Digest&, const Digest&) = default;

  bool is_zero() const noexcept { return *this == Digest{}; }
  /// 64 lower-case hexadecimal digits.
  std::string hex() const;
  /// The reverse of hex(); false if the text is not 64 hexadecimal digits.
  static bool parse(std::string_view hex, Digest& out) noexcept;
};

/// Incremental SHA-256.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  Sha256& update(std::span<const std::byte> bytes);
  Sha256& update(std::string_view text);
  /// Little-endian.
  Sha256& update(std::uint64_t number);
  /// Ends the computation; the object must not be used afterwards.
  Digest finish();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

}  // namespace seqkv
