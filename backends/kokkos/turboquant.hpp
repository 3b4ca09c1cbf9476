// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// TurboQuant of one sub-block, portable: a team a sub-block, a thread a vector. The format is in
/// src/codec/turboquant/spec.md.
#pragma once

#include <Kokkos_Core.hpp>

#include "backends/kokkos/hadamard.hpp"
#include "backends/kokkos/rope.hpp"
#include "codec/turboquant/arguments.hpp"

namespace seqkv::kokkos {

struct TurboQuant : codec::TurboQuant {
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
    return exponent_of(largest);
  }

  /// Codes values into `out` (size() bytes); returns the bytes written or not_codable.
  template <class Team>
  KOKKOS_FUNCTION std::int64_t encode(const Team& team, const codec::Subblock& subblock, std::uint64_t number,
                                      const std::byte* values, std::byte* out, std::byte*) const {
    const int e = exponent(team, subblock, values);
    if (e > most_exponent) return codec::not_codable;
    Kokkos::single(Kokkos::PerTeam(team), [&]() { write_header(out, e); });
    const std::int64_t vectors = subblock.vectors();
    Kokkos::parallel_for(Kokkos::TeamThreadRange(team, vectors), [&](const std::int64_t v) {
      const std::int64_t dim = rotation.dim;
      float x[Rotation::most_dim];
      const float down = power_of_two(-e);
      for (std::int64_t i = 0; i < dim; ++i) x[i] = load_as_float(values, subblock.dtype, v * dim + i) * down;
      if (turns(subblock)) turn(x, subblock.batch_token + v % subblock.tokens, -1.0F);
      const float squares = row_sum(dim, [&x](std::int64_t i, float sum) { return detmath::fma(x[i], x[i], sum); });
      const std::uint16_t norm = float_to_f16(detmath::sqrt(squares));
      store16(out + norm_at(v), norm);
      Rotation{rotation_of(number)}.forward(x);
      const float decoded_norm = f16_to_float(norm);
      const float inverse = decoded_norm > 0 ? 1.0F / decoded_norm : 0.0F;
      pack(x, inverse, out + planes_at(subblock), v, vectors);
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
    int e = 0;
    if (!read_header(subblock, in, bytes, e)) return false;
    const std::int64_t vectors = subblock.vectors();
    int broken = 0;
    Kokkos::parallel_reduce(
        Kokkos::TeamThreadRange(team, vectors),
        [&](const std::int64_t v, int& some) { some += is_norm(load16(in + norm_at(v))) ? 0 : 1; }, broken);
    if (broken != 0) return false;
    Kokkos::parallel_for(Kokkos::TeamThreadRange(team, vectors), [&](const std::int64_t v) {
      const std::int64_t dim = rotation.dim;
      float x[Rotation::most_dim];
      const std::byte* planes = in + planes_at(subblock);
      for (std::int64_t i = 0; i < dim; ++i) {
        unsigned index = 0;
        for (int b = 0; b < bits; ++b) {
          const auto plane = static_cast<unsigned>(planes[(b * vectors + v) * plane_row() + i / 8]);
          index |= (plane >> static_cast<unsigned>(i % 8) & 1U) << static_cast<unsigned>(b);
        }
        x[i] = centroids[index];
      }
      Rotation{rotation_of(number)}.inverse(x);
      const float norm = f16_to_float(load16(in + norm_at(v)));
      const float up = power_of_two(e);
      for (std::int64_t i = 0; i < dim; ++i) x[i] = x[i] * norm * up;
      if (turns(subblock)) turn(x, subblock.batch_token + v % subblock.tokens, 1.0F);
      for (std::int64_t i = 0; i < dim; ++i) store_from_float(values, subblock.dtype, v * dim + i, x[i]);
    });
    return true;
  }
};

}  // namespace seqkv::kokkos
