// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// TurboQuant on a GPU: a team a sub-block, 8 threads a vector, for vectors of 64 and 128 components of 16 bits. The
/// same bytes as the portable kernel (backends/kokkos/turboquant.hpp), which does all the others.
#pragma once

#include <Kokkos_Core.hpp>
#include <algorithm>

#include "backends/gpu/lanes.hpp"
#include "backends/gpu/spread_vector.hpp"
#include "backends/gpu/team_memory.hpp"
#include "backends/kokkos/turboquant.hpp"
#include "core/mirrored.hpp"

namespace seqkv::gpu {

inline constexpr int turboquant_team = 256;

/// Arguments as the portable kernel has them; what its functions take are its own.
template <int Dim, int Bits, class Pair>
struct TurboQuantTeam : kokkos::TurboQuant {
  using Vector = SpreadVector<Dim, Pair>;
  using Indices = LaneIndices<Vector::size, Bits>;
  static constexpr int vector_words = Dim / 2;

  explicit TurboQuantTeam(const kokkos::TurboQuant& codec) : kokkos::TurboQuant(codec) {}

  /// `by` with the sign of each component of the lane.
  KOKKOS_INLINE_FUNCTION void signed_factors(const Lane& lane, std::uint64_t number, float by, float* factors) const {
    const int first = Vector::size * lane.number;
    const std::uint64_t random = random_bits(rotation.seed + number, static_cast<std::uint64_t>(first / 64)) >>
                                 static_cast<unsigned>(first % 64);
    SEQKV_UNROLL for (int i = 0; i < Vector::size; ++i) factors[i] = (random >> i & 1U) != 0 ? -by : by;
  }

  /// The exponent of the sub-block: magnitudes of 16 bits are ordered like the numbers.
  template <class Team>
  KOKKOS_INLINE_FUNCTION int exponent_of_all(const Team& team, const codec::Subblock& subblock,
                                             const std::byte* values) const {
    const auto* from = reinterpret_cast<const typename Vector::Quad*>(values);
    std::uint32_t pairs = 0;
    const std::int64_t count = subblock.values() / 8;
    constexpr int together = 4;  // that are on their way from memory
    for (std::int64_t first = team.team_rank(); first < count; first += together * team.team_size()) {
      typename Vector::Quad some[together];
      SEQKV_UNROLL for (int k = 0; k < together; ++k) {
        const std::int64_t i = first + k * team.team_size();
        some[k] = from[i < count ? i : first];
      }
      SEQKV_UNROLL for (int k = 0; k < together; ++k) {
        SEQKV_UNROLL for (int j = 0; j < 4; ++j) pairs = larger_halves(pairs, some[k].pairs[j] & 0x7fff7fffU);
      }
    }
    unsigned largest = larger_halves(pairs, pairs >> 16U) & 0xffffU;
    team.team_reduce(Kokkos::Max<unsigned>(largest));
    return exponent_of(detmath::bits(Pair::first(largest)));
  }

