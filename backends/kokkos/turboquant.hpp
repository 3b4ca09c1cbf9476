// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// TurboQuant of one sub-block, portable: a team a sub-block, a thread a vector. The format is in
/// src/codec/turboquant/spec.md.
#pragma once

#include <Kokkos_Core.hpp>

#include "backends/kokkos/hadamard.hpp"
#include "backends/kokkos/rope.hpp"
#include "codec/subblock.hpp"

namespace seqkv::kokkos {

struct TurboQuant {
  static constexpr int most_bits = 5;
  static constexpr std::int64_t header_bytes = 4;
  static constexpr std::int64_t most_dim = 512;
  /// Values are scaled by a power of two to at most 2^top, so that norms fit a 16-bit float.
  static constexpr int top = 10;

  int bits = 0;
  float centroids[1 << most_bits] = {};   ///< for unit vectors, ascending
  float thresholds[1 << most_bits] = {};  ///< [k] between centroids k and k + 1
  Rotation rotation;                      ///< seed: of the stream; a sub-block adds its number
  /// Angles of the batch's positions [batch tokens][rope_pairs], or null: keys are taken as they are.
  const float* cosine = nullptr;
  const float* sine = nullptr;
  std::int64_t rope_pairs = 0;

  KOKKOS_INLINE_FUNCTION std::int64_t plane_row() const { return (rotation.dim + 7) / 8; }
  KOKKOS_INLINE_FUNCTION std::int64_t size(const codec::Subblock& subblock) const {
    return header_bytes + subblock.vectors() * (2 + bits * plane_row());
  }
  std::int64_t scratch_bytes(const codec::Subblock&) const { return 0; }

  /// Turns a key back to (or on from) the angle 0.
  KOKKOS_INLINE_FUNCTION void turn(float* x, std::int64_t batch_token, float direction) const {
    const float* c = cosine + batch_token * rope_pairs;
    const float* s = sine + batch_token * rope_pairs;
    for (std::int64_t i = 0; i < rope_pairs; ++i) rotate(x[i], x[i + rope_pairs], c[i], direction * s[i]);
  }

  KOKKOS_INLINE_FUNCTION int quantize(float x) const {
    int index = 0;
    for (int step = 1 << (bits - 1); step > 0; step /= 2) {
      if (x > thresholds[index + step - 1]) index += step;
    }
    return index;
  }

  /// Exponents that scaling keeps far from the ends of float's range.
  static constexpr int least_exponent = -100;
  static constexpr int most_exponent = 110;

  /// The exponent e for which all |values| < 2^(e + top + 1). Above most_exponent for NaN, infinities and values
  /// so large that a reconstruction could overflow: not codable.
  template <class Team>
  KOKKOS_FUNCTION int exponent(const Team& team, const codec::Subblock& subblock, const std::byte* values) const {
    std::uint32_t largest = 0;
    Kokkos::parallel_reduce(
        Kokkos::TeamThreadRange(team, subblock.values()),
        [&](const std::int64_t i, std::uint32_t& most) {
          const std::uint32_t magnitude = detmath::bits(load_as_float(values, subblock.dtype, i)) & 0x7fffffffU;
          most = magnitude > most ? magnitude : most;
        },
        Kokkos::Max<std::uint32_t>(largest));
    const int e = static_cast<int>(largest >> 23U) - 127 - top;
    return e < least_exponent ? least_exponent : e;
  }

  static KOKKOS_INLINE_FUNCTION float power_of_two(int e) {
    return detmath::from_bits(static_cast<std::uint32_t>(e + 127) << 23U);
  }

