// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The exact codec of one sub-block, portable: sign and mantissa as they are, exponents by rANS with a table per
/// head. The format is in src/codec/lossless/spec.md.
#pragma once

#include <Kokkos_Core.hpp>

#include "backends/kokkos/rans.hpp"
#include "codec/subblock.hpp"

namespace seqkv::kokkos {

/// Where a dtype keeps its exponent.
struct FloatLayout {
  unsigned mantissa_bits;
  unsigned exponent_bits;

  KOKKOS_INLINE_FUNCTION unsigned width() const { return 1 + exponent_bits + mantissa_bits; }
  /// Sign and mantissa, what is not entropy-coded: sign above the mantissa.
  KOKKOS_INLINE_FUNCTION unsigned rest_bits() const { return 1 + mantissa_bits; }
  KOKKOS_INLINE_FUNCTION std::uint32_t exponent(std::uint32_t u) const {
    return u >> mantissa_bits & ((1U << exponent_bits) - 1U);
  }
  KOKKOS_INLINE_FUNCTION std::uint32_t rest(std::uint32_t u) const {
    return (u >> (mantissa_bits + exponent_bits)) << mantissa_bits | (u & ((1U << mantissa_bits) - 1U));
  }
  KOKKOS_INLINE_FUNCTION std::uint32_t join(std::uint32_t exponent, std::uint32_t rest) const {
    const std::uint32_t sign = rest >> mantissa_bits;
    return sign << (mantissa_bits + exponent_bits) | exponent << mantissa_bits | (rest & ((1U << mantissa_bits) - 1U));
  }
};

KOKKOS_INLINE_FUNCTION FloatLayout layout_of(DType dtype) {
  if (dtype == DType::bf16) return {7, 8};
  if (dtype == DType::f16) return {10, 5};
  return {23, 8};
}

/// Bits of sign and mantissa cut into planes: whole bytes from the lowest, then single bits.
struct Planes {
  unsigned bytes;
  unsigned bits;

  explicit KOKKOS_INLINE_FUNCTION Planes(const FloatLayout& layout)
      : bytes(layout.rest_bits() / 8), bits(layout.rest_bits() % 8) {}
  KOKKOS_INLINE_FUNCTION unsigned count() const { return bytes + bits; }
  KOKKOS_INLINE_FUNCTION std::int64_t size(unsigned plane, std::int64_t values) const {
    return plane < bytes ? values : (values + 7) / 8;
  }
  KOKKOS_INLINE_FUNCTION unsigned shift(unsigned plane) const {
    return plane < bytes ? 8 * plane : 8 * bytes + (plane - bytes);
  }
};

struct Lossless {
  static constexpr int symbols = 256;
  static constexpr std::int64_t head_bytes = 8;
  static constexpr std::int64_t most_table_bytes = 2 + (symbols * rans::probability_bits + 7) / 8;
  static constexpr std::int64_t words_at = head_bytes + rans::states_bytes;

  /// More than encode can write for a sub-block.
  KOKKOS_INLINE_FUNCTION std::int64_t size(const codec::Subblock& subblock) const {
    return words_at + 2 * subblock.values() + subblock.heads * most_table_bytes + 4 * subblock.values();
  }
  /// Encoder: shares of every head. Decoder: the same, and the symbol of every slot for one head.
  std::int64_t scratch_bytes(const codec::Subblock& subblock) const {
    return subblock.heads * symbols * static_cast<std::int64_t>(sizeof(rans::Share)) +
           static_cast<std::int64_t>(rans::total) + symbols * 4;
  }

  static KOKKOS_INLINE_FUNCTION std::uint32_t load(const std::byte* values, DType dtype, std::int64_t i) {
    return dtype == DType::f32 ? reinterpret_cast<const std::uint32_t*>(values)[i]
                               : std::uint32_t{reinterpret_cast<const std::uint16_t*>(values)[i]};
  }
  static KOKKOS_INLINE_FUNCTION void store(std::byte* values, DType dtype, std::int64_t i, std::uint32_t u) {
    if (dtype == DType::f32) {
      reinterpret_cast<std::uint32_t*>(values)[i] = u;
    } else {
      reinterpret_cast<std::uint16_t*>(values)[i] = static_cast<std::uint16_t>(u);
    }
  }

  template <class Team>
  KOKKOS_FUNCTION std::int64_t encode(const Team& team, const codec::Subblock& subblock, std::uint64_t,
                                      const std::byte* values, std::byte* out, std::byte* scratch) const {
    std::int64_t written = 0;
    Kokkos::single(
        Kokkos::PerTeam(team), [&](std::int64_t& bytes) { bytes = encode_alone(subblock, values, out, scratch); },
        written);
    return written;
  }

  template <class Team>
  KOKKOS_FUNCTION bool decode(const Team& team, const codec::Subblock& subblock, std::uint64_t, const std::byte* in,
                              std::int64_t bytes, std::byte* values, std::byte* scratch) const {
    int whole = 0;
    Kokkos::single(
        Kokkos::PerTeam(team), [&](int& done) { done = decode_alone(subblock, in, bytes, values, scratch) ? 1 : 0; },
        whole);
    return whole == 1;
  }

