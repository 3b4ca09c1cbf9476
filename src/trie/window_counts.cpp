// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "trie/window_counts.hpp"

#include <fmt/format.h>
#include <algorithm>

#include "core/try.hpp"
#include "trie/token_weights.hpp"

namespace seqkv::trie {
namespace {

/// A place in the trie: after `edge` tokens of a node's edge.
struct Place {
  std::uint64_t node = TrieView::root;
  std::uint64_t edge = 0;
};

/// Goes on along tokens [from, to) of the edge of `node`, and counts the edges that it enters on its way; false if no
/// edge goes there. Inside of an edge the tokens are not compared: in a trie of windows they are the same.
bool follow(const TrieView& trie, std::uint64_t node, std::uint64_t from, std::uint64_t to, Place& place,
            std::vector<std::uint32_t>& entered) {
  while (from < to) {
    const std::uint64_t inside = trie.edge_tokens(place.node) - place.edge;
    if (inside > 0) {
      const std::uint64_t step = std::min(inside, to - from);
      place.edge += step;
      from += step;
      continue;
    }
    const std::uint64_t next = trie.find_child(place.node, trie.edge_token(node, from));
    if (next == TrieView::none) return false;
    place = {next, 1};
    ++entered[next];
    ++from;
  }
  return true;
}

constexpr std::uint64_t share_of(std::uint64_t count) { return count == 0 ? 0 : 2 * count - 1; }

}  // namespace

Result<WindowCounts> WindowCounts::derive(const Trie& trie) {
  if (trie.shape().kind != TrieKind::windows) {
    return Error(ErrorCode::invalid_argument, "a token coder needs a trie of windows, this one is of sessions");
  }
  WindowCounts counts(trie);
  SEQKV_ASSIGN(const auto left, counts.count_left_neighbors());
  SEQKV_TRY(counts.set_shares(left));
  counts.set_classes(left);
  counts.depth_ = {};
  return counts;
}

/// Of the first window of each edge, the number of different tokens to its left. The windows that end further down the
/// edge occur where the first does, so that they have the same number.
///
/// Window xw, w without its first token, lies one token deeper than w, so that each token x to the left of w is one
/// place of the trie whose suffix is w: it is enough to walk all places and their suffixes beside them.
Result<std::vector<std::uint32_t>> WindowCounts::count_left_neighbors() {
  const TrieView& view = trie();
  std::vector<std::uint32_t> left(view.nodes);
  std::vector<Place> suffix(view.nodes);
  depth_.assign(view.nodes, 0);
  for (std::uint64_t parent = 0; parent < view.nodes; ++parent) {
    for (std::uint64_t node = view.child[parent]; node < view.child[parent + 1]; ++node) {
      const std::uint64_t edge = view.edge_tokens(node);
      if (depth_[parent] + edge > depth()) {
        return Error(ErrorCode::corrupt, fmt::format("node {} lies deeper than the depth limit", node));
      }
      depth_[node] = static_cast<std::uint8_t>(depth_[parent] + edge);
      suffix[node] = suffix[parent];
      // The suffix of one token is empty.
      if (!follow(view, node, parent == TrieView::root ? 1 : 0, edge, suffix[node], left)) {
        return Error(ErrorCode::corrupt, fmt::format("the suffix of node {} is no window", node));
      }
    }
  }
  return left;
}

Result<void> WindowCounts::set_shares(const std::vector<std::uint32_t>& left) {
  const TrieView& view = trie();
  const auto share = [&](std::uint64_t node) {
    const bool deepest = depth_[node] - view.edge_tokens(node) + 1 == depth();
    return share_of(deepest ? view.count(node) : left[node]);
  };
  std::uint64_t total = 0;
  for (std::uint64_t node = 1; node < view.nodes; ++node) total += share(node);
  // Weights are below 2^28: their products with shares have 64 bits.
  if (total >= std::uint64_t{1} << 35U) {
    return Error(ErrorCode::limit_exceeded,
                 fmt::format("counts of the trie sum to {}, more than a token coder takes", total));
  }
  const auto fill = [&]<class T>(const HostArray<T>& to) {
    T sum = 0;
    to[0] = 0;
    for (std::uint64_t node = 1; node < view.nodes; ++node) {
      to[node] = sum;
      sum += static_cast<T>(share(node));
    }
    to[view.nodes] = sum;
  };
  if (total <= UINT32_MAX) {
    narrow_ = HostArray<std::uint32_t>(view.nodes + 1);
    fill(narrow_);
    before_.narrow = narrow_.data();
  } else {
    wide_ = HostArray<std::uint64_t>(view.nodes + 1);
    fill(wide_);
    before_.wide = wide_.data();
  }
  return {};
}

void WindowCounts::set_classes(const std::vector<std::uint32_t>& left) {
  const TrieView& view = trie();
  node_class_.assign(view.nodes, silent);
  edge_class_.assign(view.nodes, silent);
  for (std::uint64_t node = 0; node < view.nodes; ++node) {
    const std::uint64_t first = view.child[node];
    const std::uint64_t last = view.child[node + 1];
    std::uint64_t variety = 0;
    for (std::uint64_t child = first; child < last; ++child) variety += before_[child + 1] > before_[child] ? 1 : 0;
    const std::uint64_t total = before_[last] - before_[first];
    // Shares 2 u - 1 of Q counts u sum to T = 2 C - Q.
    if (total > 0) node_class_[node] = static_cast<std::uint8_t>(class_of((total + variety) / 2, variety));
    if (left[node] > 0) edge_class_[node] = static_cast<std::uint8_t>(class_of(left[node], 1));
  }
}

std::uint8_t WindowCounts::edge_class(std::uint64_t node, unsigned length) const {
  if (length + 1 < depth()) return edge_class_[node];
  return static_cast<std::uint8_t>(class_of(trie().count(node), 1));
}

}  // namespace seqkv::trie
