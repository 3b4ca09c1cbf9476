// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// What a rank knows of a sharded trie.
#pragma once

#include <utility>
#include <vector>

#include "mpi/routes.hpp"
#include "seqkv/mpi_trie.hpp"

namespace seqkv::mpi {

template <class ExecutionSpace>
struct ShardedTrie<ExecutionSpace>::State {
  State(const Communicator& of, const ShardedTrieOptions& with)
      : communicator(of), options(with), routes(with.block_tokens, of.size()) {}

  static constexpr std::uint64_t sign = 1ULL << 63U;  ///< ids are compared as signed numbers between ranks
  /// Queries of a round: what is on its way stays in the caches.
  static constexpr std::size_t round_queries = 1U << 16U;

  const Communicator& communicator;
  ShardedTrieOptions options;
  Routes routes;
  Trie own;                         ///< of this rank
  DeviceTrie<ExecutionSpace> trie;  ///< the same
  std::int64_t total = 0;
  std::int64_t fullest = 0;                ///< sessions of the rank that has the most
  Token largest_token = 0;                 ///< of all ranks
  std::vector<std::uint64_t> smallest_id;  ///< of each node
  struct Start {
    bool here = false;
    TrieCursor place;
  };
  std::vector<Start> starts;  ///< of each hot prefix in the trie of this rank

  Result<void> build(const ExecutionSpace& space, std::span<const TrieSession> sessions);
  Result<void> settle(const ExecutionSpace& space, Trie of_this_rank);
  void fill_smallest_ids();

  /// A round of queries, and what this rank says to those of others. `memory` is used again by the next round.
  struct Round;
  Result<void> ask(const ExecutionSpace& space, std::span<const TokenSpan> queries, std::span<ShardMatch> answers,
                   Round& memory) const;
  Result<void> answer(const ExecutionSpace& space, Round& memory, bool narrow) const;
  Result<void> match_all(const ExecutionSpace& space, Round& memory) const;
};

}  // namespace seqkv::mpi