  /// Codes values into `out` (size() bytes); returns the bytes written or not_codable.
  template <class Team>
  KOKKOS_FUNCTION std::int64_t encode(const Team& team, const codec::Subblock& subblock, std::uint64_t number,
                                      const std::byte* values, std::byte* out, std::byte*) const {
    const int e = exponent(team, subblock, values);
    if (e > most_exponent) return codec::not_codable;
    Kokkos::single(Kokkos::PerTeam(team), [&]() {
      store16(out, static_cast<std::uint16_t>(e));
      store16(out + 2, 0);
    });
    const std::int64_t vectors = subblock.vectors();
    Kokkos::parallel_for(Kokkos::TeamThreadRange(team, vectors), [&](const std::int64_t v) {
      const std::int64_t dim = rotation.dim;
      float x[most_dim];
      const float down = power_of_two(-e);
      for (std::int64_t i = 0; i < dim; ++i) x[i] = load_as_float(values, subblock.dtype, v * dim + i) * down;
      if (subblock.is_key && cosine != nullptr) turn(x, subblock.batch_token + v % subblock.tokens, -1.0F);
      const float squares = row_sum(dim, [&x](std::int64_t i, float sum) { return detmath::fma(x[i], x[i], sum); });
      const std::uint16_t norm = float_to_f16(detmath::sqrt(squares));
      store16(out + header_bytes + 2 * v, norm);
      Rotation turned = rotation;
      turned.seed += number;
      turned.forward(x);
      const float decoded_norm = f16_to_float(norm);
      const float inverse = decoded_norm > 0 ? 1.0F / decoded_norm : 0.0F;
      pack(x, inverse, out + header_bytes + 2 * vectors, v, vectors);
    });
    return size(subblock);
  }

  /// Writes the index of every component as bits, one plane a bit: [plane][vector][ceil(dim / 8)].
  KOKKOS_INLINE_FUNCTION void pack(const float* x, float inverse, std::byte* planes, std::int64_t v,
                                   std::int64_t vectors) const {
    for (std::int64_t j = 0; j < plane_row(); ++j) {
      unsigned plane[most_bits] = {};
      for (std::int64_t i = 8 * j; i < 8 * j + 8 && i < rotation.dim; ++i) {
        const auto index = static_cast<unsigned>(quantize(x[i] * inverse));
        for (int b = 0; b < bits; ++b)
          plane[b] |= (index >> static_cast<unsigned>(b) & 1U) << static_cast<unsigned>(i % 8);
      }
      for (int b = 0; b < bits; ++b) planes[(b * vectors + v) * plane_row() + j] = static_cast<std::byte>(plane[b]);
    }
  }

  /// Decodes `in` (any bytes) of `bytes` into values; false if it is not what encode can have written.
  template <class Team>
  KOKKOS_FUNCTION bool decode(const Team& team, const codec::Subblock& subblock, std::uint64_t number,
                              const std::byte* in, std::int64_t bytes, std::byte* values, std::byte*) const {
    if (bytes != size(subblock) || load16(in + 2) != 0) return false;
    const int e = static_cast<std::int16_t>(load16(in));
    if (e < least_exponent || e > most_exponent) return false;
    const std::int64_t vectors = subblock.vectors();
    Kokkos::parallel_for(Kokkos::TeamThreadRange(team, vectors), [&](const std::int64_t v) {
      const std::int64_t dim = rotation.dim;
      float x[most_dim];
      const std::byte* planes = in + header_bytes + 2 * vectors;
      for (std::int64_t i = 0; i < dim; ++i) {
        unsigned index = 0;
        for (int b = 0; b < bits; ++b) {
          const auto plane = static_cast<unsigned>(planes[(b * vectors + v) * plane_row() + i / 8]);
          index |= (plane >> static_cast<unsigned>(i % 8) & 1U) << static_cast<unsigned>(b);
        }
        x[i] = centroids[index];
      }
      Rotation turned = rotation;
      turned.seed += number;
      turned.inverse(x);
      const float norm = f16_to_float(load16(in + header_bytes + 2 * v));
      const float up = power_of_two(e);
      for (std::int64_t i = 0; i < dim; ++i) x[i] = x[i] * norm * up;
      if (subblock.is_key && cosine != nullptr) turn(x, subblock.batch_token + v % subblock.tokens, 1.0F);
      for (std::int64_t i = 0; i < dim; ++i) store_from_float(values, subblock.dtype, v * dim + i, x[i]);
    });
    return true;
  }

 private:
  static KOKKOS_INLINE_FUNCTION void store16(std::byte* to, std::uint16_t value) {
    to[0] = static_cast<std::byte>(value & 0xffU);
    to[1] = static_cast<std::byte>(value >> 8U);
  }
  static KOKKOS_INLINE_FUNCTION std::uint16_t load16(const std::byte* from) {
    return static_cast<std::uint16_t>(static_cast<unsigned>(from[0]) | static_cast<unsigned>(from[1]) << 8U);
  }
};

}  // namespace seqkv::kokkos
