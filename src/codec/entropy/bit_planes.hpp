// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Small numbers as bit planes: plane b holds bit b of every number, number i in bit i % 8 of byte i / 8. No Kokkos
/// here.
#pragma once

#include <cstddef>
#include <cstdint>

#include "seqkv/inline.hpp"

namespace seqkv::codec {

/// Planes that hold every number; 0 where all are 0.
SEQKV_INLINE int packed_bits(const std::uint8_t* numbers, std::int64_t count) {
  std::uint8_t any = 0;
  for (std::int64_t i = 0; i < count; ++i) any = static_cast<std::uint8_t>(any | numbers[i]);
  int bits = 0;
  while (any >> bits != 0) ++bits;
  return bits;
}

SEQKV_INLINE std::int64_t plane_bytes(std::int64_t count) { return (count + 7) / 8; }
SEQKV_INLINE std::int64_t packed_bytes(int bits, std::int64_t count) { return bits * plane_bytes(count); }

/// Bit j of byte i becomes bit i of byte j (Warren, Hacker's Delight, 7-3).
SEQKV_INLINE std::uint64_t transpose_bits(std::uint64_t x) {
  std::uint64_t t = (x ^ x >> 7U) & 0x00aa00aa00aa00aaULL;
  x ^= t ^ t << 7U;
  t = (x ^ x >> 14U) & 0x0000cccc0000ccccULL;
  x ^= t ^ t << 14U;
  t = (x ^ x >> 28U) & 0x00000000f0f0f0f0ULL;
  return x ^ t ^ t << 28U;
}

/// Writes packed_bytes(). Unused bits of a plane's last byte are zero. Bits of numbers from `bits` on are left out.
SEQKV_INLINE void pack_planes(const std::uint8_t* numbers, std::int64_t count, int bits, std::byte* out) {
  for (std::int64_t j = 0; j < plane_bytes(count); ++j) {
    const std::int64_t some = count - 8 * j < 8 ? count - 8 * j : 8;
    std::uint64_t eight = 0;
    for (std::int64_t i = 0; i < some; ++i) {
      eight |= std::uint64_t{numbers[8 * j + i]} << static_cast<unsigned>(8 * i);
    }
    eight = transpose_bits(eight);
    for (int b = 0; b < bits; ++b) {
      out[b * plane_bytes(count) + j] = static_cast<std::byte>(eight >> static_cast<unsigned>(8 * b) & 0xffU);
    }
  }
}

/// The reverse; `in` has packed_bytes().
SEQKV_INLINE void unpack_planes(const std::byte* in, std::int64_t count, int bits, std::uint8_t* numbers) {
  for (std::int64_t j = 0; j < plane_bytes(count); ++j) {
    std::uint64_t eight = 0;
    for (int b = 0; b < bits; ++b) {
      eight |= static_cast<std::uint64_t>(in[b * plane_bytes(count) + j]) << static_cast<unsigned>(8 * b);
    }
    eight = transpose_bits(eight);
    const std::int64_t some = count - 8 * j < 8 ? count - 8 * j : 8;
    for (std::int64_t i = 0; i < some; ++i) {
      numbers[8 * j + i] = static_cast<std::uint8_t>(eight >> static_cast<unsigned>(8 * i) & 0xffU);
    }
  }
}

}  // namespace seqkv::codec
