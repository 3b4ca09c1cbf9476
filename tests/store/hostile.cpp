// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Stores that were damaged or made to harm: refused, or right; never wrong, never without end.
#include <gtest/gtest.h>

#include <fstream>

#include "support/index.hpp"
#include "support/stores.hpp"
#include "support/thorough.hpp"

namespace seqkv {
namespace {

using test::joined;
using test::Space;
using test::value_of;

class StoreHostile : public test::StoreTest {
 protected:
  const std::vector<Token> a = test::random_tokens(70, 1),
                           b = joined({a.begin(), a.begin() + 40}, test::random_tokens(30, 2));
  std::filesystem::path original = scratch.path() / "original";

  StoreHostile() {
    {
      Store store = writer();
      save(store, "a", a);
      save(store, "b", b);
      save(store, "c", b);
      if (!store.remove("c")) throw std::runtime_error("no c");
    }
    std::filesystem::rename(folder, original);
    reset();
  }
  void reset() {
    std::filesystem::remove_all(folder);
    std::filesystem::copy(original, folder, std::filesystem::copy_options::recursive);
  }
  void execute(const std::string& sql) const { test::edit_index(folder, sql); }
  /// Everything that can be asked of a store is answered with an error or with what is right.
  void expect_harmless(const std::string& how) {
    const auto opened = Store::open(folder);
    if (opened) {
      (void)opened->totals();
      (void)opened->sessions();
      for (const auto& [name, tokens] : {std::pair("a", &a), {"b", &b}}) {
        const auto blocks = opened->blocks(name);
        if (blocks) {
          const auto ids = opened->tokens(name);
          EXPECT_TRUE(!ids || std::ranges::equal(*ids, std::span(*tokens).first(std::min(ids->size(), tokens->size()))))
              << how;
          KvCache out = value_of(KvCache::create(parameters.shape, blocks->tokens()));
          if (decode(Space(), codec, *blocks, out.view())) {
            EXPECT_TRUE(test::same_bytes(out, cache_of({tokens->begin(), tokens->begin() + blocks->tokens()}))) << how;
          }
        }
        const auto source = opened->source(name);
        std::vector<std::byte> buffer;
        for (std::size_t i = 0; source && i < source->blocks.size(); ++i) {
          (void)source->read(static_cast<std::int64_t>(i), buffer);
        }
        (void)opened->match(*tokens, codec);
      }
      (void)opened->verify();
    }
    // A repair ends, and what is left is sound.
    auto writer = Store::open_for_writing(folder);
    if (!writer) return;
    if (writer->repair()) {
      const auto report = writer->verify();
      if (report) {
        EXPECT_TRUE(report->broken_sessions.empty()) << how;
      }
    }
    (void)writer->retain({.bytes = 1});
    (void)writer->gc({.dead_part = 0.0});
  }
};

TEST_F(StoreHostile, CraftedRows) {
  const std::vector<std::string> crafts = {
      "UPDATE blocks SET parent = id",
      "UPDATE blocks SET parent = 2 WHERE id = 1",
      "UPDATE blocks SET parent = 99",
      "UPDATE blocks SET parent = NULL",
      "UPDATE blocks SET position = position + 1",
      "UPDATE blocks SET position = -16 WHERE id = 1",
      "UPDATE blocks SET position = 9223372036854775807",
      "UPDATE blocks SET tokens = 0",
      "UPDATE blocks SET tokens = -1",
      "UPDATE blocks SET tokens = 9223372036854775807",
      "UPDATE blocks SET pack = 0",
      "UPDATE blocks SET pack = -1",
      "UPDATE blocks SET pack = 9223372036854775807",
      "UPDATE blocks SET pack = 2",
      "UPDATE blocks SET offset = 0",
      "UPDATE blocks SET offset = offset + 64",
      "UPDATE blocks SET offset = offset + 1",
      "UPDATE blocks SET offset = -9223372036854775807",
      "UPDATE blocks SET offset = 9223372036854775807",
      "UPDATE blocks SET bytes = 0",
      "UPDATE blocks SET bytes = -1",
      "UPDATE blocks SET bytes = 9223372036854775807",
      "UPDATE blocks SET bytes = bytes + 64",
      "UPDATE blocks SET bytes = 1099511627776, offset = 64",
      "UPDATE blocks SET (pack, offset, bytes) = (SELECT pack, offset, bytes FROM blocks WHERE id = 2) WHERE id = 1",
      "UPDATE blocks SET identity = x'00' WHERE id = 2",
      "UPDATE blocks SET identity = zeroblob(1000000) WHERE id = 1",
      "UPDATE blocks SET identity = randomblob(32)",
      "UPDATE blocks SET codec = 99",
      "DROP INDEX blocks_by_identity; UPDATE blocks SET identity = (SELECT identity FROM blocks WHERE id = 2)",
      "DELETE FROM blocks",
      "DELETE FROM blocks WHERE id = 1",
      "DELETE FROM packs",
      "UPDATE packs SET bytes = 0",
      "UPDATE packs SET bytes = -1",
      "UPDATE packs SET bytes = 9223372036854775807",
      "UPDATE packs SET bytes = bytes - 64",
      "INSERT INTO packs VALUES (77, 1000)",
      "INSERT INTO packs VALUES (9223372036854775807, 64)",
      "UPDATE packs SET id = -5",
      "UPDATE sessions SET block = 99",
      "UPDATE sessions SET block = 1",
      "UPDATE sessions SET tokens = 0",
      "UPDATE sessions SET tokens = -1",
      "UPDATE sessions SET tokens = 9223372036854775807",
      "UPDATE sessions SET tokens = tokens - 1",
      "UPDATE sessions SET codec = 99",
      "UPDATE sessions SET name = zeroblob(10) WHERE name = 'a'",
      "UPDATE sessions SET nonce = randomblob(32)",
      "UPDATE sessions SET nonce = x''",
      "UPDATE sessions SET tenant = x''",
      "UPDATE sessions SET tenant = randomblob(32)",
      "UPDATE sessions SET pack = 99, offset = -1",
      "UPDATE sessions SET (pack, offset, bytes) = (SELECT pack, offset, bytes FROM blocks WHERE id = 1)",
      "UPDATE sessions SET expires = 9223372036854775807, created = -9223372036854775807",
      "UPDATE sessions SET block = (SELECT block FROM sessions WHERE name = 'b') WHERE name = 'a'",
      "DELETE FROM removals",
      "UPDATE removals SET tenant = x'', pack = -1",
      "DELETE FROM codecs",
      "UPDATE codecs SET spec = 'none+turboquant:3'",
      "UPDATE codecs SET spec = 'linear+lossless'",
      "UPDATE codecs SET spec = '../../etc/passwd'",
      "UPDATE codecs SET profile = randomblob(32)",
      "UPDATE codecs SET profile = x'2e2e2f'",
      "DELETE FROM state",
      "UPDATE state SET sequence = 9223372036854775807",
      "UPDATE state SET sequence = -1",
      "UPDATE state SET next_pack = 9223372036854775807",
      "UPDATE state SET next_pack = -1",
      "UPDATE state SET half_life = 0",
      "UPDATE state SET half_life = 'x'",
      "UPDATE uses SET weight = -1e308, hits = -9223372036854775807",
      "UPDATE uses SET last_use = 9e307",
      "DELETE FROM parameters",
      "UPDATE parameters SET value = '1' WHERE name = 'version'",
      "UPDATE parameters SET value = '1000000' WHERE name = 'layers'",
      "INSERT INTO parameters VALUES ('a=b' || char(10) || 'c', 'd')",
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) "
      "INSERT INTO parameters SELECT 'p' || i, 'x' FROM n",
      "DROP TABLE sessions",
      "DROP TABLE blocks",
      "DROP TABLE state",
      "ALTER TABLE sessions DROP COLUMN pinned",
      "DROP TABLE sessions; CREATE VIEW sessions AS SELECT * FROM blocks",
      "CREATE TRIGGER t AFTER DELETE ON sessions BEGIN DELETE FROM blocks; END",
      "DROP INDEX blocks_by_parent; DROP INDEX sessions_by_name",
  };
  for (const std::string& craft : crafts) {
    reset();
    execute(craft);
    expect_harmless(craft);
  }
  RecordProperty("crafts", static_cast<int>(crafts.size()));
}

/// Each block is what its record says, and yet they are not one text.
TEST_F(StoreHostile, ABlockOfAnotherChain) {
  std::filesystem::remove_all(folder);
  const auto x = test::random_tokens(48, 5);
  {
    Store store = writer();
    save(store, "x", x);
    save(store, "y", test::random_tokens(48, 6));
  }
  execute("UPDATE blocks SET parent = 1 WHERE id = 5");  // y goes on from the first block of x
  const auto blocks = reader().blocks("y");
  ASSERT_FALSE(blocks.ok());
  EXPECT_EQ(blocks.error().code, ErrorCode::corrupt);
  EXPECT_EQ(blocks.error().block, 1);
  EXPECT_CODE(reader().tokens("y"), ErrorCode::corrupt);
  EXPECT_FALSE(restore(reader(), "y").ok());
  EXPECT_EQ(value_of(reader().tokens("x")), x);
}

TEST_F(StoreHostile, FlippedBytesOfTheIndex) {
  const std::string good = test::read_all(folder / "store.db");
  const std::size_t step = test::sample<std::size_t>(499, 1);
  for (std::size_t i = 0; i < good.size(); i += step) {
    reset();
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ (1 << (i % 8)));
    std::ofstream(folder / "store.db", std::ios::binary) << bad;
    expect_harmless(fmt::format("byte {} of the index", i));
  }
}

