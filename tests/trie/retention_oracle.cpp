// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// The index against an oracle that looks at every node and every use each time.
#include "seqkv/retention.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <tuple>
#include <vector>

#include "support/result.hpp"
#include "support/retention.hpp"

namespace seqkv {
namespace {

using test::policies;
using test::value_of;
using Ids = std::vector<RetentionId>;

/// The same contract with everything computed from all uses whenever something has to go.
class Oracle {
 public:
  explicit Oracle(const RetentionOptions& options) : options_(options) {}

  struct Known {
    RetentionId parent;
    RetentionNode node;
    std::vector<double> uses;
    int last_call;
    double gdsf;
    int pins;
  };
  std::map<RetentionId, Known> nodes;

  RetentionOutcome insert(RetentionId id, RetentionId parent, const RetentionNode& node, double now) {
    RetentionOutcome outcome;
    std::set<RetentionId> stay = held();
    for (RetentionId up = parent; up != retention_root; up = nodes.at(up).parent) stay.insert(up);
    std::int64_t least = node.bytes;
    for (const RetentionId one : stay) least += nodes.at(one).node.bytes;
    if (least > options_.budget) return outcome;
    nodes[id] = {parent, node, {now}, ++calls_, 0.0, 0};
    set_gdsf(nodes[id]);
    const bool always = options_.admission == Admission::always;
    while (bytes() > options_.budget) {
      const RetentionId victim = lowest(now, always ? id : retention_root);
      evict(victim);
      if (victim == id) return outcome;
      outcome.evicted.push_back(victim);
    }
    if (always) set_gdsf(nodes[id]);
    outcome.stored = true;
    return outcome;
  }

  void touch(RetentionId id, double now) {
    ++calls_;
    for (; id != retention_root; id = nodes.at(id).parent) {
      Known& node = nodes.at(id);
      node.uses.push_back(now);
      node.last_call = calls_;
      set_gdsf(node);
    }
  }

  Ids set_budget(std::int64_t budget, double now) {
    options_.budget = budget;
    Ids evicted;
    while (bytes() > budget) {
      evicted.push_back(lowest(now, retention_root));
      evict(evicted.back());
    }
    return evicted;
  }

  /// Pinned nodes and their ancestors.
  std::set<RetentionId> held() const {
    std::set<RetentionId> all;
    for (const auto& [id, node] : nodes) {
      if (node.pins == 0) continue;
      for (RetentionId up = id; up != retention_root; up = nodes.at(up).parent) all.insert(up);
    }
    return all;
  }

  std::int64_t bytes() const {
    std::int64_t sum = 0;
    for (const auto& [id, node] : nodes) sum += node.node.bytes;
    return sum;
  }

  bool is_leaf(RetentionId id) const {
    return std::none_of(nodes.begin(), nodes.end(), [&](const auto& other) { return other.second.parent == id; });
  }

 private:
  void set_gdsf(Known& node) {
    node.gdsf =
        floor_ + static_cast<double>(node.uses.size()) * (node.node.cost / static_cast<double>(node.node.bytes));
  }

  void evict(RetentionId id) {
    floor_ = std::max(floor_, nodes.at(id).gdsf);
    nodes.erase(id);
  }

  double score(const Known& node, double now) const {
    switch (options_.policy) {
      case RetentionPolicy::lru:
        return node.uses.back();
      case RetentionPolicy::lfu:
        return static_cast<double>(node.uses.size());
      case RetentionPolicy::gdsf:
        return node.gdsf;
      case RetentionPolicy::value:
        break;
    }
    const auto remembered = [&](double time) { return std::exp2(-(now - time) / options_.half_life); };
    double weight = node.node.prior_rate * options_.half_life / std::log(2.0) * remembered(node.uses.front());
    for (const double time : node.uses) weight += remembered(time);
    return weight * node.node.cost / static_cast<double>(node.node.bytes);
  }

  RetentionId lowest(double now, RetentionId spared) const {
    const std::set<RetentionId> kept = held();
    std::optional<std::tuple<double, int, RetentionId>> best;
    for (const auto& [id, node] : nodes) {
      if (id == spared || kept.count(id) > 0 || !is_leaf(id)) continue;
      const std::tuple candidate(score(node, now), node.last_call, id);
      if (!best || candidate < *best) best = candidate;
    }
    return std::get<2>(best.value());
  }

  RetentionOptions options_;
  double floor_ = 0.0;
  int calls_ = 0;
};

/// Random calls to an index and the oracle at once. Ids and prefixes repeat, so that nodes come back.
class Pair {
 public:
  Pair(RetentionPolicy policy, Admission admission, std::uint64_t seed)
      : options_{policy, admission, 60, 12.0},
        index_(value_of(RetentionIndex::create(options_))),
        oracle_(options_),
        engine_(seed) {}

  void step() {
    now_ += 0.1 + std::uniform_real_distribution<double>(0.0, 1.0)(engine_);
    const auto kind = engine_() % 20;
    if (kind < 15) {
      request();
    } else if (kind < 17) {
      pin();
    } else if (kind < 19) {
      unpin();
    } else {
      change_budget();
    }
    compare();
  }

  const Ids& evicted() const { return evicted_; }

