// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Products of matrices on a GPU, tile by tile: a team computes 128 rows by 128 or 64 outputs, a thread 8 by 8 of them
/// in registers. Every output is one chain of fused multiply-adds in the order of the inner index, as everywhere
/// (core/gemm.hpp): tiles divide rows and outputs, never a chain.
#pragma once

#include <Kokkos_Core.hpp>

#include "backends/gpu/team_memory.hpp"
#include "core/detmath.hpp"
#include "core/float16.hpp"
#include "core/gemm.hpp"

namespace seqkv::gpu {

inline constexpr int tile_rows = 128;
inline constexpr int tile_depth = 8;
/// Of less there is a thread an output, which the portable kernel does.
inline constexpr std::int64_t least_rows = 16;

struct alignas(16) FourFloats {
  float x[4];
};
struct alignas(8) FourHalves {
  std::uint16_t x[4];
};

/// Matrices of one size along a diagonal, or one matrix: outputs of block b take inputs from b * inputs on.
struct Weights {
  kernels::PackedMatrix block;
  std::int64_t blocks = 1;

  KOKKOS_INLINE_FUNCTION std::int64_t panels() const {
    return (block.outputs + kernels::panel_width - 1) / kernels::panel_width;
  }
  /// Where element (output, 0) of a block is, -1 where there is no such panel; inner indices are panel_width apart.
  KOKKOS_INLINE_FUNCTION std::int64_t place(std::int64_t b, std::int64_t output) const {
    using kernels::panel_width;
    const std::int64_t panel = output / panel_width;
    if (panel >= panels()) return -1;
    return (b * panels() + panel) * block.inputs * panel_width + output % panel_width;
  }
  /// Four outputs side by side.
  KOKKOS_INLINE_FUNCTION FourFloats load(std::int64_t at) const {
    if (!block.is_bf16) return *reinterpret_cast<const FourFloats*>(static_cast<const float*>(block.data) + at);
    const auto from = *reinterpret_cast<const FourHalves*>(static_cast<const std::uint16_t*>(block.data) + at);
    return {{bf16_to_float(from.x[0]), bf16_to_float(from.x[1]), bf16_to_float(from.x[2]), bf16_to_float(from.x[3])}};
  }
};

/// Outputs of each block that are computed. Tiles do not go over the ends of blocks.
struct OutputRange {
  std::int64_t first, count;
};

/// Source: float operator()(row, k), and whether neighbors in memory are rows, else they are inner indices; also
/// FourFloats four(row, k), of four neighbors, where has_fours. Sink: void operator()(row, output, sum), and whether
/// neighbors in memory are rows; also void four(row, output, sums), of four neighbors, where has_fours(row, output).
template <class ExecutionSpace, int Outputs, class Source, class Sink>
struct Product {
  static constexpr int tile_outputs = Outputs;
  static constexpr int team_threads = 2 * Outputs;
  using Policy = Kokkos::TeamPolicy<ExecutionSpace, Kokkos::LaunchBounds<team_threads, Outputs == 128 ? 2 : 3>>;
  using Team = typename Policy::member_type;
  std::int64_t rows;
  Weights weights;
  OutputRange outputs;
  Source source;
  Sink sink;

  static constexpr int padding = 4;
  static constexpr int part = 8;                      ///< rows, and outputs, of a thread: two times four neighbors
  static constexpr int across = tile_outputs / part;  ///< threads side by side
  static constexpr int row_values = tile_rows * tile_depth / team_threads;  ///< that a thread brings into a slice
  static constexpr int output_values = tile_outputs * tile_depth / team_threads;
  static constexpr int quads = tile_depth / 4;  ///< of inner indices
  static constexpr int rows_at_once = team_threads / quads;
  static constexpr int depths_of_rows = team_threads / (tile_rows / 4);  ///< at once, where rows are neighbors
  static constexpr int depths_at_once = team_threads / (tile_outputs / 4);

  /// A slice of both matrices, the inner index outside.
  struct Slice {
    float rows[tile_depth][tile_rows + padding];
    float outputs[tile_depth][tile_outputs + padding];
  };
  static constexpr int scratch_bytes = 2 * sizeof(Slice) + 16;

  /// What a thread brings into a slice.
  struct Loaded {
    float rows[row_values];
    FourFloats outputs[output_values / 4];
  };

  /// Where the team works.
  struct Place {
    int thread;
    std::int64_t first_row, block, first_output;
    std::int64_t weights;  ///< of this thread's outputs; -1: none
    bool is_inside;        ///< all rows and outputs of the tile are there, and come by fours
  };

  KOKKOS_INLINE_FUNCTION std::int64_t tiles_of_block() const {
    return (outputs.count + tile_outputs - 1) / tile_outputs;
  }
  std::int64_t tiles() const { return (rows + tile_rows - 1) / tile_rows * weights.blocks * tiles_of_block(); }

