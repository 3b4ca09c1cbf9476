// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Products of matrices on a GPU, tile by tile: a team computes 128 rows by 64 outputs, a thread 8 by 8 of them in
/// registers. Every output is one chain of fused multiply-adds in the order of the inner index, as everywhere
/// (core/gemm.hpp): tiles divide rows and outputs, never a chain.
#pragma once

#include <Kokkos_Core.hpp>

#include "core/detmath.hpp"
#include "core/float16.hpp"
#include "core/gemm.hpp"

namespace seqkv::gpu {

inline constexpr int tile_rows = 128;
inline constexpr int tile_outputs = 64;
inline constexpr int tile_depth = 8;
inline constexpr int product_team = 128;
/// Of less there is a thread an output, which the portable kernel does.
inline constexpr std::int64_t least_rows = 16;

/// Matrices of one size along a diagonal, or one matrix: outputs of block b take inputs from b * inputs on.
struct Weights {
  kernels::PackedMatrix block;
  std::int64_t blocks = 1;

  KOKKOS_INLINE_FUNCTION std::int64_t panels() const {
    return (block.outputs + kernels::panel_width - 1) / kernels::panel_width;
  }
  /// Tiles of outputs; they do not go over the ends of blocks.
  KOKKOS_INLINE_FUNCTION std::int64_t tiles_of_block() const {
    return (block.outputs + tile_outputs - 1) / tile_outputs;
  }
  KOKKOS_INLINE_FUNCTION std::int64_t tiles() const { return blocks * tiles_of_block(); }
  /// Element (output, k) of a block; 0 where there is no such panel.
  KOKKOS_INLINE_FUNCTION float at(std::int64_t b, std::int64_t output, std::int64_t k) const {
    using kernels::panel_width;
    const std::int64_t panel = output / panel_width;
    if (panel >= panels()) return 0.0F;
    const std::int64_t i = ((b * panels() + panel) * block.inputs + k) * panel_width + output % panel_width;
    return block.is_bf16 ? bf16_to_float(static_cast<const std::uint16_t*>(block.data)[i])
                         : static_cast<const float*>(block.data)[i];
  }
};

/// Source: float operator()(row, k), and whether neighbors in memory are rows (else inner indices).
/// Sink: void operator()(row, output, sum).
template <class ExecutionSpace, class Source, class Sink>
struct Product {
  using Team = typename Kokkos::TeamPolicy<ExecutionSpace>::member_type;
  std::int64_t rows;
  Weights weights;
  Source source;
  Sink sink;

  static constexpr int padding = 4;
  static constexpr int row_pitch = tile_rows + padding;
  static constexpr int out_pitch = tile_outputs + padding;
  static constexpr int part = 8;                      ///< rows, and outputs, of a thread: two times four neighbors
  static constexpr int across = tile_outputs / part;  ///< threads side by side
  static constexpr int rows_a_thread = tile_rows * tile_depth / product_team;
  static constexpr int outputs_a_thread = tile_outputs * tile_depth / product_team;

  /// A slice of both matrices, the inner index outside.
  struct Slice {
    float rows[tile_depth][row_pitch];
    float outputs[tile_depth][out_pitch];
  };
  static constexpr int scratch_bytes = 2 * sizeof(Slice) + 16;

  /// What a thread brings into a slice.
  struct Loaded {
    float rows[rows_a_thread];
    float outputs[outputs_a_thread];
  };

  KOKKOS_FUNCTION void operator()(const Team& team) const {
    auto* slices = static_cast<Slice*>(team.team_scratch(0).get_shmem_aligned(2 * sizeof(Slice), 16));
    const int thread = team.team_rank();
    const std::int64_t tile = team.league_rank() % weights.tiles();
    const std::int64_t first_row = team.league_rank() / weights.tiles() * tile_rows;
    const std::int64_t block = tile / weights.tiles_of_block();
    const std::int64_t first_output = tile % weights.tiles_of_block() * tile_outputs;
    const std::int64_t depth = weights.block.inputs;

    float sums[part][part] = {};
    Loaded loaded;
    load(thread, first_row, block, first_output, 0, loaded);
    for (std::int64_t k = 0, turn = 0; k < depth; k += tile_depth, turn ^= 1) {
      Slice& slice = slices[turn];
      store(thread, loaded, slice);
      team.team_barrier();
      if (k + tile_depth < depth) load(thread, first_row, block, first_output, k + tile_depth, loaded);
      if (depth - k >= tile_depth) {
        SEQKV_UNROLL for (int i = 0; i < tile_depth; ++i) multiply(thread, slice, i, sums);
      } else {
        for (int i = 0; i < depth - k; ++i) multiply(thread, slice, i, sums);
      }
    }
    write(thread, first_row, block, first_output, sums);
  }

