// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// The store: sharing by exact prefix, transactions, and what it notices.
#include "seqkv/store.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "support/stores.hpp"

namespace seqkv {
namespace {

using test::block_tokens;
using test::joined;
using test::Space;
using test::StoreTest;
using test::value_of;

TEST_F(StoreTest, SessionsShareWholeBlocksOfTheirPrefix) {
  const auto preamble = test::random_tokens(40, 1);  // two whole blocks and a half
  const auto first = joined(preamble, test::random_tokens(30, 2));
  const auto second = joined(preamble, test::random_tokens(50, 3));
  Store store = writer();
  EXPECT_EQ(save(store, "first", first), 0);
  EXPECT_EQ(save(store, "second", second), 2);
  const auto totals = value_of(store.totals());
  EXPECT_EQ(totals.sessions, 2);
  EXPECT_EQ(totals.session_tokens, 160);
  EXPECT_EQ(totals.stored_tokens, 160 - 32);
  expect_restores(reader(), "first", first);
  expect_restores(reader(), "second", second);
}

TEST_F(StoreTest, ASourceNamesWhereTheDamageIs) {
  const auto tokens = test::random_tokens(100, 23);
  Store store = writer();
  save(store, "s", tokens);
  const auto pack = folder / "packs" / "00000001.pack";
  const std::string good = test::read_all(pack);
  const auto where = [&](const CodedBlockView& block) {
    const std::string bytes(reinterpret_cast<const char*>(block.data()), block.size());
    return good.find(bytes) + bytes.size() - 9;
  };
  const auto blocks = value_of(store.blocks("s"));
  for (std::size_t number : {5, 2}) {
    std::string bad = test::read_all(pack);
    bad[where(blocks[number])] ^= 1;
    std::ofstream(pack, std::ios::binary) << bad;
    const auto report = restore(reader(), "s");
    ASSERT_FALSE(report.ok());
    EXPECT_EQ(report.error().code, ErrorCode::checksum_mismatch);
    EXPECT_EQ(report.error().block, static_cast<std::int64_t>(number));
    EXPECT_EQ(report.error().file, pack.string());
    EXPECT_FALSE(std::filesystem::exists(restored));
  }
  EXPECT_CODE(reader().source("nobody"), ErrorCode::session_not_found);
}

TEST_F(StoreTest, TheSameTokensCostNothingTwice) {
  const auto tokens = test::random_tokens(40, 4);
  Store store = writer();
  EXPECT_EQ(save(store, "a", tokens), 0);
  EXPECT_EQ(save(store, "b", tokens), 3);  // the tail too
  EXPECT_EQ(value_of(store.totals()).blocks, 3);
  EXPECT_EQ(value_of(store.session("b")).own_bytes, 0);
}

TEST_F(StoreTest, ATailIsNotAPrefix) {
  const auto tokens = test::random_tokens(40, 5);
  const std::vector<Token> shorter(tokens.begin(), tokens.begin() + 36);
  Store store = writer();
  save(store, "shorter", shorter);
  EXPECT_EQ(save(store, "longer", tokens), 2);
  expect_restores(store, "longer", tokens);
}

TEST_F(StoreTest, CodecsDoNotShareBlocks) {
  const auto tokens = test::random_tokens(32, 6);
  Store store = writer();
  save(store, "exact", tokens);
  EXPECT_TRUE(value_of(store.match(tokens, value_of(Codec::parse("none+turboquant:3")))).empty());
  EXPECT_EQ(value_of(store.match(tokens, codec)).size(), 2U);
}

TEST_F(StoreTest, ListsItsSessionsByName) {
  Store store = writer();
  const auto preamble = test::random_tokens(16, 7);
  save(store, "b", joined(preamble, {1, 2, 3}));
  save(store, "a", joined(preamble, {4, 5}));
  const auto sessions = value_of(store.sessions());
  ASSERT_EQ(sessions.size(), 2U);
  EXPECT_EQ(sessions[0].name, "a");
  EXPECT_EQ(sessions[0].tokens, 18);
  EXPECT_EQ(sessions[0].blocks, 2);
  EXPECT_GT(sessions[0].bytes, sessions[0].own_bytes);
  EXPECT_EQ(sessions[0].codec, "none+lossless");
  EXPECT_CODE(store.session("c"), ErrorCode::session_not_found);
  EXPECT_CODE(store.blocks("c"), ErrorCode::session_not_found);
}

TEST_F(StoreTest, WithoutCommitNothingHappened) {
  const auto tokens = test::random_tokens(64, 8);
  Store store = writer();
  save(store, "kept", test::random_tokens(20, 9));
  const auto before = value_of(store.totals());
  const auto pack_size = std::filesystem::file_size(folder / "packs" / "00000001.pack");
  {
    auto session = value_of(store.begin("dropped", tokens, codec));
    const auto blocks = value_of(encode(Space(), codec, cache_of(tokens).view(), tokens, 0, block_tokens));
    ASSERT_OK(session.append(blocks[0]));
    EXPECT_CODE(session.commit(), ErrorCode::invalid_argument);  // blocks are missing
    ASSERT_OK(session.append(blocks[1]));
  }
  EXPECT_EQ(value_of(store.totals()).blocks, before.blocks);
  EXPECT_EQ(std::filesystem::file_size(folder / "packs" / "00000001.pack"), pack_size);
  EXPECT_EQ(save(store, "dropped", tokens), 0);
}

TEST_F(StoreTest, AWriterThatDiedLeavesTheOldState) {
  const auto kept = test::random_tokens(40, 10);
  const auto lost = test::random_tokens(64, 11);
  {
    Store store = writer();
    save(store, "kept", kept);
  }
  // Coded before the fork: the threads of Kokkos do not exist in the child.
  const auto blocks = value_of(encode(Space(), codec, cache_of(lost).view(), lost, 0, block_tokens));
  const pid_t child = fork();
  if (child == 0) {
    auto store = Store::open_for_writing(folder, parameters);
    auto session = store->begin("lost", lost, codec);
    const bool appended = session->append(blocks[0]).ok();
    _exit(appended ? 0 : 1);  // no destructors: as a kill
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_EQ(status, 0);
  Store store = writer();
  EXPECT_EQ(value_of(store.sessions()).size(), 1U);
  expect_restores(store, "kept", kept);
  EXPECT_EQ(save(store, "lost", lost), 0);
  expect_restores(store, "lost", lost);
  EXPECT_TRUE(value_of(store.verify()).problems.empty());
}

TEST_F(StoreTest, OneSessionIsSavedAtATime) {
  const auto tokens = test::random_tokens(40, 21);
  Store store = writer();
  {
    const auto first = value_of(store.begin("first", tokens, codec));
    EXPECT_CODE(store.begin("second", tokens, codec), ErrorCode::invalid_argument);
  }
  save(store, "second", tokens);
  EXPECT_EQ(save(store, "third", tokens), 3);
  // A writer that has committed says nothing of the next one when it goes.
  auto done = std::make_unique<SessionWriter>(value_of(store.begin("fourth", tokens, codec)));
  ASSERT_OK(done->commit());
  EXPECT_CODE(done->commit(), ErrorCode::invalid_argument);
  const auto next = value_of(store.begin("fifth", tokens, codec));
  done.reset();
  EXPECT_CODE(store.begin("sixth", tokens, codec), ErrorCode::invalid_argument);
  expect_restores(store, "second", tokens);
}

TEST_F(StoreTest, ASessionOfUnknownOriginSharesNothing) {
  const auto tokens = test::random_tokens(64, 22);
  Store store = writer();
  const auto blocks = value_of(encode(Space(), codec, cache_of(tokens).view(), tokens, 0, block_tokens));
  {
    auto lone = value_of(store.begin("lone", tokens, codec, {.sharing = Sharing::none}));
    for (const CodedBlock& block : blocks) ASSERT_OK(lone.append(block));
    ASSERT_OK(lone.commit());
  }
  EXPECT_EQ(save(store, "computed", tokens), 0);
  {
    const auto another = value_of(store.begin("another", tokens, codec, {.sharing = Sharing::none}));
    EXPECT_EQ(another.known_blocks(), 0);
  }
  expect_restores(store, "lone", tokens);
  expect_restores(store, "computed", tokens);
  EXPECT_TRUE(value_of(store.verify()).problems.empty());
}

TEST_F(StoreTest, AFolderThatWasThereKeepsItsRights) {
  using std::filesystem::perms;
  std::filesystem::create_directory(folder);
  const auto rights = perms::owner_all | perms::group_all;
  std::filesystem::permissions(folder, rights);
  const Store store = writer();
  EXPECT_EQ(std::filesystem::status(folder).permissions(), rights);
  EXPECT_EQ(std::filesystem::status(folder / "packs").permissions(), perms::owner_all);
}

TEST_F(StoreTest, AppendTakesTheNextBlockOnly) {
  const auto tokens = test::random_tokens(48, 12);
  Store store = writer();
  auto session = value_of(store.begin("s", tokens, codec));
  const auto blocks = value_of(encode(Space(), codec, cache_of(tokens).view(), tokens, 0, block_tokens));
  EXPECT_CODE(session.append(blocks[1]), ErrorCode::invalid_argument);
  ASSERT_OK(session.append(blocks[0]));
  EXPECT_CODE(session.append(blocks[0]), ErrorCode::invalid_argument);
  const auto other = test::random_tokens(16, 13);
  EXPECT_CODE(session.append(value_of(encode(Space(), codec, cache_of(other).view(), other, 16, block_tokens))[0]),
              ErrorCode::invalid_argument);
}

TEST_F(StoreTest, RefusesWhatDoesNotFit) {
  Store store = writer();
  EXPECT_CODE(store.begin("", test::random_tokens(5, 1), codec), ErrorCode::invalid_argument);
  EXPECT_CODE(store.begin("bad \xff name", test::random_tokens(5, 1), codec), ErrorCode::invalid_argument);
  EXPECT_CODE(store.begin("s", {}, codec), ErrorCode::empty_input);
  save(store, "s", test::random_tokens(5, 1));
  EXPECT_CODE(store.begin("s", test::random_tokens(5, 2), codec), ErrorCode::session_differs);
  Store read_only = reader();
  EXPECT_CODE(read_only.begin("t", test::random_tokens(5, 1), codec), ErrorCode::invalid_argument);
  EXPECT_CODE(Store::open(scratch.path() / "nothing"), ErrorCode::file_not_found);
}

TEST_F(StoreTest, OneStoreOneKindOfCache) {
  writer();
  StoreParameters other = parameters;
  other.model = Sha256().update("another").finish();
  EXPECT_CODE(Store::open_for_writing(folder, other), ErrorCode::wrong_model);
  other = parameters;
  other.block_tokens = 32;
  EXPECT_CODE(Store::open_for_writing(folder, other), ErrorCode::wrong_store);
  other = parameters;
  other.shape.dtype = DType::f16;
  EXPECT_CODE(Store::open_for_writing(folder, other), ErrorCode::wrong_store);
  other = parameters;
  other.shape.rope.theta = 500000;
  EXPECT_CODE(Store::open_for_writing(folder, other), ErrorCode::wrong_store);
}

TEST_F(StoreTest, APackThatIsTooShortIsNoticed) {
  {
    Store store = writer();
    save(store, "s", test::random_tokens(40, 14));
  }
  const std::string good = test::read_all(pack(1));
  scratch.write("store/packs/00000001.pack", good.substr(0, good.size() / 2));
  EXPECT_CODE(reader().blocks("s"), ErrorCode::truncated);
}

TEST_F(StoreTest, ReadersGoOnWhileAWriterAppends) {
  const auto first = test::random_tokens(40, 15);
  Store store = writer();
  save(store, "first", first);
  const Store early = reader();
  const auto blocks = value_of(early.blocks("first"));
  for (int i = 0; i < 20; ++i) save(store, "later" + std::to_string(i), test::random_tokens(100, 100 + i));
  // Views handed out before stay good, and the reader sees what came after.
  KvCache out = value_of(KvCache::create(parameters.shape, 40));
  ASSERT_OK(decode(Space(), codec, blocks, out.view()));
  EXPECT_TRUE(test::same_bytes(out, cache_of(first)));
  expect_restores(early, "later19", test::random_tokens(100, 119));
}

TEST_F(StoreTest, FilesAreForTheirOwnerOnly) {
  Store store = writer();
  save(store, "s", test::random_tokens(5, 16));
  using std::filesystem::perms;
  const auto others = perms::group_all | perms::others_all;
  for (const char* name : {"", "store.db", "packs", "packs/00000001.pack"}) {
    EXPECT_EQ(std::filesystem::status(folder / name).permissions() & others, perms::none) << name;
  }
}

}  // namespace
}  // namespace seqkv
