// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// TurboQuant's parameters and the layout of its payload (spec.md): what the portable kernel (backends/kokkos) and its
/// specializations (backends/cpu) share. No Kokkos here.
#pragma once

#include "codec/subblock.hpp"
#include "codec/transform/rotation.hpp"

namespace seqkv::codec {

struct TurboQuant {
  static constexpr int most_bits = 5;
  static constexpr std::int64_t header_bytes = 4;
  /// Values are scaled by a power of two to at most 2^top, so that norms fit a 16-bit float.
  static constexpr int top = 10;
  /// Exponents that scaling keeps far from the ends of float's range.
  static constexpr int least_exponent = -100;
  static constexpr int most_exponent = 110;

  int bits = 0;
  float centroids[1 << most_bits] = {};   ///< for unit vectors, ascending
  float thresholds[1 << most_bits] = {};  ///< [k] between centroids k and k + 1
  Rotation rotation;                      ///< seed: of the stream; a sub-block adds its number
  /// Angles of the batch's positions [batch tokens][rope_pairs], or null: keys are taken as they are.
  const float* cosine = nullptr;
  const float* sine = nullptr;
  std::int64_t rope_pairs = 0;

  SEQKV_INLINE bool turns(const Subblock& subblock) const { return subblock.is_key && cosine != nullptr; }

  SEQKV_INLINE Rotation rotation_of(std::uint64_t number) const {
    Rotation turned = rotation;
    turned.seed += number;
    return turned;
  }

  // The payload: header, norms, planes [bits][vectors][plane_row].
  SEQKV_INLINE std::int64_t plane_row() const { return (rotation.dim + 7) / 8; }
  SEQKV_INLINE std::int64_t size(const Subblock& subblock) const {
    return planes_at(subblock) + subblock.vectors() * bits * plane_row();
  }
  static SEQKV_INLINE std::int64_t norm_at(std::int64_t vector) { return header_bytes + 2 * vector; }
  static SEQKV_INLINE std::int64_t planes_at(const Subblock& subblock) { return norm_at(subblock.vectors()); }

  static SEQKV_INLINE void write_header(std::byte* out, int exponent) {
    store16(out, static_cast<std::uint16_t>(exponent));
    store16(out + 2, 0);
  }
  /// False if a payload of `bytes` is not what an encoder can have written.
  SEQKV_INLINE bool read_header(const Subblock& subblock, const std::byte* in, std::int64_t bytes,
                                int& exponent) const {
    if (bytes != size(subblock) || load16(in + 2) != 0) return false;
    exponent = static_cast<std::int16_t>(load16(in));
    return exponent >= least_exponent && exponent <= most_exponent;
  }

  /// Of those that an encoder can have written: finite, not negative.
  static SEQKV_INLINE bool is_norm(std::uint16_t norm) { return norm < 0x7c00U; }

  /// The exponent e for which all |values| < 2^(e + top + 1), from the bits of the largest magnitude. Above
  /// most_exponent for NaN, infinities and values so large that a reconstruction could overflow: not codable.
  static SEQKV_INLINE int exponent_of(std::uint32_t largest) {
    const int e = static_cast<int>(largest >> 23U) - 127 - top;
    return e < least_exponent ? least_exponent : e;
  }
  static SEQKV_INLINE float power_of_two(int e) {
    return detmath::from_bits(static_cast<std::uint32_t>(e + 127) << 23U);
  }

  static SEQKV_INLINE void store16(std::byte* to, std::uint16_t value) {
    to[0] = static_cast<std::byte>(value & 0xffU);
    to[1] = static_cast<std::byte>(value >> 8U);
  }
  static SEQKV_INLINE std::uint16_t load16(const std::byte* from) {
    return static_cast<std::uint16_t>(static_cast<unsigned>(from[0]) | static_cast<unsigned>(from[1]) << 8U);
  }
};

}  // namespace seqkv::codec
