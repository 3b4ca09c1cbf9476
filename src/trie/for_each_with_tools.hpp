// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Work on items one by one, each thread with tools of its own that it uses again.
#pragma once

#include <Kokkos_Core.hpp>
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <new>
#include <string>
#include <type_traits>

#include "core/mirrored.hpp"

namespace seqkv::trie {

/// Where host code runs for calls on a space.
template <class ExecutionSpace>
using HostSpaceOf =
    std::conditional_t<is_host_space<ExecutionSpace>, ExecutionSpace, Kokkos::DefaultHostExecutionSpace>;

/// `work(tools, i)` of every i below `count`, with `make_tools()` of the thread that takes it; fences. Throws
/// std::bad_alloc where one of them did; other exceptions must not leave them.
template <class ExecutionSpace, class MakeTools, class Work>
void for_each_with_tools(const ExecutionSpace& space, const std::string& label, std::uint64_t count,
                         const MakeTools& make_tools, const Work& work) {
  using Host = HostSpaceOf<ExecutionSpace>;
  Host host;
  if constexpr (is_host_space<ExecutionSpace>) host = space;
  std::atomic<std::uint64_t> next = 0;
  std::atomic<bool> short_of_memory = false;
  const auto threads = std::min(count, static_cast<std::uint64_t>(std::max(1, host.concurrency())));
  Kokkos::parallel_for(
      label, Kokkos::RangePolicy<Host, Kokkos::Schedule<Kokkos::Dynamic>>(host, 0, threads, Kokkos::ChunkSize(1)),
      [&](std::uint64_t) {
        try {
          auto tools = make_tools();
          for (std::uint64_t i = next++; i < count && !short_of_memory; i = next++) work(tools, i);
        } catch (const std::bad_alloc&) {
          short_of_memory = true;
        }
      });
  host.fence(label + ": the results are the caller's");
  if (short_of_memory) throw std::bad_alloc();
}

}  // namespace seqkv::trie
