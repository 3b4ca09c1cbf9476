// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// What gc gives back, what repair keeps, and an index made again from packs.
#include <gtest/gtest.h>

#include <fstream>

#include "support/stores.hpp"

namespace seqkv {
namespace {

using test::joined;
using test::Space;
using test::value_of;

class StoreGc : public test::StoreTest {
 protected:
  const std::vector<Token> preamble = test::random_tokens(40, 1);
  std::vector<Token> tokens_of(unsigned seed, std::int64_t count = 50) {
    return joined(preamble, test::random_tokens(count, seed));
  }
  GcReport collect(Store& store) { return value_of(store.gc({.dead_part = 0.0})); }
  std::uintmax_t bytes_on_disk() const {
    std::uintmax_t sum = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder / "packs")) sum += entry.file_size();
    return sum;
  }
  void damage(const std::filesystem::path& path, std::size_t at) {
    std::string bytes = test::read_all(path);
    bytes.at(at) ^= 0x10;
    std::ofstream(path, std::ios::binary) << bytes;
  }
  /// Where a session's block lies in pack 1.
  std::size_t find_block(const Store& store, const std::string& name, std::size_t number) {
    const StoredBlocks all_blocks = value_of(store.blocks(name));
    const CodedBlockView block = all_blocks[number];
    const std::string bytes(reinterpret_cast<const char*>(block.data()), block.size());
    return test::read_all(pack(1)).find(bytes) + bytes.size() / 2;
  }
  RebuildReport rebuild() {
    std::filesystem::remove(folder / "store.db");
    return value_of(Store::rebuild_index(folder, access));
  }
};

TEST_F(StoreGc, GivesBackWhatNobodyNeeds) {
  Store store = writer();
  for (unsigned i = 0; i < 10; ++i) save(store, fmt::format("s{}", i), tokens_of(10 + i));
  const Store early = reader();
  const auto held = value_of(early.blocks("s9"));
  auto source = value_of(early.source("s9"));
  std::vector<std::byte> buffer;
  EXPECT_TRUE(source.read(0, buffer).ok());  // opens the old pack
  for (unsigned i = 0; i < 8; ++i) ASSERT_OK(store.remove(fmt::format("s{}", i)));
  const auto before = bytes_on_disk();
  EXPECT_EQ(value_of(store.gc({.dead_part = 1.0})).packs_removed, 0);
  const GcReport report = collect(store);
  EXPECT_EQ(report.packs_removed, 1);
  EXPECT_EQ(report.packs_written, 1);
  EXPECT_LT(report.bytes_after, report.bytes_before / 2);
  EXPECT_LT(bytes_on_disk(), before / 2);
  EXPECT_FALSE(std::filesystem::exists(pack(1)));
  for (const unsigned i : {8U, 9U}) {
    expect_restores(store, fmt::format("s{}", i), tokens_of(10 + i));
    expect_restores(early, fmt::format("s{}", i), tokens_of(10 + i));
  }
  // What was handed out before is as it was, and a source that was begun goes on in the new pack.
  KvCache out = value_of(KvCache::create(parameters.shape, 90));
  ASSERT_OK(decode(Space(), codec, held, out.view()));
  EXPECT_TRUE(test::same_bytes(out, cache_of(tokens_of(19))));
  for (std::int64_t b = 0; b < static_cast<std::int64_t>(source.blocks.size()); ++b) {
    ASSERT_OK(source.read(b, buffer));
  }
  expect_sound(store);
  EXPECT_EQ(collect(store).packs_removed, 1);  // the records of removals, which nothing needs now
  EXPECT_EQ(collect(store).packs_removed, 0);
}

TEST_F(StoreGc, ASessionThatIsRemovedWhileItIsReadIsSaidToBe) {
  Store store = writer();
  save(store, "s", tokens_of(2));
  const Store early = reader();
  const auto source = value_of(early.source("s"));
  ASSERT_OK(store.remove("s"));
  collect(store);
  std::vector<std::byte> buffer;
  EXPECT_CODE(source.read(0, buffer), ErrorCode::session_not_found);
}

