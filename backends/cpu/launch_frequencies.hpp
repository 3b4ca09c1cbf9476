// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Runs the CPU kernel for frequencies of tokens in parallel on a Kokkos host space.
#pragma once

#include "backends/cpu/launch.hpp"

namespace seqkv::cpu {

template <class ExecutionSpace>
void frequencies(const Kernels& kernels, const ExecutionSpace& space, const kernels::Frequencies& args) {
  for_each_row_range(
      "seqkv::replay::frequencies", space, args.rows,
      [=, &kernels](std::int64_t first, std::int64_t last) { kernels.frequency_rows(args, first, last); });
}

}  // namespace seqkv::cpu
