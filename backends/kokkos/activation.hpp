// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// SwiGLU's gate (Shazeer, arXiv 2002.05202), portable.
#pragma once

#include <Kokkos_Core.hpp>

#include "core/detmath.hpp"
#include "model/kernels.hpp"

namespace seqkv::kokkos {

struct GatedElement {
  kernels::GatedActivation args;
  KOKKOS_FUNCTION void operator()(const std::int64_t at) const {
    const std::int64_t m = at / args.width;
    const std::int64_t i = at % args.width;
    float gate = args.gate_up[m * args.ldg + i];
    float up = args.gate_up[m * args.ldg + args.width + i];
    if (args.bias != nullptr) {
      gate += args.bias[i];
      up += args.bias[args.width + i];
    }
    args.act[m * args.lda + i] = detmath::silu(gate) * up;
  }
};

template <class ExecutionSpace>
void gated_activation(const ExecutionSpace& space, const kernels::GatedActivation& args) {
  using Policy = Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<std::int64_t>>;
  Kokkos::parallel_for("seqkv::model::gated_activation", Policy(space, 0, args.rows * args.width), GatedElement{args});
}

}  // namespace seqkv::kokkos
