// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Stores with references that lose what blocks are predicted from, are flipped bit by bit, are crafted, and whose
// writers are killed: an error that names the block, or what is right.
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <random>
#include <thread>

#include "core/mirrored.hpp"
#include "support/index.hpp"
#include "support/referring.hpp"
#include "support/thorough.hpp"

namespace seqkv {
namespace {

using test::joined;
using test::value_of;

class ReferenceDamage : public test::ReferringStoreTest {
 protected:
  std::filesystem::path original = scratch.path() / "original";
  std::map<std::string, std::vector<Token>> tokens;
  std::map<std::string, KvCache> right;  ///< what sessions are restored to

  void make() {
    tokens = {{"a", session(1)}, {"b", session(2)}, {"c", joined(session(3), document)}};
    {
      Store store = writer();
      for (const auto& [name, ids] : tokens) {
        ASSERT_OK(put(store, name, ids));
        right[name] = value_of(get(store, name));
      }
      ASSERT_OK(put(store, "gone", session(4)));
      ASSERT_OK(store.remove("gone"));
    }
    std::filesystem::rename(folder, original);
    reset();
  }
  void reset() {
    std::filesystem::remove_all(folder);
    std::filesystem::copy(original, folder, std::filesystem::copy_options::recursive);
  }
  void execute(const std::string& sql) const { test::edit_index(folder, sql); }
  /// Where a record lies in the pack: of the first block that blocks of b are predicted from.
  std::pair<std::int64_t, std::int64_t> place_of_source() {
    sqlite3* database = nullptr;
    sqlite3_stmt* query = nullptr;
    sqlite3_open((folder / "store.db").c_str(), &database);
    sqlite3_prepare_v2(database, "SELECT offset, bytes FROM blocks WHERE id = (SELECT min(source) FROM sources)", -1,
                       &query, nullptr);
    EXPECT_EQ(sqlite3_step(query), SQLITE_ROW);
    const std::pair out{sqlite3_column_int64(query, 0), sqlite3_column_int64(query, 1)};
    sqlite3_finalize(query);
    sqlite3_close(database);
    return out;
  }
  void flip(const std::filesystem::path& path, std::int64_t at, unsigned bit) {
    std::string bytes = test::read_all(path);
    bytes[static_cast<std::size_t>(at)] = static_cast<char>(bytes[static_cast<std::size_t>(at)] ^ (1U << bit));
    scratch.write(std::filesystem::relative(path, scratch.path()).string(), bytes);
  }

