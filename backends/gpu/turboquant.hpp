// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// TurboQuant on a GPU: a team a sub-block, 8 threads a vector, for vectors of 64 and 128 components of 16 bits. The
/// same bytes as the portable kernel (backends/kokkos/turboquant.hpp), which does all the others.
#pragma once

#include <Kokkos_Core.hpp>
#include <algorithm>

#include "backends/gpu/lanes.hpp"
#include "backends/kokkos/turboquant.hpp"
#include "core/mirrored.hpp"

namespace seqkv::gpu {

inline constexpr int turboquant_team = 256;

/// A vector on 8 lanes: lane l has the components 16 m + 2 l and 16 m + 2 l + 1. Sums are those of row_sum, butterflies
/// those of walsh_hadamard.
template <int Dim>
struct SpreadVector {
  static constexpr int parts = Dim / 16;
  float x[parts][2];

  static KOKKOS_INLINE_FUNCTION float exchange_float(float value, int distance) {
    return detmath::from_bits(exchange(detmath::bits(value), distance));
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

  /// Bit e + 2 m of `signs`: whether a component of this lane changes its sign.
  KOKKOS_INLINE_FUNCTION void flip(std::uint32_t signs) {
    SEQKV_UNROLL for (int m = 0; m < parts; ++m) {
      SEQKV_UNROLL for (int e = 0; e < 2; ++e) {
        x[m][e] = detmath::from_bits(detmath::bits(x[m][e]) ^ (signs >> (2 * m + e) & 1U) << 31U);
      }
    }
  }

  KOKKOS_INLINE_FUNCTION void spread(const Lane& lane, float scale) {
    SEQKV_UNROLL for (int m = 0; m < parts; ++m) {
      const float a = x[m][0];
      x[m][0] = a + x[m][1];
      x[m][1] = a - x[m][1];
    }
    SEQKV_UNROLL for (int distance = 1; distance < group_lanes; distance *= 2) {
      const bool is_second = (lane.number & distance) != 0;
      SEQKV_UNROLL for (int m = 0; m < parts; ++m) {
        SEQKV_UNROLL for (int e = 0; e < 2; ++e) {
          const float other = exchange_float(x[m][e], distance);
          x[m][e] = is_second ? other - x[m][e] : x[m][e] + other;
        }
      }
    }
    SEQKV_UNROLL for (int half = 1; half < parts; half *= 2) {
      SEQKV_UNROLL for (int m = 0; m < parts; ++m) {
        if ((m & half) != 0) continue;
        SEQKV_UNROLL for (int e = 0; e < 2; ++e) {
          const float a = x[m][e];
          x[m][e] = a + x[m + half][e];
          x[m + half][e] = a - x[m + half][e];
        }
      }
    }
    SEQKV_UNROLL for (int m = 0; m < parts; ++m) { SEQKV_UNROLL for (int e = 0; e < 2; ++e) x[m][e] *= scale; }
  }

  /// Pairs (i, i + Dim / 2) by the angles of a position.
  KOKKOS_INLINE_FUNCTION void turn(const Lane& lane, const float* cosine, const float* sine, float direction) {
    SEQKV_UNROLL for (int m = 0; m < parts / 2; ++m) {
      SEQKV_UNROLL for (int e = 0; e < 2; ++e) {
        const int i = 16 * m + 2 * lane.number + e;
        kokkos::rotate(x[m][e], x[m + parts / 2][e], cosine[i], direction * sine[i]);
      }
    }
  }
};

/// Arguments as the portable kernel has them; what its functions take are its own.
template <int Dim, int Bits>
struct TurboQuantTeam : kokkos::TurboQuant {
  static constexpr int parts = SpreadVector<Dim>::parts;
  static constexpr int row_words = Dim / 32;  ///< of 4 bytes, of a vector in a plane

  explicit TurboQuantTeam(const kokkos::TurboQuant& codec) : kokkos::TurboQuant(codec) {}

  KOKKOS_INLINE_FUNCTION std::uint32_t signs_of(const Lane& lane, std::uint64_t number) const {
    std::uint32_t signs = 0;
    for (int m = 0; m < parts; ++m) {
      const int i = 16 * m + 2 * lane.number;
      const std::uint64_t random = random_bits(rotation.seed + number, static_cast<std::uint64_t>(i / 64));
      signs |= static_cast<std::uint32_t>(random >> static_cast<unsigned>(i % 64) & 3U) << (2 * m);
    }
    return signs;
  }

