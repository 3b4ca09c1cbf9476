// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Sessions that are removed, forked, extended, replaced, pinned and whose time is over.
#include <gtest/gtest.h>

#include "support/stores.hpp"

namespace seqkv {
namespace {

using test::joined;
using test::Space;
using test::value_of;

class StoreEdit : public test::StoreTest {};

std::vector<Token> first(const std::vector<Token>& tokens, std::int64_t count) {
  return {tokens.begin(), tokens.begin() + count};
}

TEST_F(StoreEdit, RemovingLeavesWhatOthersShare) {
  const auto preamble = test::random_tokens(40, 1);
  const auto a = joined(preamble, test::random_tokens(30, 2));
  const auto b = joined(preamble, test::random_tokens(50, 3));
  Store store = writer();
  save(store, "a", a);
  save(store, "b", b);
  ASSERT_OK(store.remove("a"));
  EXPECT_EQ(names(store), std::vector<std::string>{"b"});
  EXPECT_EQ(value_of(store.totals()).stored_tokens, 90);
  EXPECT_CODE(store.remove("a"), ErrorCode::session_not_found);
  EXPECT_CODE(store.blocks("a"), ErrorCode::session_not_found);
  expect_restores(store, "b", b);
  EXPECT_EQ(save(store, "a", a), 2);  // its own blocks are gone
  expect_restores(store, "a", a);
  expect_sound(store);
}

TEST_F(StoreEdit, AForkBranchesAtAnyToken) {
  const auto tokens = test::random_tokens(70, 4);
  Store store = writer();
  save(store, "base", tokens);
  const auto before = value_of(store.totals());
  for (const std::int64_t count : {1, 16, 17, 48, 69, 70}) {
    const std::string name = fmt::format("fork{}", count);
    ASSERT_OK(store.fork("base", name, count));
    expect_restores(store, name, first(tokens, count));
  }
  EXPECT_EQ(value_of(store.totals()).blocks, before.blocks);
  EXPECT_CODE(store.fork("base", "x", 0), ErrorCode::invalid_argument);
  EXPECT_CODE(store.fork("base", "x", 71), ErrorCode::invalid_argument);
  EXPECT_CODE(store.fork("nobody", "x", 1), ErrorCode::session_not_found);
  EXPECT_CODE(store.fork("base", "fork1", 1), ErrorCode::session_differs);
  EXPECT_CODE(store.fork("base", "", 1), ErrorCode::invalid_argument);
  // The fork outlives what it came from, and goes on in its own way.
  ASSERT_OK(store.remove("base"));
  const auto other = joined(first(tokens, 48), test::random_tokens(40, 5));
  EXPECT_EQ(save(store, "fork48", other, {.if_exists = IfExists::extend}), 3);
  expect_restores(store, "fork48", other);
  expect_restores(reader(), "fork69", first(tokens, 69));
  expect_sound(store);
}

TEST_F(StoreEdit, ExtendingWritesOnlyWhatIsNew) {
  const auto tokens = test::random_tokens(100, 6);
  Store store = writer();
  save(store, "s", first(tokens, 40), {.expires = 4'000'000'000, .pinned = true});
  const auto created = value_of(store.session("s")).created;
  EXPECT_EQ(save(store, "s", tokens, {.if_exists = IfExists::extend}), 2);
  expect_restores(store, "s", tokens);
  EXPECT_EQ(value_of(store.totals()).stored_tokens, 100);  // the short block of the old end is gone
  EXPECT_EQ(value_of(store.session("s")).created, created);
  EXPECT_EQ(value_of(store.session("s")).expires, 4'000'000'000);
  EXPECT_TRUE(value_of(store.session("s")).pinned);
  auto others = tokens;
  others[3] ^= 1U;
  EXPECT_CODE(store.begin("s", others, codec, {.if_exists = IfExists::extend}), ErrorCode::session_differs);
  EXPECT_CODE(store.begin("s", first(tokens, 60), codec, {.if_exists = IfExists::extend}), ErrorCode::session_differs);
  EXPECT_CODE(store.begin("s", tokens, value_of(Codec::parse("raw")), {.if_exists = IfExists::extend}),
              ErrorCode::invalid_argument);
  EXPECT_EQ(save(store, "new", tokens, {.if_exists = IfExists::extend}), 7);  // nothing to extend: a new one
  expect_sound(store);
}

TEST_F(StoreEdit, ALoneSessionGoesOnAndForksAlone) {
  const auto tokens = test::random_tokens(64, 7);
  Store store = writer();
  save(store, "lone", first(tokens, 32), {.sharing = Sharing::none});
  ASSERT_OK(store.fork("lone", "twin", 20));
  EXPECT_EQ(save(store, "lone", tokens, {.if_exists = IfExists::extend}), 2);
  expect_restores(store, "lone", tokens);
  expect_restores(store, "twin", first(tokens, 20));
  EXPECT_EQ(save(store, "computed", tokens), 0);
  ASSERT_OK(store.remove("lone"));
  EXPECT_EQ(save(store, "lone", tokens, {.sharing = Sharing::none}), 0);  // values of another origin
  expect_restores(store, "twin", first(tokens, 20));
  expect_sound(store);
}

TEST_F(StoreEdit, ReplacingIsOneTransaction) {
  const auto before = test::random_tokens(50, 8);
  const auto after = test::random_tokens(60, 9);
  Store store = writer();
  save(store, "s", before);
  {
    auto session = value_of(store.begin("s", after, codec, {.if_exists = IfExists::replace}));
    expect_restores(reader(), "s", before);
  }
  expect_restores(reader(), "s", before);
  save(store, "s", after, {.if_exists = IfExists::replace});
  expect_restores(reader(), "s", after);
  EXPECT_EQ(value_of(store.totals()).stored_tokens, 60);
  expect_sound(store);
}

TEST_F(StoreEdit, TimeEndsSessions) {
  const auto tokens = test::random_tokens(40, 10);
  Store store = writer();
  save(store, "past", tokens, {.expires = 1});
  save(store, "future", tokens, {.expires = 4'000'000'000});
  save(store, "ever", tokens);
  expect_restores(store, "past", tokens);  // until gc or retain comes by
  EXPECT_EQ(value_of(store.gc()).expired, std::vector<std::string>{"past"});
  EXPECT_EQ(names(store), (std::vector<std::string>{"ever", "future"}));
  ASSERT_OK(store.set_expiry("ever", 1));
  ASSERT_OK(store.set_expiry("future", 0));
  EXPECT_CODE(store.set_expiry("ever", -1), ErrorCode::invalid_argument);
  EXPECT_CODE(store.set_expiry("nobody", 1), ErrorCode::session_not_found);
  EXPECT_EQ(value_of(store.retain({})).expired, std::vector<std::string>{"ever"});
  EXPECT_EQ(names(store), std::vector<std::string>{"future"});
  expect_sound(store);
}

TEST_F(StoreEdit, OddNames) {
  Store store = writer();
  const std::vector<std::string> odd = {"../../etc/passwd",
                                        "a b\n\tc",
                                        "'; DROP TABLE sessions; --",
                                        "%00",
                                        "\xc3\xa4",
                                        std::string(1024, 'x'),
                                        "\x1b[2J",
                                        "?1",
                                        "/dev/null",
                                        "-rf"};
  for (const std::string& name : odd) save(store, name, test::random_tokens(20, 11));
  EXPECT_EQ(names(store).size(), odd.size());
  for (const std::string& name : odd) expect_restores(store, name, test::random_tokens(20, 11));
  EXPECT_CODE(store.begin(std::string("a\0b", 3), test::random_tokens(5, 1), codec), ErrorCode::invalid_argument);
  EXPECT_CODE(store.begin(std::string(1025, 'x'), test::random_tokens(5, 1), codec), ErrorCode::invalid_argument);
  for (const std::string& name : odd) ASSERT_OK(store.remove(name));
  EXPECT_EQ(value_of(store.totals()).blocks, 0);
}

TEST_F(StoreEdit, ReadersChangeNothing) {
  const auto tokens = test::random_tokens(20, 12);
  Store store = writer();
  save(store, "s", tokens);
  Store other = reader();
  EXPECT_CODE(other.remove("s"), ErrorCode::invalid_argument);
  EXPECT_CODE(other.fork("s", "t", 1), ErrorCode::invalid_argument);
  EXPECT_CODE(other.set_pinned("s", true), ErrorCode::invalid_argument);
  EXPECT_CODE(other.set_expiry("s", 1), ErrorCode::invalid_argument);
  EXPECT_CODE(other.touch("s"), ErrorCode::invalid_argument);
  EXPECT_CODE(other.gc(), ErrorCode::invalid_argument);
  EXPECT_CODE(other.repair(), ErrorCode::invalid_argument);
  EXPECT_CODE(other.retain({}), ErrorCode::invalid_argument);
  const auto session = value_of(store.begin("t", tokens, codec));
  EXPECT_CODE(store.remove("s"), ErrorCode::invalid_argument);  // a session is being saved
  EXPECT_CODE(store.gc(), ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace seqkv