TEST_F(StoreGc, ClearsWhatCrashesLeft) {
  Store store = writer();
  save(store, "s", tokens_of(2));
  scratch.write("store/packs/00000007.pack", "begun by a writer that died");
  scratch.write("store/packs/notes.txt", "not ours");
  EXPECT_EQ(value_of(store.gc()).packs_removed, 1);
  EXPECT_TRUE(std::filesystem::exists(folder / "packs" / "notes.txt"));
  expect_restores(store, "s", tokens_of(2));
}

TEST_F(StoreGc, DoesNotMoveWhatIsBroken) {
  Store store = writer();
  save(store, "s", tokens_of(2));
  save(store, "gone", tokens_of(3));
  const auto at = find_block(store, "s", 1);
  ASSERT_OK(store.remove("gone"));
  damage(pack(1), at);
  EXPECT_CODE(store.gc({.dead_part = 0.0}), ErrorCode::checksum_mismatch);
  EXPECT_TRUE(std::filesystem::exists(pack(1)));
  EXPECT_EQ(packs(), 1U);
}

TEST_F(StoreGc, RepairKeepsWhatIsWhole) {
  const auto a = tokens_of(2), b = tokens_of(3), c = test::random_tokens(60, 4);
  Store store = writer();
  save(store, "a", a);
  save(store, "b", b);
  save(store, "c", c);
  damage(pack(1), find_block(store, "a", 3));
  EXPECT_EQ(value_of(store.verify()).broken_sessions, std::vector<std::string>{"a"});
  const RepairReport report = value_of(store.repair());
  ASSERT_EQ(report.lost.size(), 1U);
  EXPECT_EQ(report.lost[0].name, "a");
  EXPECT_EQ(report.lost[0].tokens, 90);
  EXPECT_EQ(report.lost[0].kept, 48);
  EXPECT_NE(report.lost[0].why.find("token 48"), std::string::npos);
  EXPECT_EQ(report.blocks_dropped, 3);
  EXPECT_FALSE(report.problems.empty());
  expect_sound(store);
  expect_restores(store, "a", {a.begin(), a.begin() + 48});
  expect_restores(store, "b", b);
  expect_restores(store, "c", c);
  EXPECT_TRUE(value_of(store.repair()).problems.empty());
  // The damage was in blocks that two shared, from the first on, and in a record.
  damage(folder / "packs" / "00000002.pack", test::read_all(pack(2)).find("none+lossless"));
  const RepairReport second = value_of(store.repair());
  EXPECT_EQ(second.lost.size(), 2U);
  for (const SessionLoss& loss : second.lost) EXPECT_EQ(loss.kept, 0);
  EXPECT_EQ(names(store), std::vector<std::string>{"c"});
  expect_restores(store, "c", c);
  expect_sound(store);
}

TEST_F(StoreGc, RepairWritesRecordsAnew) {
  Store store = writer();
  save(store, "s", tokens_of(2));
  const std::string bytes = test::read_all(pack(1));
  damage(pack(1), bytes.rfind('s'));  // the name in the record of the session
  EXPECT_FALSE(value_of(store.verify()).problems.empty());
  EXPECT_TRUE(value_of(store.repair()).lost.empty());
  expect_sound(store);
  expect_restores(store, "s", tokens_of(2));
}

TEST_F(StoreGc, RepairOfAPackThatIsGone) {
  Store store = writer();
  save(store, "s", tokens_of(2));
  store = reader();
  std::filesystem::remove(pack(1));
  store = value_of(Store::open_for_writing(folder));
  const RepairReport report = value_of(store.repair());
  ASSERT_EQ(report.lost.size(), 1U);
  EXPECT_EQ(report.lost[0].kept, 0);
  expect_sound(store);
  EXPECT_EQ(save(store, "s", tokens_of(2)), 0);
  expect_restores(store, "s", tokens_of(2));
}

