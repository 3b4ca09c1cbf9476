// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// How a transfer uses the cores and the memory that it is given.
#pragma once

#include <Kokkos_Core.hpp>
#include <algorithm>
#include <functional>
#include <memory>
#include <vector>

#include "codec/batch.hpp"
#include "codec/lanes.hpp"
#include "core/host_range.hpp"
#include "core/try.hpp"
#include "seqkv/cores.hpp"

namespace seqkv::codec {

/// Where a thread of oneTBB runs kernels of Kokkos beside others: an instance of Kokkos::Serial of its own, since
/// kernels of one instance wait for each other. Kokkos may have been built without, or for one thread alone.
#if defined(KOKKOS_ENABLE_SERIAL) && !defined(KOKKOS_ENABLE_ATOMICS_BYPASS)
inline constexpr bool has_lone_threads = true;
inline Kokkos::Serial lone_thread() { return Kokkos::Serial(Kokkos::NewInstance{}); }
#else
inline constexpr bool has_lone_threads = false;
inline Kokkos::DefaultHostExecutionSpace lone_thread() { return {}; }
#endif

/// What is given, and what of it a transfer can use.
struct Means {
  int cores;
  std::int64_t memory;
  bool overlap;

  explicit Means(const TransferOptions& options)
      : cores(options.cores > 0 ? options.cores : available_cores()),
        memory(options.memory > 0 ? options.memory : transfer_memory_per_core * cores),
        overlap(options.overlap && cpu::pipeline_overlaps()) {}

  /// Lanes of so many bytes, up to `wanted`.
  int lanes(std::int64_t bytes, std::int64_t wanted) const {
    return static_cast<int>(std::clamp<std::int64_t>(memory / std::max<std::int64_t>(bytes, 1), 1, wanted));
  }
};

/// With `count` lanes: `first`, and more of its kind that make() gives.
template <class Lane, class Make>
Result<TransferReport> run_lanes(std::unique_ptr<Lane> first, int count, const Make& make, const Division& division,
                                 const TransferOptions& options, const std::function<void(const Item&)>& progress) {
  std::vector<std::unique_ptr<Lane>> lanes;
  lanes.push_back(std::move(first));
  while (static_cast<int>(lanes.size()) < count) {
    SEQKV_ASSIGN(auto lane, make());
    lanes.push_back(std::move(lane));
  }
  return Lanes<Lane>(std::move(lanes), division, options, progress).run();
}

/// On hosts every core takes a block of its own, as long as there are blocks and memory for more than half of the
/// cores. Else all threads of `space`, or a device, work on a few blocks together, if there is memory for that; what a
/// device codes, reading and writing overlap with. `make(space, blocks)` gives a lane, a std::unique_ptr in a Result,
/// for items of so many blocks.
template <class Space, class Make>
Result<TransferReport> run_transfer(const Space& space, const KvShape& shape, std::int64_t block_tokens,
                                    std::int64_t blocks, const TransferOptions& options, const Make& make,
                                    const std::function<void(const Item&)>& progress) {
  const Means means(options);
  if constexpr (is_host_space<Space> && has_lone_threads) {
    const auto make_lane = [&make]() { return make(lone_thread(), 1); };
    SEQKV_ASSIGN(auto first, make_lane());
    // A few more than cores, for blocks that wait to be written; every lane more is memory that leaves the caches.
    const int wanted = means.cores == 1 ? 1 : means.cores + std::max(1, means.cores / 4);
    const int lanes = means.lanes(first->bytes(), std::min<std::int64_t>(wanted, blocks));
    bool alone = means.cores == 1 || (means.overlap && 2 * lanes > means.cores);
    if (!alone) {
      SEQKV_ASSIGN(const auto with_all_threads, make(space, 1));
      alone = with_all_threads->bytes() > means.memory;
    }
    if (alone) return run_lanes(std::move(first), lanes, make_lane, {blocks, 1, means.cores, false}, options, progress);
  }
  std::int64_t together = std::min(blocks_per_batch(space, shape, block_tokens), blocks);
  SEQKV_ASSIGN(auto first, make(space, together));
  if (together > 1 && first->bytes() > means.memory) {
    together = std::max<std::int64_t>(1, together * means.memory / first->bytes());
    SEQKV_ASSIGN(first, make(space, together));
  }
  constexpr bool on_device = !is_host_space<Space>;
  const int stages = on_device && means.overlap ? 3 : 1;
  const int threads = on_device ? std::min(means.cores, stages) : space.concurrency();
  const int lanes = means.lanes(first->bytes(), stages);
  const auto make_lane = [&]() { return make(space, together); };
  return run_lanes(std::move(first), lanes, make_lane, {blocks, together, threads, true}, options, progress);
}

}  // namespace seqkv::codec
