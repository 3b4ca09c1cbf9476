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

/// A vector on 8 lanes, which take runs of `Run` neighbors in turn. Butterflies are those of walsh_hadamard.
template <int Dim, int Run, class Pair>
struct SpreadVector {
  static constexpr int size = Dim / group_lanes;
  struct alignas(16) Quad {
    std::uint32_t pairs[4];
  };
  static constexpr int of_quad = 8;  ///< components
  static_assert(size % Run == 0 && Run % of_quad == 0);
  float x[size];

  /// Which of the vector's components x[i] is.
  static KOKKOS_INLINE_FUNCTION int component(int lane, int i) {
    return Run * (i / Run * group_lanes + lane) + i % Run;
  }

  /// What a lane has of a vector, as it is in memory.
  struct Halves {
    Quad quads[size / of_quad];
    /// `vector`: where it begins.
    KOKKOS_INLINE_FUNCTION void load(int lane, const std::uint32_t* vector) {
      const auto* from = reinterpret_cast<const Quad*>(vector);
      SEQKV_UNROLL for (int q = 0; q < size / of_quad; ++q) quads[q] = from[component(lane, q * of_quad) / of_quad];
    }
  };

  KOKKOS_INLINE_FUNCTION void take(const Halves& halves) {
    SEQKV_UNROLL for (int i = 0; i < size; i += 2) {
      const std::uint32_t pair = halves.quads[i / of_quad].pairs[i % of_quad / 2];
      x[i] = Pair::first(pair);
      x[i + 1] = Pair::second(pair);
    }
  }
  KOKKOS_INLINE_FUNCTION void store(int lane, std::uint32_t* vector) const {
    auto* const to = reinterpret_cast<Quad*>(vector);
    SEQKV_UNROLL for (int i = 0; i < size; i += of_quad) {
      Quad quad;
      SEQKV_UNROLL for (int j = 0; j < 4; ++j) quad.pairs[j] = Pair::join(x[i + 2 * j], x[i + 2 * j + 1]);
      to[component(lane, i) / of_quad] = quad;
    }
  }

  KOKKOS_INLINE_FUNCTION void scale(float by) { SEQKV_UNROLL for (int i = 0; i < size; ++i) x[i] *= by; }
  KOKKOS_INLINE_FUNCTION void scale(const float* by) { SEQKV_UNROLL for (int i = 0; i < size; ++i) x[i] *= by[i]; }

  /// Without its factor.
  KOKKOS_INLINE_FUNCTION void spread(int lane) {
    butterflies<1, Run>();
    SEQKV_UNROLL for (int distance = 1; distance < group_lanes; distance *= 2) {
      const float sign = (lane & distance) != 0 ? -1.0F : 1.0F;
      SEQKV_UNROLL for (int i = 0; i < size; ++i) x[i] = detmath::fma(x[i], sign, exchange_float(x[i], distance));
    }
    butterflies<Run, size>();
  }

  /// Pairs (i, i + Dim / 2) by the angles of a position.
  KOKKOS_INLINE_FUNCTION void turn(int lane, const float* cosine, const float* sine, float direction) {
    if constexpr (size > Run) {  // a lane has both
      SEQKV_UNROLL for (int i = 0; i < size / 2; ++i) {
        const int at = component(lane, i);
        kokkos::rotate(x[i], x[i + size / 2], cosine[at], direction * sine[at]);
      }
    } else {
      constexpr int apart = group_lanes / 2;
      const int first = component(lane % apart, 0);
      const float sign = lane < apart ? -direction : direction;
      SEQKV_UNROLL for (int i = 0; i < size; ++i) {
        const float other = exchange_float(x[i], apart) * (sign * sine[first + i]);
        x[i] = detmath::fma(x[i], cosine[first + i], other);
      }
    }
  }

 private:
  template <int From, int To>
  KOKKOS_INLINE_FUNCTION void butterflies() {
    SEQKV_UNROLL for (int half = From; half < To; half *= 2) {
      SEQKV_UNROLL for (int i = 0; i < size; ++i) {
        if ((i & half) != 0) continue;
        const float a = x[i];
        x[i] = a + x[i + half];
        x[i + half] = a - x[i + half];
      }
    }
  }
};

