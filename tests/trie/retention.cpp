// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// The index of retained nodes: what it evicts, keeps and refuses.
#include "seqkv/retention.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <tuple>
#include <vector>

#include "support/result.hpp"
#include "support/retention.hpp"

namespace seqkv {
namespace {

using test::policies;
using test::value_of;
using Ids = std::vector<RetentionId>;

RetentionIndex index_of(RetentionPolicy policy, std::int64_t budget, Admission admission = Admission::always,
                        double half_life = 10.0) {
  return value_of(RetentionIndex::create({policy, admission, budget, half_life}));
}

// ---- the tree ---------------------------------------------------------------------------------------------

/// A chain 1 - 2 - 3 and a lone node 9, of 10 bytes each, stored in this order.
RetentionIndex chain_and_one(RetentionPolicy policy, std::int64_t budget, Admission admission = Admission::always) {
  RetentionIndex index = index_of(policy, budget, admission);
  for (const auto& [id, parent, now] : {std::tuple<RetentionId, RetentionId, double>{1, retention_root, 1.0},
                                        {2, 1, 2.0},
                                        {3, 2, 3.0},
                                        {9, retention_root, 4.0}}) {
    EXPECT_TRUE(value_of(index.insert(id, parent, {10, 1.0, 0.0}, now)).stored);
  }
  return index;
}

TEST(RetentionIndex, LeavesGoBeforeTheirParents) {
  for (const RetentionPolicy policy : policies) {
    RetentionIndex index = chain_and_one(policy, 40);
    // By age alone 1 would go first, but 2 and 3 hang on it.
    EXPECT_EQ(value_of(index.set_budget(10)), (Ids{3, 2, 1})) << to_string(policy);
    EXPECT_TRUE(index.contains(9));
  }
}

TEST(RetentionIndex, AUseOfANodeIsAUseOfItsAncestors) {
  RetentionIndex index = chain_and_one(RetentionPolicy::lru, 40);
  ASSERT_OK(index.touch(2, 5.0));
  EXPECT_EQ(index.find(1)->hits, 2);
  EXPECT_EQ(index.find(2)->hits, 2);
  EXPECT_EQ(index.find(3)->hits, 1);
  EXPECT_EQ(value_of(index.set_budget(0)), (Ids{3, 9, 2, 1}));
}

TEST(RetentionIndex, EqualsGoInTheOrderOfTheirLastUse) {
  for (const RetentionPolicy policy : policies) {
    RetentionIndex index = index_of(policy, 30);
    for (const RetentionId id : {5, 2, 8}) ASSERT_OK(index.insert(id, retention_root, {10, 1.0, 0.0}, 1.0));
    EXPECT_EQ(value_of(index.set_budget(0)), (Ids{5, 2, 8})) << to_string(policy);
  }
}

TEST(RetentionIndex, PinnedNodesAndTheirAncestorsStay) {
  for (const RetentionPolicy policy : policies) {
    RetentionIndex index = chain_and_one(policy, 40);
    ASSERT_OK(index.pin(2));
    ASSERT_OK(index.pin(2));
    EXPECT_EQ(index.held_bytes(), 20);
    EXPECT_EQ(value_of(index.set_budget(20)), (Ids{3, 9}));
    EXPECT_CODE(index.set_budget(19), ErrorCode::invalid_argument);
    EXPECT_CODE(index.erase(2), ErrorCode::invalid_argument);
    ASSERT_OK(index.unpin(2));
    EXPECT_EQ(index.held_bytes(), 20);
    ASSERT_OK(index.unpin(2));
    EXPECT_EQ(index.held_bytes(), 0);
    EXPECT_EQ(value_of(index.set_budget(0)), (Ids{2, 1}));
  }
}

TEST(RetentionIndex, NothingIsEvictedForWhatCannotFit) {
  for (const Admission admission : {Admission::always, Admission::by_rank}) {
    RetentionIndex index = chain_and_one(RetentionPolicy::value, 40, admission);
    const auto expect_refused = [&](RetentionId parent, std::int64_t bytes) {
      const RetentionOutcome outcome = value_of(index.insert(7, parent, {bytes, 1e6, 0.0}, 5.0));
      EXPECT_FALSE(outcome.stored);
      EXPECT_TRUE(outcome.evicted.empty());
      EXPECT_EQ(index.bytes(), 40);
    };
    expect_refused(retention_root, 41);
    expect_refused(retention_root, std::numeric_limits<std::int64_t>::max());
    expect_refused(3, 11);  // its ancestors take 30
    ASSERT_OK(index.pin(9));
    expect_refused(3, 10);
    expect_refused(2, 11);
    ASSERT_OK(index.pin(3));  // held and path are the same 30 bytes, counted once
    expect_refused(3, 10);
    ASSERT_OK(index.unpin(9));
    EXPECT_EQ(value_of(index.insert(7, 3, {10, 1e6, 0.0}, 6.0)).evicted, (Ids{9}));
  }
}

TEST(RetentionIndex, ANewNodeIsRefusedWhereItsRankIsLowest) {
  RetentionIndex index = chain_and_one(RetentionPolicy::value, 40, Admission::by_rank);
  const RetentionOutcome outcome = value_of(index.insert(7, retention_root, {10, 0.1, 0.0}, 5.0));
  EXPECT_FALSE(outcome.stored);
  EXPECT_TRUE(outcome.evicted.empty());
  EXPECT_FALSE(index.contains(7));
  // As its prior says that it will be used, it is stored.
  EXPECT_EQ(value_of(index.insert(7, retention_root, {10, 0.1, 1.0}, 5.0)).evicted, (Ids{3}));
}

TEST(RetentionIndex, AnAlwaysAdmittedNodeIsNotItsOwnVictim) {
  for (const RetentionPolicy policy : policies) {
    RetentionIndex index = chain_and_one(policy, 40);
    ASSERT_OK(index.touch(3, 5.0));
    ASSERT_OK(index.touch(9, 6.0));
    const RetentionOutcome outcome = value_of(index.insert(7, retention_root, {10, 1e-3, 0.0}, 6.0));
    EXPECT_TRUE(outcome.stored) << to_string(policy);
    EXPECT_EQ(outcome.evicted, (Ids{3})) << to_string(policy);
  }
}

TEST(RetentionIndex, ValueKeepsWhatIsUsedFromAScanThatLruFollows) {
  const auto kept = [](RetentionPolicy policy, Admission admission) {
    RetentionIndex index = index_of(policy, 10, admission, 50.0);
    double now = 0.0;
    for (int use = 0; use < 5; ++use) {
      for (RetentionId hot = 0; hot < 10; ++hot, now += 1.0) {
        EXPECT_TRUE(index.contains(hot) ? index.touch(hot, now).ok()
                                        : index.insert(hot, retention_root, {1, 1.0, 0.0}, now).ok());
      }
    }
    for (RetentionId once = 100; once < 130; ++once, now += 1.0) {
      EXPECT_OK(index.insert(once, retention_root, {1, 1.0, 0.0}, now));
    }
    int count = 0;
    for (RetentionId hot = 0; hot < 10; ++hot) count += index.contains(hot) ? 1 : 0;
    return count;
  };
  EXPECT_EQ(kept(RetentionPolicy::value, Admission::by_rank), 10);
  EXPECT_EQ(kept(RetentionPolicy::lru, Admission::always), 0);
}

// ---- bad input --------------------------------------------------------------------------------------------

TEST(RetentionIndex, RefusesBadOptions) {
  const double nan = std::nan("");
  EXPECT_CODE(RetentionIndex::create({RetentionPolicy::value, Admission::always, -1, 1.0}),
              ErrorCode::invalid_argument);
  EXPECT_CODE(RetentionIndex::create({RetentionPolicy::value, Admission::always, (1LL << 60) + 1, 1.0}),
              ErrorCode::invalid_argument);
  for (const double half_life : {0.0, -1.0, nan, std::numeric_limits<double>::infinity()}) {
    EXPECT_CODE(RetentionIndex::create({RetentionPolicy::value, Admission::always, 1, half_life}),
                ErrorCode::invalid_argument);
  }
}

TEST(RetentionIndex, RefusesBadCallsAndChangesNothing) {
  RetentionIndex index = chain_and_one(RetentionPolicy::value, 40);
  const double nan = std::nan("");
  const double infinity = std::numeric_limits<double>::infinity();
  const auto expect_bad = [&](RetentionId id, RetentionId parent, const RetentionNode& node, double now) {
    EXPECT_CODE(index.insert(id, parent, node, now), ErrorCode::invalid_argument);
  };
  for (const std::int64_t bytes : {std::int64_t{0}, std::int64_t{-1}, std::numeric_limits<std::int64_t>::min()}) {
    expect_bad(7, 1, {bytes, 1.0, 0.0}, 5.0);
  }
  for (const double cost : {0.0, -1.0, nan, infinity}) expect_bad(7, 1, {1, cost, 0.0}, 5.0);
  for (const double prior : {-0.1, nan, infinity, 1e308}) expect_bad(7, 1, {1, 1.0, prior}, 5.0);
  for (const double now : {3.9, nan, infinity}) {
    expect_bad(7, 1, {1, 1.0, 0.0}, now);
    EXPECT_CODE(index.touch(1, now), ErrorCode::invalid_argument);
  }
  expect_bad(3, 2, {1, 1.0, 0.0}, 5.0);  // is stored
  expect_bad(7, 8, {1, 1.0, 0.0}, 5.0);  // below nothing
  expect_bad(7, 7, {1, 1.0, 0.0}, 5.0);
  expect_bad(retention_root, 1, {1, 1.0, 0.0}, 5.0);
  EXPECT_CODE(index.touch(7, 5.0), ErrorCode::invalid_argument);
  EXPECT_CODE(index.pin(7), ErrorCode::invalid_argument);
  EXPECT_CODE(index.unpin(7), ErrorCode::invalid_argument);
  EXPECT_CODE(index.unpin(1), ErrorCode::invalid_argument);
  EXPECT_CODE(index.erase(7), ErrorCode::invalid_argument);
  EXPECT_CODE(index.erase(1), ErrorCode::invalid_argument);
  EXPECT_CODE(index.set_budget(-1), ErrorCode::invalid_argument);
  EXPECT_EQ(index.bytes(), 40);
  EXPECT_EQ(index.size(), 4);
  EXPECT_EQ(index.find(1)->hits, 1);
  EXPECT_EQ(index.find(7), nullptr);
}

TEST(RetentionIndex, ErasesLeaves) {
  RetentionIndex index = chain_and_one(RetentionPolicy::lru, 40);
  ASSERT_OK(index.erase(3));
  ASSERT_OK(index.erase(2));
  EXPECT_EQ(index.bytes(), 20);
  EXPECT_EQ(value_of(index.set_budget(0)), (Ids{1, 9}));
}

}  // namespace
}  // namespace seqkv