TEST_F(StoreGc, TheIndexIsMadeAgainFromThePacks) {
  {
    Store store = writer();
    for (unsigned i = 0; i < 6; ++i) save(store, fmt::format("s{}", i), tokens_of(10 + i));
    save(store, "lone", tokens_of(2), {.sharing = Sharing::none, .expires = 4'000'000'000, .pinned = true});
    ASSERT_OK(store.fork("s1", "fork", 33));
    ASSERT_OK(store.remove("s0"));
    save(store, "s2", tokens_of(30), {.if_exists = IfExists::replace});
    ASSERT_OK(store.remove("s3"));
    save(store, "s3", tokens_of(31));
    ASSERT_OK(store.set_pinned("s4", true));
  }
  const auto before = value_of(reader().sessions());
  const auto totals = value_of(reader().totals());
  std::filesystem::remove(folder / "store.db");
  EXPECT_CODE(Store::open(folder), ErrorCode::file_not_found);
  EXPECT_CODE(Store::open_for_writing(folder, parameters), ErrorCode::corrupt);  // and does not begin another store
  const RebuildReport report = rebuild();
  EXPECT_EQ(report.sessions, static_cast<std::int64_t>(before.size()));
  EXPECT_EQ(report.removed, 1);
  EXPECT_TRUE(report.lost.empty());
  EXPECT_TRUE(report.problems.empty());
  Store store = value_of(Store::open_for_writing(folder, parameters));
  expect_sound(store);
  const auto after = value_of(store.sessions());
  ASSERT_EQ(after.size(), before.size());
  for (std::size_t i = 0; i < after.size(); ++i) {
    EXPECT_EQ(after[i].name, before[i].name);
    EXPECT_EQ(after[i].tokens, before[i].tokens);
    EXPECT_EQ(after[i].created, before[i].created);
    EXPECT_EQ(after[i].expires, before[i].expires);
    EXPECT_EQ(after[i].pinned, before[i].pinned);
    EXPECT_EQ(after[i].bytes, before[i].bytes);
    EXPECT_EQ(after[i].own_bytes, before[i].own_bytes);
  }
  EXPECT_EQ(value_of(store.totals()).blocks, totals.blocks);
  EXPECT_EQ(value_of(store.totals()).pack_bytes, totals.pack_bytes);
  expect_restores(store, "s2", tokens_of(30));
  expect_restores(store, "s3", tokens_of(31));
  expect_restores(store, "lone", tokens_of(2));
  EXPECT_EQ(save(store, "again", tokens_of(11)), 6);
}

TEST_F(StoreGc, WhatWasRemovedStaysRemovedWhateverGcMoved) {
  {
    Store store = writer();
    save(store, "secret", tokens_of(2));
    save(store, "kept", tokens_of(3));
    ASSERT_OK(store.remove("secret"));
  }
  EXPECT_EQ(rebuild().sessions, 1);
  for (int i = 0; i < 3; ++i) {
    {
      Store store = value_of(Store::open_for_writing(folder));
      collect(store);
      expect_sound(store);
    }
    EXPECT_EQ(rebuild().sessions, 1);
    EXPECT_EQ(names(reader()), std::vector<std::string>{"kept"});
  }
}

TEST_F(StoreGc, ARebuildSaysWhatIsLost) {
  std::size_t at = 0;
  {
    Store store = writer();
    save(store, "a", tokens_of(2));
    save(store, "b", tokens_of(3));
    const StoredBlocks all_blocks = value_of(store.blocks("b"));
    const CodedBlockView block = all_blocks[4];
    const std::string bytes(reinterpret_cast<const char*>(block.data()), block.size());
    at = test::read_all(pack(1)).find(bytes) - 70;
  }
  damage(pack(1), at);  // in the head of the record
  const RebuildReport report = rebuild();
  EXPECT_EQ(report.sessions, 1);
  ASSERT_EQ(report.lost.size(), 1U);
  EXPECT_EQ(report.lost[0].name, "b");
  EXPECT_FALSE(report.problems.empty());
  expect_restores(reader(), "a", tokens_of(2));
  EXPECT_CODE(Store::rebuild_index(scratch.path() / "nothing"), ErrorCode::file_not_found);
}

}  // namespace
}  // namespace seqkv
