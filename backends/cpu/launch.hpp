// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Runs the CPU kernels in parallel on a Kokkos host space: cuts the work, nothing else.
#pragma once

#include <Kokkos_Core.hpp>
#include <algorithm>
#include <vector>

#include "backends/cpu/kernels.hpp"

namespace seqkv::cpu {

/// Pieces of work so many that threads stay busy to the end.
template <class ExecutionSpace>
std::int64_t wanted_pieces(const ExecutionSpace& space) {
  return 4 * static_cast<std::int64_t>(space.concurrency());
}

/// Calls work(piece) for every piece, threads taking them one by one.
template <class ExecutionSpace, class Work>
void for_each_piece(const char* label, const ExecutionSpace& space, std::int64_t pieces, const Work& work) {
  using Policy =
      Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<std::int64_t>, Kokkos::Schedule<Kokkos::Dynamic>>;
  Kokkos::parallel_for(label, Policy(space, 0, pieces, Kokkos::ChunkSize(1)), work);
}

/// Calls work(first, last) for pieces of `rows`.
template <class ExecutionSpace, class Work>
void for_each_row_range(const char* label, const ExecutionSpace& space, std::int64_t rows, const Work& work) {
  const std::int64_t size = std::max<std::int64_t>(1, rows / wanted_pieces(space));
  for_each_piece(label, space, (rows + size - 1) / size,
                 [=](std::int64_t piece) { work(piece * size, std::min(rows, (piece + 1) * size)); });
}

/// Few panels: rows are cut too. Many: some go together, as many as the second-level cache holds, and share the rows
/// that are there.
template <class ExecutionSpace>
void gemm(const Kernels& kernels, const ExecutionSpace& space, const kernels::Gemm& args) {
  constexpr std::int64_t most_together = 8;
  const std::int64_t pieces = space.concurrency() == 1 ? 1 : wanted_pieces(space);
  const std::int64_t panels = (args.b.outputs + kernels::panel_width - 1) / kernels::panel_width;
  const std::int64_t splits = std::clamp<std::int64_t>(pieces / panels, 1, (args.rows + 23) / 24);
  const std::int64_t size = (args.rows + splits - 1) / splits;
  const std::int64_t together = std::clamp<std::int64_t>(panels * splits / pieces, 1, most_together);
  const std::int64_t groups = (panels + together - 1) / together;
  for_each_piece("seqkv::model::gemm", space, groups * splits, [=, &kernels](std::int64_t piece) {
    const std::int64_t first = piece % splits * size;
    const std::int64_t panel = piece / splits * together;
    kernels.gemm_panels(args, panel, std::min(panels, panel + together), first, std::min(args.rows, first + size));
  });
}

template <class ExecutionSpace>
void norm(const Kernels& kernels, const ExecutionSpace& space, const kernels::Norm& args) {
  for_each_row_range("seqkv::model::norm", space, args.rows,
                     [=, &kernels](std::int64_t first, std::int64_t last) { kernels.norm_rows(args, first, last); });
}

template <class ExecutionSpace>
void gated_activation(const Kernels& kernels, const ExecutionSpace& space, const kernels::GatedActivation& args) {
  for_each_row_range("seqkv::model::gated_activation", space, args.rows,
                     [=, &kernels](std::int64_t first, std::int64_t last) { kernels.gated_rows(args, first, last); });
}

template <class ExecutionSpace>
void rope(const Kernels& kernels, const ExecutionSpace& space, const kernels::Rope& args) {
  for_each_row_range("seqkv::model::rope", space, args.rows,
                     [=, &kernels](std::int64_t first, std::int64_t last) { kernels.rope_rows(args, first, last); });
}

/// Cuts the rows of a chunk into blocks of one sequence and one KV head, latest positions first: they are the
/// longest.
inline std::vector<AttentionBlock> attention_blocks(const kernels::Attention& args) {
  const std::int64_t group = args.heads.query_heads / args.heads.kv_heads;
  const std::int64_t heads = std::min(group, attention_block_rows);
  const std::int64_t rows = attention_block_rows / heads;
  std::vector<AttentionBlock> blocks;
  std::int64_t next = 0;
  for (std::int64_t first = 0; first < args.rows; first = next) {
    next = first + 1;
    while (next < args.rows && next - first < rows && args.info[next].sequence == args.info[first].sequence) ++next;
    for (std::int64_t kv_head = 0; kv_head < args.heads.kv_heads; ++kv_head) {
      for (std::int64_t head = kv_head * group; head < (kv_head + 1) * group; head += heads) {
        blocks.push_back({first, next, head, std::min(head + heads, (kv_head + 1) * group)});
      }
    }
  }
  std::reverse(blocks.begin(), blocks.end());
  return blocks;
}

template <class ExecutionSpace>
void attention(const Kernels& kernels, const ExecutionSpace& space, const kernels::Attention& args) {
  const auto blocks = attention_blocks(args);
  for_each_piece("seqkv::model::attention", space, static_cast<std::int64_t>(blocks.size()),
                 [&args, &blocks, &kernels](std::int64_t i) { kernels.attention_block(args, blocks[i]); });
  space.fence("seqkv::model::attention: the list of blocks is local");
}

}  // namespace seqkv::cpu
