// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Vectors of 64 or 128 components on 8 threads of a GPU, for TurboQuant.
#pragma once

#include <Kokkos_Core.hpp>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "backends/gpu/halves.hpp"
#include "backends/gpu/lanes.hpp"
#include "backends/kokkos/rope.hpp"
#include "core/detmath.hpp"

namespace seqkv::gpu {

/// A float of the lane whose number differs by `distance`.
KOKKOS_INLINE_FUNCTION float exchange_float(float value, int distance) {
  return detmath::from_bits(exchange(detmath::bits(value), distance));
}

/// A vector on 8 lanes, each with `size` components that follow each other. Butterflies are those of walsh_hadamard.
template <int Dim, class Pair>
struct SpreadVector {
  static constexpr int size = Dim / group_lanes;
  static constexpr int pairs = size / 2;
  struct alignas(16) Quad {
    std::uint32_t pairs[4];
  };
  float x[size];

  /// `vector`: where it begins.
  KOKKOS_INLINE_FUNCTION void load(const Lane& lane, const std::uint32_t* vector) {
    const auto* from = reinterpret_cast<const Quad*>(vector + lane.number * pairs);
    SEQKV_UNROLL for (int q = 0; q < pairs / 4; ++q) {
      const Quad quad = from[q];
      SEQKV_UNROLL for (int j = 0; j < 4; ++j) {
        x[8 * q + 2 * j] = Pair::first(quad.pairs[j]);
        x[8 * q + 2 * j + 1] = Pair::second(quad.pairs[j]);
      }
    }
  }

  /// Two lanes swap halves of what they have, so that what they write at once is 32 bytes in one piece.
  KOKKOS_INLINE_FUNCTION void store(const Lane& lane, std::uint32_t* vector, bool is_there) const {
    Quad quads[pairs / 4];
    SEQKV_UNROLL for (int i = 0; i < pairs; ++i) quads[i / 4].pairs[i % 4] = Pair::join(x[2 * i], x[2 * i + 1]);
    auto* const to = reinterpret_cast<Quad*>(vector);
    if constexpr (pairs == 4) {
      if (is_there) to[lane.number] = quads[0];
    } else {
      const bool is_odd = lane.number % 2 != 0;
      SEQKV_UNROLL for (int j = 0; j < 4; ++j) {
        const std::uint32_t kept = is_odd ? quads[1].pairs[j] : quads[0].pairs[j];
        const std::uint32_t got = exchange(is_odd ? quads[0].pairs[j] : quads[1].pairs[j], 1);
        quads[0].pairs[j] = is_odd ? got : kept;
        quads[1].pairs[j] = is_odd ? kept : got;
      }
      const int first = lane.number / 2 * 4 + lane.number % 2;
      if (!is_there) return;
      to[first] = quads[0];
      to[first + 2] = quads[1];
    }
  }

  KOKKOS_INLINE_FUNCTION void scale(float by) { SEQKV_UNROLL for (int i = 0; i < size; ++i) x[i] *= by; }
  KOKKOS_INLINE_FUNCTION void scale(const float* by) { SEQKV_UNROLL for (int i = 0; i < size; ++i) x[i] *= by[i]; }

  /// Without its factor.
  KOKKOS_INLINE_FUNCTION void spread(const Lane& lane) {
    SEQKV_UNROLL for (int half = 1; half < size; half *= 2) {
      SEQKV_UNROLL for (int i = 0; i < size; ++i) {
        if ((i & half) != 0) continue;
        const float a = x[i];
        x[i] = a + x[i + half];
        x[i + half] = a - x[i + half];
      }
    }
    SEQKV_UNROLL for (int distance = 1; distance < group_lanes; distance *= 2) {
      const float sign = (lane.number & distance) != 0 ? -1.0F : 1.0F;
      SEQKV_UNROLL for (int i = 0; i < size; ++i) x[i] = detmath::fma(x[i], sign, exchange_float(x[i], distance));
    }
  }

  /// Pairs (i, i + Dim / 2), which lanes 4 apart have, by the angles of a position.
  KOKKOS_INLINE_FUNCTION void turn(const Lane& lane, const float* cosine, const float* sine, float direction) {
    const int first = lane.number % 4 * size;
    const float sign = lane.number < 4 ? -direction : direction;
    SEQKV_UNROLL for (int i = 0; i < size; ++i) {
      const float other = exchange_float(x[i], 4) * (sign * sine[first + i]);
      x[i] = detmath::fma(x[i], cosine[first + i], other);
    }
  }
};

/// The components 16 m + 2 l and 16 m + 2 l + 1 of a vector on lane l, which is how row_sum sums.
template <int Dim, class Pair>
struct SummedVector {
  static constexpr int parts = Dim / 16;
  float x[parts][2];

