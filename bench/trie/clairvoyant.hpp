// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// A store that knows the future: what no policy can do better.
#pragma once

#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "trie/traces.hpp"

namespace seqkv::bench {

/// For each block of each request the request that uses it next, or the number of requests.
inline std::vector<std::vector<std::int64_t>> next_uses(const Trace& trace) {
  std::vector<std::vector<std::int64_t>> next(trace.requests.size());
  std::vector<std::int64_t> seen(trace.nodes.size(), static_cast<std::int64_t>(trace.requests.size()));
  for (std::size_t i = trace.requests.size(); i-- > 0;) {
    for (const std::int64_t block : trace.path(trace.requests[i])) {
      next[i].push_back(std::exchange(seen[block], static_cast<std::int64_t>(i)));
    }
  }
  return next;
}

/// Belady's MIN: the leaf whose next use is farthest goes, the new one included. As a block is used whenever its
/// children are, the farthest of all is always a leaf: for blocks of equal bytes no policy finds more of them.
class Clairvoyant {
 public:
  Clairvoyant(const Trace& trace, std::int64_t budget) : trace_(trace), budget_(budget), nodes_(trace.nodes.size()) {}

  /// A use of a block; whether it was stored.
  bool use(std::int64_t block, std::int64_t next) {
    Node& node = nodes_[block];
    const std::int64_t parent = trace_.nodes[block].parent;
    if (node.stored) {
      leaves_.erase({node.next, block});
      node.next = next;
      if (node.children == 0) leaves_.insert({next, block});
      return true;
    }
    if (parent >= 0 && !nodes_[parent].stored) return false;
    node = {true, next, 0};
    bytes_ += trace_.nodes[block].block.bytes;
    leaves_.insert({next, block});
    if (parent >= 0 && nodes_[parent].children++ == 0) leaves_.erase({nodes_[parent].next, parent});
    while (bytes_ > budget_) evict(leaves_.rbegin()->second);
    return false;
  }

 private:
  struct Node {
    bool stored = false;
    std::int64_t next = 0;
    std::int64_t children = 0;
  };

  void evict(std::int64_t block) {
    leaves_.erase({nodes_[block].next, block});
    nodes_[block].stored = false;
    bytes_ -= trace_.nodes[block].block.bytes;
    const std::int64_t parent = trace_.nodes[block].parent;
    if (parent >= 0 && --nodes_[parent].children == 0) leaves_.insert({nodes_[parent].next, parent});
  }

  const Trace& trace_;
  std::int64_t budget_;
  std::vector<Node> nodes_;
  std::set<std::pair<std::int64_t, std::int64_t>> leaves_;  ///< next use, block
  std::int64_t bytes_ = 0;
};

}  // namespace seqkv::bench
