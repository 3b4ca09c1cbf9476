// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Running a codec's kernel over the sub-blocks of several blocks at once.
#pragma once

#include <Kokkos_Core.hpp>
#include <algorithm>
#include <vector>

#include "backends/cpu/launch_codec.hpp"
#include "backends/gpu/launch_codec.hpp"
#include "codec/block.hpp"
#include "codec/subblock.hpp"
#include "core/bytes.hpp"
#include "core/mirrored.hpp"
#include "seqkv/codec.hpp"

namespace seqkv::codec {

template <class ExecutionSpace>
using Tasks = Mirrored<ExecutionSpace, Task>;

/// Blocks whose sub-blocks keep every thread of a space busy.
template <class ExecutionSpace>
std::int64_t blocks_for_all_threads(const ExecutionSpace& space, const KvShape& shape) {
  return divide_up<std::int64_t>(8 * space.concurrency(), 2 * shape.layers);
}

/// The same, bounded in memory.
template <class ExecutionSpace>
std::int64_t blocks_per_batch(const ExecutionSpace& space, const KvShape& shape, std::int64_t block_tokens) {
  constexpr std::int64_t most_bytes = 256LL << 20;
  const std::int64_t bytes = 2 * shape.layers * raw_bytes(shape, block_tokens);
  return std::clamp<std::int64_t>(blocks_for_all_threads(space, shape), 1,
                                  std::max<std::int64_t>(1, most_bytes / bytes));
}

/// How many of `all` sub-blocks to code in one call of a kernel. One thread takes as few as fill its registers: what it
/// has gathered or decoded is still in its cache when it is coded or hashed. Several threads, and devices, take all.
template <class ExecutionSpace>
std::int64_t subblocks_together(const ExecutionSpace& space, const Subblock& largest, std::int64_t all) {
  if constexpr (is_host_space<ExecutionSpace>) {
    if (space.concurrency() > 1) return all;
    constexpr std::int64_t cached_values = 1 << 19;
    const cpu::Kernels* best = cpu::kernels();
    const std::int64_t group = best == nullptr ? 1 : cpu::lossless_group(*best, largest);
    return std::min(all, group * std::max<std::int64_t>(1, cached_values / (group * largest.values())));
  }
  return all;
}

/// One team a task, threads taking tasks one by one.
template <class ExecutionSpace>
using TaskPolicy = Kokkos::TeamPolicy<ExecutionSpace, Kokkos::Schedule<Kokkos::Dynamic>>;

template <class ExecutionSpace, class Kernel>
TaskPolicy<ExecutionSpace> policy_for(const ExecutionSpace& space, const Kernel& kernel, const Subblock& largest,
                                      std::int64_t tasks) {
  TaskPolicy<ExecutionSpace> policy(space, static_cast<int>(tasks), Kokkos::AUTO);
  policy.set_scratch_size(1, Kokkos::PerTeam(static_cast<int>(kernel.scratch_bytes(largest) + 64)));
  return policy;
}

// Functors, not lambdas: several sources run them, and nvcc keeps what it needs to copy an extended lambda of a
// template apart for each source, while the linker keeps one copy of the code that asks for it.
template <class ExecutionSpace, class Kernel>
struct EncodeTask {
  using Team = typename TaskPolicy<ExecutionSpace>::member_type;
  Kernel kernel;
  Task* tasks;
  std::int64_t scratch_bytes;

  KOKKOS_FUNCTION void operator()(const Team& team) const {
    Task& task = tasks[team.league_rank()];
    auto* scratch = static_cast<std::byte*>(team.team_scratch(1).get_shmem_aligned(scratch_bytes, 8));
    const std::int64_t written = kernel.encode(team, task.subblock, task.number, task.values, task.coded, scratch);
    Kokkos::single(Kokkos::PerTeam(team), [&]() { task.bytes = written; });
  }
};

template <class ExecutionSpace, class Kernel>
struct DecodeTask {
  using Team = typename TaskPolicy<ExecutionSpace>::member_type;
  Kernel kernel;
  Task* tasks;
  std::int64_t scratch_bytes;

  KOKKOS_FUNCTION void operator()(const Team& team) const {
    Task& task = tasks[team.league_rank()];
    if (task.raw) {
      Kokkos::parallel_for(Kokkos::TeamThreadRange(team, task.bytes),
                           [&](const std::int64_t i) { task.values[i] = task.coded[i]; });
      return;
    }
    auto* scratch = static_cast<std::byte*>(team.team_scratch(1).get_shmem_aligned(scratch_bytes, 8));
    const bool good = kernel.decode(team, task.subblock, task.number, task.coded, task.bytes, task.values, scratch);
    Kokkos::single(Kokkos::PerTeam(team), [&]() {
      if (!good) task.bytes = not_codable;
    });
  }
};

/// With the portable kernel.
template <class ExecutionSpace, class Kernel>
void encode_tasks_portably(const ExecutionSpace& space, const Kernel& kernel, const Subblock& largest,
                           const Tasks<ExecutionSpace>& list, std::int64_t count) {
  Kokkos::parallel_for("seqkv::codec::encode", policy_for(space, kernel, largest, count),
                       EncodeTask<ExecutionSpace, Kernel>{kernel, list.device(),
                                                          static_cast<std::int64_t>(kernel.scratch_bytes(largest))});
}

template <class ExecutionSpace, class Kernel>
void decode_tasks_portably(const ExecutionSpace& space, const Kernel& kernel, const Subblock& largest,
                           const Tasks<ExecutionSpace>& list, std::int64_t count) {
  Kokkos::parallel_for("seqkv::codec::decode", policy_for(space, kernel, largest, count),
                       DecodeTask<ExecutionSpace, Kernel>{kernel, list.device(),
                                                          static_cast<std::int64_t>(kernel.scratch_bytes(largest))});
}

/// With the kernels of this CPU, or of GPUs, where they fit, else with the portable one; the same bytes.
template <class ExecutionSpace, class Kernel>
void encode_tasks(const ExecutionSpace& space, const Kernel& kernel, const Subblock& largest,
                  const Tasks<ExecutionSpace>& list, std::int64_t count) {
  if constexpr (is_host_space<ExecutionSpace>) {
    const cpu::Kernels* best = cpu::kernels();
    if (best != nullptr && cpu::encode(*best, space, kernel, largest, list.host(), count)) return;
  } else {
    if (gpu::run_tasks<false>(space, kernel, largest, list, count)) return;
  }
  encode_tasks_portably(space, kernel, largest, list, count);
}

/// Sets task.bytes to not_codable where the payload is broken.
template <class ExecutionSpace, class Kernel>
void decode_tasks(const ExecutionSpace& space, const Kernel& kernel, const Subblock& largest,
                  const Tasks<ExecutionSpace>& list, std::int64_t count) {
  if constexpr (is_host_space<ExecutionSpace>) {
    const cpu::Kernels* best = cpu::kernels();
    if (best != nullptr && cpu::decode(*best, space, kernel, largest, list.host(), count)) return;
  } else {
    if (gpu::run_tasks<true>(space, kernel, largest, list, count)) return;
  }
  decode_tasks_portably(space, kernel, largest, list, count);
}

}  // namespace seqkv::codec