  /// Every session is restored to what is right, cut as it may be, or is an error. How many were restored whole.
  int expect_right(const Store& store, const std::string& how) {
    int whole = 0;
    for (const auto& [name, expected] : right) {
      const auto now = get(store, name);
      if (!now) continue;
      KvCache part = value_of(KvCache::create(parameters.shape, now->tokens()));
      if (now->tokens() > expected.tokens()) {
        ADD_FAILURE() << how << ": " << name << " has grown";
        continue;
      }
      EXPECT_OK(copy(expected.view().slice(0, now->tokens()), part.view()));
      EXPECT_TRUE(test::same_bytes(*now, part)) << how << ": " << name << " is wrong";
      whole += now->tokens() == expected.tokens() ? 1 : 0;
    }
    return whole;
  }
  /// And after a repair nothing is left that is not.
  void expect_harmless(const std::string& how) {
    {
      const auto store = Store::open(folder);
      if (store) {
        expect_right(*store, how);
        (void)store->verify();
        (void)store->match(session(2), codec);
        (void)StoreTest::restore(*store, "b");
      }
    }
    auto store = Store::open_for_writing(folder);
    if (!store) return;
    if (store->repair()) {
      const auto report = store->verify();
      EXPECT_TRUE(!report || report->broken_sessions.empty()) << how;
      for (const std::string& name : names(*store)) EXPECT_TRUE(get(*store, name).ok()) << how << ": " << name;
      expect_right(*store, how + ", repaired");
    }
    (void)put(*store, "d", session(5));
    (void)store->retain({.bytes = 4000});
    (void)store->gc({.dead_part = 0.0});
    expect_right(*store, how + ", after gc");
  }
};

TEST_F(ReferenceDamage, OfASourceIsAnErrorOfTheBlock) {
  make();
  const auto [offset, bytes] = place_of_source();
  flip(pack(1), offset + bytes - 40, 3);
  {
    const Store store = reader();
    EXPECT_CODE(get(store, "a"), ErrorCode::checksum_mismatch);
    const auto b = get(store, "b");
    EXPECT_CODE(b, ErrorCode::checksum_mismatch);
    EXPECT_GE(b.error().block, 1);
    EXPECT_NE(b.error().message.find("predicted from block"), std::string::npos) << b.error().describe();
    const auto file = StoreTest::restore(store, "b");
    EXPECT_FALSE(file.ok());
    EXPECT_GE(file.error().block, 0);
    EXPECT_FALSE(std::filesystem::exists(restored)) << "nothing is left of it";
    const auto report = value_of(store.verify());
    EXPECT_EQ(report.broken_sessions, (std::vector<std::string>{"a", "b", "c"}));
    KvCache first = value_of(KvCache::create(parameters.shape, 30));
    EXPECT_OK(seqkv::restore(test::Space(), store, "b", {.tokens = 30}, first.view()));  // a part without it
  }
  Store store = writer();
  const auto repaired = value_of(store.repair());
  EXPECT_EQ(repaired.lost.size(), 3U);
  expect_sound(store);
  EXPECT_LT(expect_right(store, "repaired"), 3);
  // What is left is predicted from, as before.
  ASSERT_OK(put(store, "a", tokens["a"], {.if_exists = IfExists::replace}));
  ASSERT_OK(put(store, "b", tokens["b"], {.if_exists = IfExists::replace}));
  EXPECT_TRUE(is_near(value_of(get(store, "b")), tokens["b"]));
  expect_sound(store);
}

TEST_F(ReferenceDamage, AMissingSourceIsNamed) {
  make();
  for (const char* sql : {"DELETE FROM sources", "DELETE FROM blocks WHERE id IN (SELECT source FROM sources)",
                          "UPDATE sources SET source = source + 1000"}) {
    reset();
    execute(sql);
    const Store store = reader();
    const auto b = get(store, "b");
    EXPECT_CODE(b, ErrorCode::missing_reference);
    EXPECT_EQ(b.error().block, 1) << sql;
    EXPECT_FALSE(StoreTest::restore(store, "b").ok()) << sql;
    const auto report = value_of(store.verify());
    EXPECT_TRUE(std::ranges::count(report.broken_sessions, "b") == 1) << sql;
    expect_harmless(sql);
  }
}

TEST_F(ReferenceDamage, CraftedRows) {
  make();
  for (const char* sql : {
           "UPDATE OR REPLACE sources SET source = block",
           "UPDATE OR REPLACE sources SET source = 1",
           "UPDATE OR REPLACE sources SET source = (SELECT max(block) FROM sources)",
           "INSERT OR IGNORE INTO sources SELECT a.id, b.id FROM blocks a, blocks b",
           "INSERT OR IGNORE INTO sources SELECT source, block FROM sources",
           "UPDATE OR REPLACE sources SET source = 9223372036854775807",
           "UPDATE sources SET block = -1 WHERE block = (SELECT min(block) FROM sources)",
           "INSERT INTO sources SELECT 99, id FROM blocks",
           "DELETE FROM sources WHERE block = (SELECT min(block) FROM sources)",
           "DROP TABLE sources",
           "UPDATE blocks SET (pack, offset, bytes) = (SELECT pack, offset, bytes FROM blocks WHERE id = 2) WHERE id = "
           "3",
       }) {
    reset();
    execute(sql);
    expect_harmless(sql);
  }
}

TEST_F(ReferenceDamage, FlippedBits) {
  make();
  const auto pack_bytes = static_cast<std::int64_t>(std::filesystem::file_size(pack(1)));
  const auto index_bytes = static_cast<std::int64_t>(std::filesystem::file_size(folder / "store.db"));
  std::int64_t flips = 0;
  for (std::int64_t at = 0; at < pack_bytes; at += test::sample<std::int64_t>(4001, 61), ++flips) {
    reset();
    flip(pack(1), at, static_cast<unsigned>(at % 8));
    expect_harmless(fmt::format("byte {} of the pack", at));
    if (HasFailure()) return;
  }
  for (std::int64_t at = 0; at < index_bytes; at += test::sample<std::int64_t>(9001, 193), ++flips) {
    reset();
    flip(folder / "store.db", at, static_cast<unsigned>(at % 8));
    expect_harmless(fmt::format("byte {} of the index", at));
    if (HasFailure()) return;
  }
  RecordProperty("flips", static_cast<int>(flips));
}

/// A new index from damaged packs has sessions that are right, and no others.
TEST_F(ReferenceDamage, AnIndexMadeAgainFromDamagedPacks) {
  make();
  {
    EXPECT_EQ(value_of(Store::rebuild_index(folder)).lost.size(), 0U);
    EXPECT_EQ(expect_right(reader(), "made again"), 3);
    expect_sound(reader());
  }
  const auto bytes = static_cast<std::int64_t>(std::filesystem::file_size(pack(1)));
  for (std::int64_t at = 0; at < bytes; at += test::sample<std::int64_t>(6007, 251)) {
    reset();
    flip(pack(1), at, static_cast<unsigned>(at % 8));
    if (!Store::rebuild_index(folder)) continue;
    expect_harmless(fmt::format("an index made again, byte {}", at));
    if (HasFailure()) return;
  }
}

/// Records of a block that was removed and saved anew may have other sources: the living one counts.
TEST_F(ReferenceDamage, OfTwoRecordsOfABlockTheLastCounts) {
  const auto b = session(2);
  std::map<std::string, KvCache> expected;
  {
    Store store = writer();
    ASSERT_OK(put(store, "a", session(1)));
    ASSERT_OK(put(store, "b", b));
    EXPECT_EQ(referring(store, "b"), 5);
    ASSERT_OK(store.remove("b"));
    ASSERT_OK(store.remove("a"));
  }
  Store store = writer();
  ASSERT_OK(put(store, "b", b));
  EXPECT_EQ(referring(store, "b"), 0) << "now it stands alone";
  ASSERT_OK(put(store, "c", session(3)));
  for (const char* name : {"b", "c"}) expected[name] = value_of(get(store, name));
  { const Store closed = std::move(store); }
  EXPECT_EQ(value_of(Store::rebuild_index(folder)).lost.size(), 0U);
  const Store made = reader();
  for (const auto& [name, cache] : expected) EXPECT_TRUE(test::same_bytes(value_of(get(made, name)), cache)) << name;
  expect_sound(made);
}

/// What a child is about to do, or has done.
struct Deed {
  char what;    ///< 'b'egins, 'd'one
  char action;  ///< 's'ave, 'r'emove, other
  unsigned session;
};

/// Whatever the moment, sessions that were saved are there and right.
TEST_F(ReferenceDamage, KilledAtAnyMoment) {
  constexpr unsigned sessions = 6;
  if (!is_host_space<test::Space>) GTEST_SKIP() << "a process that is forked from one that uses a device has none";
  const auto tokens_of = [&](unsigned i) { return session(i, 20 + 23 * static_cast<std::int64_t>(i)); };
  { writer(); }
  std::mt19937 random(11);
  std::map<unsigned, bool> there;
  const int rounds = test::sample(25, 500);
  int uses = 0;
  for (int round = 0; round < rounds; ++round) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    const unsigned seed = random();
    const pid_t child = fork();
    if (child == 0) {
      // The threads of Kokkos do not exist here.
      const Kokkos::Serial alone;
      std::mt19937 choice(seed);
      auto store = Store::open_for_writing(folder);
      if (!store) _exit(1);
      const auto note = [&](Deed line) { return ::write(ends[1], &line, sizeof(line)) == sizeof(line); };
      for (;;) {
        const unsigned i = choice() % sessions;
        const unsigned what = choice() % 8;
        const char action = what < 5 ? 's' : what < 7 ? 'r' : 'g';
        note({'b', action, i});
        Result<void> status;
        if (action == 's') {
          auto done = put(*store, fmt::format("s{}", i), tokens_of(i), {.if_exists = IfExists::replace}, alone);
          if (!done) status = done.error();
        } else if (action == 'r') {
          status = store->remove(fmt::format("s{}", i));
          if (!status && status.error().code == ErrorCode::session_not_found) status = {};
        } else if (auto done = store->gc({.dead_part = 0.0}); !done) {
          status = done.error();
        }
        if (!status) _exit(1);
        note({'d', action, i});
      }
    }
    ::close(ends[1]);
    Deed note{};
    unsigned uncertain = sessions;
    const auto read_note = [&]() {
      if (::read(ends[0], &note, sizeof(note)) != sizeof(note)) return false;
      uncertain = note.what == 'b' && note.action != 'g' ? note.session : sessions;
      if (note.what == 'd' && note.action == 's') there[note.session] = true;
      if (note.what == 'd' && note.action == 'r') there[note.session] = false;
      return true;
    };
    // Some steps, on however slow a machine, and a part of one.
    for (unsigned left = 2 * (random() % 12); left > 0 && read_note(); --left) {
    }
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 20'000));
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "round " << round << ": the child failed by itself";
    while (read_note()) {
    }
    ::close(ends[0]);
    const Store store = reader();
    expect_sound(store);
    for (unsigned i = 0; i < sessions; ++i) {
      const std::string name = fmt::format("s{}", i);
      const auto now = get(store, name);
      if (i == uncertain) there[i] = now.ok();
      EXPECT_EQ(now.ok(), there[i]) << "round " << round << ", session " << i;
      EXPECT_TRUE(!now || is_near(*now, tokens_of(i))) << "round " << round << ", session " << i;
      if (now && referring(store, name) > 0) ++uses;
    }
    if (HasFailure()) return;
  }
  EXPECT_GT(uses, rounds / 4) << "references were at stake";
  RecordProperty("uses", uses);
}

}  // namespace
}  // namespace seqkv
