// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Sequences for tries, and a trie as one would write it on a slate: the oracle of the tests.
#pragma once

#include <gtest/gtest.h>
#include <algorithm>

#include <map>
#include <random>
#include <string>
#include <vector>

#include "seqkv/trie.hpp"

namespace seqkv::test {

using Sequences = std::vector<std::vector<Token>>;

inline std::vector<TokenSpan> spans_of(const Sequences& sequences) { return {sequences.begin(), sequences.end()}; }

/// Sequences of 1 to `longest` tokens that repeat themselves and each other: few tokens, and starts taken from others.
inline Sequences similar_sequences(std::size_t count, std::size_t longest, Token vocabulary, unsigned seed) {
  std::mt19937 random(seed);
  Sequences all;
  for (std::size_t i = 0; i < count; ++i) {
    std::vector<Token> tokens;
    const std::size_t length = 1 + random() % longest;
    if (!all.empty() && random() % 3 != 0) {
      const auto& other = all[random() % all.size()];
      tokens.assign(other.begin(), other.begin() + static_cast<std::ptrdiff_t>(random() % (other.size() + 1)));
    }
    while (tokens.size() < length) tokens.push_back(random() % 4 == 0 ? random() % vocabulary : random() % 3);
    all.push_back(std::move(tokens));
  }
  return all;
}

/// One node a token.
struct PlainTrie {
  std::map<Token, PlainTrie> children;
  std::uint64_t count = 0;
  std::uint64_t ending = 0;

  void add(TokenSpan tokens) {
    PlainTrie* at = this;
    ++at->count;
    for (const Token token : tokens) {
      at = &at->children[token];
      ++at->count;
    }
    ++at->ending;
  }
};

inline PlainTrie plain_windows(const Sequences& sequences, std::size_t depth) {
  PlainTrie trie;
  for (const auto& tokens : sequences) {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      trie.add(TokenSpan(tokens).subspan(i, std::min(depth, tokens.size() - i)));
    }
  }
  return trie;
}

inline PlainTrie plain_sessions(const Sequences& sequences) {
  PlainTrie trie;
  for (const auto& tokens : sequences) trie.add(tokens);
  return trie;
}

/// With their places as ids.
inline std::vector<TrieSession> sessions_of(const Sequences& sequences, std::uint64_t first_id = 0) {
  std::vector<TrieSession> sessions;
  for (const auto& tokens : sequences) sessions.push_back({tokens, first_id++, {}});
  return sessions;
}

/// Numbers that depend on the tokens so far, as a language model's do.
inline std::vector<std::uint32_t> surprisals_of(TokenSpan tokens) {
  std::vector<std::uint32_t> all;
  std::uint32_t state = 1;
  for (const Token token : tokens) {
    state = (state ^ token) * 2654435761U;
    all.push_back(1 + (state >> 12U));
  }
  return all;
}

/// Whether `trie` from this cursor on is `plain`, node by node.
inline testing::AssertionResult same_trie(const TrieView& trie, const TrieCursor& at, const PlainTrie& plain) {
  const bool at_node = at.at_node(trie);
  const std::uint64_t children = at_node ? trie.children(at.node) : 1;
  if (trie.count(at.node) != plain.count || children != plain.children.size() ||
      (at_node ? trie.ending(at.node) : 0) != plain.ending) {
    return testing::AssertionFailure() << "at depth " << at.depth << ", node " << at.node << ": count "
                                       << trie.count(at.node) << " of " << plain.count << ", children " << children
                                       << " of " << plain.children.size();
  }
  std::uint64_t rank = at.rank + plain.ending;
  for (const auto& [token, child] : plain.children) {
    TrieCursor next = at;
    if (!next.advance(trie, token)) return testing::AssertionFailure() << "no token " << token << " at " << at.depth;
    if (trie.session != nullptr && next.rank != rank)
      return testing::AssertionFailure() << "rank " << next.rank << ", expected " << rank;
    rank += child.count;
    if (auto result = same_trie(trie, next, child); !result) return result;
  }
  return testing::AssertionSuccess();
}

inline testing::AssertionResult same_trie(const Trie& trie, const PlainTrie& plain) {
  return same_trie(trie.view(), TrieCursor(), plain);
}

}  // namespace seqkv::test
