// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Running a transform on an execution space: with the kernels of this CPU where it is a host, else with the portable
/// one.
#pragma once

#include <Kokkos_Core.hpp>

#include "backends/cpu/launch_transform.hpp"
#include "backends/gpu/transform.hpp"
#include "backends/kokkos/transform.hpp"
#include "core/mirrored.hpp"

namespace seqkv::codec {

template <class ExecutionSpace>
void forward_transform(const ExecutionSpace& space, const ForwardTransform& args) {
  if constexpr (is_host_space<ExecutionSpace>) {
    if (const cpu::Kernels* best = cpu::kernels()) return cpu::forward_transform(*best, space, args);
    kokkos::forward_transform(space, args);
  } else {
    gpu::forward_transform(space, args);
  }
}

template <class ExecutionSpace>
void inverse_transform(const ExecutionSpace& space, const InverseTransform& args) {
  if constexpr (is_host_space<ExecutionSpace>) {
    if (const cpu::Kernels* best = cpu::kernels()) return cpu::inverse_transform(*best, space, args);
    kokkos::inverse_transform(space, args);
  } else {
    gpu::inverse_transform(space, args);
  }
}

}  // namespace seqkv::codec