 private:
  /// A session: a path in a tree with three children a node, ids as in a heap. Low branches are likelier.
  void request() {
    Ids path;
    RetentionId id = 0;
    for (auto depth = 1 + engine_() % 5; depth > 0; --depth) {
      id = 3 * id + 1 + std::min<std::uint64_t>(engine_() % 3, engine_() % 3);
      path.push_back(id);
    }
    std::size_t known = 0;
    while (known < path.size() && index_.contains(path[known])) ++known;
    if (known > 0) {
      ASSERT_OK(index_.touch(path[known - 1], now_));
      oracle_.touch(path[known - 1], now_);
    }
    for (; known < path.size(); ++known) {
      now_ += 1e-3;
      const RetentionId parent = known == 0 ? retention_root : path[known - 1];
      const RetentionNode node{1 + static_cast<std::int64_t>(engine_() % 12),
                               1.0 + std::uniform_real_distribution<double>(0.0, 9.0)(engine_),
                               engine_() % 2 ? std::uniform_real_distribution<double>(0.0, 0.5)(engine_) : 0.0};
      const RetentionOutcome outcome = value_of(index_.insert(path[known], parent, node, now_));
      const RetentionOutcome expected = oracle_.insert(path[known], parent, node, now_);
      ASSERT_EQ(outcome.stored, expected.stored);
      check_evicted(outcome.evicted, expected.evicted);
      if (!outcome.stored) return;
    }
  }

  void check_evicted(const Ids& got, const Ids& expected) {
    ASSERT_EQ(got, expected);
    evicted_.insert(evicted_.end(), got.begin(), got.end());
  }

  void pin() {
    if (oracle_.nodes.empty() || oracle_.held().size() > 3) return;
    auto some = std::next(oracle_.nodes.begin(), static_cast<std::ptrdiff_t>(engine_() % oracle_.nodes.size()));
    ASSERT_OK(index_.pin(some->first));
    ++some->second.pins;
  }

  void unpin() {
    for (auto& [id, node] : oracle_.nodes) {
      if (node.pins == 0) continue;
      ASSERT_OK(index_.unpin(id));
      --node.pins;
      return;
    }
  }

  void change_budget() {
    const auto budget = 40 + static_cast<std::int64_t>(engine_() % 40);
    if (budget < index_.held_bytes()) {
      EXPECT_CODE(index_.set_budget(budget), ErrorCode::invalid_argument);
      return;
    }
    const Ids expected = oracle_.set_budget(budget, now_);
    check_evicted(value_of(index_.set_budget(budget)), expected);
  }

  void compare() {
    ASSERT_LE(index_.bytes(), index_.options().budget);
    ASSERT_EQ(index_.bytes(), oracle_.bytes());
    ASSERT_EQ(index_.size(), static_cast<std::int64_t>(oracle_.nodes.size()));
    std::int64_t held = 0;
    for (const RetentionId id : oracle_.held()) held += oracle_.nodes.at(id).node.bytes;
    ASSERT_EQ(index_.held_bytes(), held);
    for (const auto& [id, node] : oracle_.nodes) {
      ASSERT_TRUE(index_.contains(id));
      ASSERT_TRUE(node.parent == retention_root || index_.contains(node.parent));
      ASSERT_EQ(index_.find(id)->hits, static_cast<std::int64_t>(node.uses.size()));
    }
  }

  RetentionOptions options_;
  RetentionIndex index_;
  Oracle oracle_;
  std::mt19937_64 engine_;
  double now_ = 0.0;
  Ids evicted_;
};

TEST(RetentionIndex, EvictsWhatAnOracleEvicts) {
  for (const RetentionPolicy policy : policies) {
    for (const Admission admission : {Admission::always, Admission::by_rank}) {
      for (std::uint64_t seed = 0; seed < 12; ++seed) {
        SCOPED_TRACE(testing::Message() << to_string(policy) << ' ' << static_cast<int>(admission) << ' ' << seed);
        Pair pair(policy, admission, seed);
        for (int i = 0; i < 300 && !testing::Test::HasFatalFailure(); ++i) pair.step();
        ASSERT_FALSE(HasFailure());
        EXPECT_GT(pair.evicted().size(), 20U);
      }
    }
  }
}

TEST(RetentionIndex, PoliciesDiffer) {
  std::set<Ids> all;
  for (const RetentionPolicy policy : policies) {
    Pair pair(policy, Admission::always, 1);
    for (int i = 0; i < 300; ++i) pair.step();
    all.insert(pair.evicted());
  }
  EXPECT_EQ(all.size(), std::size(policies));
}

TEST(RetentionIndex, SameEvictionsOnEveryMachine) {
  // Integers and powers of two go in; engine and index are defined to the bit.
  RetentionIndex index = value_of(RetentionIndex::create({RetentionPolicy::value, Admission::by_rank, 100, 7.0}));
  std::mt19937_64 engine(5);
  std::uint64_t chain = 0;
  for (int i = 0; i < 20000; ++i) {
    const RetentionId id = std::min(engine() % 200, engine() % 200);
    if (index.contains(id)) {
      ASSERT_OK(index.touch(id, i));
      continue;
    }
    const RetentionNode node{1 + static_cast<std::int64_t>(engine() % 8), 1.0 + static_cast<double>(engine() % 64),
                             0.0};
    for (const RetentionId gone : value_of(index.insert(id, retention_root, node, i)).evicted)
      chain = chain * 31 + gone;
  }
  EXPECT_EQ(chain, 17801868534330293752ULL);
}

}  // namespace
}  // namespace seqkv
