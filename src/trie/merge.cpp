// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// The union of two tries: both are walked together, level by level, which gives the nodes of the new one in order.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

#include "core/guard_memory.hpp"
#include "core/try.hpp"
#include "seqkv/trie.hpp"
#include "trie/node_writer.hpp"

namespace seqkv {
namespace {

/// What one trie has at a place of the new one: a node whose edge begins, or goes on, there.
struct Side {
  std::uint64_t node = TrieView::none;
  std::uint64_t edge = 0;  ///< tokens of its edge that are above
  std::uint64_t rank = 0;  ///< of its first sequence

  bool present() const { return node != TrieView::none; }
};

/// A node of the new trie, in one or both of the old ones.
struct Item {
  std::array<Side, 2> side;
  std::uint64_t rank = 0;  ///< of its first sequence in the new trie
};

class Union {
 public:
  Union(const TrieView& a, const TrieView& b) : trie_{a, b} {}

  void walk(trie::NodeWriter& out) const {
    std::vector<Item> level = {{{Side{TrieView::root, 0, 0}, Side{TrieView::root, 0, 0}}, 0}};
    std::vector<Item> next;
    for (; !level.empty(); level.swap(next)) {
      next.clear();
      for (Item& item : level) {
        const std::size_t before = next.size();
        out.start(count(item));
        write_edge(item, out);
        write_sessions(item, out.sessions());
        add_children(item, next);
        out.finish(next.size() - before);
      }
    }
  }

 private:
  std::uint64_t tokens_left(const Item& item, int s) const {
    return trie_[s].edge_tokens(item.side[s].node) - item.side[s].edge;
  }
  bool at_node(const Item& item, int s) const { return item.side[s].present() && tokens_left(item, s) == 0; }
  std::uint64_t count(const Item& item) const {
    std::uint64_t sum = 0;
    for (int s = 0; s < 2; ++s) sum += item.side[s].present() ? trie_[s].count(item.side[s].node) : 0;
    return sum;
  }
  std::uint64_t ending(const Item& item, int s) const {
    return at_node(item, s) ? trie_[s].ending(item.side[s].node) : 0;
  }

  /// As far as both go together, or to the node of the one that is there. Moves the sides on.
  void write_edge(Item& item, trie::NodeWriter& out) const {
    const int from = item.side[0].present() ? 0 : 1;
    std::uint64_t tokens = tokens_left(item, from);
    if (item.side[0].present() && item.side[1].present()) {
      const std::uint64_t most = std::min(tokens, tokens_left(item, 1));
      tokens = 0;
      while (tokens < most && token(item, 0, tokens) == token(item, 1, tokens)) ++tokens;
    }
    const Side& side = item.side[from];
    out.edge(trie_[from], side.node, side.edge, side.edge + tokens);
    for (Side& s : item.side) s.edge += s.present() ? tokens : 0;
  }
  Token token(const Item& item, int s, std::uint64_t i) const {
    return trie_[s].edge_token(item.side[s].node, item.side[s].edge + i);
  }

  void write_sessions(const Item& item, std::uint64_t* sessions) const {
    if (sessions == nullptr) return;
    const auto ids = [&](int s) {
      return std::span(trie_[s].session + item.side[s].rank, static_cast<std::size_t>(ending(item, s)));
    };
    std::ranges::merge(ids(0), ids(1), sessions + item.rank);
  }

  /// What follows on one side: the children of its node, or the rest of its edge.
  std::uint64_t followers(const Item& item, int s) const {
    if (!item.side[s].present()) return 0;
    return at_node(item, s) ? trie_[s].children(item.side[s].node) : 1;
  }
  Side follower(const Item& item, int s, std::uint64_t i) const {
    const Side& side = item.side[s];
    if (!at_node(item, s)) return side;
    const std::uint64_t first = trie_[s].child[side.node];
    return {first + i, 0, side.rank + ending(item, s) + trie_[s].below[first + i] - trie_[s].below[first]};
  }

