// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Which implementation of a kernel runs: the specialization of the machine where there is one, else the
/// portable kernel. All give the same bits.
#pragma once

#include <Kokkos_Core.hpp>

#include "backends/cpu/launch.hpp"
#include "backends/gemm.hpp"
#include "backends/gpu/launch_model.hpp"
#include "backends/kokkos/activation.hpp"
#include "backends/kokkos/attention.hpp"
#include "backends/kokkos/norm.hpp"
#include "backends/kokkos/rope.hpp"
#include "core/mirrored.hpp"

namespace seqkv::model {

/// The CPU kernels for an execution space, or null where the portable ones run.
template <class ExecutionSpace>
const cpu::Kernels* cpu_kernels() {
  if constexpr (is_host_space<ExecutionSpace>) {
    return cpu::kernels();
  } else {
    return nullptr;
  }
}

using seqkv::gemm;

#define SEQKV_DISPATCH(function, Args)                                \
  template <class ExecutionSpace>                                     \
  void function(const ExecutionSpace& space, const Args& args) {      \
    if (args.rows == 0) return;                                       \
    if constexpr (is_host_space<ExecutionSpace>) {                    \
      if (const cpu::Kernels* best = cpu_kernels<ExecutionSpace>()) { \
        cpu::function(*best, space, args);                            \
        return;                                                       \
      }                                                               \
      kokkos::function(space, args);                                  \
    } else {                                                          \
      gpu::function(space, args);                                     \
    }                                                                 \
  }

SEQKV_DISPATCH(norm, kernels::Norm)
SEQKV_DISPATCH(gated_activation, kernels::GatedActivation)
SEQKV_DISPATCH(rope, kernels::Rope)
SEQKV_DISPATCH(attention, kernels::Attention)

#undef SEQKV_DISPATCH

}  // namespace seqkv::model
