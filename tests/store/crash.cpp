// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Processes that are killed, that read while another writes, and that want to write at the same time.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <map>
#include <random>
#include <thread>

#include "support/stores.hpp"
#include "support/thorough.hpp"

namespace seqkv {
namespace {

using test::joined;
using test::Space;
using test::value_of;
using Clock = std::chrono::steady_clock;

/// Sessions are coded before processes are forked: the threads of Kokkos do not exist in children.
class StoreProcesses : public test::StoreTest {
 protected:
  struct Coded {
    std::vector<Token> tokens;
    std::vector<CodedBlock> blocks;
  };
  std::vector<Coded> coded;

  void make_sessions(unsigned count) {
    const auto preamble = test::random_tokens(40, 1);
    for (unsigned i = 0; i < count; ++i) {
      Coded session{joined(preamble, test::random_tokens(10 + 7 * (i % 5), 100 + i)), {}};
      session.blocks =
          value_of(encode(Space(), codec, cache_of(session.tokens).view(), session.tokens, 0, test::block_tokens));
      coded.push_back(std::move(session));
    }
  }
  Result<void> put(Store& store, const std::string& name, const Coded& session) {
    auto writer = store.begin(name, session.tokens, codec, {.if_exists = IfExists::replace});
    if (!writer) return std::move(writer).error();
    for (auto at = static_cast<std::size_t>(writer->known_blocks()); at < session.blocks.size(); ++at) {
      if (auto status = writer->append(session.blocks[at]); !status) return status;
    }
    return writer->commit();
  }
  /// Byte for byte what was coded.
  static bool is_right(const StoredBlocks& blocks, const Coded& session) {
    if (blocks.size() != session.blocks.size()) return false;
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      if (!std::ranges::equal(blocks[i], session.blocks[i])) return false;
    }
    return true;
  }
  template <class Run>
  static pid_t spawn(const Run& run) {
    const pid_t child = fork();
    if (child == 0) {
      const bool good = run();
      _exit(good ? 0 : 1);
    }
    return child;
  }
  static void expect_success(pid_t child, const std::string& who) {
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << who << ": " << status;
  }
};

/// One line of what a child has done, or is about to do: 'b'egins or 'd'one, with the name's number; -1 is gc or
/// repair.
struct Note {
  char what;
  char action;  ///< 's'ave, 'r'emove, other
  int session;
};

TEST_F(StoreProcesses, KilledAtAnyMoment) {
  make_sessions(12);
  { writer(); }
  std::mt19937 random(5);
  std::map<int, bool> there;  // what must be in the store
  const int rounds = test::sample(50, 500);
  for (int round = 0; round < rounds; ++round) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    const unsigned seed = random();
    const pid_t child = spawn([&] {
      std::mt19937 choice(seed);
      auto store = Store::open_for_writing(folder);
      if (!store) return false;
      const auto note = [&](Note line) { return ::write(ends[1], &line, sizeof(line)) == sizeof(line); };
      for (;;) {
        const int session = static_cast<int>(choice() % coded.size());
        const auto name = fmt::format("s{}", session);
        const unsigned what = choice() % 8;
        const char action = what < 5 ? 's' : what < 6 ? 'r' : 'g';
        note({'b', action, session});
        Result<void> status;
        if (action == 's') {
          status = put(*store, name, coded[static_cast<std::size_t>(session)]);
        } else if (action == 'r') {
          status = store->remove(name);
          if (!status && status.error().code == ErrorCode::session_not_found) status = {};
        } else if (what == 6) {
          if (auto done = store->gc({.dead_part = 0.0}); !done) status = done.error();
        } else if (auto done = store->repair(); !done) {
          status = done.error();
        }
        if (!status) return false;
        note({'d', action, session});
      }
    });
    ::close(ends[1]);
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 60'000));
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "round " << round << ": the child failed by itself";
    Note note{};
    int uncertain = -1;
    while (::read(ends[0], &note, sizeof(note)) == sizeof(note)) {
      uncertain = note.what == 'b' && note.action != 'g' ? note.session : -1;
      if (note.what == 'd' && note.action == 's') there[note.session] = true;
      if (note.what == 'd' && note.action == 'r') there[note.session] = false;
    }
    ::close(ends[0]);
    const Store store = value_of(Store::open(folder));
    const auto report = value_of(store.verify());
    for (const std::string& problem : report.problems) ADD_FAILURE() << "round " << round << ": " << problem;
    for (int i = 0; i < static_cast<int>(coded.size()); ++i) {
      const auto blocks = store.blocks(fmt::format("s{}", i));
      if (i == uncertain) {
        there[i] = blocks.ok();
      }
      EXPECT_EQ(blocks.ok(), there[i]) << "round " << round << ", session " << i;
      EXPECT_TRUE(!blocks || is_right(*blocks, coded[static_cast<std::size_t>(i)])) << "round " << round;
    }
    if (HasFailure()) return;
  }
}

