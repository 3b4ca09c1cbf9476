// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Longest prefixes of many queries at once.
#pragma once

#include <Kokkos_Core.hpp>
#include <span>

#include "seqkv/device_trie.hpp"

namespace seqkv {

/// Walks every query as far as the trie goes: places[i] is where it starts (a TrieCursor() at the root; one kept from
/// before, to go on with more tokens) and becomes where it ends. Queries may overlap. With `block_tokens` above 1 only
/// whole blocks count: a place ends at a depth that is a multiple of it, or stays where it was.
/// Queries and places are in host memory; fences. Time O(tokens matched + nodes passed * log(children)).
/// Errors: invalid_argument (sizes differ, block_tokens below 1), limit_exceeded (2^32 queries), out_of_memory.
template <class ExecutionSpace>
Result<void> match(const ExecutionSpace& space, const DeviceTrie<ExecutionSpace>& trie,
                   std::span<const TokenSpan> queries, std::span<TrieCursor> places, std::int64_t block_tokens = 1);

/// The same for queries and places in the memory of the space: one kernel, which may run still when this returns.
/// Errors: invalid_argument, limit_exceeded.
template <class ExecutionSpace>
Result<void> match(
    const ExecutionSpace& space, const DeviceTrie<ExecutionSpace>& trie,
    Kokkos::View<const TokenRange*, typename ExecutionSpace::memory_space, Kokkos::MemoryUnmanaged> queries,
    Kokkos::View<TrieCursor*, typename ExecutionSpace::memory_space, Kokkos::MemoryUnmanaged> places,
    std::int64_t block_tokens = 1);

/// The ids of all sessions that begin with the path to `place`, in the order of their tokens. Empty for the trie of no
/// sessions. Precondition: a trie of sessions, and a place in it.
inline std::span<const std::uint64_t> sessions_at(const TrieView& trie, const TrieCursor& place) {
  return {trie.session + place.rank, static_cast<std::size_t>(trie.count(place.node))};
}

}  // namespace seqkv
