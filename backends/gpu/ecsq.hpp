// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Residuals by transform, quantizer and entropy coder on a GPU: a thread some components, or a team a block. The same
/// results as backends/kokkos/ecsq.hpp.
#pragma once

#include <Kokkos_Core.hpp>

#include "backends/gpu/lanes.hpp"
#include "backends/gpu/predict.hpp"
#include "backends/gpu/team_memory.hpp"
#include "codec/predict/ecsq_steps.hpp"

namespace seqkv::gpu {

namespace rans = codec::rans;

/// A thread some items of a head of a slot.
struct SlotParts {
  codec::EcsqStep step;

  std::int64_t count() const { return step.all_slots() * step.heads * head_threads(step); }

 protected:
  struct Place {
    std::int64_t slot, head, thread, row;
  };
  KOKKOS_INLINE_FUNCTION Place place(std::int64_t i) const {
    const std::int64_t threads = head_threads(step);
    const Split of_slot(i, threads * step.heads);
    const Split of_head(of_slot.rest, threads);
    return {of_slot.quotient, of_head.quotient, of_head.rest, step.order[of_slot.quotient]};
  }
  KOKKOS_INLINE_FUNCTION float* residual(const Place& at) const {
    return step.residuals + at.slot * step.ld_residuals + at.head * (step.model.width / step.heads);
  }
};

struct ResidualPart : SlotParts {
  KOKKOS_FUNCTION void operator()(const std::int64_t i) const {
    const Place at = place(i);
    if (at.row < 0) return HeadPart(step, 0, at.head, at.thread).clear(residual(at));
    HeadPart(step, at.row, at.head, at.thread).residual(codec::weight_of(step.grade[at.row]), residual(at));
  }
};

struct RestorePart : SlotParts {
  KOKKOS_FUNCTION void operator()(const std::int64_t i) const {
    const Place at = place(i);
    if (at.row < 0) return;
    HeadPart(step, at.row, at.head, at.thread).restore(residual(at), codec::weight_of(-step.grade[at.row]));
  }
};

// ---- tiles, by words: what codec::pack_tile, clear_tile and unpack_tile do ----------------------------------------

struct alignas(16) FourWords {
  std::uint32_t x[4];
};
static_assert(codec::tile_slots == 8 && codec::tile_coefficients == 4, "a coefficient of a tile is 16 bytes");

/// Numbers of a coefficient of a tile, two slots a word.
KOKKOS_INLINE_FUNCTION FourWords& coefficient(std::int16_t* numbers, std::int64_t ld, int c) {
  return *reinterpret_cast<FourWords*>(numbers + c * ld);
}

KOKKOS_INLINE_FUNCTION void clear_tile(std::int16_t* numbers, std::int64_t ld) {
  SEQKV_UNROLL for (int c = 0; c < codec::tile_coefficients; ++c) coefficient(numbers, ld, c) = {};
}

/// Symbols of a tile, a slot a word, and the largest before they are cut to 8 bits.
struct TileSymbols {
  std::uint32_t slots[codec::tile_slots] = {};
  unsigned largest = 0;

  KOKKOS_INLINE_FUNCTION TileSymbols(std::int16_t* numbers, std::int64_t ld) {
    SEQKV_UNROLL for (int c = 0; c < codec::tile_coefficients; ++c) {
      const FourWords pairs = coefficient(numbers, ld, c);
      SEQKV_UNROLL for (int s = 0; s < codec::tile_slots; ++s) {
        const auto number = static_cast<std::int16_t>(pairs.x[s / 2] >> static_cast<unsigned>(16 * (s % 2)) & 0xffffU);
        const unsigned symbol = codec::zigzag(number);
        largest = symbol > largest ? symbol : largest;
        slots[s] |= (symbol < codec::large_symbol ? symbol : codec::large_symbol) << static_cast<unsigned>(8 * c);
      }
    }
  }
  KOKKOS_INLINE_FUNCTION void store(std::uint8_t* symbols) const {
    auto* to = reinterpret_cast<FourWords*>(symbols);
    to[0] = {{slots[0], slots[1], slots[2], slots[3]}};
    to[1] = {{slots[4], slots[5], slots[6], slots[7]}};
  }
};

/// Whether some are too large for a symbol.
KOKKOS_INLINE_FUNCTION bool unpack_tile(const std::uint8_t* symbols, std::int16_t* numbers, std::int64_t ld) {
  const auto* from = reinterpret_cast<const FourWords*>(symbols);
  const FourWords halves[2] = {from[0], from[1]};
  std::uint32_t large = 0;
  SEQKV_UNROLL for (int s = 0; s < codec::tile_slots; ++s) large |= zero_bytes(~halves[s / 4].x[s % 4]);
  SEQKV_UNROLL for (int c = 0; c < codec::tile_coefficients; ++c) {
    FourWords pairs{};
    SEQKV_UNROLL for (int s = 0; s < codec::tile_slots; ++s) {
      const unsigned symbol = halves[s / 4].x[s % 4] >> static_cast<unsigned>(8 * c) & 0xffU;
      const auto number = static_cast<std::uint32_t>(codec::unzigzag(symbol)) & 0xffffU;
      pairs.x[s / 2] |= number << static_cast<unsigned>(16 * (s % 2));
    }
    coefficient(numbers, ld, c) = pairs;
  }
  return large != 0;
}

/// A team a block; `scratch_bytes` is memory of the team.
template <class ExecutionSpace>
struct BlockKernel {
  using Team = typename Kokkos::TeamPolicy<ExecutionSpace>::member_type;
  codec::EcsqStep step;
};

/// codec::order_block: the place of a row is the number of rows before it, which each thread counts for its own.
template <class ExecutionSpace>
struct OrderBlock : BlockKernel<ExecutionSpace> {
  using typename BlockKernel<ExecutionSpace>::Team;
  KOKKOS_FUNCTION std::int64_t scratch_bytes() const {
    return this->step.grid.block_tokens * std::int64_t{sizeof(std::uint16_t)};
  }

