// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// What a stored block is worth, and which one goes when bytes are short (docs/retention.md). Blocks are nodes of a
/// tree by prefix: a node is of use only while all its ancestors are stored, so only leaves are ever evicted.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <string_view>
#include <vector>

#include "seqkv/result.hpp"

namespace seqkv {

/// The order in which nodes are evicted, the lowest rank first.
enum class RetentionPolicy : std::uint8_t {
  value,  ///< rate of reuse * cost / bytes, the rate from a prior and uses that are forgotten with a half-life
  lru,    ///< least recently used
  lfu,    ///< least frequently used since it was stored; the least recent of equals
  gdsf,   ///< GreedyDual-Size-Frequency (Cherkasova 1998): uses * cost / bytes above a floor that rises
};

/// "value", "lru", "lfu", "gdsf".
std::string_view to_string(RetentionPolicy policy) noexcept;
/// Errors: invalid_argument, with what is known.
Result<RetentionPolicy> parse_retention_policy(std::string_view name);

/// Whether a new node must be worth its room.
enum class Admission : std::uint8_t {
  always,   ///< it is stored if it fits at all, as LRU, LFU and GDSF are defined
  by_rank,  ///< it competes with the others from the start. Only for value, and with prior rates from counts that
            ///< outlive evictions: else what is new is refused again and again, however often it is asked for
};

/// What computing a token of a transformer costs in FLOP (or any unit, if measured): each layer's products with its
/// weights, and attention to the tokens before.
struct RecomputeCost {
  double per_token = 0.0;
  double per_token_pair = 0.0;  ///< for a token and one that it attends to, itself included

  /// 2 FLOP a parameter that multiplies (embeddings not counted), 4 a component of all query heads in all layers.
  static RecomputeCost of_model(double parameters, std::int64_t layers, std::int64_t query_components) noexcept;
  /// Of the tokens at positions [first, first + count), those before being stored.
  double of(std::int64_t first, std::int64_t count) const noexcept;
};

// ---- scores, as functions of what is known of a node ------------------------------------------------------

/// What the caller says of a node when it is stored.
struct RetentionNode {
  std::int64_t bytes = 0;  ///< that it occupies; 1 or more
  double cost = 0.0;       ///< of computing it again with its ancestors stored; above 0
  /// Expected uses per unit of time before the first one: reuse_rate of a node that was stored or counted before, or
  /// prior_rate_of one never seen; 0: no idea.
  double prior_rate = 0.0;
};

/// What is known of a node after uses.
struct RetentionState {
  RetentionNode node;
  std::int64_t hits = 0;        ///< uses since it was stored, the first included
  double weight = 0.0;          ///< the same plus the prior's, each halved every half-life; as of last_use
  double last_use = 0.0;        ///< time
  std::uint64_t last_call = 0;  ///< which of all uses was its last: what breaks ties
};

/// The rate at which sessions begin with a prefix of this information, -log2 P(prefix), of all that arrive.
double prior_rate_of(double prefix_bits, double requests_per_time) noexcept;

/// The state of a node at its first use. The prior stands for the uses before it that nobody saw: in a steady state
/// rate * half_life / ln 2 of them would be remembered.
RetentionState first_use(const RetentionNode& node, double now, double half_life);
/// The state after one use more. Precondition: now >= state.last_use.
RetentionState next_use(RetentionState state, double now, double half_life);

/// Expected uses per unit of time: mean of the Gamma-Poisson posterior with exponential forgetting.
double reuse_rate(const RetentionState& state, double now, double half_life);
/// Cost that a byte is expected to save per unit of time: reuse_rate * cost / bytes.
double retention_value(const RetentionState& state, double now, double half_life);

/// By what `policy` orders nodes. For value it is log2 of retention_value with what depends on the time of asking, and
/// is the same for all nodes, left out: the order stays until a node is used. `floor` is for gdsf.
double retention_rank(RetentionPolicy policy, const RetentionState& state, double half_life, double floor);

// ---- the nodes that are stored ----------------------------------------------------------------------------

using RetentionId = std::uint64_t;
/// The parent of first blocks; not an id.
inline constexpr RetentionId retention_root = std::numeric_limits<RetentionId>::max();

struct RetentionOptions {
  RetentionPolicy policy = RetentionPolicy::value;
  Admission admission = Admission::always;
  std::int64_t budget = 0;  ///< bytes of all stored nodes together, never exceeded
  double half_life = 0.0;   ///< after which a use counts half, in the caller's unit of time; above 0; for value
};

/// What storing a node did.
struct RetentionOutcome {
  bool stored = false;               ///< false: no room, or not worth it
  std::vector<RetentionId> evicted;  ///< in order, children before parents; not the new node
};

/// Which nodes are stored and which one goes next. Keeps no blocks: the caller drops what it reports as evicted.
/// Deterministic: the same calls give the same answers on every machine. Not thread-safe. Calls that fail change
/// nothing. n: stored nodes; depth: of the node named, in nodes. Times must not go back.
class RetentionIndex {
 public:
  /// Errors: invalid_argument (a budget that is negative or above 2^60, a half-life that is not positive).
  static Result<RetentionIndex> create(const RetentionOptions& options);
  RetentionIndex(RetentionIndex&&) noexcept;
  RetentionIndex& operator=(RetentionIndex&&) noexcept;
  ~RetentionIndex();

  /// Stores a node below a stored parent (or retention_root) at its first use, evicting leaves until all fit.
  /// O(log n) for each node evicted; O(depth) more if pinned nodes may leave no room.
  /// Errors: invalid_argument (bytes, cost, prior or time out of domain, id stored already, parent not stored).
  Result<RetentionOutcome> insert(RetentionId id, RetentionId parent, const RetentionNode& node, double now);

  /// One use of the prefix that ends with the node: of the node and all its ancestors. O(depth + log n).
  /// Errors: invalid_argument (unknown id, time).
  Result<void> touch(RetentionId id, double now);

  /// Keeps a node, and so its ancestors, until unpinned as often. O(depth + log n).
  /// Errors: invalid_argument (unknown id; unpin: not pinned).
  Result<void> pin(RetentionId id);
  Result<void> unpin(RetentionId id);

  /// Forgets a leaf that the caller has dropped. O(log n). Errors: invalid_argument (unknown, pinned or inner node).
  Result<void> erase(RetentionId id);

  /// Evicts until all fit; the ids in order, O(log n) for each. Errors: invalid_argument (as in create, or less than
  /// held_bytes()).
  Result<std::vector<RetentionId>> set_budget(std::int64_t budget);

  bool contains(RetentionId id) const noexcept;
  /// Null if not stored. Until the next call that is not const.
  const RetentionState* find(RetentionId id) const noexcept;
  std::int64_t size() const noexcept;
  std::int64_t bytes() const noexcept;
  /// Of pinned nodes and their ancestors: what cannot be evicted.
  std::int64_t held_bytes() const noexcept;
  const RetentionOptions& options() const noexcept;

  struct Tree;  ///< src/trie/retention.cpp

 private:
  explicit RetentionIndex(std::unique_ptr<Tree> tree);
  std::unique_ptr<Tree> tree_;
};

}  // namespace seqkv