  static KOKKOS_INLINE_FUNCTION float to_float(std::uint32_t half, DType dtype) {
    const auto low = static_cast<std::uint16_t>(half & 0xffffU);
    return dtype == DType::bf16 ? bf16_to_float(low) : f16_to_float(low);
  }
  static KOKKOS_INLINE_FUNCTION std::uint32_t to_half(float x, DType dtype) {
    return dtype == DType::bf16 ? float_to_bf16(x) : float_to_f16(x);
  }

  /// The exponent of the sub-block: magnitudes of 16 bits are ordered like the numbers.
  template <class Team>
  KOKKOS_INLINE_FUNCTION int exponent_of_all(const Team& team, const codec::Subblock& subblock,
                                             const std::byte* values) const {
    struct alignas(16) Eight {
      std::uint32_t pairs[4];
    };
    const auto* from = reinterpret_cast<const Eight*>(values);
    std::uint32_t largest = 0;
    Kokkos::parallel_reduce(
        Kokkos::TeamThreadRange(team, subblock.values() / 8),
        [&](const std::int64_t i, std::uint32_t& most) {
          const Eight eight = from[i];
          SEQKV_UNROLL for (int j = 0; j < 4; ++j) {
            const std::uint32_t low = eight.pairs[j] & 0x7fffU;
            const std::uint32_t high = eight.pairs[j] >> 16U & 0x7fffU;
            most = low > most ? low : most;
            most = high > most ? high : most;
          }
        },
        Kokkos::Max<std::uint32_t>(largest));
    return exponent_of(detmath::bits(to_float(largest, subblock.dtype)));
  }

  template <class Team>
  KOKKOS_FUNCTION std::int64_t encode(const Team& team, const codec::Task& task, const float* shared) const {
    const codec::Subblock& subblock = task.subblock;
    const int e = exponent_of_all(team, subblock, task.values);
    if (e > most_exponent) return codec::not_codable;
    Kokkos::single(Kokkos::PerTeam(team), [&]() { write_header(task.coded, e); });
    const Lane lane(team.team_rank());
    const std::uint32_t signs = signs_of(lane, task.number);
    const float down = power_of_two(-e);
    const std::int64_t vectors = subblock.vectors();
    const std::int64_t at_once = team.team_size() / group_lanes;
    for (std::int64_t first = 0; first < vectors; first += at_once) {
      const std::int64_t v = first + team.team_rank() / group_lanes;
      const bool is_there = v < vectors;
      SpreadVector<Dim> vector{};
      const auto* from = reinterpret_cast<const std::uint32_t*>(task.values) + v * (Dim / 2) + lane.number;
      SEQKV_UNROLL for (int m = 0; m < parts; ++m) {
        const std::uint32_t pair = is_there ? from[m * group_lanes] : 0U;
        vector.x[m][0] = to_float(pair, subblock.dtype) * down;
        vector.x[m][1] = to_float(pair >> 16U, subblock.dtype) * down;
      }
      if (turns(subblock) && is_there) {
        const std::int64_t row = (subblock.batch_token + v % subblock.tokens) * rope_pairs;
        vector.turn(lane, cosine + row, sine + row, -1.0F);
      }
      const std::uint16_t norm = float_to_f16(vector.norm());
      if (is_there && lane.number == 0) store16(task.coded + norm_at(v), norm);
      vector.flip(signs);
      vector.spread(lane, rotation.scale);
      const float decoded_norm = f16_to_float(norm);
      pack(lane, vector, decoded_norm > 0 ? 1.0F / decoded_norm : 0.0F, shared,
           task.coded + planes_at(subblock) + v * plane_row(), vectors * plane_row(), is_there);
    }
    return size(subblock);
  }

