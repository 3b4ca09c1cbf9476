// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Checksums put right in bytes that have been mutated: without that nothing behind them would be tried. Of files that
/// cannot be read that far they are left as they are.
#pragma once

#include <xxhash.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace seqkv::fuzz {

template <class T>
T number_at(std::span<const std::byte> bytes, std::size_t at) {
  T number{};
  std::memcpy(&number, bytes.data() + at, sizeof(number));
  return number;
}

inline void put_checksum(std::span<std::byte> bytes, std::size_t at, std::span<const std::byte> hashed) {
  const std::uint64_t sum = XXH3_64bits(hashed.data(), hashed.size());
  std::memcpy(bytes.data() + at, &sum, sizeof(sum));
}

/// Where the index of a frame of at least 200 bytes begins: byte 46 says how long the codec's name before it is.
inline std::size_t index_of(std::span<const std::byte> frame) {
  return (192 + number_at<std::uint16_t>(frame, 46) + 7U) / 8 * 8;
}

/// A frame's header, behind its index: byte 28 says how many blocks.
inline void sign_header(std::span<std::byte> frame) {
  if (frame.size() < 200) return;
  const auto blocks = number_at<std::uint32_t>(frame, 28);
  const std::size_t index = index_of(frame);
  if (blocks > frame.size() / 16 || index + blocks * std::size_t{16} + 8 > frame.size()) return;
  const std::size_t hashed = index + blocks * std::size_t{16};
  put_checksum(frame, hashed, frame.first(hashed));
}

/// A frame's blocks, which begin with the checksum of what follows.
inline void sign_blocks(std::span<std::byte> frame) {
  if (frame.size() < 200) return;
  const auto blocks = number_at<std::uint32_t>(frame, 28);
  for (std::size_t at = index_of(frame), i = 0; i < blocks && at + 16 <= frame.size(); ++i, at += 16) {
    const auto offset = number_at<std::uint64_t>(frame, at);
    const auto bytes = number_at<std::uint64_t>(frame, at + 8);
    if (offset > frame.size() || bytes > frame.size() - offset || bytes < 8) continue;
    put_checksum(frame, offset, frame.subspan(offset + 8, bytes - 8));
  }
}

/// The heads of a pack's records: whatever begins like one. `seal`: bytes of the tag between head and payload.
inline void sign_records(std::span<std::byte> pack, std::size_t seal) {
  constexpr std::size_t alignment = 64;
  constexpr std::size_t signed_bytes = 24;
  for (std::size_t at = alignment; at + alignment <= pack.size(); at += alignment) {
    const auto payload = number_at<std::uint64_t>(pack, at + 8);
    if (std::memcmp(pack.data() + at, "SQKR", 4) != 0 || payload > pack.size()) continue;
    const std::size_t rest = std::min<std::size_t>(seal + payload, pack.size() - at - 32);
    const auto head = pack.subspan(at, signed_bytes);
    std::vector<std::byte> hashed(head.begin(), head.end());
    const auto behind = pack.subspan(at + 32, rest);
    hashed.insert(hashed.end(), behind.begin(), behind.end());
    put_checksum(pack, at + signed_bytes, hashed);
  }
}

}  // namespace seqkv::fuzz