  KOKKOS_FUNCTION void operator()(const Team& team) const {
    const codec::EcsqStep& step = this->step;
    const std::int64_t block = team.league_rank();
    const std::int64_t first = block * step.grid.block_tokens;
    const std::int64_t tokens = step.grid.tokens_of(block);
    std::int32_t* order = step.order + block * step.slots();
    auto* keys = team_array<std::uint16_t>(team, step.grid.block_tokens);
    for (std::int64_t i = team.team_rank(); i < step.slots(); i += team.team_size()) order[i] = -1;
    std::int32_t fresh = 0;
    Kokkos::parallel_reduce(
        Kokkos::TeamThreadRange(team, tokens),
        [&](const std::int64_t i, std::int32_t& sum) {
          const bool kind = codec::refers(step, block, first + i);
          keys[i] = static_cast<std::uint16_t>((kind ? codec::grades : 0) + codec::most_grade - step.grade[first + i]);
          sum += kind ? 0 : 1;
        },
        fresh);
    team.team_barrier();
    const std::int64_t gap = (codec::tile_slots - fresh % codec::tile_slots) % codec::tile_slots;
    for (std::int64_t i = team.team_rank(); i < tokens; i += team.team_size()) {
      const std::uint16_t key = keys[i];
      std::int64_t slot = key >= codec::grades ? gap : 0;
      for (std::int64_t j = 0; j < i; ++j) slot += keys[j] <= key ? 1 : 0;
      for (std::int64_t j = i + 1; j < tokens; ++j) slot += keys[j] < key ? 1 : 0;
      order[slot] = static_cast<std::int32_t>(first + i);
    }
    team.team_barrier();
    for (std::int64_t g = team.team_rank(); g < step.groups(); g += team.team_size())
      codec::grade_group(step, block, g);
  }
};

/// What the warps of a team have counted, of two rounds by turns.
struct WarpCounts {
  static constexpr int most_warps = 32;
  int of_warp[2][most_warps];
};

/// Numbers the tiles of a block that are coded, a team's size at a time: tile(run, quad, group, class) by one thread
/// each, or skipped(quad, group). Returns how many are coded.
template <class Team, class Tile, class Skipped>
KOKKOS_INLINE_FUNCTION std::int64_t for_each_tile(const Team& team, const codec::EcsqStep& step, std::int64_t block,
                                                  const Tile& tile, const Skipped& skipped) {
  constexpr int warp = 8 * sizeof(WarpMask);
  auto* counts = team_array<WarpCounts>(team, 1);
  const int thread = team.team_rank();
  const int warps = (team.team_size() + warp - 1) / warp;
  const WarpMask below = (WarpMask{1} << static_cast<unsigned>(thread % warp)) - 1U;
  const std::int64_t groups = step.groups_of(block);
  const std::int64_t tiles = groups == 0 ? 0 : step.quads() * groups;
  std::int64_t before = 0;
  int round = 0;
  for (std::int64_t first = 0; first < tiles; first += team.team_size(), round ^= 1) {
    const auto [quad, group] = Split(first + thread, groups);
    int of_tile = -1;
    bool is_there = first + thread < tiles;
    if (is_there) {
      const codec::PredictiveModel& model = step.model_of(block, group);
      is_there = quad * codec::tile_coefficients < model.coefficients;
      if (is_there) {
        of_tile = codec::class_of_tile(step, model, quad, step.group_grade[block * step.groups() + group]);
      }
    }
    const WarpMask coded = ballot(of_tile >= 0);
    if (thread % warp == 0) counts->of_warp[round][thread / warp] = count_bits(coded);
    team.team_barrier();
    std::int64_t place = before + count_bits(coded & below);
    for (int w = 0; w < warps; ++w) {
      const int of_warp = counts->of_warp[round][w];
      place += w < thread / warp ? of_warp : 0;
      before += of_warp;
    }
    if (of_tile >= 0) {
      tile(place, quad, group, of_tile < step.tables ? of_tile : step.tables - 1);
    } else if (is_there) {
      skipped(quad, group);
    }
  }
  return before;
}

/// codec::pack_block.
template <class ExecutionSpace>
struct PackBlock : BlockKernel<ExecutionSpace> {
  using typename BlockKernel<ExecutionSpace>::Team;
  KOKKOS_FUNCTION std::int64_t scratch_bytes() const { return sizeof(WarpCounts); }