 private:
  /// A head's table: first symbol, how many, and 12 bits a frequency; one symbol alone has no frequencies.
  KOKKOS_INLINE_FUNCTION std::int64_t write_table(const rans::Share* shares, std::byte* out) const {
    int first = 0;
    int last = symbols - 1;
    while (shares[first].frequency == 0) ++first;
    while (shares[last].frequency == 0) --last;
    const int count = last - first + 1;
    out[0] = static_cast<std::byte>(first);
    out[1] = static_cast<std::byte>(count - 1);
    if (count == 1) return 2;
    const std::int64_t bytes = (count * std::int64_t{rans::probability_bits} + 7) / 8;
    for (std::int64_t i = 0; i < bytes; ++i) out[2 + i] = std::byte{0};
    for (int s = 0; s < count; ++s) {
      const std::uint32_t frequency = shares[first + s].frequency;
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

  /// The bytes read, or -1 if this is no table.
  KOKKOS_INLINE_FUNCTION std::int64_t read_table(const std::byte* in, std::int64_t bytes, int exponents,
                                                 rans::Share* shares) const {
    for (int s = 0; s < symbols; ++s) shares[s] = {0, 0};
    if (bytes < 2) return -1;
    const int first = static_cast<int>(in[0]);
    const int count = static_cast<int>(in[1]) + 1;
    if (first + count > exponents) return -1;
    if (count == 1) {
      shares[first].frequency = static_cast<std::uint16_t>(rans::total);
      return 2;
    }
    const std::int64_t size = (count * std::int64_t{rans::probability_bits} + 7) / 8;
    if (bytes < 2 + size) return -1;
    std::uint32_t sum = 0;
    for (int s = 0; s < count; ++s) {
      const std::byte* at = in + 2 + s * 3 / 2;
      const auto low = static_cast<std::uint32_t>(at[0]);
      const auto high = static_cast<std::uint32_t>(at[1]);
      const std::uint32_t frequency = s % 2 == 0 ? low | (high & 0xfU) << 8U : low >> 4U | high << 4U;
      shares[first + s].frequency = static_cast<std::uint16_t>(frequency);
      sum += frequency;
    }
    return sum == rans::total ? 2 + size : -1;
  }

  KOKKOS_FUNCTION std::int64_t encode_alone(const codec::Subblock& subblock, const std::byte* values, std::byte* out,
                                            std::byte* scratch) const {
    const FloatLayout layout = layout_of(subblock.dtype);
    const Planes planes(layout);
    const std::int64_t per_head = subblock.tokens * subblock.dim;
    const std::int64_t total = subblock.values();
    auto* shares = reinterpret_cast<rans::Share*>(scratch);
    auto* counts = reinterpret_cast<std::uint32_t*>(scratch + subblock.heads * symbols * sizeof(rans::Share));
    for (std::int64_t head = 0; head < subblock.heads; ++head) {
      for (int s = 0; s < symbols; ++s) counts[s] = 0;
      for (std::int64_t i = head * per_head; i < (head + 1) * per_head; ++i) {
        ++counts[layout.exponent(load(values, subblock.dtype, i))];
      }
      rans::normalize(counts, symbols, shares + head * symbols);
      rans::accumulate(shares + head * symbols, symbols);
    }

    rans::Encoder encoder;
    std::byte* words_end = out + words_at + 2 * total;
    encoder.start(words_end);
    for (std::int64_t head = subblock.heads - 1; head >= 0; --head) {
      for (std::int64_t i = per_head - 1; i >= 0; --i) {
        const std::uint32_t symbol = layout.exponent(load(values, subblock.dtype, head * per_head + i));
        encoder.put(static_cast<int>(i % rans::lanes), shares[head * symbols + symbol]);
      }
    }
    const std::int64_t word_bytes = words_end - encoder.next;
    for (std::int64_t i = 0; i < word_bytes; ++i) out[words_at + i] = encoder.next[i];
    for (int lane = 0; lane < rans::lanes; ++lane) {
      for (unsigned b = 0; b < 4; ++b) {
        out[head_bytes + 4 * lane + b] = static_cast<std::byte>(encoder.state[lane] >> (8 * b) & 0xffU);
      }
    }
    for (unsigned b = 0; b < 4; ++b) out[b] = static_cast<std::byte>(word_bytes / 2 >> (8 * b) & 0xff);

    std::byte* at = out + words_at + word_bytes;
    for (std::int64_t head = 0; head < subblock.heads; ++head) at += write_table(shares + head * symbols, at);
    unsigned stored = 0;
    for (unsigned plane = 0; plane < planes.count(); ++plane) {
      if (!write_plane(layout, planes, plane, subblock, values, at)) continue;
      at += planes.size(plane, total);
      stored |= 1U << plane;
    }
    out[4] = static_cast<std::byte>(stored);
    out[5] = out[6] = out[7] = std::byte{0};
    return at - out;
  }

  /// False (and nothing to be kept) if all bits of the plane are zero.
  KOKKOS_FUNCTION bool write_plane(const FloatLayout& layout, const Planes& planes, unsigned plane,
                                   const codec::Subblock& subblock, const std::byte* values, std::byte* out) const {
    const std::int64_t total = subblock.values();
    const unsigned shift = planes.shift(plane);
    unsigned any = 0;
    if (plane < planes.bytes) {
      for (std::int64_t i = 0; i < total; ++i) {
        const std::uint32_t byte = layout.rest(load(values, subblock.dtype, i)) >> shift & 0xffU;
        out[i] = static_cast<std::byte>(byte);
        any |= byte;
      }
      return any != 0;
    }
    for (std::int64_t j = 0; j < planes.size(plane, total); ++j) {
      unsigned byte = 0;
      for (std::int64_t i = 8 * j; i < 8 * j + 8 && i < total; ++i) {
        byte |= (layout.rest(load(values, subblock.dtype, i)) >> shift & 1U) << static_cast<unsigned>(i % 8);
      }
      out[j] = static_cast<std::byte>(byte);
      any |= byte;
    }
    return any != 0;
  }

  KOKKOS_FUNCTION bool decode_alone(const codec::Subblock& subblock, const std::byte* in, std::int64_t bytes,
                                    std::byte* values, std::byte* scratch) const {
    if (bytes < words_at || in[5] != std::byte{0} || in[6] != std::byte{0} || in[7] != std::byte{0}) return false;
    std::int64_t words = 0;
    for (unsigned b = 0; b < 4; ++b) words |= static_cast<std::int64_t>(in[b]) << (8 * b);
    if (2 * words > bytes - words_at) return false;
    const FloatLayout layout = layout_of(subblock.dtype);
    const std::int64_t per_head = subblock.tokens * subblock.dim;
    auto* shares = reinterpret_cast<rans::Share*>(scratch);
    auto* symbol_of = reinterpret_cast<std::uint8_t*>(scratch + subblock.heads * symbols * sizeof(rans::Share));

    std::int64_t at = words_at + 2 * words;
    for (std::int64_t head = 0; head < subblock.heads; ++head) {
      const std::int64_t read = read_table(in + at, bytes - at, 1 << layout.exponent_bits, shares + head * symbols);
      if (read < 0) return false;
      rans::accumulate(shares + head * symbols, symbols);
      at += read;
    }
    if (!check_planes(layout, subblock, in[4], bytes - at)) return false;

    rans::Decoder decoder;
    decoder.start(in + head_bytes, in + words_at, in + words_at + 2 * words);
    for (std::int64_t head = 0; head < subblock.heads; ++head) {
      const rans::Share* share = shares + head * symbols;
      for (int s = 0; s < symbols; ++s) {
        for (std::uint32_t k = 0; k < share[s].frequency; ++k)
          symbol_of[share[s].start + k] = static_cast<std::uint8_t>(s);
      }
      for (std::int64_t i = 0; i < per_head; ++i) {
        const auto lane = static_cast<int>(i % rans::lanes);
        const std::uint8_t symbol = symbol_of[decoder.slot(lane)];
        decoder.take(lane, share[symbol]);
        const std::int64_t value = head * per_head + i;
        store(values, subblock.dtype, value, layout.join(symbol, rest_of(layout, subblock, in + at, in[4], value)));
      }
    }
    return decoder.finished();
  }

  /// The planes named are those of the dtype and fill what is left of the payload.
  KOKKOS_FUNCTION bool check_planes(const FloatLayout& layout, const codec::Subblock& subblock, std::byte stored,
                                    std::int64_t bytes) const {
    const Planes planes(layout);
    std::int64_t expected = 0;
    for (unsigned plane = 0; plane < planes.count(); ++plane) {
      if ((static_cast<unsigned>(stored) >> plane & 1U) != 0) expected += planes.size(plane, subblock.values());
    }
    return static_cast<unsigned>(stored) >> planes.count() == 0 && expected == bytes;
  }

  KOKKOS_INLINE_FUNCTION std::uint32_t rest_of(const FloatLayout& layout, const codec::Subblock& subblock,
                                               const std::byte* in, std::byte stored, std::int64_t value) const {
    const Planes planes(layout);
    std::uint32_t rest = 0;
    for (unsigned plane = 0; plane < planes.count(); ++plane) {
      if ((static_cast<unsigned>(stored) >> plane & 1U) == 0) continue;
      const auto byte = static_cast<std::uint32_t>(plane < planes.bytes ? in[value] : in[value / 8]);
      rest |= (plane < planes.bytes ? byte : byte >> static_cast<unsigned>(value % 8) & 1U) << planes.shift(plane);
      in += planes.size(plane, subblock.values());
    }
    return rest;
  }
};

}  // namespace seqkv::kokkos