  template <class Team>
  KOKKOS_FUNCTION std::int64_t encode(const Team& team, const codec::Task& task, const float* shared) const {
    const codec::Subblock& subblock = task.subblock;
    const int e = exponent_of_all(team, subblock, task.values);
    if (e > most_exponent) return codec::not_codable;
    Kokkos::single(Kokkos::PerTeam(team), [&]() { write_header(task.coded, e); });
    const Lane lane(team.team_rank());
    const float down = power_of_two(-e);
    const bool is_turned = turns(subblock);
    float factors[Vector::size];
    signed_factors(lane, task.number, is_turned ? 1.0F : down, factors);
    float limits[Indices::level_count - 1];
    SEQKV_UNROLL for (int i = 0; i < Indices::level_count - 1; ++i) limits[i] = shared[i];
    const std::int64_t vectors = subblock.vectors();
    const std::int64_t at_once = team.team_size() / group_lanes;
    for (std::int64_t first = 0; first < vectors; first += at_once) {
      const std::int64_t v = first + team.team_rank() / group_lanes;
      const bool is_there = v < vectors;
      const std::int64_t there = is_there ? v : vectors - 1;
      const auto* values = reinterpret_cast<const std::uint32_t*>(task.values) + there * vector_words;
      Vector vector;
      vector.load(lane, values);
      SummedVector<Dim, Pair> summed(lane, values, down);
      if (is_turned) {
        const std::int64_t row = (subblock.batch_token + there % subblock.tokens) * rope_pairs;
        vector.scale(down);
        vector.turn(lane, cosine + row, sine + row, -1.0F);
        summed.turn(lane, cosine + row, sine + row, -1.0F);
      }
      const std::uint16_t norm = float_to_f16(summed.norm());
      vector.scale(factors);
      vector.spread(lane);
      vector.scale(rotation.scale);
      if (!is_there) continue;
      if (lane.number == 0) store16(task.coded + norm_at(v), norm);
      const float decoded_norm = f16_to_float(norm);
      Indices::pack(vector.x, decoded_norm > 0 ? 1.0F / decoded_norm : 0.0F, limits, lane_row(subblock, task, lane, v),
                    vectors * plane_row());
    }
    return size(subblock);
  }

  template <class Team>
  KOKKOS_FUNCTION bool decode(const Team& team, const codec::Task& task, const float* shared) const {
    const codec::Subblock& subblock = task.subblock;
    int e = 0;
    if (!read_header(subblock, task.coded, task.bytes, e) || !has_norms(team, task)) return false;
    const Lane lane(team.team_rank());
    float factors[Vector::size];
    signed_factors(lane, task.number, rotation.scale, factors);
    // Components are 0 or above 2^-40, norms 0 or above 2^-25: with this exponent what is scaled stays normal, and a
    // power of two can be multiplied with either first.
    constexpr int least_joined_exponent = -50;
    const bool is_joined = e >= least_joined_exponent;
    const float up = power_of_two(e);
    const std::int64_t vectors = subblock.vectors();
    const std::int64_t at_once = team.team_size() / group_lanes;
    for (std::int64_t first = 0; first < vectors; first += at_once) {
      const std::int64_t v = first + team.team_rank() / group_lanes;
      const bool is_there = v < vectors;
      const std::int64_t there = is_there ? v : vectors - 1;
      Vector vector;
      Indices::unpack(lane_row(subblock, task, lane, there), vectors * plane_row(), shared, vector.x);
      const float norm = f16_to_float(load_norm(task.coded + norm_at(there)));
      vector.spread(lane);
      vector.scale(factors);
      vector.scale(is_joined ? norm * up : norm);
      if (!is_joined) vector.scale(up);
      if (turns(subblock)) {
        const std::int64_t row = (subblock.batch_token + there % subblock.tokens) * rope_pairs;
        vector.turn(lane, cosine + row, sine + row, 1.0F);
      }
      vector.store(lane, reinterpret_cast<std::uint32_t*>(task.values) + v * vector_words, is_there);
    }
    return true;
  }

 private:
  /// Where the bits of a lane's components begin in the first plane.
  KOKKOS_INLINE_FUNCTION std::byte* lane_row(const codec::Subblock& subblock, const codec::Task& task, const Lane& lane,
                                             std::int64_t v) const {
    return task.coded + planes_at(subblock) + v * plane_row() + lane.number * (Vector::size / 8);
  }
  template <class Team>
  KOKKOS_INLINE_FUNCTION bool has_norms(const Team& team, const codec::Task& task) const {
    int broken = 0;
    for (std::int64_t v = team.team_rank(); v < task.subblock.vectors(); v += team.team_size()) {
      broken += is_norm(load_norm(task.coded + norm_at(v))) ? 0 : 1;
    }
    team.team_reduce(Kokkos::Sum<int>(broken));
    return broken == 0;
  }
  static KOKKOS_INLINE_FUNCTION std::uint16_t load_norm(const std::byte* from) {
    return *reinterpret_cast<const std::uint16_t*>(from);
  }
};

template <class ExecutionSpace, int Dim, int Bits, class Pair, bool Decodes>
struct TurboQuantTask {
  // Teams at once: as measured; encoding has more in registers.
  using Policy = Kokkos::TeamPolicy<ExecutionSpace, Kokkos::LaunchBounds<turboquant_team, Decodes ? 4 : 3>>;
  using Team = typename Policy::member_type;
  TurboQuantTeam<Dim, Bits, Pair> codec;
  codec::Task* tasks;

