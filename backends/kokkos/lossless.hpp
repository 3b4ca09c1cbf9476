// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The exact codec of one sub-block, portable: sign and mantissa as they are, exponents by rANS with a table and a
/// stream for each head. The format is in src/codec/lossless/spec.md.
#pragma once

#include <Kokkos_Core.hpp>

#include "codec/lossless/layout.hpp"

namespace seqkv::kokkos {

namespace rans = codec::rans;

struct Lossless {
  /// More than encode can write for a sub-block.
  KOKKOS_INLINE_FUNCTION std::int64_t size(const codec::Subblock& subblock) const {
    return codec::LosslessLayout(subblock).most_bytes();
  }
  std::int64_t scratch_bytes(const codec::Subblock& subblock) const {
    return static_cast<std::int64_t>(sizeof(Scratch)) + subblock.tokens * subblock.dim;
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
  /// Of one head; its symbols stand behind.
  struct Scratch {
    union {
      rans::Slot slots[rans::total];
      rans::Code codes[rans::symbols];
    };
    std::uint32_t counts[rans::symbols];
    std::uint16_t frequencies[rans::symbols];
  };

  KOKKOS_FUNCTION std::int64_t encode_alone(const codec::Subblock& subblock, const std::byte* values, std::byte* out,
                                            std::byte* memory) const {
    const codec::LosslessLayout layout(subblock);
    auto& scratch = *reinterpret_cast<Scratch*>(memory);
    auto* symbols = reinterpret_cast<std::uint8_t*>(memory + sizeof(Scratch));
    std::byte* at = out + layout.tables_at();
    for (std::int64_t head = 0; head < layout.heads; ++head) {
      split_exponents(subblock, values, head, symbols, scratch.counts);
      rans::normalize(scratch.counts, scratch.frequencies);
      const std::byte* table = at;
      at += codec::write_table(scratch.frequencies, 0, at);
      std::int64_t bytes = 0;
      if (!codec::is_lone(table)) {
        rans::fill_codes(scratch.frequencies, scratch.codes);
        rans::Encoder encoder;
        encoder.start(out + layout.end_of_room(head));
        encoder.encode(scratch.codes, symbols, layout.per_head);
        bytes = out + layout.end_of_room(head) - encoder.finish();
      }
      codec::store_u32(out + codec::LosslessLayout::size_at(head), static_cast<std::uint32_t>(bytes));
    }
    at = codec::close_gaps(layout, out, at);
    const unsigned stored = write_planes(subblock, values, at);
    codec::store_u32(out, stored);
    return at - out;
  }

  /// Exponents of a head and how often each occurs.
  KOKKOS_FUNCTION void split_exponents(const codec::Subblock& subblock, const std::byte* values, std::int64_t head,
                                       std::uint8_t* symbols, std::uint32_t* counts) const {
    const codec::FloatLayout format = codec::layout_of(subblock.dtype);
    const std::int64_t per_head = subblock.tokens * subblock.dim;
    for (int s = 0; s < rans::symbols; ++s) counts[s] = 0;
    for (std::int64_t i = 0; i < per_head; ++i) {
      symbols[i] =
          static_cast<std::uint8_t>(format.exponent(codec::load_bits(values, subblock.dtype, head * per_head + i)));
      ++counts[symbols[i]];
    }
  }

  /// Planes that are not all zero, from the lowest; moves `out` behind them and returns which they are.
  KOKKOS_FUNCTION unsigned write_planes(const codec::Subblock& subblock, const std::byte* values,
                                        std::byte*& out) const {
    const codec::Planes planes(codec::layout_of(subblock.dtype));
    unsigned stored = 0;
    for (unsigned plane = 0; plane < planes.count(); ++plane) {
      if (!write_plane(planes, plane, subblock, values, out)) continue;
      out += planes.size(plane, subblock.values());
      stored |= 1U << plane;
    }
    return stored;
  }

  /// False (and nothing to be kept) if all bits of the plane are zero.
  KOKKOS_FUNCTION bool write_plane(const codec::Planes& planes, unsigned plane, const codec::Subblock& subblock,
                                   const std::byte* values, std::byte* out) const {
    const codec::FloatLayout format = codec::layout_of(subblock.dtype);
    const std::int64_t total = subblock.values();
    const unsigned shift = planes.shift(plane);
    unsigned any = 0;
    if (plane < planes.bytes) {
      for (std::int64_t i = 0; i < total; ++i) {
        const std::uint32_t byte = format.rest(codec::load_bits(values, subblock.dtype, i)) >> shift & 0xffU;
        out[i] = static_cast<std::byte>(byte);
        any |= byte;
      }
      return any != 0;
    }
    for (std::int64_t j = 0; j < planes.size(plane, total); ++j) {
      unsigned byte = 0;
      for (std::int64_t i = 8 * j; i < 8 * j + 8 && i < total; ++i) {
        const std::uint32_t rest = format.rest(codec::load_bits(values, subblock.dtype, i));
        byte |= (rest >> shift & 1U) << static_cast<unsigned>(i % 8);
      }
      out[j] = static_cast<std::byte>(byte);
      any |= byte;
    }
    return any != 0;
  }

  KOKKOS_FUNCTION bool decode_alone(const codec::Subblock& subblock, const std::byte* in, std::int64_t bytes,
                                    std::byte* values, std::byte* memory) const {
    codec::LosslessParts parts;
    if (!codec::take_apart(subblock, in, bytes, parts)) return false;
    auto& scratch = *reinterpret_cast<Scratch*>(memory);
    auto* symbols = reinterpret_cast<std::uint8_t*>(memory + sizeof(Scratch));
    const codec::FloatLayout format = codec::layout_of(subblock.dtype);
    const std::int64_t per_head = subblock.tokens * subblock.dim;
    const std::byte* table = parts.tables;
    const std::byte* stream = parts.streams;
    for (std::int64_t head = 0; head < subblock.heads; ++head) {
      const std::int64_t stream_bytes = codec::load_u32(in + codec::LosslessLayout::size_at(head));
      if (!decode_head(table, stream, stream_bytes, per_head, symbols, scratch)) return false;
      const std::uint32_t first = codec::first_exponent(table);
      for (std::int64_t i = 0; i < per_head; ++i) {
        const std::int64_t value = head * per_head + i;
        codec::store_bits(values, subblock.dtype, value,
                          format.join(first + symbols[i], rest_of(subblock, parts, value)));
      }
      table += codec::table_bytes(table);
      stream += stream_bytes;
    }
    return true;
  }

  /// Exponents of a head, less the first of its table.
  KOKKOS_FUNCTION bool decode_head(const std::byte* table, const std::byte* stream, std::int64_t bytes,
                                   std::int64_t count, std::uint8_t* symbols, Scratch& scratch) const {
    if (codec::is_lone(table)) {
      for (std::int64_t i = 0; i < count; ++i) symbols[i] = 0;
      return bytes == 0;
    }
    if (!codec::read_table(table, scratch.frequencies)) return false;
    rans::fill_slots(scratch.frequencies, scratch.slots);
    rans::Decoder decoder;
    decoder.start(stream, bytes);
    decoder.decode(scratch.slots, symbols, count);
    return decoder.finished();
  }

  KOKKOS_INLINE_FUNCTION std::uint32_t rest_of(const codec::Subblock& subblock, const codec::LosslessParts& parts,
                                               std::int64_t value) const {
    const codec::Planes planes(codec::layout_of(subblock.dtype));
    const std::byte* in = parts.planes;
    std::uint32_t rest = 0;
    for (unsigned plane = 0; plane < planes.count(); ++plane) {
      if ((parts.stored >> plane & 1U) == 0) continue;
      const auto byte = static_cast<std::uint32_t>(plane < planes.bytes ? in[value] : in[value / 8]);
      rest |= (plane < planes.bytes ? byte : byte >> static_cast<unsigned>(value % 8) & 1U) << planes.shift(plane);
      in += planes.size(plane, subblock.values());
    }
    return rest;
  }
};

}  // namespace seqkv::kokkos
