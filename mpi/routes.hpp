// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Where a sequence belongs: the hot prefixes, which all ranks know, and the hash of the block behind them.
#pragma once

#include <algorithm>
#include <unordered_map>
#include <vector>

#include "seqkv/hash.hpp"
#include "seqkv/mpi.hpp"
#include "seqkv/mpi_trie.hpp"

namespace seqkv::mpi {

/// What all ranks know of a hot prefix.
struct HotPrefix {
  std::uint32_t parent = 0;
  std::uint32_t blocks = 0;  ///< its length
  std::uint64_t hash = 0;    ///< of all its tokens, block by block
  ShardMatch answer;         ///< to a query that ends, or parts, behind it
};

/// Prefix 0 is the empty one.
class Routes {
 public:
  Routes(std::int64_t block_tokens, int ranks);

  struct Route {
    std::uint32_t hot = 0;  ///< the longest hot prefix
    int owner = 0;
    bool goes_on = false;  ///< whether another whole block follows: if not, the answer is known
  };
  Route route(TokenSpan tokens) const {
    Route route;
    const auto step = static_cast<std::size_t>(block_tokens_);
    std::uint64_t hash = root_hash;
    for (std::size_t at = 0;; at += step) {
      const TokenSpan block = tokens.subspan(at, std::min(step, tokens.size() - at));
      hash = xxh3_64(std::as_bytes(block), hash);
      route.goes_on = block.size() == step;
      route.owner = static_cast<int>((hash >> 32U) * static_cast<std::uint64_t>(ranks_) >> 32U);
      if (!route.goes_on || table_.empty()) return route;
      const auto child = table_.find(hash);
      if (child == table_.end() || prefixes_[child->second].parent != route.hot ||
          !std::ranges::equal(block, block_of(child->second))) {
        return route;
      }
      route.hot = child->second;
    }
  }

  std::vector<HotPrefix>& prefixes() noexcept { return prefixes_; }
  const std::vector<HotPrefix>& prefixes() const noexcept { return prefixes_; }
  /// The tokens of a prefix, from the first on.
  std::vector<Token> tokens_of(std::uint32_t prefix) const;

  /// Collective: finds the hot prefixes of the sessions of all ranks; more than `most` sessions go on from each.
  Result<void> find_hot(const Communicator& communicator, std::span<const TrieSession> sessions, std::int64_t most);

 private:
  static constexpr std::uint64_t root_hash = 0x5e9c0;
  TokenSpan block_of(std::uint32_t prefix) const {
    return TokenSpan(blocks_).subspan(static_cast<std::size_t>(prefix) * static_cast<std::size_t>(block_tokens_),
                                      static_cast<std::size_t>(block_tokens_));
  }
  void add(std::uint32_t parent, TokenSpan block);
  Result<bool> find_level(const Communicator& communicator, std::span<const TrieSession> sessions,
                          std::vector<std::uint32_t>& at, std::int64_t most);

  std::int64_t block_tokens_;
  int ranks_;
  std::vector<HotPrefix> prefixes_;
  std::vector<Token> blocks_;                               ///< the last block of each prefix; zeros for the empty one
  std::unordered_map<std::uint64_t, std::uint32_t> table_;  ///< by hash
};

/// The sessions of a trie with their tokens, in their order.
struct ListedSessions {
  std::vector<Token> tokens;
  std::vector<std::uint32_t> surprisals;
  std::vector<std::size_t> ends;
  std::vector<std::uint64_t> ids;

  std::vector<TrieSession> views() const;
};
ListedSessions list_sessions(const Trie& trie);

}  // namespace seqkv::mpi