  KOKKOS_FUNCTION void operator()(const Team& team) const {
    codec::Task& task = tasks[team.league_rank()];
    constexpr int levels = 1 << Bits;
    auto* shared = team_array<float>(team, levels);
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

template <bool Decodes, int Dim, int Bits, class Pair, class ExecutionSpace>
void run_turboquant(const ExecutionSpace& space, const kokkos::TurboQuant& codec, codec::Task* tasks,
                    std::int64_t count) {
  using Kernel = TurboQuantTask<ExecutionSpace, Dim, Bits, Pair, Decodes>;
  typename Kernel::Policy policy(space, static_cast<int>(count), turboquant_team);
  policy.set_scratch_size(0, Kokkos::PerTeam(256));
  Kokkos::parallel_for(Decodes ? "seqkv::codec::decode" : "seqkv::codec::encode", policy,
                       Kernel{TurboQuantTeam<Dim, Bits, Pair>(codec), tasks});
}

template <bool Decodes, int Dim, class Pair, class ExecutionSpace>
bool run_turboquant(const ExecutionSpace& space, const kokkos::TurboQuant& codec, codec::Task* tasks,
                    std::int64_t count) {
  if (codec.bits == 2) return run_turboquant<Decodes, Dim, 2, Pair>(space, codec, tasks, count), true;
  if (codec.bits == 3) return run_turboquant<Decodes, Dim, 3, Pair>(space, codec, tasks, count), true;
  if (codec.bits == 4) return run_turboquant<Decodes, Dim, 4, Pair>(space, codec, tasks, count), true;
  return false;
}

template <bool Decodes, class Pair, class ExecutionSpace>
bool run_turboquant(const ExecutionSpace& space, const kokkos::TurboQuant& codec, codec::Task* tasks,
                    std::int64_t count) {
  if (codec.rotation.dim == 64) return run_turboquant<Decodes, 64, Pair>(space, codec, tasks, count);
  if (codec.rotation.dim == 128) return run_turboquant<Decodes, 128, Pair>(space, codec, tasks, count);
  return false;
}

/// Whether a sub-block and its payload lie so that lanes can take their components, and bits of a plane, at once.
inline bool fits_turboquant(const codec::Task& task) {
  const auto any = reinterpret_cast<std::uintptr_t>(task.values) | reinterpret_cast<std::uintptr_t>(task.coded);
  return task.raw || (task.subblock.dtype != DType::f32 && any % 16 == 0);
}

/// False, having done nothing, where the portable kernel must do the work.
template <bool Decodes, class ExecutionSpace>
bool run_tasks(const ExecutionSpace& space, const kokkos::TurboQuant& codec, const codec::Subblock& largest,
               const Mirrored<ExecutionSpace, codec::Task>& list, std::int64_t count) {
  if (largest.dtype == DType::f32) return false;  // residuals, too, whose tasks the host does not know
  if (!std::all_of(list.host(), list.host() + count, fits_turboquant)) return false;
  if (codec.cosine != nullptr && codec.rope_pairs != codec.rotation.dim / 2) return false;
  return largest.dtype == DType::bf16 ? run_turboquant<Decodes, Bf16Pair>(space, codec, list.device(), count)
                                      : run_turboquant<Decodes, F16Pair>(space, codec, list.device(), count);
}

}  // namespace seqkv::gpu
