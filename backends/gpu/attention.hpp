// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Causal attention with online softmax on a GPU: a team takes up to 32 rows of a query head, a thread 4 rows by 4 of
/// the 64 keys of a tile, then by 4 or 8 components of the values. Keys and values come through the team's memory by
/// slices, the next on its way while one is used; what a warp's rows weigh (softmax) only that warp sees. Chains are
/// those of the portable kernel, which visits of every tile what a row sees: here a row leaves out what it does not
/// see.
#pragma once

#include <algorithm>
#include <cfloat>

#include "backends/gpu/product.hpp"
#include "backends/gpu/row_sum.hpp"
#include "backends/kokkos/attention.hpp"

namespace seqkv::gpu {

template <class ExecutionSpace, int Dim>
struct AttentionTile {
  static constexpr int most_rows = 32;  ///< of a team
  static constexpr int team_threads = 128;
  static constexpr int part = 4;  ///< rows, and keys, of a thread; also components side by side
  static constexpr int tile_keys = static_cast<int>(kernels::key_tile);
  static constexpr int across = tile_keys / part;
  static constexpr int quads = Dim / 64;  ///< of components of a thread
  static constexpr int slice_floats = 2048;
  static constexpr int slices = Dim * tile_keys / slice_floats;  ///< of the keys of a tile, and of its values
  static constexpr int slice_depth = slice_floats / tile_keys;   ///< components of keys
  static constexpr int slice_tokens = slice_floats / Dim;        ///< of values
  static constexpr int loads = slice_floats / 4 / team_threads;
  static_assert(across == kernels::sum_lanes && Dim % 64 == 0);

  using Policy = Kokkos::TeamPolicy<ExecutionSpace, Kokkos::LaunchBounds<team_threads, 3>>;
  using Team = typename Policy::member_type;

  struct Memory {
    float queries[Dim][most_rows];                    ///< rows inside
    FourFloats weights[tile_keys][most_rows / part];  ///< of four rows each, at swizzled places
    FourFloats slices[2][slice_floats / 4];
  };
  static constexpr int scratch_bytes = sizeof(Memory) + 16;

  /// What a thread knows of its rows: of the keys they see those of the tile's first one on.
  struct Rows {
    int low[part], high[part];
    float maximum[part], denominator[part];
    FourFloats out[part][quads];

    KOKKOS_INLINE_FUNCTION bool sees(int r, int key) const { return key >= low[r] && key < high[r]; }
    KOKKOS_INLINE_FUNCTION bool all_see_all() const {
      bool all = true;
      SEQKV_UNROLL for (int r = 0; r < part; ++r) all = all && low[r] == 0 && high[r] == tile_keys;
      return all;
    }
  };

  kernels::Attention args;
  std::int64_t team_rows;

  KOKKOS_INLINE_FUNCTION std::int64_t tiles() const { return (args.rows + team_rows - 1) / team_rows; }

  KOKKOS_FUNCTION void operator()(const Team& team) const {
    Memory& memory = *team_array<Memory>(team, 1);
    // The last rows see most keys: they go first.
    const std::int64_t first = (tiles() - 1 - team.league_rank() / args.heads.query_heads) * team_rows;
    const std::int64_t last = Kokkos::min(first + team_rows, args.rows);
    const std::int64_t head = team.league_rank() % args.heads.query_heads;
    for (int at = team.team_rank(); at < Dim * (last - first); at += team_threads) {
      memory.queries[at % Dim][at / Dim] = args.q[(first + at / Dim) * args.ldq + head * Dim + at % Dim];
    }
    Rows rows{};
    SEQKV_UNROLL for (float& maximum : rows.maximum) maximum = -FLT_MAX;
    for (std::int64_t begin = first; begin < last;) {
      std::int64_t end = begin + 1;
      while (end < last && args.info[end].sequence == args.info[begin].sequence) ++end;
      visit(team, memory, head, first, begin, end, rows);
      begin = end;
    }
    write(team, head, first, last, rows);
  }

 private:
  static KOKKOS_INLINE_FUNCTION int row_group(int thread) { return thread / across; }
  /// Where the weights of four rows for a key are: so that neither 8 neighbors among keys nor every fourth meet in a
  /// bank.
  static KOKKOS_INLINE_FUNCTION int place(int group, int key) { return group ^ ((key ^ key >> 3) & 7); }

