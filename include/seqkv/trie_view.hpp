// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// A trie as kernels see it: plain arrays in any memory, and a cursor that walks them.
///
/// Nodes stand in breadth-first order, siblings in the order of their first tokens, so that the children of a node are
/// one range. An edge belongs to the node it leads to: its first token is token[node], the others are
/// label_token[label[node] .. label[node + 1]). Every inner node but the root has two children or is where a sequence
/// ends: unary paths are inside edges (path compression).
#pragma once

#include <cstdint>

#include "seqkv/inline.hpp"
#include "seqkv/kv.hpp"

namespace seqkv {

/// Token ids, in 2 bytes each where all fit, else in 4. Exactly one pointer is set.
struct TokenArray {
  const std::uint16_t* narrow = nullptr;
  const std::uint32_t* wide = nullptr;

  SEQKV_INLINE Token operator[](std::uint64_t i) const { return narrow != nullptr ? Token{narrow[i]} : wide[i]; }
};

/// A query: tokens in the memory of an execution space.
struct TokenRange {
  const Token* tokens;
  std::uint64_t count;
};

/// Offsets and counts, in 4 bytes each where all fit, else in 8. Exactly one pointer is set.
struct IndexArray {
  const std::uint32_t* narrow = nullptr;
  const std::uint64_t* wide = nullptr;

  SEQKV_INLINE std::uint64_t operator[](std::uint64_t i) const {
    return narrow != nullptr ? std::uint64_t{narrow[i]} : wide[i];
  }
};

/// Surprisals, -log2 of probabilities, are counted in 2^-16 bit.
inline constexpr std::uint64_t surprisal_one = 1U << 16U;

struct TrieView {
  static constexpr std::uint64_t root = 0;
  static constexpr std::uint64_t none = ~std::uint64_t{0};

  std::uint64_t nodes = 0;
  TokenArray token;                                ///< [nodes]; that of the root is 0 and means nothing
  TokenArray label_token;                          ///< the other tokens of the edges, node after node
  IndexArray child;                                ///< [nodes + 1] first children
  IndexArray label;                                ///< [nodes + 1] into label_token
  IndexArray below;                                ///< [nodes + 1] sum of the counts of the nodes before
  const std::uint64_t* session = nullptr;          ///< [count(root)] ids in the order of the tokens, or null
  const std::uint32_t* token_surprisal = nullptr;  ///< [nodes] of the first tokens, given all before them; or null
  const std::uint32_t* label_surprisal = nullptr;  ///< as label_token
  const std::uint16_t* weight = nullptr;           ///< [shape.weights] of a token coder (token_coder.hpp), or null

  /// How many sequences have the node's path as a prefix.
  SEQKV_INLINE std::uint64_t count(std::uint64_t node) const { return below[node + 1] - below[node]; }
  SEQKV_INLINE std::uint64_t children(std::uint64_t node) const { return child[node + 1] - child[node]; }
  /// Counts of the children together.
  SEQKV_INLINE std::uint64_t continued(std::uint64_t node) const { return below[child[node + 1]] - below[child[node]]; }
  /// How many sequences end at the node.
  SEQKV_INLINE std::uint64_t ending(std::uint64_t node) const { return count(node) - continued(node); }
  /// Tokens of the edge that leads to the node; 0 for the root.
  SEQKV_INLINE std::uint64_t edge_tokens(std::uint64_t node) const {
    return node == root ? 0 : 1 + label[node + 1] - label[node];
  }
  /// Token i of the node's edge.
  SEQKV_INLINE Token edge_token(std::uint64_t node, std::uint64_t i) const {
    return i == 0 ? token[node] : label_token[label[node] + i - 1];
  }
  SEQKV_INLINE std::uint32_t edge_surprisal(std::uint64_t node, std::uint64_t i) const {
    return i == 0 ? token_surprisal[node] : label_surprisal[label[node] + i - 1];
  }

  /// The child whose edge starts with `wanted`, or none. O(log children), O(1) where the children's tokens are dense.
  SEQKV_INLINE std::uint64_t find_child(std::uint64_t node, Token wanted) const {
    std::uint64_t first = child[node];
    std::uint64_t last = child[node + 1];
    if (first == last) return none;
    // Tokens of siblings are distinct and ascend, so a token is at most as far from either end as its value is.
    const Token low = token[first];
    const Token high = token[last - 1];
    if (wanted < low || wanted > high) return none;
    if (last - first > std::uint64_t{wanted} - low + 1) last = first + (wanted - low) + 1;
    const std::uint64_t end = child[node + 1];
    if (end - first > std::uint64_t{high} - wanted + 1) first = end - (high - wanted) - 1;
    // The token is in [first, first + count) if anywhere. No branch on what is found: it would be mispredicted.
    for (std::uint64_t count = last - first; count > 1;) {
      const std::uint64_t half = count / 2;
      first += half & (0 - static_cast<std::uint64_t>(token[first + half] <= wanted));
      count -= half;
    }
    return token[first] == wanted ? first : none;
  }
};

/// A place in a trie: after `edge` tokens of a node's edge. A cursor can be kept and walked on later.
struct alignas(32) TrieCursor {
  std::uint64_t node = TrieView::root;
  std::uint32_t edge = 0;       ///< tokens of the node's edge on the path; all of them: the place is the node
  std::uint32_t depth = 0;      ///< tokens on the path
  std::uint64_t rank = 0;       ///< of sessions: those before the ones that have the path as a prefix
  std::uint64_t surprisal = 0;  ///< of the path, where the trie records them

  friend bool operator==(const TrieCursor&, const TrieCursor&) = default;

  SEQKV_INLINE bool at_node(const TrieView& trie) const { return edge == trie.edge_tokens(node); }

  /// Goes on by one token; false, and stays, if no sequence does.
  SEQKV_INLINE bool advance(const TrieView& trie, Token next) {
    if (at_node(trie)) {
      const std::uint64_t to = trie.find_child(node, next);
      if (to == TrieView::none) return false;
      if (trie.session != nullptr) rank += trie.ending(node) + trie.below[to] - trie.below[trie.child[node]];
      node = to;
      edge = 0;
    } else if (trie.edge_token(node, edge) != next) {
      return false;
    }
    if (trie.token_surprisal != nullptr) surprisal += trie.edge_surprisal(node, edge);
    ++edge;
    ++depth;
    return true;
  }
};

}  // namespace seqkv
