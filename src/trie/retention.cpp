// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/retention.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>
#include <unordered_map>

#include "core/try.hpp"

namespace seqkv {
namespace {

Error bad(std::string message) { return Error(ErrorCode::invalid_argument, std::move(message)); }
Error unknown(RetentionId id) { return bad(fmt::format("node {} is not stored", id)); }

struct Node {
  RetentionState state;
  RetentionId id = 0;
  Node* parent = nullptr;
  std::int64_t children = 0;
  std::int64_t path_bytes = 0;  ///< of the node and its ancestors
  std::int64_t pins = 0;
  std::int64_t holds = 0;  ///< pinned nodes below it, itself included
  double rank = 0.0;       ///< as of its last use

  bool evictable() const noexcept { return children == 0 && holds == 0; }
};

/// Lowest first. No two leaves have the same last call: what one call uses is a path. The id is for the reader.
struct ByRank {
  bool operator()(const Node* a, const Node* b) const noexcept { return key(*a) < key(*b); }
  static std::tuple<double, std::uint64_t, RetentionId> key(const Node& node) noexcept {
    return {node.rank, node.state.last_call, node.id};
  }
};

/// Sums of a few budgets fit into the type of bytes.
constexpr std::int64_t max_budget = 1LL << 60;

Result<void> check_budget(std::int64_t budget) {
  if (budget >= 0 && budget <= max_budget) return {};
  return bad(fmt::format("a budget of {} bytes, where 0 to 2^60 are possible", budget));
}

Result<void> check(const RetentionNode& node, double half_life) {
  if (node.bytes < 1) return bad(fmt::format("a node of {} bytes", node.bytes));
  if (!std::isnormal(node.cost) || node.cost < 0.0) return bad(fmt::format("a node with cost {}", node.cost));
  if (!(node.prior_rate >= 0.0) || !std::isfinite(node.prior_rate * half_life * 2.0)) {
    return bad(fmt::format("a node with a prior of {} uses per unit of time", node.prior_rate));
  }
  return {};
}

}  // namespace

struct RetentionIndex::Tree {
  RetentionOptions options;
  std::unordered_map<RetentionId, Node> nodes;
  std::set<Node*, ByRank> leaves;  ///< those that can be evicted
  std::int64_t bytes = 0;
  std::int64_t held_bytes = 0;
  double now = -std::numeric_limits<double>::infinity();
  double floor = 0.0;  ///< highest rank evicted, for gdsf
  std::uint64_t calls = 0;

  Node* find(RetentionId id) {
    const auto found = nodes.find(id);
    return found == nodes.end() ? nullptr : &found->second;
  }

  Result<void> check_time(double time) const {
    if (!std::isfinite(time / options.half_life)) return bad(fmt::format("time {} is out of range", time));
    if (time < now) return bad(fmt::format("time goes back from {} to {}", now, time));
    return {};
  }

  void rank(Node& node) { node.rank = retention_rank(options.policy, node.state, options.half_life, floor); }

  /// A new node at its first use; not among the leaves yet.
  Node& add(RetentionId id, Node* parent, const RetentionNode& node) {
    Node& added = nodes[id];
    added.id = id;
    added.parent = parent;
    added.path_bytes = (parent ? parent->path_bytes : 0) + node.bytes;
    added.state = first_use(node, now, options.half_life);
    added.state.last_call = ++calls;
    rank(added);
    bytes += node.bytes;
    if (parent && parent->children++ == 0) leaves.erase(parent);
    return added;
  }

  /// Takes a leaf out of the tree. Its parent may become one.
  void remove(Node& leaf) {
    leaves.erase(&leaf);
    bytes -= leaf.state.node.bytes;
    if (Node* const parent = leaf.parent) {
      --parent->children;
      if (parent->evictable()) leaves.insert(parent);
    }
    nodes.erase(leaf.id);
  }

  /// Evicts the lowest leaves until all fit. Precondition: what can be evicted suffices.
  std::vector<RetentionId> shrink() {
    std::vector<RetentionId> evicted;
    while (bytes > options.budget) {
      Node& lowest = **leaves.begin();
      evicted.push_back(lowest.id);
      floor = std::max(floor, lowest.rank);
      remove(lowest);
    }
    return evicted;
  }

  /// Whether a node of so many bytes fits below `parent` if all goes that can: what is held and the path stay.
  bool has_room(const Node* parent, std::int64_t size) const {
    std::int64_t stays = held_bytes;
    if (size > options.budget) return false;
    if (size + stays + (parent ? parent->path_bytes : 0) <= options.budget) return true;  // held and path disjoint
    for (; parent && parent->holds == 0; parent = parent->parent) stays += parent->state.node.bytes;
    return size + stays <= options.budget;
  }

  void hold(Node& pinned) {
    leaves.erase(&pinned);
    for (Node* node = &pinned; node; node = node->parent) {
      if (node->holds++ == 0) held_bytes += node->state.node.bytes;
    }
  }