  template <class Team>
  KOKKOS_FUNCTION bool decode(const Team& team, const codec::Task& task, const float* shared) const {
    const codec::Subblock& subblock = task.subblock;
    int e = 0;
    if (!read_header(subblock, task.coded, task.bytes, e)) return false;
    const Lane lane(team.team_rank());
    const std::uint32_t signs = signs_of(lane, task.number);
    const float up = power_of_two(e);
    const std::int64_t vectors = subblock.vectors();
    const std::int64_t at_once = team.team_size() / group_lanes;
    for (std::int64_t first = 0; first < vectors; first += at_once) {
      const std::int64_t v = first + team.team_rank() / group_lanes;
      const bool is_there = v < vectors;
      const std::int64_t there = is_there ? v : vectors - 1;
      SpreadVector<Dim> vector;
      unpack(lane, vector, shared, task.coded + planes_at(subblock) + there * plane_row(), vectors * plane_row());
      vector.spread(lane, rotation.scale);
      vector.flip(signs);
      const float norm = f16_to_float(load16(task.coded + norm_at(there)));
      SEQKV_UNROLL for (int m = 0; m < parts; ++m) {
        SEQKV_UNROLL for (int i = 0; i < 2; ++i) vector.x[m][i] = vector.x[m][i] * norm * up;
      }
      if (turns(subblock)) {
        const std::int64_t row = (subblock.batch_token + there % subblock.tokens) * rope_pairs;
        vector.turn(lane, cosine + row, sine + row, 1.0F);
      }
      auto* to = reinterpret_cast<std::uint32_t*>(task.values) + v * (Dim / 2) + lane.number;
      SEQKV_UNROLL for (int m = 0; m < parts; ++m) {
        const std::uint32_t pair = to_half(vector.x[m][0], subblock.dtype) | to_half(vector.x[m][1], subblock.dtype)
                                                                                 << 16U;
        if (is_there) to[m * group_lanes] = pair;
      }
    }
    return true;
  }

 private:
  /// Where the bits of a lane's components begin in the word of 32 that has part m; component 16 m + i is bit
  /// 16 (m mod 2) + i of word m / 2.
  static KOKKOS_INLINE_FUNCTION unsigned bit_of(const Lane& lane, int m) {
    return static_cast<unsigned>(16 * (m % 2) + 2 * lane.number);
  }

  /// Every lane has two bits of each word of every plane; afterwards it has some words whole, and writes them.
  KOKKOS_INLINE_FUNCTION void pack(const Lane& lane, const SpreadVector<Dim>& vector, float inverse,
                                   const float* limits, std::byte* row, std::int64_t plane_bytes, bool is_there) const {
    constexpr int words = Bits * row_words;
    constexpr int padded = (words + group_lanes - 1) / group_lanes * group_lanes;
    std::uint32_t word[padded] = {};
    SEQKV_UNROLL for (int m = 0; m < parts; ++m) {
      SEQKV_UNROLL for (int e = 0; e < 2; ++e) {
        const float value = vector.x[m][e] * inverse;
        unsigned index = 0;
        SEQKV_UNROLL for (unsigned step = 1U << (Bits - 1); step > 0; step /= 2) {
          if (value > limits[index + step - 1]) index += step;
        }
        SEQKV_UNROLL for (int b = 0; b < Bits; ++b) {
          word[b * row_words + m / 2] |= (index >> b & 1U) << (bit_of(lane, m) + e);
        }
      }
    }
    SEQKV_UNROLL for (int distance = group_lanes / 2, half = padded / 2; distance > 0; distance /= 2, half /= 2) {
      const bool is_second = (lane.number & distance) != 0;
      SEQKV_UNROLL for (int i = 0; i < half; ++i) {
        const std::uint32_t kept = is_second ? word[i + half] : word[i];
        const std::uint32_t given = is_second ? word[i] : word[i + half];
        word[i] = kept | exchange(given, distance);
      }
    }
    SEQKV_UNROLL for (int i = 0; i < padded / group_lanes; ++i) {
      const int number = lane.number * (padded / group_lanes) + i;
      if (!is_there || number >= words) continue;
      *reinterpret_cast<std::uint32_t*>(row + number / row_words * plane_bytes + 4 * (number % row_words)) = word[i];
    }
  }

  KOKKOS_INLINE_FUNCTION void unpack(const Lane& lane, SpreadVector<Dim>& vector, const float* levels,
                                     const std::byte* row, std::int64_t plane_bytes) const {
    SEQKV_UNROLL for (int w = 0; w < row_words; ++w) {
      std::uint32_t word[Bits];
      SEQKV_UNROLL for (int b = 0; b < Bits; ++b) {
        word[b] = *reinterpret_cast<const std::uint32_t*>(row + b * plane_bytes + 4 * w);
      }
      SEQKV_UNROLL for (int m = 2 * w; m < 2 * w + 2; ++m) {
        SEQKV_UNROLL for (int e = 0; e < 2; ++e) {
          unsigned index = 0;
          SEQKV_UNROLL for (int b = 0; b < Bits; ++b) index |= (word[b] >> (bit_of(lane, m) + e) & 1U) << b;
          vector.x[m][e] = levels[index];
        }
      }
    }
  }
};

template <class ExecutionSpace, int Dim, int Bits, bool Decodes>
struct TurboQuantTask {
  using Team = typename Kokkos::TeamPolicy<ExecutionSpace, Kokkos::LaunchBounds<turboquant_team, 3>>::member_type;
  TurboQuantTeam<Dim, Bits> codec;
  codec::Task* tasks;

