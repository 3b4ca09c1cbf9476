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
  // What a lane writes of a plane is one word where it has neighbors only; what it writes of a vector is 16 bytes
  // beside those of the next lane where it has runs of 8.
  using Encoded = SpreadVector<Dim, Dim / group_lanes, Pair>;
  using Decoded = SpreadVector<Dim, 8, Pair>;
  using Writer = IndexWriter<Encoded::size, Bits>;
  using Reader = IndexReader<Decoded::size, Bits>;
  static constexpr std::uint32_t vector_words = Dim / 2;
  static constexpr std::uint32_t row_bytes = Dim / 8;  ///< of a vector in a plane

  explicit TurboQuantTeam(const kokkos::TurboQuant& codec) : kokkos::TurboQuant(codec) {}

  /// `by` with the sign of each component of the lane.
  template <class Vector>
  KOKKOS_INLINE_FUNCTION void signed_factors(int lane, std::uint64_t number, float by, float* factors) const {
    SEQKV_UNROLL for (int i = 0; i < Vector::size; i += Vector::of_quad) {
      const int at = Vector::component(lane, i);
      const std::uint64_t random =
          random_bits(rotation.seed + number, static_cast<std::uint64_t>(at / 64)) >> static_cast<unsigned>(at % 64);
      SEQKV_UNROLL for (int j = 0; j < Vector::of_quad; ++j) factors[i + j] = (random >> j & 1U) != 0 ? -by : by;
    }
  }

  /// The exponent of the sub-block: magnitudes of 16 bits are ordered like the numbers.
  template <class Team>
  KOKKOS_INLINE_FUNCTION int exponent_of_all(const Team& team, const codec::Subblock& subblock,
                                             const std::byte* values) const {
    const auto* from = reinterpret_cast<const typename Encoded::Quad*>(values);
    std::uint32_t pairs = 0;
    const std::int64_t count = subblock.values() / 8;
    constexpr int together = 4;  // that are on their way from memory
    for (std::int64_t first = team.team_rank(); first < count; first += together * team.team_size()) {
      typename Encoded::Quad some[together];
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
  KOKKOS_FUNCTION std::int64_t encode(const Team& team, const codec::Task& task) const {
    const codec::Subblock& subblock = task.subblock;
    const int e = exponent_of_all(team, subblock, task.values);
    if (e > most_exponent) return codec::not_codable;
    Kokkos::single(Kokkos::PerTeam(team), [&]() { write_header(task.coded, e); });
    turns(subblock) ? encode_vectors<true>(team, task, e) : encode_vectors<false>(team, task, e);
    return size(subblock);
  }

  template <class Team>
  KOKKOS_FUNCTION bool decode(const Team& team, const codec::Task& task, const float* levels) const {
    const codec::Subblock& subblock = task.subblock;
    int e = 0;
    if (!read_header(subblock, task.coded, task.bytes, e) || !has_norms(team, task)) return false;
    turns(subblock) ? decode_vectors<true>(team, task, e, levels) : decode_vectors<false>(team, task, e, levels);
    return true;
  }

 private:
  template <bool Turns, class Team>
  KOKKOS_INLINE_FUNCTION void encode_vectors(const Team& team, const codec::Task& task, int e) const {
    const codec::Subblock& subblock = task.subblock;
    const int lane = team.team_rank() % group_lanes;
    const float down = power_of_two(-e);
    float factors[Encoded::size];
    signed_factors<Encoded>(lane, task.number, Turns ? 1.0F : down, factors);
    float limits[Writer::limit_count];
    SEQKV_UNROLL for (int i = 0; i < Writer::limit_count; ++i) limits[i] = thresholds[i];
    const auto vectors = static_cast<std::uint32_t>(subblock.vectors());
    std::byte* const rows = task.coded + planes_at(subblock) + lane * (Encoded::size / 8);
    const auto vector_at = [&](std::uint32_t v) {
      return reinterpret_cast<const std::uint32_t*>(task.values) + std::uint64_t{v} * vector_words;
    };
    constexpr std::uint32_t at_once = turboquant_team / group_lanes;
    std::uint32_t v = static_cast<std::uint32_t>(team.team_rank()) / group_lanes;
    typename Encoded::Halves next;
    next.load(lane, vector_at(v < vectors ? v : vectors - 1));
    for (std::uint32_t first = 0; first < vectors; first += at_once, v += at_once) {
      const bool is_there = v < vectors;
      const std::uint32_t there = is_there ? v : vectors - 1;
      Encoded vector;
      vector.take(next);
      SummedVector<Dim, Pair> summed(lane, vector_at(there), down);
      if (v + at_once < vectors) next.load(lane, vector_at(v + at_once));
      if constexpr (Turns) {
        const std::int64_t angles = angles_of(subblock, there);
        vector.scale(down);
        vector.turn(lane, cosine + angles, sine + angles, -1.0F);
        summed.turn(lane, cosine + angles, sine + angles, -1.0F);
      }
      const std::uint32_t norm = F16Pair::join(summed.norm(), 0.0F) & 0xffffU;
      vector.scale(factors);
      vector.spread(lane);
      vector.scale(rotation.scale);
      if (!is_there) continue;
      if (lane == 0) store16(task.coded + norm_at(v), norm);
      const float decoded_norm = F16Pair::first(norm);
      Writer::write(vector.x, decoded_norm > 0 ? 1.0F / decoded_norm : 0.0F, limits,
                    rows + std::uint64_t{v} * row_bytes, vectors * row_bytes);
    }
  }

  template <bool Turns, class Team>
  KOKKOS_INLINE_FUNCTION void decode_vectors(const Team& team, const codec::Task& task, int e,
                                             const float* levels) const {
    const codec::Subblock& subblock = task.subblock;
    const int lane = team.team_rank() % group_lanes;
    float factors[Decoded::size];
    signed_factors<Decoded>(lane, task.number, rotation.scale, factors);
    // Components are 0 or above 2^-40, norms 0 or above 2^-25: with this exponent what is scaled stays normal, and a
    // power of two can be multiplied with either first.
    constexpr int least_joined_exponent = -50;
    const bool is_joined = e >= least_joined_exponent;
    const float up = power_of_two(e);
    const auto vectors = static_cast<std::uint32_t>(subblock.vectors());
    const std::byte* const rows = task.coded + planes_at(subblock) + lane;
    constexpr std::uint32_t at_once = turboquant_team / group_lanes;
    std::uint32_t v = static_cast<std::uint32_t>(team.team_rank()) / group_lanes;
    typename Reader::Bytes next;
    std::uint32_t next_norm = 0;
    const auto load = [&](std::uint32_t of) {
      next.load(rows + std::uint64_t{of} * row_bytes, vectors * row_bytes);
      next_norm = load_norm(task.coded + norm_at(of));
    };
    load(v < vectors ? v : vectors - 1);
    for (std::uint32_t first = 0; first < vectors; first += at_once, v += at_once) {
      const bool is_there = v < vectors;
      Decoded vector;
      Reader::read(next, levels, vector.x);
      const float norm = F16Pair::first(next_norm);
      if (v + at_once < vectors) load(v + at_once);
      vector.spread(lane);
      vector.scale(factors);
      vector.scale(is_joined ? norm * up : norm);
      if (!is_joined) vector.scale(up);
      if constexpr (Turns) {
        const std::int64_t angles = angles_of(subblock, v);
        vector.turn(lane, cosine + angles, sine + angles, 1.0F);
      }
      if (is_there) {
        vector.store(lane, reinterpret_cast<std::uint32_t*>(task.values) + std::uint64_t{v} * vector_words);
      }
    }
  }

  /// Where the angles of a vector's position begin.
  KOKKOS_INLINE_FUNCTION std::int64_t angles_of(const codec::Subblock& subblock, std::uint32_t vector) const {
    return (subblock.batch_token + vector % static_cast<std::uint32_t>(subblock.tokens)) * rope_pairs;
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
  // Teams at once: as measured. Encoding has more in registers.
  using Policy = Kokkos::TeamPolicy<ExecutionSpace, Kokkos::LaunchBounds<turboquant_team, Decodes ? 3 : 2>>;
  using Team = typename Policy::member_type;
  TurboQuantTeam<Dim, Bits, Pair> codec;
  codec::Task* tasks;

  static constexpr int levels = 1 << Bits;

  KOKKOS_FUNCTION void operator()(const Team& team) const {
    const codec::Task task = tasks[team.league_rank()];
    std::int64_t& bytes = tasks[team.league_rank()].bytes;
    if constexpr (Decodes) {
      if (task.raw) {
        Kokkos::parallel_for(Kokkos::TeamThreadRange(team, task.bytes),
                             [&](const std::int64_t i) { task.values[i] = task.coded[i]; });
        return;
      }
      auto* shared = team_array<float>(team, levels);
      Kokkos::parallel_for(Kokkos::TeamThreadRange(team, levels), [&](const int i) { shared[i] = codec.centroids[i]; });
      team.team_barrier();
      const bool good = codec.decode(team, task, shared);
      Kokkos::single(Kokkos::PerTeam(team), [&]() {
        if (!good) bytes = codec::not_codable;
      });
    } else {
      const std::int64_t written = codec.encode(team, task);
      Kokkos::single(Kokkos::PerTeam(team), [&]() { bytes = written; });
    }
  }
};

template <bool Decodes, int Dim, int Bits, class Pair, class ExecutionSpace>
void run_turboquant(const ExecutionSpace& space, const kokkos::TurboQuant& codec, codec::Task* tasks,
                    std::int64_t count) {
  using Kernel = TurboQuantTask<ExecutionSpace, Dim, Bits, Pair, Decodes>;
  typename Kernel::Policy policy(space, static_cast<int>(count), turboquant_team);
  policy.set_scratch_size(0, Kokkos::PerTeam(Kernel::levels * sizeof(float) + 16));
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