 private:
  /// Which of the slice's elements thread brings: the inner index and the row of its i-th.
  static KOKKOS_INLINE_FUNCTION int depth_of(int thread, int i) {
    return Source::rows_are_neighbors ? i : thread % tile_depth;
  }
  static KOKKOS_INLINE_FUNCTION int row_of(int thread, int i) {
    return Source::rows_are_neighbors ? thread : thread / tile_depth + i * (product_team / tile_depth);
  }

  KOKKOS_INLINE_FUNCTION void load(int thread, std::int64_t first_row, std::int64_t block, std::int64_t first_output,
                                   std::int64_t first_k, Loaded& loaded) const {
    SEQKV_UNROLL for (int i = 0; i < rows_a_thread; ++i) {
      const std::int64_t k = first_k + depth_of(thread, i);
      const std::int64_t row = first_row + row_of(thread, i);
      const bool is_there = k < weights.block.inputs && row < rows;
      loaded.rows[i] = is_there ? source(row, block * weights.block.inputs + k) : 0.0F;
    }
    SEQKV_UNROLL for (int i = 0; i < outputs_a_thread; ++i) {
      const std::int64_t k = first_k + thread / tile_outputs + i * (product_team / tile_outputs);
      loaded.outputs[i] = k < weights.block.inputs ? weights.at(block, first_output + thread % tile_outputs, k) : 0.0F;
    }
  }

  static KOKKOS_INLINE_FUNCTION void store(int thread, const Loaded& loaded, Slice& slice) {
    SEQKV_UNROLL for (int i = 0; i < rows_a_thread; ++i) {
      slice.rows[depth_of(thread, i)][row_of(thread, i)] = loaded.rows[i];
    }
    SEQKV_UNROLL for (int i = 0; i < outputs_a_thread; ++i) {
      slice.outputs[thread / tile_outputs + i * (product_team / tile_outputs)][thread % tile_outputs] =
          loaded.outputs[i];
    }
  }

  /// The j-th of a thread's rows or outputs, in a tile of `size`.
  static KOKKOS_INLINE_FUNCTION int place(int group, int j, int size) { return j / 4 * (size / 2) + group * 4 + j % 4; }

  static KOKKOS_INLINE_FUNCTION void multiply(int thread, const Slice& slice, int k, float (&sums)[part][part]) {
    float a[part];
    float b[part];
    SEQKV_UNROLL for (int j = 0; j < part; ++j) a[j] = slice.rows[k][place(thread / across, j, tile_rows)];
    SEQKV_UNROLL for (int j = 0; j < part; ++j) b[j] = slice.outputs[k][place(thread % across, j, tile_outputs)];
    SEQKV_UNROLL for (int r = 0; r < part; ++r) {
      SEQKV_UNROLL for (int n = 0; n < part; ++n) sums[r][n] = detmath::fma(a[r], b[n], sums[r][n]);
    }
  }

  KOKKOS_INLINE_FUNCTION void write(int thread, std::int64_t first_row, std::int64_t block, std::int64_t first_output,
                                    const float (&sums)[part][part]) const {
    SEQKV_UNROLL for (int n = 0; n < part; ++n) {
      const std::int64_t output = first_output + place(thread % across, n, tile_outputs);
      SEQKV_UNROLL for (int r = 0; r < part; ++r) {
        const std::int64_t row = first_row + place(thread / across, r, tile_rows);
        if (row < rows && output < weights.block.outputs) sink(row, block * weights.block.outputs + output, sums[r][n]);
      }
    }
  }
};

template <class ExecutionSpace, class Source, class Sink>
void product(const char* label, const ExecutionSpace& space, std::int64_t rows, const Weights& weights,
             const Source& source, const Sink& sink) {
  using Kernel = Product<ExecutionSpace, Source, Sink>;
  Kokkos::TeamPolicy<ExecutionSpace, Kokkos::LaunchBounds<product_team, 4>> policy(
      space, static_cast<int>((rows + tile_rows - 1) / tile_rows * weights.tiles()), product_team);
  policy.set_scratch_size(0, Kokkos::PerTeam(Kernel::scratch_bytes));
  Kokkos::parallel_for(label, policy, Kernel{rows, weights, source, sink});
}

}  // namespace seqkv::gpu
