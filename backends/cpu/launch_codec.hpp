// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Runs codecs' CPU kernels in parallel on a Kokkos host space. Each function returns false, having done nothing, where
/// the portable kernel must do the work.
#pragma once

#include <Kokkos_Core.hpp>
#include <algorithm>
#include <numeric>

#include "backends/cpu/launch.hpp"
#include "backends/kokkos/lossless.hpp"
#include "backends/kokkos/turboquant.hpp"

namespace seqkv::cpu {

/// Sub-blocks of so many heads that their streams fill the registers of the rANS kernels evenly, if that is not too
/// much for the cache of a core.
inline std::int64_t lossless_group(const Kernels& kernels, const codec::Subblock& largest) {
  const std::int64_t streams = kernels.rans_streams;
  constexpr std::int64_t most_values = 1 << 19;
  const std::int64_t even = streams / std::gcd(streams, largest.heads);
  const std::int64_t fitting = std::max<std::int64_t>(1, most_values / largest.values());
  return std::min(even, std::max(fitting, (streams + largest.heads - 1) / largest.heads));
}

/// Calls code(tasks, count, memory) for groups of tasks, threads taking them one by one.
template <class ExecutionSpace>
void for_each_group(const char* label, const ExecutionSpace& space, const Kernels& kernels,
                    const codec::Subblock& largest, codec::Task* tasks, std::int64_t count,
                    void (*code)(codec::Task*, std::int64_t, std::byte*)) {
  using Policy = Kokkos::TeamPolicy<ExecutionSpace, Kokkos::Schedule<Kokkos::Dynamic>>;
  constexpr std::size_t alignment = 64;
  // Fewer where there are too few tasks for all threads.
  const std::int64_t a_thread = (count + space.concurrency() - 1) / space.concurrency();
  const std::int64_t group = std::min(lossless_group(kernels, largest), a_thread);
  const auto memory =
      static_cast<std::size_t>(kernels.lossless_memory(group, group * largest.heads, group * largest.values()));
  Policy policy(space, static_cast<int>((count + group - 1) / group), 1);
  policy.set_scratch_size(1, Kokkos::PerTeam(static_cast<int>(memory + alignment)));
  Kokkos::parallel_for(label, policy, [=](const typename Policy::member_type& team) {
    const std::int64_t first = team.league_rank() * group;
    code(tasks + first, std::min(group, count - first),
         static_cast<std::byte*>(team.team_scratch(1).get_shmem_aligned(memory, alignment)));
  });
}

template <class ExecutionSpace>
bool encode(const Kernels& kernels, const ExecutionSpace& space, const kokkos::Lossless&,
            const codec::Subblock& largest, codec::Task* tasks, std::int64_t count) {
  for_each_group("seqkv::codec::encode", space, kernels, largest, tasks, count, kernels.lossless_encode.best());
  return true;
}

template <class ExecutionSpace>
bool decode(const Kernels& kernels, const ExecutionSpace& space, const kokkos::Lossless&,
            const codec::Subblock& largest, codec::Task* tasks, std::int64_t count) {
  for_each_group("seqkv::codec::decode", space, kernels, largest, tasks, count, kernels.lossless_decode.best());
  return true;
}

/// Rows of other sizes do not fill vectors; models hardly have them.
inline bool has_kernels(const codec::TurboQuant& codec) { return codec.rotation.dim % 16 == 0; }

template <class ExecutionSpace>
bool encode(const Kernels& kernels, const ExecutionSpace& space, const kokkos::TurboQuant& codec,
            const codec::Subblock&, codec::Task* tasks, std::int64_t count) {
  if (!has_kernels(codec)) return false;
  for_each_piece("seqkv::codec::encode", space, count,
                 [=, &kernels](std::int64_t i) { kernels.turboquant_encode(codec, tasks[i]); });
  return true;
}

template <class ExecutionSpace>
bool decode(const Kernels& kernels, const ExecutionSpace& space, const kokkos::TurboQuant& codec,
            const codec::Subblock&, codec::Task* tasks, std::int64_t count) {
  if (!has_kernels(codec)) return false;
  for_each_piece("seqkv::codec::decode", space, count,
                 [=, &kernels](std::int64_t i) { kernels.turboquant_decode(codec, tasks[i]); });
  return true;
}

template <class ExecutionSpace, class Kernel>
bool encode(const Kernels&, const ExecutionSpace&, const Kernel&, const codec::Subblock&, codec::Task*, std::int64_t) {
  return false;
}
template <class ExecutionSpace, class Kernel>
bool decode(const Kernels&, const ExecutionSpace&, const Kernel&, const codec::Subblock&, codec::Task*, std::int64_t) {
  return false;
}

}  // namespace seqkv::cpu
