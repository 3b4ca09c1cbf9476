// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Budgets of a store.
#include <gtest/gtest.h>

#include "support/stores.hpp"

namespace seqkv {
namespace {

using test::joined;
using test::value_of;

class StoreRetain : public test::StoreTest {
 protected:
  const std::vector<Token> preamble = test::random_tokens(64, 1);
  std::vector<Token> tokens_of(unsigned seed) { return joined(preamble, test::random_tokens(32, seed)); }
  std::int64_t block_bytes(const Store& store) { return value_of(store.totals()).block_bytes; }
  RetainReport retain(Store& store, RetentionPolicy policy, std::int64_t bytes, std::int64_t sessions = 0) {
    RetentionRule rule;
    rule.policy = policy;
    rule.bytes = bytes;
    rule.sessions = sessions;
    return value_of(store.retain(rule));
  }
};

TEST_F(StoreRetain, EveryPolicyKeepsTheBudgetAndWhatIsShared) {
  for (const RetentionPolicy policy :
       {RetentionPolicy::value, RetentionPolicy::lru, RetentionPolicy::lfu, RetentionPolicy::gdsf}) {
    std::filesystem::remove_all(folder);
    Store store = writer();
    for (unsigned i = 0; i < 8; ++i) save(store, fmt::format("s{}", i), tokens_of(10 + i));
    for (int use = 0; use < 3; ++use) ASSERT_OK(store.touch("s5"));
    const std::int64_t before = block_bytes(store);
    const RetainReport report = retain(store, policy, before * 2 / 5);
    EXPECT_LE(report.bytes, before * 2 / 5) << to_string(policy);
    EXPECT_EQ(report.bytes, block_bytes(store));
    EXPECT_EQ(report.bytes + report.bytes_evicted, before);
    EXPECT_FALSE(report.evicted.empty());
    for (const std::string& name : report.evicted) EXPECT_CODE(store.session(name), ErrorCode::session_not_found);
    expect_restores(store, "s5", tokens_of(15));  // used most, and last
    EXPECT_EQ(value_of(store.match(preamble, codec)).size(), 4U);
    expect_sound(store);
    ASSERT_OK(store.gc({.dead_part = 0.0}));
    expect_restores(store, "s5", tokens_of(15));
    expect_sound(store);
    EXPECT_TRUE(retain(store, policy, before).evicted.empty());
  }
}

TEST_F(StoreRetain, WhatIsLeftOfASessionIsStillShared) {
  Store store = writer();
  save(store, "old", tokens_of(2));
  const std::int64_t all = block_bytes(store);
  EXPECT_EQ(retain(store, RetentionPolicy::lru, all - 1).evicted, std::vector<std::string>{"old"});
  EXPECT_EQ(value_of(store.totals()).blocks, 5);
  EXPECT_EQ(save(store, "new", tokens_of(2)), 5);
  expect_restores(store, "new", tokens_of(2));
  expect_sound(store);
  // A rebuild knows sessions only.
  ASSERT_OK(store.remove("new"));
  EXPECT_EQ(value_of(store.totals()).blocks, 0);
}

TEST_F(StoreRetain, CountsOutliveBlocks) {
  Store store = writer();
  const auto often = tokens_of(2), once = tokens_of(3);
  for (int i = 0; i < 4; ++i) {
    save(store, "often", often);
    ASSERT_OK(store.remove("often"));
  }
  save(store, "often", often);
  save(store, "once", once);  // later
  const std::int64_t all = block_bytes(store);
  EXPECT_EQ(retain(store, RetentionPolicy::lfu, all - 1).evicted, std::vector<std::string>{"once"});
}

TEST_F(StoreRetain, PinnedSessionsStay) {
  Store store = writer();
  save(store, "pinned", tokens_of(2), {.pinned = true});
  save(store, "other", tokens_of(3));
  const RetainReport report = retain(store, RetentionPolicy::lru, 1);
  EXPECT_EQ(report.evicted, std::vector<std::string>{"other"});
  EXPECT_GT(report.bytes, 1);
  expect_restores(store, "pinned", tokens_of(2));
  ASSERT_OK(store.set_pinned("pinned", false));
  EXPECT_EQ(retain(store, RetentionPolicy::lru, 1).bytes, 0);
  EXPECT_TRUE(names(store).empty());
  expect_sound(store);
}

TEST_F(StoreRetain, SessionsHaveABudgetOfTheirOwn) {
  Store store = writer();
  for (unsigned i = 0; i < 6; ++i) save(store, fmt::format("s{}", i), tokens_of(10 + i), {.pinned = i == 0});
  ASSERT_OK(store.touch("s2"));
  const RetainReport report = retain(store, RetentionPolicy::lru, 0, 3);
  EXPECT_EQ(report.evicted.size(), 3U);
  EXPECT_EQ(names(store), (std::vector<std::string>{"s0", "s2", "s5"}));
  EXPECT_EQ(value_of(store.totals()).stored_tokens, 64 + 3 * 32);
  expect_sound(store);
}

TEST_F(StoreRetain, RefusesNonsense) {
  Store store = writer();
  EXPECT_CODE(store.retain({.bytes = -1}), ErrorCode::invalid_argument);
  EXPECT_CODE(store.retain({.sessions = -1}), ErrorCode::invalid_argument);
  EXPECT_CODE(store.retain({.half_life = 0.0}), ErrorCode::invalid_argument);
  EXPECT_CODE(store.gc({.dead_part = 1.5}), ErrorCode::invalid_argument);
  EXPECT_TRUE(value_of(store.retain({.bytes = 1})).evicted.empty());
}

}  // namespace
}  // namespace seqkv
