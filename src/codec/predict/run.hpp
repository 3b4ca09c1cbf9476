// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Running the steps of predictive coding on an execution space: with the kernels of this CPU where it is a host, else
/// with the portable ones.
#pragma once

#include <Kokkos_Core.hpp>

#include "backends/cpu/launch.hpp"
#include "core/mirrored.hpp"

namespace seqkv::codec {

template <class ExecutionSpace, class Functor>
void for_each(const char* label, const ExecutionSpace& space, std::int64_t count, const Functor& functor) {
  using Policy = Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<std::int64_t>>;
  Kokkos::parallel_for(label, Policy(space, 0, count), functor);
}

/// Functor{step}(i) for all of `count * things` portably, or ranges of `count` by the kernel of this CPU.
template <class Functor, class ExecutionSpace, class Step, class Kernel>
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
  for_each(label, space, count * things, Functor{step});
}

}  // namespace seqkv::codec
