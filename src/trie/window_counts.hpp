// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// What a trie of windows says about the token that follows a context, for the token coder.
///
/// A window of D tokens, the depth limit, counts as often as it occurs; a shorter one as often as there are different
/// tokens directly to its left (continuation counts, Kneser and Ney 1995): where the mixture falls back on a shorter
/// context, the longer one was not seen, and then it matters in how many contexts a token was seen, not how often.
/// Of a count u, the discounted share is 2 u - 1, or 0 of 0.
#pragma once

#include <cstdint>
#include <vector>

#include "core/host_memory.hpp"
#include "seqkv/result.hpp"
#include "seqkv/trie.hpp"

namespace seqkv::trie {

class WindowCounts {
 public:
  /// The class (class_of) of a context that says nothing.
  static constexpr std::uint8_t silent = 255;

  /// Errors: invalid_argument (a trie of sessions), corrupt (not the windows of any sequences), limit_exceeded.
  static Result<WindowCounts> derive(const Trie& trie);

  const TrieView& trie() const { return trie_.view(); }
  unsigned depth() const { return trie_.shape().depth_limit; }
  /// Shares of the first tokens of all nodes before this one.
  std::uint64_t before(std::uint64_t node) const { return before_[node]; }
  /// The class of a node, by its children.
  std::uint8_t node_class(std::uint64_t node) const { return node_class_[node]; }
  /// The class of a place inside of a node's edge, `length` tokens below the root: it has one child.
  std::uint8_t edge_class(std::uint64_t node, unsigned length) const;

 private:
  explicit WindowCounts(const Trie& trie) : trie_(trie) {}
  Result<std::vector<std::uint32_t>> count_left_neighbors();
  Result<void> set_shares(const std::vector<std::uint32_t>& left);
  void set_classes(const std::vector<std::uint32_t>& left);

  Trie trie_;
  std::vector<std::uint8_t> depth_;  ///< of each node
  IndexArray before_;                ///< [nodes + 1]
  HostArray<std::uint32_t> narrow_;  ///< what before_ points to: this ...
  HostArray<std::uint64_t> wide_;    ///< ... or this
  std::vector<std::uint8_t> node_class_;
  std::vector<std::uint8_t> edge_class_;  ///< of its places above the depth limit
};

}  // namespace seqkv::trie
