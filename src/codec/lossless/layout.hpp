// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The parts of a lossless payload (spec.md): what the portable kernel (backends/kokkos) and its specializations
/// (backends/cpu) share. No Kokkos here.
#pragma once

#include "codec/entropy/rans.hpp"
#include "codec/subblock.hpp"
#include "core/move_bytes.hpp"

namespace seqkv::codec {

/// Where a dtype keeps its exponent.
struct FloatLayout {
  unsigned mantissa_bits;
  unsigned exponent_bits;

  /// Sign and mantissa, what is not entropy-coded: sign above the mantissa.
  SEQKV_INLINE unsigned rest_bits() const { return 1 + mantissa_bits; }
  SEQKV_INLINE std::uint32_t exponent(std::uint32_t u) const {
    return u >> mantissa_bits & ((1U << exponent_bits) - 1U);
  }
  SEQKV_INLINE std::uint32_t rest(std::uint32_t u) const {
    return (u >> (mantissa_bits + exponent_bits)) << mantissa_bits | (u & ((1U << mantissa_bits) - 1U));
  }
  SEQKV_INLINE std::uint32_t join(std::uint32_t exponent, std::uint32_t rest) const {
    const std::uint32_t sign = rest >> mantissa_bits;
    return sign << (mantissa_bits + exponent_bits) | exponent << mantissa_bits | (rest & ((1U << mantissa_bits) - 1U));
  }
};

SEQKV_INLINE FloatLayout layout_of(DType dtype) {
  if (dtype == DType::bf16) return {7, 8};
  if (dtype == DType::f16) return {10, 5};
  return {23, 8};
}

/// The bits of element `i`.
SEQKV_INLINE std::uint32_t load_bits(const std::byte* values, DType dtype, std::int64_t i) {
  return dtype == DType::f32 ? reinterpret_cast<const std::uint32_t*>(values)[i]
                             : std::uint32_t{reinterpret_cast<const std::uint16_t*>(values)[i]};
}
SEQKV_INLINE void store_bits(std::byte* values, DType dtype, std::int64_t i, std::uint32_t u) {
  if (dtype == DType::f32) {
    reinterpret_cast<std::uint32_t*>(values)[i] = u;
  } else {
    reinterpret_cast<std::uint16_t*>(values)[i] = static_cast<std::uint16_t>(u);
  }
}

/// Bits of sign and mantissa cut into planes: whole bytes from the lowest, then single bits.
struct Planes {
  unsigned bytes;
  unsigned bits;

  explicit SEQKV_INLINE Planes(const FloatLayout& layout)
      : bytes(layout.rest_bits() / 8), bits(layout.rest_bits() % 8) {}
  SEQKV_INLINE unsigned count() const { return bytes + bits; }
  SEQKV_INLINE std::int64_t size(unsigned plane, std::int64_t values) const {
    return plane < bytes ? values : (values + 7) / 8;
  }
  SEQKV_INLINE unsigned shift(unsigned plane) const { return plane < bytes ? 8 * plane : 8 * bytes + (plane - bytes); }
};

/// Where the parts of a payload lie.
struct LosslessLayout {
  std::int64_t heads;
  std::int64_t per_head;  ///< values

  explicit SEQKV_INLINE LosslessLayout(const Subblock& subblock)
      : heads(subblock.heads), per_head(subblock.tokens * subblock.dim) {}

  static constexpr std::int64_t most_table_bytes = 2 + (rans::symbols * std::int64_t{rans::probability_bits} + 7) / 8;
  /// Size of a stream: u32.
  static SEQKV_INLINE std::int64_t size_at(std::int64_t head) { return 4 + 4 * head; }
  SEQKV_INLINE std::int64_t tables_at() const { return size_at(heads); }