  KOKKOS_FUNCTION void operator()(const Team& team) const {
    auto* slices = team_array<Slice>(team, 2);
    const std::int64_t of_block = tiles_of_block();
    const std::int64_t tile = team.league_rank() % (weights.blocks * of_block);
    Place at{team.team_rank(),
             team.league_rank() / (weights.blocks * of_block) * tile_rows,
             tile / of_block,
             outputs.first + tile % of_block * tile_outputs,
             0,
             false};
    at.weights = weights.place(at.block, at.first_output + at.thread % (tile_outputs / 4) * 4);
    at.is_inside = source.has_fours && at.first_row + tile_rows <= rows &&
                   at.first_output + tile_outputs <= weights.panels() * kernels::panel_width;
    const std::int64_t depth = weights.block.inputs;

    float sums[part][part] = {};
    Loaded loaded;
    load<false>(at, 0, loaded);
    for (std::int64_t k = 0, turn = 0; k < depth; k += tile_depth, turn ^= 1) {
      Slice& slice = slices[turn];
      store(at.thread, loaded, slice);
      team.team_barrier();
      if (at.is_inside && k + 2 * tile_depth <= depth) {
        load<true>(at, k + tile_depth, loaded);
      } else if (k + tile_depth < depth) {
        load<false>(at, k + tile_depth, loaded);
      }
      if (depth - k >= tile_depth) {
        // A fragment is read while the one before is multiplied.
        Fragment now(at.thread, slice, 0);
        SEQKV_UNROLL for (int i = 0; i < tile_depth; ++i) {
          Fragment next;
          if (i + 1 < tile_depth) next = Fragment(at.thread, slice, i + 1);
          multiply(now, sums);
          now = next;
        }
      } else {
        for (int i = 0; i < depth - k; ++i) multiply(Fragment(at.thread, slice, i), sums);
      }
    }
    write(at, sums);
  }

 private:
  /// The slice from inner index `first_k` on; zeros where nothing is, unless it lies `Inside` both matrices.
  template <bool Inside>
  KOKKOS_INLINE_FUNCTION void load(const Place& at, std::int64_t first_k, Loaded& loaded) const {
    const std::int64_t depth = weights.block.inputs;
    const std::int64_t base = at.block * depth;
    if constexpr (Source::rows_are_neighbors) {
      const std::int64_t row = at.first_row + at.thread % (tile_rows / 4) * 4;
      SEQKV_UNROLL for (int i = 0; i < row_values / 4; ++i) {
        const std::int64_t k = first_k + at.thread / (tile_rows / 4) + i * depths_of_rows;
        FourFloats four{};
        if (Inside || (k < depth && row + 4 <= rows && source.has_fours)) {
          four = source.four(row, base + k);
        } else if (k < depth) {
          SEQKV_UNROLL for (int j = 0; j < 4; ++j) {
            if (row + j < rows) four.x[j] = source(row + j, base + k);
          }
        }
        SEQKV_UNROLL for (int j = 0; j < 4; ++j) loaded.rows[4 * i + j] = four.x[j];
      }
    } else {
      const std::int64_t k = first_k + at.thread % quads * 4;
      SEQKV_UNROLL for (int i = 0; i < row_values / 4; ++i) {
        const std::int64_t row = at.first_row + at.thread / quads + i * rows_at_once;
        FourFloats four{};
        if (Inside || (row < rows && k < depth)) {
          if (Inside || source.has_fours) {
            four = source.four(row, base + k);
          } else {
            SEQKV_UNROLL for (int j = 0; j < 4; ++j) {
              if (k + j < depth) four.x[j] = source(row, base + k + j);
            }
          }
        }
        SEQKV_UNROLL for (int j = 0; j < 4; ++j) loaded.rows[4 * i + j] = four.x[j];
      }
    }
    SEQKV_UNROLL for (int i = 0; i < output_values / 4; ++i) {
      const std::int64_t k = first_k + at.thread / (tile_outputs / 4) + i * depths_at_once;
      loaded.outputs[i] =
          Inside || (at.weights >= 0 && k < depth) ? weights.load(at.weights + k * kernels::panel_width) : FourFloats{};
    }
  }

  static KOKKOS_INLINE_FUNCTION void store(int thread, const Loaded& loaded, Slice& slice) {
    if constexpr (Source::rows_are_neighbors) {
      SEQKV_UNROLL for (int i = 0; i < row_values / 4; ++i) {
        float* to = &slice.rows[thread / (tile_rows / 4) + i * depths_of_rows][thread % (tile_rows / 4) * 4];
        const float* from = loaded.rows + 4 * i;
        *reinterpret_cast<FourFloats*>(to) = {{from[0], from[1], from[2], from[3]}};
      }
    } else {
      SEQKV_UNROLL for (int i = 0; i < row_values; ++i) {
        slice.rows[thread % quads * 4 + i % 4][thread / quads + i / 4 * rows_at_once] = loaded.rows[i];
      }
    }
    SEQKV_UNROLL for (int i = 0; i < output_values / 4; ++i) {
      *reinterpret_cast<FourFloats*>(
          &slice.outputs[thread / (tile_outputs / 4) + i * depths_at_once][thread % (tile_outputs / 4) * 4]) =
          loaded.outputs[i];
    }
  }

