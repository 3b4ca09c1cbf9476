// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Where the host's part of a parallel call runs.
#pragma once

#include <Kokkos_Core.hpp>
#include <atomic>
#include <cstdint>
#include <new>
#include <type_traits>

#include "core/mirrored.hpp"

namespace seqkv {

/// The space of the call itself if it is one of the host: two calls on spaces of their own do not meet. Else the
/// default space of the host.
template <class ExecutionSpace>
using HostPart = std::conditional_t<is_host_space<ExecutionSpace>, ExecutionSpace, Kokkos::DefaultHostExecutionSpace>;

/// [0, count) for a parallel_for over host memory, which is done when it returns.
template <class ExecutionSpace>
auto host_range(const ExecutionSpace& space, std::int64_t count) {
  using Range = Kokkos::RangePolicy<HostPart<ExecutionSpace>, Kokkos::IndexType<std::int64_t>>;
  if constexpr (is_host_space<ExecutionSpace>) {
    return Range(space, 0, count);
  } else {
    return Range(Kokkos::DefaultHostExecutionSpace(), 0, count);
  }
}

/// Work for every index, where it may run out of memory: an exception must not leave a parallel region.
template <class Range, class Work>
void for_each_allocating(const char* label, const Range& range, const Work& work) {
  std::atomic<bool> memory_is_short{false};
  Kokkos::parallel_for(label, range, [&](std::int64_t i) {
    try {
      work(i);
    } catch (const std::bad_alloc&) {
      memory_is_short = true;
    }
  });
  if (memory_is_short) throw std::bad_alloc();
}

}  // namespace seqkv
