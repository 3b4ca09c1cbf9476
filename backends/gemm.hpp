// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The matrix product on an execution space: with the kernels of this CPU where it is a host, with that of GPUs
/// on devices. The same bits.
#pragma once

#include "backends/cpu/launch.hpp"
#include "backends/gpu/gemm.hpp"
#include "backends/kokkos/gemm.hpp"
#include "core/mirrored.hpp"

namespace seqkv {

template <class ExecutionSpace>
void gemm(const ExecutionSpace& space, const kernels::Gemm& args) {
  if (args.rows == 0) return;
  if constexpr (is_host_space<ExecutionSpace>) {
    if (const cpu::Kernels* best = cpu::kernels()) return cpu::gemm(*best, space, args);
    kokkos::gemm(space, args);
  } else {
    gpu::gemm(space, args);
  }
}

}  // namespace seqkv