  void add_children(const Item& item, std::vector<Item>& next) const {
    std::uint64_t rank = item.rank + ending(item, 0) + ending(item, 1);
    std::array<std::uint64_t, 2> i = {0, 0};
    const std::array<std::uint64_t, 2> n = {followers(item, 0), followers(item, 1)};
    while (i[0] < n[0] || i[1] < n[1]) {
      Item child;
      std::array<Token, 2> first{};
      for (int s = 0; s < 2; ++s) {
        if (i[s] == n[s]) continue;
        child.side[s] = follower(item, s, i[s]);
        first[s] = trie_[s].edge_token(child.side[s].node, child.side[s].edge);
      }
      if (child.side[0].present() && child.side[1].present() && first[0] != first[1]) {
        child.side[first[0] < first[1] ? 1 : 0] = {};
      }
      for (int s = 0; s < 2; ++s) i[s] += child.side[s].present() ? 1 : 0;
      child.rank = rank;
      rank += count(child);
      next.push_back(child);
    }
  }

  std::array<TrieView, 2> trie_;
};

Result<void> check_ids(const TrieView& a, std::uint64_t count_a, const TrieView& b, std::uint64_t count_b) {
  std::vector<std::uint64_t> ids(a.session, a.session + count_a);
  ids.insert(ids.end(), b.session, b.session + count_b);
  std::ranges::sort(ids);
  const auto twice = std::ranges::adjacent_find(ids);
  if (twice == ids.end()) return {};
  return Error(ErrorCode::invalid_argument, fmt::format("session {} is in both tries", *twice));
}

/// Whether the surprisals of the prefixes in both agree.
bool same_surprisals(const TrieView& a, const TrieView& b) {
  // Every place of b that is in a: by nodes of b, from the place of the parent.
  std::vector<TrieCursor> places(b.nodes);
  std::vector<bool> shared(b.nodes);
  shared[TrieView::root] = true;
  for (std::uint64_t node = 0; node < b.nodes; ++node) {
    for (std::uint64_t i = 0; shared[node] && i < b.edge_tokens(node); ++i) {
      TrieCursor& at = places[node];
      if (!at.advance(a, b.edge_token(node, i))) {
        shared[node] = false;
      } else if (a.edge_surprisal(at.node, at.edge - 1) != b.edge_surprisal(node, i)) {
        return false;
      }
    }
    for (std::uint64_t c = b.child[node]; c < b.child[node + 1]; ++c) {
      places[c] = places[node];
      shared[c] = shared[node];
    }
  }
  return true;
}

Result<Trie> merge_checked(const Trie& a, const Trie& b) {
  TrieShape shape = a.shape();
  if (b.shape().kind != shape.kind || b.shape().depth_limit != shape.depth_limit) {
    return Error(ErrorCode::invalid_argument, "tries of different kinds or depths cannot be merged");
  }
  if (a.shape().total == 0) return b;
  if (b.shape().total == 0) return a;
  if (b.shape().surprisals != shape.surprisals) {
    return Error(ErrorCode::invalid_argument, "one trie has surprisals and the other has none");
  }
  shape.total += b.shape().total;
  if (shape.kind == TrieKind::sessions) SEQKV_TRY(check_ids(a.view(), a.shape().total, b.view(), b.shape().total));
  if (shape.surprisals && !same_surprisals(a.view(), b.view())) {
    return Error(ErrorCode::invalid_argument, "the tries have different surprisals of the same prefix");
  }
  const Union both(a.view(), b.view());
  return trie::write_trie(shape, [&](trie::NodeWriter& out) { both.walk(out); });
}

}  // namespace

Result<Trie> merge(const Trie& a, const Trie& b) {
  return guard_memory("to merge tries", [&] { return merge_checked(a, b); });
}

}  // namespace seqkv
