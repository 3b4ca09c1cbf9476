// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Longest prefixes on CPUs. Queries are taken in the order of their tokens, so that they pass each level of the trie
/// from its beginning to its end and share what they have in common: memory is read in order, not at random. Edges are
/// compared many tokens at a time. bench/trie/match shows what it buys over backends/kokkos/trie_match.hpp.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "backends/cpu/radix_sort.hpp"
#include "backends/kokkos/trie_match.hpp"
#include "seqkv/trie_view.hpp"

namespace seqkv::cpu {

/// Equal elements at the start.
template <class Stored>
std::uint64_t equal_tokens(const Token* query, const Stored* stored, std::uint64_t count) {
  constexpr std::uint64_t stride = 16;
  std::uint64_t i = 0;
  for (; i + stride <= count; i += stride) {
    Token difference = 0;
    for (std::uint64_t j = 0; j < stride; ++j) difference |= query[i + j] ^ stored[i + j];
    if (difference != 0) break;
  }
  while (i < count && query[i] == stored[i]) ++i;
  return i;
}

/// Queries [first, last) in the order of their first tokens, as many as 64 bits hold.
inline std::vector<std::uint32_t> order_of_queries(const kokkos::MatchQueries& args, unsigned token_bits,
                                                   std::int64_t first, std::int64_t last) {
  const auto count = static_cast<std::size_t>(last - first);
  const std::uint64_t tokens = 64 / token_bits;
  const Token largest = ~Token{0} >> (32 - token_bits);
  const HostArray<trie::WindowKey<2>> keys(count);
  const HostArray<trie::WindowKey<2>> scratch(count);
  for (std::size_t i = 0; i < count; ++i) {
    const TokenRange& query = args.queries[first + static_cast<std::int64_t>(i)];
    std::uint64_t key = 0;
    for (std::uint64_t t = 0; t < tokens; ++t) {
      key = key << token_bits | (t < query.count ? std::min(query.tokens[t], largest) : 0);
    }
    keys[i] = {{key, i}};
  }
  sort_bucket(keys.data(), scratch.data(), count, false);
  std::vector<std::uint32_t> order(count);
  for (std::size_t i = 0; i < count; ++i) order[i] = static_cast<std::uint32_t>(keys[i].word[1]);
  return order;
}

/// Walks sorted queries from the root, one after another. Each starts at the last node on the path of the one before it
/// that both have, so that a prefix of many queries is walked once.
template <bool Sessions, bool Surprisals>
class SortedMatch {
 public:
  explicit SortedMatch(const TrieView& trie) : trie_(trie), path_(1) {}

  TrieCursor walk(const TokenRange& query) {
    const std::uint64_t most = std::min<std::uint64_t>({query.count, before_.count, at_.depth});
    const std::uint64_t common = equal_tokens(query.tokens, before_.tokens, most);
    while (path_.back().depth > common) path_.pop_back();
    at_ = path_.back();
    before_ = query;
    const Token* next = query.tokens + at_.depth;
    const Token* const end = query.tokens + query.count;
    while (next != end && enter(*next)) {
      const std::uint64_t rest = trie_.edge_tokens(at_.node) - 1;
      const std::uint64_t same = compare_edge(next + 1, std::min<std::uint64_t>(rest, end - next - 1));
      step(1 + same);
      next += 1 + same;
      if (same < rest) break;
      path_.push_back(at_);
    }
    return at_;
  }

 private:
  bool enter(Token token) {
    const std::uint64_t child = trie_.find_child(at_.node, token);
    if (child == TrieView::none) return false;
    if constexpr (Sessions) {
      at_.rank += trie_.ending(at_.node) + trie_.below[child] - trie_.below[trie_.child[at_.node]];
    }
    at_.node = child;
    at_.edge = 0;
    // Later queries go to nodes not far behind this one.
    ask_for(trie_.child, child);
    ask_for(trie_.label, child);
    ask_for(trie_.label_token, trie_.label[child]);
    return true;
  }

  /// Asks for the cache line after next.
  template <class Array>
  static void ask_for(const Array& array, std::uint64_t i) {
    constexpr std::uintptr_t distance = 512;
    const void* at = array.narrow != nullptr ? static_cast<const void*>(array.narrow + i) : array.wide + i;
    __builtin_prefetch(static_cast<const std::byte*>(at) + distance);
  }

  /// Equal tokens after the first one of the edge.
  std::uint64_t compare_edge(const Token* query, std::uint64_t most) const {
    const std::uint64_t label = trie_.label[at_.node];
    return trie_.label_token.narrow != nullptr ? equal_tokens(query, trie_.label_token.narrow + label, most)
                                               : equal_tokens(query, trie_.label_token.wide + label, most);
  }

  void step(std::uint64_t tokens) {
    if constexpr (Surprisals) {
      for (std::uint64_t i = 0; i < tokens; ++i) at_.surprisal += trie_.edge_surprisal(at_.node, i);
    }
    at_.edge = static_cast<std::uint32_t>(tokens);
    at_.depth += static_cast<std::uint32_t>(tokens);
  }

  TrieView trie_;
  TokenRange before_{nullptr, 0};
  TrieCursor at_;
  std::vector<TrieCursor> path_;  ///< the nodes on the path of the query before
};

}  // namespace seqkv::cpu
