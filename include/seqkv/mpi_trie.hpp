// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// A trie of sessions over many ranks (docs/mpi.md): each has the subtrees whose first blocks hash to it.
#pragma once

#include <Kokkos_Core.hpp>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "seqkv/mpi.hpp"
#include "seqkv/trie_match.hpp"

namespace seqkv::mpi {

struct ShardedTrieOptions {
  std::int64_t block_tokens = 16;  ///< prefixes are looked up in whole blocks
  /// Where more sessions go on from a prefix than this part of a rank's even share, all ranks keep the prefix, and what
  /// follows is spread by the block behind it.
  double hot_share = 1.0 / 16;
};

/// The longest prefix of a query.
struct ShardMatch {
  std::uint64_t tokens = 0;     ///< whole blocks
  std::uint64_t sessions = 0;   ///< that begin with it
  std::uint64_t session = 0;    ///< the smallest id of these, if there are any
  std::uint64_t surprisal = 0;  ///< of the prefix, where the trie records it

  friend bool operator==(const ShardMatch&, const ShardMatch&) = default;
};

/// Gives the answers of one trie of all sessions, by whole blocks, for any number of ranks. Functions are collective.
template <class ExecutionSpace>
class ShardedTrie {
 public:
  /// Each rank gives sessions of its own; ids are unique over all. The communicator outlives the trie.
  /// Errors: those of build_session_trie where there are sessions (an id twice is found where both are on one rank),
  /// invalid_argument (options), communication.
  static Result<ShardedTrie> build(const ExecutionSpace& space, const Communicator& communicator,
                                   std::span<const TrieSession> sessions, const ShardedTrieOptions& options = {});
  ShardedTrie(ShardedTrie&&) noexcept;
  ShardedTrie& operator=(ShardedTrie&&) noexcept;
  ~ShardedTrie();

  /// More sessions. Where a rank comes to have much more than the others, all are dealt out anew. Errors: as build.
  Result<void> insert(const ExecutionSpace& space, std::span<const TrieSession> sessions);

  /// Of every rank's own queries the longest prefixes. Queries go to the ranks that know, together, and answers come
  /// back. Errors: out_of_memory, communication.
  Result<std::vector<ShardMatch>> match(const ExecutionSpace& space, std::span<const TokenSpan> queries) const;

  /// A file a rank and one that names them, which is replaced last. Errors: io, disk_full.
  Result<void> save(const std::filesystem::path& folder) const;
  /// On any number of ranks. Errors: file_not_found, corrupt, those of Trie::open and build.
  static Result<ShardedTrie> load(const ExecutionSpace& space, const Communicator& communicator,
                                  const std::filesystem::path& folder, const ShardedTrieOptions& options = {});

  /// The sessions of this rank.
  const Trie& local() const noexcept;
  std::int64_t sessions() const noexcept;      ///< of all ranks
  std::int64_t hot_prefixes() const noexcept;  ///< that all ranks keep
  /// Which rank has the sessions that begin with a query's first blocks; needs no other rank.
  int owner(TokenSpan query) const;

  struct State;

 private:
  explicit ShardedTrie(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace seqkv::mpi
