// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// A trie with fewer sequences: nodes that nothing passes are left out, and nodes that have become unary are taken into
// the edges below them.
#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>
#include <vector>

#include "core/guard_memory.hpp"
#include "core/try.hpp"
#include "seqkv/trie.hpp"
#include "trie/node_writer.hpp"

namespace seqkv {
namespace {

/// How many sequences pass a node, and end there, from now on.
struct Remaining {
  std::vector<std::uint64_t> count;   ///< [nodes]
  std::vector<std::uint64_t> ending;  ///< [nodes]
};

class Rest {
 public:
  Rest(const TrieView& trie, const Remaining& remaining) : trie_(trie), remaining_(remaining) {}

  void walk(trie::NodeWriter& out) const {
    std::vector<std::uint64_t> level = {TrieView::root};
    std::vector<std::uint64_t> next;
    for (; !level.empty(); level.swap(next)) {
      next.clear();
      for (std::uint64_t node : level) {
        out.start(remaining_.count[node]);
        out.edge(trie_, node, 0, trie_.edge_tokens(node));
        for (std::uint64_t below = only_way(node); below != TrieView::none; below = only_way(node)) {
          node = below;
          out.edge(trie_, node, 0, trie_.edge_tokens(node));
        }
        const std::size_t before = next.size();
        for (std::uint64_t c = trie_.child[node]; c < trie_.child[node + 1]; ++c) {
          if (remaining_.count[c] > 0) next.push_back(c);
        }
        out.finish(next.size() - before);
      }
    }
  }

 private:
  /// The child that all sequences go on to, or none. The root stays.
  std::uint64_t only_way(std::uint64_t node) const {
    if (node == TrieView::root || remaining_.ending[node] > 0) return TrieView::none;
    for (std::uint64_t c = trie_.child[node]; c < trie_.child[node + 1]; ++c) {
      if (remaining_.count[c] > 0) return remaining_.count[c] == remaining_.count[node] ? c : TrieView::none;
    }
    return TrieView::none;
  }

  const TrieView& trie_;
  const Remaining& remaining_;
};

Result<Trie> remove_checked(const Trie& trie, std::span<const std::uint64_t> ids) {
  if (trie.shape().kind != TrieKind::sessions) {
    return Error(ErrorCode::invalid_argument, "sessions are removed from tries of sessions only");
  }
  const TrieView& view = trie.view();
  std::unordered_set<std::uint64_t> gone;
  for (const std::uint64_t id : ids) {
    if (!gone.insert(id).second) {
      return Error(ErrorCode::invalid_argument, fmt::format("session {} is given twice", id));
    }
  }
  // stays[r]: sessions before rank r that stay.
  std::vector<std::uint64_t> stays(trie.shape().total + 1);
  for (std::uint64_t r = 0; r < trie.shape().total; ++r) {
    stays[r + 1] = stays[r] + (gone.erase(view.session[r]) == 0 ? 1 : 0);
  }
  if (!gone.empty()) {
    return Error(ErrorCode::session_not_found, fmt::format("no session {} in the trie", std::ranges::min(gone)));
  }
  if (stays.back() == 0) return Trie();

  Remaining remaining{std::vector<std::uint64_t>(view.nodes), std::vector<std::uint64_t>(view.nodes)};
  std::vector<std::uint64_t> rank(view.nodes);
  for (std::uint64_t node = 0; node < view.nodes; ++node) {
    std::uint64_t next = rank[node] + view.ending(node);
    remaining.count[node] = stays[rank[node] + view.count(node)] - stays[rank[node]];
    remaining.ending[node] = stays[next] - stays[rank[node]];
    for (std::uint64_t c = view.child[node]; c < view.child[node + 1]; ++c) {
      rank[c] = next;
      next += view.count(c);
    }
  }
  TrieShape shape = trie.shape();
  shape.total = stays.back();
  const Rest rest(view, remaining);
  return trie::write_trie(shape, [&](trie::NodeWriter& out) {
    rest.walk(out);
    if (out.sessions() == nullptr) return;
    for (std::uint64_t r = 0; r < trie.shape().total; ++r) {
      if (stays[r + 1] > stays[r]) out.sessions()[stays[r]] = view.session[r];
    }
  });
}

Error not_contained() { return {ErrorCode::invalid_argument, "the trie does not contain all windows to subtract"}; }

Result<Trie> subtract_checked(const Trie& trie, const Trie& part) {
  if (trie.shape().kind != TrieKind::windows || part.shape().kind != TrieKind::windows ||
      trie.shape().depth_limit != part.shape().depth_limit) {
    return Error(ErrorCode::invalid_argument, "only windows of one depth can be subtracted");
  }
  const TrieView& a = trie.view();
  const TrieView& b = part.view();
  if (part.shape().total >= trie.shape().total) {
    return trie == part ? Error(ErrorCode::invalid_argument, "no window would be left") : not_contained();
  }
  Remaining remaining{std::vector<std::uint64_t>(a.nodes), std::vector<std::uint64_t>(a.nodes)};
  std::vector<TrieCursor> places(a.nodes);  // in b; of nodes that b does not have, none
  std::uint64_t found = 0;
  for (std::uint64_t node = 0; node < a.nodes; ++node) {
    TrieCursor& at = places[node];
    for (std::uint64_t i = 0; at.node != TrieView::none && i < a.edge_tokens(node); ++i) {
      if (!at.advance(b, a.edge_token(node, i))) at.node = TrieView::none;
    }
    const bool shared = at.node != TrieView::none;
    const std::uint64_t count = shared ? b.count(at.node) : 0;
    const std::uint64_t ending = shared && at.at_node(b) ? b.ending(at.node) : 0;
    if (ending > a.ending(node)) return not_contained();
    found += ending;
    remaining.count[node] = a.count(node) - std::min(count, a.count(node));
    remaining.ending[node] = a.ending(node) - ending;
    for (std::uint64_t c = a.child[node]; c < a.child[node + 1]; ++c) places[c] = at;
  }
  if (found != part.shape().total) return not_contained();
  TrieShape shape = trie.shape();
  shape.total -= part.shape().total;
  const Rest rest(a, remaining);
  return trie::write_trie(shape, [&](trie::NodeWriter& out) { rest.walk(out); });
}

}  // namespace

Result<Trie> remove_sessions(const Trie& trie, std::span<const std::uint64_t> ids) {
  return guard_memory("to remove sessions from a trie", [&] { return remove_checked(trie, ids); });
}

Result<Trie> subtract_windows(const Trie& trie, const Trie& part) {
  return guard_memory("to subtract windows from a trie", [&] { return subtract_checked(trie, part); });
}

}  // namespace seqkv
