// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// A store a thread, all of one folder: readers go on beside a writer, and see sessions whole or not at all. Under
// ThreadSanitizer (preset tsan) this also shows what stores, transfers and the C API share.
#include <atomic>
#include <set>
#include <thread>

#include "seqkv/seqkv.h"
#include "support/stores.hpp"

namespace seqkv {
namespace {

using test::joined;
using test::value_of;

/// Sessions of one preamble; every third is removed again.
constexpr int sessions = 12;
std::vector<Token> tokens_of(int session) {
  return joined(test::random_tokens(40, 1), test::random_tokens(30, 100 + static_cast<unsigned>(session)));
}
std::string name_of(int session) { return fmt::format("s{:02}", session); }

class StoreThreads : public test::StoreTest {
 protected:
  void write_all() {
    Store store = writer();
    for (int i = 0; i < sessions; ++i) {
      save(store, name_of(i), tokens_of(i));
      if (i % 3 == 2) {
        ASSERT_OK(store.remove(name_of(i)));
        ASSERT_OK(store.gc());
      }
    }
  }

  /// Values of a session, through a pipeline of two threads; what `progress` is told grows up to all tokens.
  Result<KvCache> transferred(const Store& store, const std::string& name) const {
    auto source = store.source(name);
    if (!source) return std::move(source).error();
    const std::int64_t tokens = source->tokens();
    KvCache out = value_of(KvCache::create(parameters.shape, tokens));
    std::vector<Token> ids(static_cast<std::size_t>(tokens));
    TransferOptions options;
    options.cores = 2;
    std::int64_t last = 0;
    options.progress = [&](std::int64_t done, std::int64_t) { last = std::max(last, done); };
    auto report = decompress(Kokkos::Serial(), *source, sink_of(out.view(), ids), options);
    if (!report) return std::move(report).error();
    EXPECT_EQ(last, tokens);
    return out;
  }

  /// Every session that there is, each in turn, until the last has been seen.
  void read_all_sessions(std::atomic<bool>& written) const {
    bool last_round = false;
    std::set<std::string> seen;
    while (!last_round) {
      last_round = written;
      const Store store = value_of(Store::open(folder, access));
      for (const SessionInfo& session : value_of(store.sessions())) {
        const int number = std::stoi(session.name.substr(1));
        const auto cache = transferred(store, session.name);
        if (!cache.ok() && cache.error().code == ErrorCode::session_not_found && number % 3 == 2) continue;
        ASSERT_OK(cache);
        EXPECT_TRUE(test::same_bytes(*cache, cache_of(tokens_of(number)))) << session.name;
        seen.insert(session.name);
      }
    }
    for (int i = 0; i < sessions; ++i) EXPECT_TRUE(i % 3 == 2 || seen.contains(name_of(i))) << i;
  }
};

TEST_F(StoreThreads, ReadersGoOnBesideAWriter) {
  (void)writer();  // so that there is something to open
  std::atomic<bool> written = false;
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i) readers.emplace_back([&] { read_all_sessions(written); });
  write_all();
  written = true;
  for (std::thread& thread : readers) thread.join();
  expect_sound(reader());
}

TEST_F(StoreThreads, ErrorsOfTheCApiAreTheThreads) {
  write_all();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      seqkv_store* store = nullptr;
      ASSERT_EQ(seqkv_store_open(folder.c_str(), nullptr, &store), 0) << seqkv_error_text();
      for (int round = 0; round < 20; ++round) {
        const std::string missing = fmt::format("missing-{}-{}", i, round);
        std::int64_t count = 0;
        EXPECT_NE(seqkv_store_tokens(store, missing.c_str(), nullptr, 0, &count), 0);
        EXPECT_NE(std::string(seqkv_error_text()).find(missing), std::string::npos) << seqkv_error_text();
        std::vector<Token> ids(tokens_of(0).size());
        const auto room = static_cast<std::int64_t>(ids.size());
        EXPECT_EQ(seqkv_store_tokens(store, name_of(0).c_str(), ids.data(), room, &count), 0);
        EXPECT_EQ(ids, tokens_of(0));
      }
      seqkv_store_close(store);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace seqkv