  KOKKOS_INLINE_FUNCTION SummedVector(const Lane& lane, const std::uint32_t* vector, float scale) {
    SEQKV_UNROLL for (int m = 0; m < parts; ++m) {
      const std::uint32_t pair = vector[m * group_lanes + lane.number];
      x[m][0] = Pair::first(pair) * scale;
      x[m][1] = Pair::second(pair) * scale;
    }
  }

  KOKKOS_INLINE_FUNCTION void turn(const Lane& lane, const float* cosine, const float* sine, float direction) {
    SEQKV_UNROLL for (int m = 0; m < parts / 2; ++m) {
      SEQKV_UNROLL for (int e = 0; e < 2; ++e) {
        const int i = 16 * m + 2 * lane.number + e;
        kokkos::rotate(x[m][e], x[m + parts / 2][e], cosine[i], direction * sine[i]);
      }
    }
  }

  KOKKOS_INLINE_FUNCTION float norm() const {
    float sum[2] = {};
    SEQKV_UNROLL for (int m = 0; m < parts; ++m) {
      SEQKV_UNROLL for (int e = 0; e < 2; ++e) sum[e] = detmath::fma(x[m][e], x[m][e], sum[e]);
    }
    SEQKV_UNROLL for (int distance = 4; distance > 0; distance /= 2) {
      SEQKV_UNROLL for (int e = 0; e < 2; ++e) sum[e] += exchange_float(sum[e], distance);
    }
    return detmath::sqrt(sum[0] + sum[1]);
  }
};

/// The indices of a lane's components: `Size` bits in each plane, one behind the other.
template <int Size, int Bits>
struct LaneIndices {
  using Bitmap = std::conditional_t<Size == 16, std::uint16_t, std::uint8_t>;
  static constexpr int level_count = 1 << Bits;

  /// Bit i of plane b, for i = first, first + Bits, ..., goes to bit 2 + i + b: a word has every Bits-th index,
  /// times 4.
  static constexpr std::uint32_t mask(int first, int b) {
    std::uint32_t bits = 0;
    for (int i = first; i < Size; i += Bits) bits |= 1U << (2 + i + b);
    return bits;
  }

  /// x[i]: the level of component i. `levels` in memory of the team.
  static KOKKOS_INLINE_FUNCTION void unpack(const std::byte* row, std::int64_t plane_bytes, const float* levels,
                                            float* x) {
    std::uint32_t plane[Bits];
    SEQKV_UNROLL for (int b = 0; b < Bits; ++b) {
      plane[b] = std::uint32_t{*reinterpret_cast<const Bitmap*>(row + b * plane_bytes)} << (2 + b);
    }
    std::uint32_t word[Bits] = {};
    SEQKV_UNROLL for (int first = 0; first < Bits; ++first) {
      SEQKV_UNROLL for (int b = 0; b < Bits; ++b) word[first] |= plane[b] & mask(first, b);
    }
    const auto* bytes = reinterpret_cast<const std::byte*>(levels);
    SEQKV_UNROLL for (int i = 0; i < Size; ++i) {
      const std::uint32_t at = word[i % Bits] >> i & (level_mask << 2U);
      x[i] = *reinterpret_cast<const float*>(bytes + at);
    }
  }

  /// `limits` between levels, in registers: a step of the search leaves half of them.
  static KOKKOS_INLINE_FUNCTION void pack(const float* x, float inverse, const float* limits, std::byte* row,
                                          std::int64_t plane_bytes) {
    std::uint32_t plane[Bits] = {};
    SEQKV_UNROLL for (int i = 0; i < Size; ++i) {
      const float value = x[i] * inverse;
      float left[level_count];
      SEQKV_UNROLL for (int j = 0; j < level_count - 1; ++j) left[j] = limits[j];
      SEQKV_UNROLL for (int b = Bits - 1; b >= 0; --b) {
        const int half = 1 << b;
        const bool is_above = value > left[half - 1];
        if (is_above) plane[b] |= 1U << i;
        SEQKV_UNROLL for (int j = 0; j < half - 1; ++j) left[j] = is_above ? left[half + j] : left[j];
      }
    }
    SEQKV_UNROLL for (int b = 0; b < Bits; ++b) {
      *reinterpret_cast<Bitmap*>(row + b * plane_bytes) = static_cast<Bitmap>(plane[b]);
    }
  }

 private:
  static constexpr std::uint32_t level_mask = level_count - 1;
};

}  // namespace seqkv::gpu