  /// Rows [begin, end), of one sequence, at all tiles of keys that one of them sees.
  KOKKOS_INLINE_FUNCTION void visit(const Team& team, Memory& memory, std::int64_t head, std::int64_t first,
                                    std::int64_t begin, std::int64_t end, Rows& rows) const {
    const int thread = team.team_rank();
    const kernels::CacheTable& cache = args.caches[args.info[begin].sequence];
    const std::int64_t kv_head = head / (args.heads.query_heads / args.heads.kv_heads);
    const std::int64_t tile_begin = kernels::first_visible(args.info[begin].position, args.window) / tile_keys;
    const std::int64_t tile_end = args.info[end - 1].position / tile_keys + 1;
    const auto keys_of = [&](std::int64_t tile) {
      return kernels::key_tile_at(cache, args.heads, args.layer, kv_head, tile);
    };
    FourFloats loaded[loads];
    load(thread, keys_of(tile_begin), loaded);
    for (std::int64_t tile = tile_begin; tile < tile_end; ++tile) {
      const float* const keys = keys_of(tile);
      const float* const values = kernels::value_row_at(cache, args.heads, args.layer, kv_head, tile * tile_keys);
      look(thread, first, begin, end, tile * tile_keys, rows);
      FourFloats scores[part] = {};
      for (int s = 0; s < slices; ++s) {
        const FourFloats* slice = put(team, memory, s, loaded);
        load(thread, s + 1 < slices ? keys + (s + 1) * slice_floats : values, loaded);
        score(thread, memory.queries + s * slice_depth, slice, scores);
      }
      weigh(thread, memory, scores, rows);
      for (int s = 0; s < slices; ++s) {
        const FourFloats* slice = put(team, memory, s, loaded);
        if (s + 1 < slices) load(thread, values + (s + 1) * slice_floats, loaded);
        if (s + 1 == slices && tile + 1 < tile_end) load(thread, keys_of(tile + 1), loaded);
        add(thread, memory, s * slice_tokens, slice, rows);
      }
    }
  }

  static KOKKOS_INLINE_FUNCTION void load(int thread, const float* from, FourFloats (&loaded)[loads]) {
    const auto* fours = reinterpret_cast<const FourFloats*>(from);
    SEQKV_UNROLL for (int i = 0; i < loads; ++i) loaded[i] = fours[i * team_threads + thread];
  }
  /// The slice that all threads have put together.
  static KOKKOS_INLINE_FUNCTION const FourFloats* put(const Team& team, Memory& memory, int turn,
                                                      const FourFloats (&loaded)[loads]) {
    FourFloats* slice = memory.slices[turn % 2];
    SEQKV_UNROLL for (int i = 0; i < loads; ++i) slice[i * team_threads + team.team_rank()] = loaded[i];
    team.team_barrier();
    return slice;
  }

  /// Which keys of the tile from token `tile` on the thread's rows see; none where a row is not in [begin, end).
  KOKKOS_INLINE_FUNCTION void look(int thread, std::int64_t first, std::int64_t begin, std::int64_t end,
                                   std::int64_t tile, Rows& rows) const {
    SEQKV_UNROLL for (int r = 0; r < part; ++r) {
      const std::int64_t row = first + row_group(thread) * part + r;
      rows.low[r] = rows.high[r] = 0;
      if (row < begin || row >= end) continue;
      const std::int64_t position = args.info[row].position;
      const std::int64_t low = kernels::first_visible(position, args.window) - tile;
      const std::int64_t high = position + 1 - tile;
      rows.low[r] = static_cast<int>(Kokkos::clamp(low, std::int64_t{0}, std::int64_t{tile_keys}));
      rows.high[r] = static_cast<int>(Kokkos::clamp(high, std::int64_t{0}, std::int64_t{tile_keys}));
    }
  }

  /// On with the chains of queries times keys.
  static KOKKOS_INLINE_FUNCTION void score(int thread, const float (*queries)[most_rows], const FourFloats* keys,
                                           FourFloats (&scores)[part]) {
    SEQKV_UNROLL for (int i = 0; i < slice_depth; ++i) {
      const FourFloats q = *reinterpret_cast<const FourFloats*>(&queries[i][row_group(thread) * part]);
      const FourFloats k = keys[i * across + thread % across];
      SEQKV_UNROLL for (int r = 0; r < part; ++r) {
        SEQKV_UNROLL for (int j = 0; j < part; ++j) scores[r].x[j] = detmath::fma(q.x[r], k.x[j], scores[r].x[j]);
      }
    }
  }