  KOKKOS_FUNCTION void operator()(const Team& team) const {
    codec::Task& task = tasks[team.league_rank()];
    constexpr int levels = 1 << Bits;
    auto* shared = static_cast<float*>(team.team_scratch(0).get_shmem_aligned(levels * sizeof(float), 16));
    Kokkos::parallel_for(Kokkos::TeamThreadRange(team, levels),
                         [&](const int i) { shared[i] = Decodes ? codec.centroids[i] : codec.thresholds[i]; });
    team.team_barrier();
    if constexpr (Decodes) {
      if (task.raw) {
        Kokkos::parallel_for(Kokkos::TeamThreadRange(team, task.bytes),
                             [&](const std::int64_t i) { task.values[i] = task.coded[i]; });
        return;
      }
      const bool good = codec.decode(team, task, shared);
      Kokkos::single(Kokkos::PerTeam(team), [&]() {
        if (!good) task.bytes = codec::not_codable;
      });
    } else {
      const std::int64_t written = codec.encode(team, task, shared);
      Kokkos::single(Kokkos::PerTeam(team), [&]() { task.bytes = written; });
    }
  }
};

template <bool Decodes, int Dim, int Bits, class ExecutionSpace>
void run_turboquant(const ExecutionSpace& space, const kokkos::TurboQuant& codec, codec::Task* tasks,
                    std::int64_t count) {
  Kokkos::TeamPolicy<ExecutionSpace, Kokkos::LaunchBounds<turboquant_team, 3>> policy(space, static_cast<int>(count),
                                                                                      turboquant_team);
  policy.set_scratch_size(0, Kokkos::PerTeam(256));
  Kokkos::parallel_for(Decodes ? "seqkv::codec::decode" : "seqkv::codec::encode", policy,
                       TurboQuantTask<ExecutionSpace, Dim, Bits, Decodes>{TurboQuantTeam<Dim, Bits>(codec), tasks});
}

template <bool Decodes, int Dim, class ExecutionSpace>
bool run_turboquant(const ExecutionSpace& space, const kokkos::TurboQuant& codec, codec::Task* tasks,
                    std::int64_t count) {
  if (codec.bits == 2) return run_turboquant<Decodes, Dim, 2>(space, codec, tasks, count), true;
  if (codec.bits == 3) return run_turboquant<Decodes, Dim, 3>(space, codec, tasks, count), true;
  if (codec.bits == 4) return run_turboquant<Decodes, Dim, 4>(space, codec, tasks, count), true;
  return false;
}

/// Whether a sub-block and its payload lie so that lanes can take two components, and 32 bits of a plane, at once.
inline bool fits_turboquant(const codec::Task& task) {
  const auto any = reinterpret_cast<std::uintptr_t>(task.values) | reinterpret_cast<std::uintptr_t>(task.coded);
  return task.raw || (task.subblock.dtype != DType::f32 && any % 16 == 0 && task.subblock.vectors() % 2 == 0);
}

/// False, having done nothing, where the portable kernel must do the work.
template <bool Decodes, class ExecutionSpace>
bool run_tasks(const ExecutionSpace& space, const kokkos::TurboQuant& codec, const codec::Subblock& largest,
               const Mirrored<ExecutionSpace, codec::Task>& list, std::int64_t count) {
  if (largest.dtype == DType::f32) return false;  // residuals, too, whose tasks the host does not know
  if (!std::all_of(list.host(), list.host() + count, fits_turboquant)) return false;
  codec::Task* const tasks = list.device();
  if (codec.cosine != nullptr && codec.rope_pairs != codec.rotation.dim / 2) return false;
  if (codec.rotation.dim == 64) return run_turboquant<Decodes, 64>(space, codec, tasks, count);
  if (codec.rotation.dim == 128) return run_turboquant<Decodes, 128>(space, codec, tasks, count);
  return false;
}

}  // namespace seqkv::gpu
