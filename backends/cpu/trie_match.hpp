// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Longest prefixes on CPUs. Queries are taken in the order of their tokens, so that they pass each level of the trie
/// from its beginning to its end: memory is read in order, not at random. Groups of them go down together, node by
/// node, so that the cache misses of one overlap with those of the others. Edges are compared many tokens at a time.
/// bench/trie/match shows what it buys over backends/kokkos/trie_match.hpp.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <vector>

#include "backends/cpu/radix_sort.hpp"
#include "backends/kokkos/trie_match.hpp"
#include "seqkv/trie_view.hpp"

namespace seqkv::cpu {

inline constexpr int match_lanes = 16;
inline constexpr std::uint64_t search_width = 16;  ///< children that are searched at once: a cache line or two

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
  std::vector<trie::WindowKey<2>> keys(count);
  std::vector<trie::WindowKey<2>> scratch(count);
  for (std::size_t i = 0; i < count; ++i) {
    const kokkos::Query& query = args.queries[first + static_cast<std::int64_t>(i)];
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

/// The group of queries first + order[0 .. lanes) of `args`, without blocks. Each step is done for all queries of the
/// group before the next one, and asks for the memory that the next one reads.
template <bool Sessions, bool Surprisals>
class MatchGroup {
 public:
  MatchGroup(const kokkos::MatchQueries& args, std::int64_t first, const std::uint32_t* order, int lanes)
      : trie_(args.trie), active_(lanes) {
    for (int l = 0; l < lanes; ++l) {
      const std::int64_t i = first + order[l];
      const kokkos::Query& query = args.queries[i];
      lane_[l] = {args.places[i], query.tokens, query.count, 0, 0, &args.places[i]};
      list_[l] = &lane_[l];
    }
  }

  void run() {
    keep([this](Lane& lane) { return finish_edge(lane); });
    while (active_ > 0) {
      keep([this](Lane& lane) { return find_range(lane); });
      find_children();
      keep([this](Lane& lane) { return enter(lane); });
      for (int l = 0; l < active_; ++l) ask_for_edge(*list_[l]);
      keep([this](Lane& lane) { return finish_edge(lane); });
    }
  }

 private:
  struct Lane {
    TrieCursor at;
    const Token* next;
    std::uint64_t left;         ///< tokens of the query
    std::uint64_t first, last;  ///< children among which the next token is
    TrieCursor* place;
  };

  /// Keeps the lanes that go on in the list, and writes the places of the others.
  template <class Step>
  void keep(const Step& step) {
    int kept = 0;
    for (int l = 0; l < active_; ++l) {
      Lane* lane = list_[l];
      const bool goes_on = step(*lane);
      list_[kept] = lane;
      kept += goes_on ? 1 : 0;
      if (!goes_on) *lane->place = lane->at;
    }
    active_ = kept;
  }

  template <class Array>
  static void prefetch(const Array& array, std::uint64_t i) {
    if (array.narrow != nullptr) {
      __builtin_prefetch(array.narrow + i);
    } else {
      __builtin_prefetch(array.wide + i);
    }
  }

  bool find_range(Lane& lane) const {
    if (lane.left == 0) return false;
    lane.first = trie_.child[lane.at.node];
    lane.last = trie_.child[lane.at.node + 1];
    if (lane.at.node == TrieView::root) {
      // Nearly all tokens follow the root: no need to search.
      lane.first = trie_.find_child(TrieView::root, lane.next[0]);
      if (lane.first == TrieView::none) return false;
      lane.last = lane.first + 1;
    }
    ask_for_children(lane);
    return lane.first < lane.last;
  }

  void ask_for_children(const Lane& lane) const {
    if (lane.last - lane.first > search_width) {
      prefetch(trie_.token, lane.first + (lane.last - lane.first) / 2);
    } else {
      prefetch(trie_.token, lane.first);
      prefetch(trie_.token, lane.last - 1);
    }
  }

  /// Halves the range in which the token is. No branch on what is found, which would be mispredicted half the time.
  void halve(Lane& lane) const {
    const std::uint64_t half = (lane.last - lane.first) / 2;
    const auto right = static_cast<std::uint64_t>(trie_.token[lane.first + half] <= lane.next[0]);
    lane.first += half & (0 - right);
    lane.last -= (lane.last - lane.first - half) & (right - 1);
  }

  /// Binary searches in step, as far as lane.first is the child that is wanted, if any is.
  void find_children() {
    for (bool wide = true; wide;) {
      wide = false;
      for (int l = 0; l < active_; ++l) {
        Lane& lane = *list_[l];
        if (lane.last - lane.first <= search_width) continue;
        halve(lane);
        ask_for_children(lane);
        wide = true;
      }
    }
    for (int l = 0; l < active_; ++l) {
      Lane& lane = *list_[l];
      while (lane.last - lane.first > 1) halve(lane);
      prefetch(trie_.label, lane.first);
      prefetch(trie_.child, lane.first);
      if constexpr (Sessions) prefetch(trie_.below, lane.first);
    }
  }

  bool enter(Lane& lane) const {
    if (trie_.token[lane.first] != lane.next[0]) return false;
    TrieCursor& at = lane.at;
    if constexpr (Sessions) {
      at.rank += trie_.ending(at.node) + trie_.below[lane.first] - trie_.below[trie_.child[at.node]];
    }
    at.node = lane.first;
    at.edge = 0;
    step(lane, 1);
    return true;
  }

  void ask_for_edge(const Lane& lane) const { prefetch(trie_.label_token, trie_.label[lane.at.node]); }

  void step(Lane& lane, std::uint64_t tokens) const {
    TrieCursor& at = lane.at;
    if constexpr (Surprisals) {
      for (std::uint64_t i = 0; i < tokens; ++i) at.surprisal += trie_.edge_surprisal(at.node, at.edge + i);
    }
    at.edge += static_cast<std::uint32_t>(tokens);
    at.depth += static_cast<std::uint32_t>(tokens);
    lane.next += tokens;
    lane.left -= tokens;
  }

  /// The rest of an edge; false if the query ends or differs inside.
  bool finish_edge(Lane& lane) const {
    const TrieCursor& at = lane.at;
    const std::uint64_t rest = trie_.edge_tokens(at.node) - at.edge;
    if (rest == 0) return true;
    const std::uint64_t most = std::min(rest, lane.left);
    const std::uint64_t from = trie_.label[at.node] + at.edge - 1;
    const std::uint64_t same = trie_.label_token.narrow != nullptr
                                   ? equal_tokens(lane.next, trie_.label_token.narrow + from, most)
                                   : equal_tokens(lane.next, trie_.label_token.wide + from, most);
    step(lane, same);
    return same == rest;
  }

  TrieView trie_;
  std::array<Lane, match_lanes> lane_;
  std::array<Lane*, match_lanes> list_;  ///< those that go on
  int active_;
};

}  // namespace seqkv::cpu
