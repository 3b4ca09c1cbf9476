// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Runs codecs' kernels for GPUs.
#pragma once

#include "backends/gpu/lossless.hpp"
#include "backends/gpu/turboquant.hpp"

namespace seqkv::gpu {

/// False, having done nothing, where the portable kernel must do the work: for codecs without one of their own.
template <bool Decodes, class ExecutionSpace, class Kernel>
bool run_tasks(const ExecutionSpace&, const Kernel&, const codec::Subblock&,
               const Mirrored<ExecutionSpace, codec::Task>&, std::int64_t) {
  return false;
}

}  // namespace seqkv::gpu