  /// The first of four neighbors of a thread's rows or outputs, in the first or second half of a tile of `size`.
  static KOKKOS_INLINE_FUNCTION int place(int group, int half, int size) { return half * (size / 2) + group * 4; }
  // 32 threads take 4 groups of rows by 8 of outputs, and of two neighbors both the same outputs: so the memory of the
  // team gives four values to all of them in two turns.
  static KOKKOS_INLINE_FUNCTION int row_group(int thread) {
    return thread / 32 / (across / 8) * 4 + thread % 32 / 16 * 2 + thread % 2;
  }
  static KOKKOS_INLINE_FUNCTION int output_group(int thread) { return thread / 32 % (across / 8) * 8 + thread / 2 % 8; }

  /// Rows and outputs of a thread at one inner index.
  struct Fragment {
    FourFloats rows[2], outputs[2];

    Fragment() = default;
    KOKKOS_INLINE_FUNCTION Fragment(int thread, const Slice& slice, int k) {
      SEQKV_UNROLL for (int half = 0; half < 2; ++half) {
        rows[half] = *reinterpret_cast<const FourFloats*>(&slice.rows[k][place(row_group(thread), half, tile_rows)]);
        outputs[half] =
            *reinterpret_cast<const FourFloats*>(&slice.outputs[k][place(output_group(thread), half, tile_outputs)]);
      }
    }
  };
  static KOKKOS_INLINE_FUNCTION void multiply(const Fragment& at, float (&sums)[part][part]) {
    SEQKV_UNROLL for (int r = 0; r < part; ++r) {
      SEQKV_UNROLL for (int n = 0; n < part; ++n) {
        sums[r][n] = detmath::fma(at.rows[r / 4].x[r % 4], at.outputs[n / 4].x[n % 4], sums[r][n]);
      }
    }
  }

  KOKKOS_INLINE_FUNCTION void write(const Place& at, const float (&sums)[part][part]) const {
    const std::int64_t last_output = outputs.first + outputs.count;
    SEQKV_UNROLL for (int half = 0; half < 4; ++half) {
      const int r0 = half / 2 * 4;
      const int n0 = half % 2 * 4;
      const std::int64_t row = at.first_row + place(row_group(at.thread), half / 2, tile_rows);
      const std::int64_t output = at.first_output + place(output_group(at.thread), half % 2, tile_outputs);
      const std::int64_t column = at.block * weights.block.outputs + output;
      const bool is_whole = row + 4 <= rows && output + 4 <= last_output && sink.has_fours(row, column);
      SEQKV_UNROLL for (int i = 0; i < 4; ++i) {
        if (!is_whole) {
          SEQKV_UNROLL for (int j = 0; j < 4; ++j) {
            if (row + i < rows && output + j < last_output) sink(row + i, column + j, sums[r0 + i][n0 + j]);
          }
        } else if constexpr (Sink::rows_are_neighbors) {
          sink.four(row, column + i,
                    {{sums[r0][n0 + i], sums[r0 + 1][n0 + i], sums[r0 + 2][n0 + i], sums[r0 + 3][n0 + i]}});
        } else {
          sink.four(row + i, column,
                    {{sums[r0 + i][n0], sums[r0 + i][n0 + 1], sums[r0 + i][n0 + 2], sums[r0 + i][n0 + 3]}});
        }
      }
    }
  }
};

template <int Outputs, class ExecutionSpace, class Source, class Sink>
void launch_product(const char* label, const ExecutionSpace& space, std::int64_t rows, const Weights& weights,
                    const OutputRange& outputs, const Source& source, const Sink& sink) {
  using Kernel = Product<ExecutionSpace, Outputs, Source, Sink>;
  if (outputs.count == 0) return;
  const Kernel kernel{rows, weights, outputs, source, sink};
  typename Kernel::Policy policy(space, static_cast<int>(kernel.tiles()), Kernel::team_threads);
  policy.set_scratch_size(0, Kokkos::PerTeam(Kernel::scratch_bytes));
  Kokkos::parallel_for(label, policy, kernel);
}

/// In wide tiles as far as these are full, which need more rows to occupy a GPU.
template <class ExecutionSpace, class Source, class Sink>
void product(const char* label, const ExecutionSpace& space, std::int64_t rows, const Weights& weights,
             const Source& source, const Sink& sink) {
  constexpr std::int64_t many_rows = 8192;
  const std::int64_t outputs = weights.block.outputs;
  const std::int64_t wide = rows < many_rows ? 0 : outputs / 128 * 128;
  launch_product<128>(label, space, rows, weights, {0, wide}, source, sink);
  launch_product<64>(label, space, rows, weights, {wide, outputs - wide}, source, sink);
}

}  // namespace seqkv::gpu