TEST_F(StoreHostile, FlippedBytesOfAPackAreNoticed) {
  const std::string good = test::read_all(pack(1));
  const std::size_t step = test::sample<std::size_t>(31, 1);
  for (std::size_t i = 0; i < good.size(); i += step) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ (1 << (i % 8)));
    std::ofstream(pack(1), std::ios::binary) << bad;
    const Store store = reader();
    const auto report = value_of(store.verify());
    EXPECT_FALSE(report.problems.empty()) << "byte " << i;
    // Sessions that are said to be whole are, and come back right.
    for (const auto& [name, tokens] : {std::pair<std::string, const std::vector<Token>*>("a", &a), {"b", &b}}) {
      const bool whole = std::ranges::find(report.broken_sessions, name) == report.broken_sessions.end();
      EXPECT_EQ(store.blocks(name).ok(), whole) << "byte " << i;
      EXPECT_TRUE(!whole || value_of(store.tokens(name)) == *tokens);
    }
  }
}

TEST_F(StoreHostile, FlippedBytesOfAPackAndAnIndexMadeAgain) {
  const std::string good = test::read_all(pack(1));
  for (std::size_t i = 0; i < good.size(); i += test::sample<std::size_t>(127, 1)) {
    reset();
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ (1 << (i % 8)));
    std::ofstream(pack(1), std::ios::binary) << bad;
    std::filesystem::remove(folder / "store.db");
    if (!Store::rebuild_index(folder)) continue;  // the header, or the parameters
    expect_harmless(fmt::format("byte {} of a pack, index made again", i));
  }
}