TEST_F(StoreProcesses, ReadersBesideAWriter) {
  make_sessions(8);
  {
    Store store = writer();
    for (std::size_t i = 0; i < coded.size(); ++i) ASSERT_OK(put(store, fmt::format("s{}", i), coded[i]));
  }
  const auto until = Clock::now() + std::chrono::seconds(test::sample(2, 60));
  std::vector<pid_t> children;
  for (unsigned r = 0; r < 4; ++r) {
    children.push_back(spawn([&, r] {
      std::mt19937 choice(r);
      auto store = Store::open(folder);
      if (!store) return false;
      std::int64_t good = 0;
      while (Clock::now() < until) {
        const auto i = choice() % coded.size();
        const auto blocks = store->blocks(fmt::format("s{}", i));
        if (blocks && !is_right(*blocks, coded[i])) return false;
        // A session may be away for a moment; nothing else may be wrong with it.
        if (!blocks && blocks.error().code != ErrorCode::session_not_found) {
          std::fprintf(stderr, "%s\n", blocks.error().describe().c_str());
          return false;
        }
        good += blocks.ok();
        if (choice() % 16 == 0) store = Store::open(folder);
        if (!store) return false;
      }
      return good > 0;
    }));
  }
  children.push_back(spawn([&] {
    std::mt19937 choice(77);
    auto store = Store::open_for_writing(folder);
    if (!store) return false;
    while (Clock::now() < until) {
      const auto i = choice() % coded.size();
      const unsigned what = choice() % 10;
      Result<void> status;
      if (what == 0) {
        if (auto done = store->gc({.dead_part = 0.0}); !done) status = done.error();
      } else if (what < 3) {
        status = store->remove(fmt::format("s{}", i));
        if (!status && status.error().code == ErrorCode::session_not_found) status = {};
      } else {
        status = put(*store, fmt::format("s{}", i), coded[i]);
      }
      if (!status) {
        std::fprintf(stderr, "writer: %s\n", status.error().describe().c_str());
        return false;
      }
    }
    return true;
  }));
  for (std::size_t i = 0; i < children.size(); ++i) expect_success(children[i], i < 4 ? "a reader" : "the writer");
  expect_sound(reader());
}

TEST_F(StoreProcesses, OfTwoWritersOneWaits) {
  make_sessions(2);
  { writer(); }
  std::vector<pid_t> children;
  for (std::size_t w = 0; w < 2; ++w) {
    children.push_back(spawn([&, w] {
      for (int i = 0; i < 5; ++i) {
        auto store = Store::open_for_writing(folder);
        if (!store || !put(*store, fmt::format("w{}-{}", w, i), coded[w])) return false;
      }
      return true;
    }));
  }
  for (const pid_t child : children) expect_success(child, "a writer");
  EXPECT_EQ(value_of(reader().sessions()).size(), 10U);
  expect_sound(reader());
}

}  // namespace
}  // namespace seqkv