  /// An encoder writes each stream to a room of its own, behind the largest tables, and closes the gaps afterwards.
  SEQKV_INLINE std::int64_t room() const { return rans::most_bytes(per_head); }
  SEQKV_INLINE std::int64_t end_of_room(std::int64_t head) const {
    return tables_at() + heads * most_table_bytes + (head + 1) * room();
  }
  /// More than an encoder writes, rooms and four planes of bytes included.
  SEQKV_INLINE std::int64_t most_bytes() const { return end_of_room(heads - 1) + 4 * heads * per_head; }
};

/// A head's table: first exponent, how many, and 12 bits a frequency; one exponent alone has no frequencies.
/// frequencies[s] is that of exponent lowest + s. Returns the bytes written, at most most_table_bytes.
SEQKV_INLINE std::int64_t write_table(const std::uint16_t* frequencies, int lowest, std::byte* out) {
  int first = 0;
  int last = rans::symbols - 1;
  while (frequencies[first] == 0) ++first;
  while (frequencies[last] == 0) --last;
  const int count = last - first + 1;
  out[0] = static_cast<std::byte>(lowest + first);
  out[1] = static_cast<std::byte>(count - 1);
  if (count == 1) return 2;
  const std::int64_t bytes = (count * std::int64_t{rans::probability_bits} + 7) / 8;
  for (std::int64_t i = 0; i < bytes; ++i) out[2 + i] = std::byte{0};
  for (int s = 0; s < count; ++s) {
    const std::uint32_t frequency = frequencies[first + s];
    std::byte* at = out + 2 + s * 3 / 2;  // two frequencies fill three bytes
    if (s % 2 == 0) {
      at[0] = static_cast<std::byte>(frequency & 0xffU);
      at[1] = static_cast<std::byte>(frequency >> 8U);
    } else {
      at[0] |= static_cast<std::byte>((frequency & 0xfU) << 4U);
      at[1] = static_cast<std::byte>(frequency >> 4U);
    }
  }
  return 2 + bytes;
}

/// Bytes of a table; its first two must be there.
SEQKV_INLINE std::int64_t table_bytes(const std::byte* in) {
  const std::int64_t count = static_cast<std::int64_t>(in[1]) + 1;
  return count == 1 ? 2 : 2 + (count * std::int64_t{rans::probability_bits} + 7) / 8;
}

/// The exponent whose symbol is 0.
SEQKV_INLINE std::uint32_t first_exponent(const std::byte* table) { return static_cast<std::uint32_t>(table[0]); }

/// Whether a table has one exponent alone, which needs no stream.
SEQKV_INLINE bool is_lone(const std::byte* table) { return table[1] == std::byte{0}; }

/// Reads a table that table_bytes() has measured and that is not lone; false unless its frequencies add up.
SEQKV_INLINE bool read_table(const std::byte* in, std::uint16_t* frequencies) {
  for (int s = 0; s < rans::symbols; ++s) frequencies[s] = 0;
  const int count = static_cast<int>(in[1]) + 1;
  std::uint32_t sum = 0;
  for (int s = 0; s < count; ++s) {
    const std::byte* at = in + 2 + s * 3 / 2;
    const auto low = static_cast<std::uint32_t>(at[0]);
    const auto high = static_cast<std::uint32_t>(at[1]);
    const std::uint32_t frequency = s % 2 == 0 ? low | (high & 0xfU) << 8U : low >> 4U | high << 4U;
    frequencies[s] = static_cast<std::uint16_t>(frequency);
    sum += frequency;
  }
  return sum == rans::total;
}

SEQKV_INLINE std::uint32_t load_u32(const std::byte* from) {
  return rans::load16(from) | rans::load16(from + 2) << 16U;
}
SEQKV_INLINE void store_u32(std::byte* to, std::uint32_t value) {
  rans::store16(to, value);
  rans::store16(to + 2, value >> 16U);
}

/// Encoding, once tables end at `end`: moves the streams from their rooms to their places and returns where they end.
SEQKV_INLINE std::byte* close_gaps(const LosslessLayout& layout, std::byte* out, std::byte* end) {
  if ((end - out) % 2 != 0) *end++ = std::byte{0};
  for (std::int64_t head = 0; head < layout.heads; ++head) {
    const std::int64_t bytes = load_u32(out + LosslessLayout::size_at(head));
    move_bytes_down(end, out + layout.end_of_room(head) - bytes, bytes);
    end += bytes;
  }
  return end;
}

/// A payload taken apart; its tables are complete, their frequencies not yet seen.
struct LosslessParts {
  const std::byte* tables;
  const std::byte* streams;
  const std::byte* planes;
  unsigned stored;  ///< bit k: plane k is there
};

/// False unless the parts have sizes that fit one another and fill the payload.
SEQKV_INLINE bool take_apart(const Subblock& subblock, const std::byte* in, std::int64_t bytes, LosslessParts& parts) {
  const LosslessLayout layout(subblock);
  const FloatLayout format = layout_of(subblock.dtype);
  const Planes planes(format);
  if (bytes < layout.tables_at()) return false;
  parts.stored = load_u32(in);
  if (parts.stored >> planes.count() != 0) return false;
  std::int64_t at = layout.tables_at();
  parts.tables = in + at;
  for (std::int64_t head = 0; head < layout.heads; ++head) {
    if (bytes - at < 2 || table_bytes(in + at) > bytes - at) return false;
    if (static_cast<int>(in[at]) + static_cast<int>(in[at + 1]) >= 1 << format.exponent_bits) return false;
    at += table_bytes(in + at);
  }
  if (at % 2 != 0) {
    if (at == bytes || in[at] != std::byte{0}) return false;
    ++at;
  }
  parts.streams = in + at;
  for (std::int64_t head = 0; head < layout.heads; ++head) {
    const std::int64_t size = load_u32(in + LosslessLayout::size_at(head));
    if (size % 2 != 0 || size > bytes - at) return false;
    at += size;
  }
  parts.planes = in + at;
  for (unsigned plane = 0; plane < planes.count(); ++plane) {
    if ((parts.stored >> plane & 1U) != 0) at += planes.size(plane, subblock.values());
  }
  return at == bytes;
}

}  // namespace seqkv::codec
