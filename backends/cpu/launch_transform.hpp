// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Runs the CPU kernels of transforms in parallel on a Kokkos host space.
#pragma once

#include "backends/cpu/launch.hpp"

namespace seqkv::cpu {

template <class ExecutionSpace>
void forward_transform(const Kernels& kernels, const ExecutionSpace& space, const codec::ForwardTransform& args) {
  if (args.rows == 0) return;
  const std::int64_t panels = args.matrix.blocks * args.matrix.panels();
  const std::int64_t splits = std::clamp<std::int64_t>(wanted_pieces(space) / panels, 1, (args.rows + 47) / 48);
  const std::int64_t size = (args.rows + splits - 1) / splits;
  for_each_piece("seqkv::codec::forward_transform", space, panels * splits, [=, &kernels](std::int64_t piece) {
    const std::int64_t first = piece % splits * size;
    kernels.forward_transform(args, piece / splits, first, std::min(args.rows, first + size));
  });
}

template <class ExecutionSpace>
void inverse_transform(const Kernels& kernels, const ExecutionSpace& space, const codec::InverseTransform& args) {
  for_each_row_range(
      "seqkv::codec::inverse_transform", space, args.rows,
      [=, &kernels](std::int64_t first, std::int64_t last) { kernels.inverse_transform(args, first, last); });
}

}  // namespace seqkv::cpu
