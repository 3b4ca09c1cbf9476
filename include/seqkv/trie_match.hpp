// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Longest prefixes of many queries at once.
#pragma once

#include <Kokkos_Core.hpp>
#include <span>

#include "seqkv/trie.hpp"

namespace seqkv {

/// A trie in the memory of an execution space; on host spaces that of the Trie itself.
template <class ExecutionSpace>
class DeviceTrie {
 public:
  /// Copies to a device; returns after it is done. Errors: out_of_memory.
  static Result<DeviceTrie> create(const ExecutionSpace& space, const Trie& trie);

  const TrieView& view() const noexcept { return view_; }
  const Trie& host() const noexcept { return host_; }

 private:
  Trie host_;
  Kokkos::View<std::byte*, typename ExecutionSpace::memory_space> memory_;
  TrieView view_;
};

/// Walks every query as far as the trie goes: places[i] is where it starts (a TrieCursor() at the root; one kept from
/// before, to go on with more tokens) and becomes where it ends. Queries may overlap. With `block_tokens` above 1 only
/// whole blocks count: a place ends at a depth that is a multiple of it, or stays where it was.
/// Queries and places are in host memory; fences. Time O(tokens matched + nodes passed * log(children)).
/// Errors: invalid_argument (sizes differ, block_tokens below 1), limit_exceeded (2^32 queries), out_of_memory.
template <class ExecutionSpace>
Result<void> match(const ExecutionSpace& space, const DeviceTrie<ExecutionSpace>& trie,
                   std::span<const TokenSpan> queries, std::span<TrieCursor> places, std::int64_t block_tokens = 1);

/// The ids of all sessions that begin with the path to `place`, in the order of their tokens. Empty for the trie of no
/// sessions. Precondition: a trie of sessions, and a place in it.
inline std::span<const std::uint64_t> sessions_at(const TrieView& trie, const TrieCursor& place) {
  return {trie.session + place.rank, static_cast<std::size_t>(trie.count(place.node))};
}

}  // namespace seqkv