TEST_F(StoreHostile, AClockThatWasSetBack) {
  // As if all uses so far had been decades ahead of now.
  execute("UPDATE uses SET last_use = last_use + 1e9");
  Store store = value_of(Store::open_for_writing(folder));
  for (int i = 0; i < 3; ++i) ASSERT_OK(store.touch("a"));
  save(store, "new", test::random_tokens(40, 9));
  for (const RetentionPolicy policy : {RetentionPolicy::lfu, RetentionPolicy::value}) {
    RetentionRule rule;
    rule.policy = policy;
    rule.bytes = value_of(store.totals()).block_bytes - 1;
    const RetainReport report = value_of(store.retain(rule));
    EXPECT_EQ(std::ranges::count(report.evicted, "a"), 0) << to_string(policy);
    EXPECT_TRUE(report.expired.empty());
  }
  expect_restores(store, "a", a);
  expect_sound(store);
}

TEST_F(StoreHostile, PacksOfOthersAndNoPacks) {
  std::ofstream(pack(1), std::ios::binary) << "";
  expect_harmless("an empty pack");
  reset();
  std::filesystem::resize_file(pack(1), 100);
  expect_harmless("a pack cut short");
  reset();
  std::filesystem::remove(pack(1));
  std::filesystem::create_directory(pack(1));
  expect_harmless("a folder for a pack");
  reset();
  folder = scratch.path() / "second";
  {
    Store store = writer();
    save(store, "a", b);
  }
  const auto theirs = pack(1);
  folder = scratch.path() / "store";
  std::filesystem::copy_file(theirs, pack(1), std::filesystem::copy_options::overwrite_existing);
  EXPECT_CODE(reader().blocks("a"), ErrorCode::corrupt);
  expect_harmless("a pack of another store");
}

TEST_F(StoreHostile, ManySessions) {
  reset();
  Store store = value_of(Store::open_for_writing(folder));
  const int count = test::sample(300, 100'000);
  for (int i = 0; i < count; ++i) ASSERT_OK(store.fork("a", fmt::format("fork {}", i), 1 + i % 70));
  EXPECT_EQ(value_of(reader().sessions()).size(), static_cast<std::size_t>(count) + 2);
  EXPECT_EQ(value_of(store.totals()).blocks, value_of(reader().totals()).blocks);
  ASSERT_OK(store.gc({.dead_part = 0.0}));
  expect_sound(store);
  expect_restores(store, "fork 69", a);
}

}  // namespace
}  // namespace seqkv
