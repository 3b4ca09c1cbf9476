// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Running the steps of predictive coding on an execution space: with the kernels of this CPU where it is a host, with
/// those for GPUs where there are some, else with the portable ones.
#pragma once

#include <Kokkos_Core.hpp>
#include <type_traits>

#include "backends/cpu/launch.hpp"
#include "core/mirrored.hpp"

namespace seqkv::codec {

/// A policy whose kernels, steps and all, travel as arguments. Kokkos would put what is larger than some hundred bytes
/// into memory that all streams share, and wait for the kernel before that has it.
template <class Policy>
auto by_argument(const Policy& policy) {
  return Kokkos::Experimental::require(policy, Kokkos::Experimental::WorkItemProperty::HintLightWeight);
}

template <class ExecutionSpace, class Functor>
void for_each(const char* label, const ExecutionSpace& space, std::int64_t count, const Functor& functor) {
  using Policy = Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<std::int64_t>>;
  Kokkos::parallel_for(label, by_argument(Policy(space, 0, count)), functor);
}

inline constexpr int block_team = 256;

/// A kernel for GPUs: a team a block if it has a Team, else a thread for each of count().
template <class Kernel, class ExecutionSpace>
void launch(const char* label, const ExecutionSpace& space, const Kernel& kernel) {
  if constexpr (requires { typename Kernel::Team; }) {
    Kokkos::TeamPolicy<ExecutionSpace> policy(space, static_cast<int>(kernel.step.grid.blocks), block_team);
    policy.set_scratch_size(0, Kokkos::PerTeam(static_cast<int>(kernel.scratch_bytes()) + 16));
    Kokkos::parallel_for(label, by_argument(policy), kernel);
  } else {
    for_each(label, space, kernel.count(), kernel);
  }
}

/// Portable{step}(i) for all of `count * things`, or ranges of `count` by the kernel of this CPU, or, on a GPU,
/// Gpu{step}, if there is one.
template <class Portable, class Gpu = void, class ExecutionSpace, class Step, class Kernel>
void run_step(const char* label, const ExecutionSpace& space, const Step& step, std::int64_t count, std::int64_t things,
              Kernel* cpu::PredictiveKernels::*kernel) {
  if constexpr (is_host_space<ExecutionSpace>) {
    if (const cpu::Kernels* best = cpu::kernels()) {
      Kernel* const work = best->predict.*kernel;
      cpu::for_each_row_range(label, space, count,
                              [=, &step](std::int64_t first, std::int64_t last) { work(step, first, last); });
      space.fence("seqkv::codec::predict: the step is local");
      return;
    }
  }
  if constexpr (is_host_space<ExecutionSpace> || std::is_void_v<Gpu>) {
    for_each(label, space, count * things, Portable{step});
  } else {
    launch(label, space, Gpu{step});
  }
}

/// Portable{step}(block) for all blocks, or, on a GPU, Gpu{step}.
template <class Portable, class Gpu, class ExecutionSpace, class Step>
void for_each_block(const char* label, const ExecutionSpace& space, const Step& step) {
  if constexpr (is_host_space<ExecutionSpace>) {
    for_each(label, space, step.grid.blocks, Portable{step});
  } else {
    launch(label, space, Gpu{step});
  }
}

}  // namespace seqkv::codec