  KOKKOS_FUNCTION void operator()(const Team& team) const {
    const codec::EcsqStep& step = this->step;
    const std::int64_t block = team.league_rank();
    std::uint8_t* symbols = step.symbols + block * step.runs() * rans::group;
    std::uint8_t* classes = step.classes + block * step.runs();
    unsigned largest = 0;
    unsigned largest_coded = 0;
    const auto pack = [&](std::int64_t run, std::int64_t quad, std::int64_t group, int of_tile) {
      classes[run] = static_cast<std::uint8_t>(of_tile);
      const TileSymbols tile(codec::tile_at(step, block, quad, group), step.all_slots());
      tile.store(symbols + run * rans::group);
      largest_coded = tile.largest > largest_coded ? tile.largest : largest_coded;
    };
    const auto clear = [&](std::int64_t quad, std::int64_t group) {
      std::int16_t* numbers = codec::tile_at(step, block, quad, group);
      const TileSymbols tile(numbers, step.all_slots());
      clear_tile(numbers, step.all_slots());
      largest = tile.largest > largest ? tile.largest : largest;
    };
    const std::int64_t runs = for_each_tile(team, step, block, pack, clear);
    team.team_reduce(Kokkos::Max<unsigned>(largest));
    team.team_reduce(Kokkos::Max<unsigned>(largest_coded));
    team.team_barrier();
    Kokkos::single(Kokkos::PerTeam(team), [&]() {
      codec::close_packing(step, block, runs, largest > largest_coded ? largest : largest_coded,
                           largest_coded >= codec::large_symbol);
    });
  }
};

/// codec::open_payload.
template <class ExecutionSpace>
struct OpenPayload : BlockKernel<ExecutionSpace> {
  using typename BlockKernel<ExecutionSpace>::Team;
  KOKKOS_FUNCTION std::int64_t scratch_bytes() const { return sizeof(WarpCounts); }

  KOKKOS_FUNCTION void operator()(const Team& team) const {
    const codec::EcsqStep& step = this->step;
    const std::int64_t block = team.league_rank();
    std::uint8_t* classes = step.classes + block * step.runs();
    const auto classify = [&](std::int64_t run, std::int64_t, std::int64_t, int of_tile) {
      classes[run] = static_cast<std::uint8_t>(of_tile);
    };
    const std::int64_t runs = for_each_tile(team, step, block, classify, [](std::int64_t, std::int64_t) {});
    const codec::Task& task = step.tasks[block];
    if (task.raw) {
      Kokkos::parallel_for(Kokkos::TeamThreadRange(team, task.bytes),
                           [&](const std::int64_t i) { task.values[i] = task.coded[i]; });
    }
    Kokkos::single(Kokkos::PerTeam(team), [&]() { codec::open_symbols(step, block, runs); });
  }
};

/// codec::unpack_block.
template <class ExecutionSpace>
struct UnpackBlock : BlockKernel<ExecutionSpace> {
  using typename BlockKernel<ExecutionSpace>::Team;
  KOKKOS_FUNCTION std::int64_t scratch_bytes() const { return sizeof(WarpCounts); }

  KOKKOS_FUNCTION void operator()(const Team& team) const {
    const codec::EcsqStep& step = this->step;
    const std::int64_t block = team.league_rank();
    const bool is_coded = codec::has_symbols(step, block);
    const std::uint8_t* symbols = step.coded[block].symbols;
    unsigned has_large = 0;
    const auto clear = [&](std::int64_t quad, std::int64_t group) {
      clear_tile(codec::tile_at(step, block, quad, group), step.all_slots());
    };
    const auto unpack = [&](std::int64_t run, std::int64_t quad, std::int64_t group, int) {
      if (!is_coded) return clear(quad, group);
      std::int16_t* numbers = codec::tile_at(step, block, quad, group);
      if (unpack_tile(symbols + run * rans::group, numbers, step.all_slots())) has_large = 1;
    };
    for_each_tile(team, step, block, unpack, clear);
    const std::int64_t behind = step.groups() - step.groups_of(block);
    Kokkos::parallel_for(Kokkos::TeamThreadRange(team, step.quads() * behind),
                         [&](const std::int64_t i) { clear(i / behind, step.groups_of(block) + i % behind); });
    team.team_reduce(Kokkos::Max<unsigned>(has_large));
    team.team_barrier();
    Kokkos::single(Kokkos::PerTeam(team), [&]() { codec::close_unpacking(step, block, is_coded, has_large != 0); });
  }
};

}  // namespace seqkv::gpu