  /// From scores to what values weigh, in the team's memory; what was summed before shrinks.
  static KOKKOS_INLINE_FUNCTION void weigh(int thread, Memory& memory, const FourFloats (&scores)[part], Rows& rows) {
    const int group = row_group(thread);
    const int key = thread % across * part;
    FourFloats weights[part];
    float shrink[part];
    SEQKV_UNROLL for (int r = 0; r < part; ++r) {
      float largest = -FLT_MAX;
      SEQKV_UNROLL for (int j = 0; j < part; ++j) {
        largest = rows.sees(r, key + j) && scores[r].x[j] > largest ? scores[r].x[j] : largest;
      }
      largest = largest_of_row(largest);
      const float raised = largest > rows.maximum[r] ? largest : rows.maximum[r];
      shrink[r] = detmath::exp2(rows.maximum[r] - raised);
      rows.maximum[r] = raised;
      SEQKV_UNROLL for (FourFloats& out : rows.out[r]) { SEQKV_UNROLL for (float& x : out.x) x *= shrink[r]; }
      SEQKV_UNROLL for (int j = 0; j < part; ++j) {
        weights[j].x[r] = rows.sees(r, key + j) ? detmath::exp2(scores[r].x[j] - raised) : 0.0F;
      }
    }
    sync_warp();  // what the tile before weighs is read
    SEQKV_UNROLL for (int j = 0; j < part; ++j) memory.weights[key + j][place(group, key + j)] = weights[j];
    sync_warp();
    FourFloats sums{};
    SEQKV_UNROLL for (int j = 0; j < part; ++j) {
      const int chained = thread % across + j * across;
      const FourFloats weight = memory.weights[chained][place(group, chained)];
      SEQKV_UNROLL for (int r = 0; r < part; ++r) sums.x[r] += weight.x[r];
    }
    SEQKV_UNROLL for (int r = 0; r < part; ++r) {
      rows.denominator[r] = detmath::fma(rows.denominator[r], shrink[r], sum_of_row(sums.x[r]));
    }
  }

  /// On with the chains of weights times values, of the tokens of a slice.
  static KOKKOS_INLINE_FUNCTION void add(int thread, const Memory& memory, int first, const FourFloats* values,
                                         Rows& rows) {
    if (rows.all_see_all()) {
      add<true>(thread, memory, first, values, rows);
    } else {
      add<false>(thread, memory, first, values, rows);
    }
  }
  template <bool SeesAll>
  static KOKKOS_INLINE_FUNCTION void add(int thread, const Memory& memory, int first, const FourFloats* values,
                                         Rows& rows) {
    const int group = row_group(thread);
    SEQKV_UNROLL for (int t = 0; t < slice_tokens; ++t) {
      const int key = first + t;
      const FourFloats weight = memory.weights[key][place(group, key)];
      SEQKV_UNROLL for (int c = 0; c < quads; ++c) {
        const FourFloats value = values[t * (Dim / 4) + c * across + thread % across];
        SEQKV_UNROLL for (int r = 0; r < part; ++r) {
          if (!SeesAll && !rows.sees(r, key)) continue;
          float* const out = rows.out[r][c].x;
          SEQKV_UNROLL for (int i = 0; i < 4; ++i) out[i] = detmath::fma(weight.x[r], value.x[i], out[i]);
        }
      }
    }
  }

  KOKKOS_INLINE_FUNCTION void write(const Team& team, std::int64_t head, std::int64_t first, std::int64_t last,
                                    const Rows& rows) const {
    const int thread = team.team_rank();
    SEQKV_UNROLL for (int r = 0; r < part; ++r) {
      const std::int64_t row = first + row_group(thread) * part + r;
      if (row >= last) continue;
      const float scale = 1.0F / rows.denominator[r];
      auto* out = reinterpret_cast<FourFloats*>(args.out + row * args.ldo + head * Dim);
      SEQKV_UNROLL for (int c = 0; c < quads; ++c) {
        const float* x = rows.out[r][c].x;
        out[c * across + thread % across] = {{x[0] * scale, x[1] * scale, x[2] * scale, x[3] * scale}};
      }
    }
  }
};

template <int Dim, class ExecutionSpace>
void run_attention(const ExecutionSpace& space, const kernels::Attention& args) {
  using Kernel = AttentionTile<ExecutionSpace, Dim>;
  // Sequences with few rows each, as generation has them, have teams of their own.
  const Kernel kernel{args, std::clamp<std::int64_t>(args.rows / args.sequences, 1, Kernel::most_rows)};
  typename Kernel::Policy policy(space, static_cast<int>(kernel.tiles() * args.heads.query_heads),
                                 Kernel::team_threads);
  policy.set_scratch_size(0, Kokkos::PerTeam(Kernel::scratch_bytes));
  Kokkos::parallel_for("seqkv::model::attention", policy, kernel);
}

template <class ExecutionSpace>
void attention(const ExecutionSpace& space, const kernels::Attention& args) {
  const bool has_fours = reinterpret_cast<std::uintptr_t>(args.out) % 16 == 0 && args.ldo % 4 == 0;
  if (has_fours && args.heads.head_dim == 64) return run_attention<64>(space, args);
  if (has_fours && args.heads.head_dim == 128) return run_attention<128>(space, args);
  kokkos::attention(space, args);
}

}  // namespace seqkv::gpu