/// The components 16 m + 2 l and 16 m + 2 l + 1 of a vector on lane l, which is how row_sum sums.
template <int Dim, class Pair>
struct SummedVector {
  static constexpr int parts = Dim / 16;
  float x[parts][2];

  KOKKOS_INLINE_FUNCTION SummedVector(int lane, const std::uint32_t* vector, float scale) {
    SEQKV_UNROLL for (int m = 0; m < parts; ++m) {
      const std::uint32_t pair = vector[m * group_lanes + lane];
      x[m][0] = Pair::first(pair) * scale;
      x[m][1] = Pair::second(pair) * scale;
    }
  }

  KOKKOS_INLINE_FUNCTION void turn(int lane, const float* cosine, const float* sine, float direction) {
    SEQKV_UNROLL for (int m = 0; m < parts / 2; ++m) {
      SEQKV_UNROLL for (int e = 0; e < 2; ++e) {
        const int i = 16 * m + 2 * lane + e;
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

/// Reads the indices of a lane's components, which come in runs of 8: a byte of a plane each, 8 bytes apart.
template <int Size, int Bits>
struct IndexReader {
  static constexpr int level_count = 1 << Bits;

  /// A lane's bytes of the planes.
  struct Bytes {
    std::uint32_t of_plane[Bits][Size / 8];
    /// `row`: the lane's first byte in plane 0.
    KOKKOS_INLINE_FUNCTION void load(const std::byte* row, std::uint32_t plane_bytes) {
      SEQKV_UNROLL for (int b = 0; b < Bits; ++b) {
        SEQKV_UNROLL for (int i = 0; i < Size / 8; ++i) {
          of_plane[b][i] = static_cast<std::uint32_t>(row[b * plane_bytes + i * group_lanes]);
        }
      }
    }
  };

  /// x[i]: the level of component i. `levels` in memory of the team.
  static KOKKOS_INLINE_FUNCTION void read(const Bytes& bytes, const float* levels, float* x) {
    std::uint32_t word[Bits] = {};
    SEQKV_UNROLL for (int b = 0; b < Bits; ++b) {
      std::uint32_t plane = 0;
      SEQKV_UNROLL for (int i = 0; i < Size / 8; ++i) plane |= bytes.of_plane[b][i] << (8 * i + 2 + b);
      SEQKV_UNROLL for (int first = 0; first < Bits; ++first) word[first] |= plane & mask(first, b);
    }
    const auto* from = reinterpret_cast<const std::byte*>(levels);
    SEQKV_UNROLL for (int i = 0; i < Size; ++i) {
      const std::uint32_t at = word[i % Bits] >> i & ((level_count - 1U) << 2U);
      x[i] = *reinterpret_cast<const float*>(from + at);
    }
  }

 private:
  static_assert(Size <= 16, "three planes of a lane, shifted, fit into words");

  /// Bit i of plane b, for i = first, first + Bits, ..., goes to bit 2 + i + b: a word has every Bits-th index, times
  /// the size of a level.
  static constexpr std::uint32_t mask(int first, int b) {
    std::uint32_t bits = 0;
    // Of a fixed count, so that nothing of it is left to run.
    SEQKV_UNROLL for (int i = 0; i < Size; ++i) {
      if (i % Bits == first) bits |= 1U << (2 + i + b);
    }
    return bits;
  }
};

/// Writes the indices of a lane's components, neighbors: `Size` bits in each plane.
template <int Size, int Bits>
struct IndexWriter {
  using Bitmap = std::conditional_t<Size == 16, std::uint16_t, std::uint8_t>;
  static constexpr int limit_count = (1 << Bits) - 1;

  /// `limits` between levels, in registers: a step of the search leaves half of them.
  static KOKKOS_INLINE_FUNCTION void write(const float* x, float inverse, const float* limits, std::byte* row,
                                           std::uint32_t plane_bytes) {
    std::uint32_t plane[Bits] = {};
    SEQKV_UNROLL for (int i = 0; i < Size; ++i) {
      const float value = x[i] * inverse;
      float left[limit_count];
      SEQKV_UNROLL for (int j = 0; j < limit_count; ++j) left[j] = limits[j];
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
};

}  // namespace seqkv::gpu