  void release(Node& unpinned) {
    for (Node* node = &unpinned; node; node = node->parent) {
      if (--node->holds == 0) held_bytes -= node->state.node.bytes;
    }
    if (unpinned.evictable()) leaves.insert(&unpinned);
  }
};

Result<RetentionIndex> RetentionIndex::create(const RetentionOptions& options) {
  SEQKV_TRY(check_budget(options.budget));
  if (!std::isnormal(options.half_life) || options.half_life < 0.0) {
    return bad(fmt::format("a half-life of {}", options.half_life));
  }
  auto tree = std::make_unique<Tree>();
  tree->options = options;
  return RetentionIndex(std::move(tree));
}

RetentionIndex::RetentionIndex(std::unique_ptr<Tree> tree) : tree_(std::move(tree)) {}
RetentionIndex::RetentionIndex(RetentionIndex&&) noexcept = default;
RetentionIndex& RetentionIndex::operator=(RetentionIndex&&) noexcept = default;
RetentionIndex::~RetentionIndex() = default;

Result<RetentionOutcome> RetentionIndex::insert(RetentionId id, RetentionId parent_id, const RetentionNode& node,
                                                double now) {
  Tree& tree = *tree_;
  if (id == retention_root) return bad("the root is not a node");
  SEQKV_TRY(check(node, tree.options.half_life));
  SEQKV_TRY(tree.check_time(now));
  if (tree.find(id)) return bad(fmt::format("node {} is stored already", id));
  Node* const parent = parent_id == retention_root ? nullptr : tree.find(parent_id);
  if (!parent && parent_id != retention_root) {
    return bad(fmt::format("the parent {} of node {} is not stored", parent_id, id));
  }
  tree.now = now;
  RetentionOutcome outcome;
  if (!tree.has_room(parent, node.bytes)) return outcome;

  Node& added = tree.add(id, parent, node);
  const bool competes = tree.options.admission == Admission::by_rank;
  if (competes) tree.leaves.insert(&added);
  outcome.evicted = tree.shrink();
  outcome.stored = outcome.evicted.empty() || outcome.evicted.back() != id;
  if (!outcome.stored) {  // and so the last: without it all fitted before
    outcome.evicted.pop_back();
  } else if (!competes) {
    tree.rank(added);  // above the floor that making room has left
    tree.leaves.insert(&added);
  }
  return outcome;
}

Result<void> RetentionIndex::touch(RetentionId id, double now) {
  Tree& tree = *tree_;
  Node* const last = tree.find(id);
  if (!last) return unknown(id);
  SEQKV_TRY(tree.check_time(now));
  tree.now = now;
  ++tree.calls;
  tree.leaves.erase(last);  // before its rank changes; ancestors are no leaves
  for (Node* node = last; node; node = node->parent) {
    node->state = next_use(node->state, now, tree.options.half_life);
    node->state.last_call = tree.calls;
    tree.rank(*node);
  }
  if (last->evictable()) tree.leaves.insert(last);
  return {};
}

Result<void> RetentionIndex::pin(RetentionId id) {
  Node* const node = tree_->find(id);
  if (!node) return unknown(id);
  if (node->pins++ == 0) tree_->hold(*node);
  return {};
}

Result<void> RetentionIndex::unpin(RetentionId id) {
  Node* const node = tree_->find(id);
  if (!node) return unknown(id);
  if (node->pins == 0) return bad(fmt::format("node {} is not pinned", id));
  if (--node->pins == 0) tree_->release(*node);
  return {};
}

Result<void> RetentionIndex::erase(RetentionId id) {
  Node* const node = tree_->find(id);
  if (!node) return unknown(id);
  if (node->pins > 0) return bad(fmt::format("node {} is pinned", id));
  if (node->children > 0) return bad(fmt::format("node {} has {} children", id, node->children));
  tree_->remove(*node);
  return {};
}

Result<std::vector<RetentionId>> RetentionIndex::set_budget(std::int64_t budget) {
  SEQKV_TRY(check_budget(budget));
  if (budget < tree_->held_bytes) {
    return bad(fmt::format("a budget of {} bytes where {} are held by pins", budget, tree_->held_bytes));
  }
  tree_->options.budget = budget;
  return tree_->shrink();
}

bool RetentionIndex::contains(RetentionId id) const noexcept { return tree_->find(id) != nullptr; }

const RetentionState* RetentionIndex::find(RetentionId id) const noexcept {
  const Node* const node = tree_->find(id);
  return node ? &node->state : nullptr;
}

std::int64_t RetentionIndex::size() const noexcept { return static_cast<std::int64_t>(tree_->nodes.size()); }
std::int64_t RetentionIndex::bytes() const noexcept { return tree_->bytes; }
std::int64_t RetentionIndex::held_bytes() const noexcept { return tree_->held_bytes; }
const RetentionOptions& RetentionIndex::options() const noexcept { return tree_->options; }

}  // namespace seqkv
