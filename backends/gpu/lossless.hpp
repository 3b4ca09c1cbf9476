// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Runs the exact codec of bf16 on a GPU; the portable kernel (backends/kokkos/lossless.hpp) codes the other dtypes.
#pragma once

#include <Kokkos_Core.hpp>
#include <algorithm>
#include <type_traits>

#include "backends/gpu/decode_lossless.hpp"
#include "backends/gpu/encode_lossless.hpp"
#include "core/mirrored.hpp"

namespace seqkv::gpu {

/// Whether 8 lanes can take 4 values each, and words of a stream, at once.
inline bool fits_lossless(const codec::Task& task) {
  return task.subblock.dtype == DType::bf16 && reinterpret_cast<std::uintptr_t>(task.values) % 8 == 0 &&
         is_even(task.coded) && task.subblock.tokens * task.subblock.dim % rans::group == 0;
}

/// False, having done nothing, where the portable kernel must do the work.
template <bool Decodes, class ExecutionSpace>
bool run_tasks(const ExecutionSpace& space, const kokkos::Lossless&, const codec::Subblock&,
               const Mirrored<ExecutionSpace, codec::Task>& list, std::int64_t count) {
  using Kernel = std::conditional_t<Decodes, DecodeLossless<ExecutionSpace>, EncodeLossless<ExecutionSpace>>;
  if (!std::all_of(list.host(), list.host() + count, fits_lossless)) return false;
  typename Kernel::Policy policy(space, static_cast<int>(count), lossless_team);
  policy.set_scratch_size(0, Kokkos::PerTeam(static_cast<int>(Kernel::team_bytes + 64)));
  Kokkos::parallel_for(Decodes ? "seqkv::codec::decode" : "seqkv::codec::encode", policy, Kernel{list.device()});
  return true;
}

}  // namespace seqkv::gpu
