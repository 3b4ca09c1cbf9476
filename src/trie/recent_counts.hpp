// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The counts of a block's tokens so far, for the token coder: a trie that grows with every token.
///
/// Its nodes are contexts, its children the tokens that followed, with shares as in window_counts.hpp. Everything lies
/// in two arrays that keep their memory from block to block; nothing is allocated for a token but by their growth.
#pragma once

#include <cstdint>
#include <vector>

#include "seqkv/kv.hpp"

namespace seqkv::trie {

class RecentCounts {
 public:
  static constexpr std::uint32_t root = 0;
  static constexpr std::uint32_t none = 0;  ///< a slot; the first is not used

  struct Node {
    std::uint32_t total = 0;    ///< T, of the shares
    std::uint32_t variety = 0;  ///< Q, children with a share
    std::uint32_t size = 0;     ///< all children
    std::uint32_t first = 0;    ///< few children: the first of their slots; many: the top of their tree
    Token last = no_token;      ///< seen here
    std::uint32_t run = 0;      ///< how often it was so before in a row

    std::uint64_t count() const { return (std::uint64_t{total} + variety) / 2; }
    bool has_tree() const { return size > most_in_a_row; }
  };

  /// A child. Few children are slots in the order of their tokens. Many are the leaves of a binary tree over the bits
  /// of the token, the highest first; then the inner slots have two links, and the sum of the shares on the left.
  struct Slot {
    std::uint32_t token_or_left = 0;
    std::uint32_t share = 0;
    std::uint32_t child_or_right = 0;
  };

  explicit RecentCounts(int token_bits) : token_bits_(token_bits) { clear(); }

  void clear();
  const Node& node(std::uint32_t id) const { return nodes_[id]; }
  const Slot& slot(std::uint32_t id) const { return slots_[id]; }
  /// All children of all nodes.
  std::uint64_t children() const { return children_; }

  /// The slot of a child, or none; `before` is the sum of the shares of smaller tokens.
  std::uint32_t find(const Node& node, Token token, std::uint64_t& before) const;
  /// A new child, without a share; if `inner`, a node of its own. Its slot.
  std::uint32_t insert(std::uint32_t node, Token token, bool inner);
  /// One more in the count of a child.
  void count(std::uint32_t node, std::uint32_t slot, Token token);
  void see(std::uint32_t node, Token token);

 private:
  static constexpr Token no_token = ~Token{0};
  static constexpr std::uint32_t most_in_a_row = 16;

  std::uint32_t take_slots(std::uint32_t count);
  std::uint32_t insert_in_row(Node& node, const Slot& child);
  std::uint32_t insert_in_tree(std::uint32_t top, const Slot& child);
  void turn_into_tree(Node& node);
  void add_to_tree(std::uint32_t top, Token token, std::uint32_t share);

  int token_bits_;
  std::uint64_t children_ = 0;
  std::vector<Node> nodes_;
  std::vector<Slot> slots_;
};

}  // namespace seqkv::trie
