// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Every step that reaches the disk fails once, and the process dies once before each: in the library's own files and,
// through a VFS of SQLite, in the index.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "support/disk.hpp"
#include "support/referring.hpp"
#include "support/thorough.hpp"

namespace seqkv {
namespace {

namespace disk = test::disk;
using disk::plan;
using test::joined;
using test::Space;
using test::value_of;

using State = std::vector<std::pair<std::string, std::int64_t>>;

/// Sessions that share exact prefixes, or (the parameter) whose blocks are predicted from a's.
class StoreFaults : public test::ReferringStoreTest, public testing::WithParamInterface<bool> {
 protected:
  std::vector<Token> a = session(1), b = session(2), c = session(3);
  std::vector<CodedBlock> c_blocks;
  std::filesystem::path original = scratch.path() / "original";

  StoreFaults() {
    disk::install();
    if (!GetParam()) {
      a = test::random_tokens(40, 1);
      b = test::random_tokens(40, 2);
      c = joined({a.begin(), a.begin() + 20}, test::random_tokens(20, 3));
      parameters.block_tokens = test::block_tokens;
      codec = value_of(Codec::parse("none+lossless"));
    }
    {
      Store store = writer();
      put_(store, "a", a);
      put_(store, "b", b);
      put_(store, "past", b, {.expires = 1});
      ASSERT_OK_(store.remove("b"));
      put_(store, "b", b);
    }
    std::filesystem::rename(folder, original);
    reset();
    {
      Store store = writer();
      put_(store, "c", c);
      for (const CodedBlockView& block : value_of(store.blocks("c"))) c_blocks.emplace_back(block.begin(), block.end());
      if (GetParam() && referring(store, "c") < 4) throw std::runtime_error("no references");
    }
    std::filesystem::remove_all(folder);
    io::fault_plan = disk::library_fault;
  }
  void put_(Store& store, const std::string& name, const std::vector<Token>& tokens, const SaveOptions& options = {}) {
    if (!put(store, name, tokens, options)) throw std::runtime_error("not saved");
  }
  ~StoreFaults() override {
    io::fault_plan = nullptr;
    plan = {};
  }
  static void ASSERT_OK_(const Result<void>& status) {
    if (!status) throw std::runtime_error(status.error().describe());
  }

  /// No Kokkos: this runs in children.
  Result<void> save_c(Store& store) {
    auto session = store.begin("c", c, codec, {.if_exists = IfExists::replace});
    if (!session) return std::move(session).error();
    for (auto at = static_cast<std::size_t>(session->known_blocks()); at < c_blocks.size(); ++at) {
      if (auto names = session->references(parameters.block_tokens); !names) return std::move(names).error();
      // A fault may have kept it from finding what the block names; who codes then codes without.
      auto status = session->append(c_blocks[at]);
      if (!status && status.error().code == ErrorCode::missing_reference) return Error(ErrorCode::io, "not found");
      if (!status) return status;
    }
    return session->commit();
  }

  using Operation = std::function<Result<void>(Store&)>;
  std::vector<std::pair<const char*, Operation>> operations() {
    const auto plain = [](auto result) -> Result<void> {
      if (!result) return std::move(result).error();
      return {};
    };
    return {{"save", [this](Store& store) { return save_c(store); }},
            {"remove", [](Store& store) { return store.remove("a"); }},
            {"fork", [](Store& store) { return store.fork("a", "twig", 17); }},
            {"gc", [plain](Store& store) { return plain(store.gc({.dead_part = 0.0})); }},
            {"retain", [plain](Store& store) { return plain(store.retain({.sessions = 1})); }},
            {"repair",
             [plain, this](Store& store) {
               const int step = plan.at;
               plan.at = -1;  // the damage itself is no fault
               std::string bytes = test::read_all(pack(1));
               bytes[bytes.size() - 3] ^= 1;  // the name in the last record
               scratch.write("store/packs/00000001.pack", bytes);
               plan.at = step;
               return plain(store.repair());
             }},
            {"rebuild", [plain, this](Store& store) {
               { const Store closed = std::move(store); }
               auto done = plain(Store::rebuild_index(folder));
               auto opened = Store::open_for_writing(folder);
               if (!opened) return Result<void>(std::move(opened).error());
               store = std::move(*opened);
               return done;
             }}};
  }

  void reset() {
    plan = {};
    std::filesystem::remove_all(folder);
    std::filesystem::copy(original, folder, std::filesystem::copy_options::recursive);
  }
  State state_of(const Store& store) {
    State state;
    for (const SessionInfo& session : value_of(store.sessions())) state.emplace_back(session.name, session.tokens);
    return state;
  }
  /// Whatever happened, the store is sound, is in one of two states, and what is in it is right.
  State check(const State& before, const State& after, const std::string& where) {
    plan = {};
    const Store store = reader();
    const State state = state_of(store);
    State between = before;  // what retain does in two steps
    std::erase_if(between, [](const auto& session) { return session.first == "past"; });
    EXPECT_TRUE(state == before || state == after || state == between) << where;
    const auto report = value_of(store.verify());
    EXPECT_TRUE(report.broken_sessions.empty()) << where;
    for (const auto& [name, tokens] : state) {
      const std::vector<Token>& all = name == "b" || name == "past" ? b : name == "c" ? c : a;
      const std::vector<Token> expected(all.begin(), all.begin() + tokens);
      EXPECT_EQ(value_of(store.tokens(name)), expected) << where;
      EXPECT_TRUE(is_near(value_of(get(store, name)), expected)) << where;
    }
    return state;
  }
  /// Runs an operation without faults. The state after it, and its number of steps.
  std::pair<State, int> run_once(const Operation& operation) {
    reset();
    Store store = value_of(Store::open_for_writing(folder));
    plan.steps = 0;
    const auto status = operation(store);
    EXPECT_TRUE(status.ok()) << status.error().describe();
    const int steps = plan.steps;
    return {state_of(store), steps};
  }
  State before() {
    reset();
    return state_of(reader());
  }
};

TEST_P(StoreFaults, EveryStepFailsOnce) {
  const State old = before();
  for (const auto& [name, operation] : operations()) {
    const auto [done, steps] = run_once(operation);
    EXPECT_GT(steps, 5) << name;
    for (int at = 0; at < steps; at += test::sample(GetParam() ? 7 : 2, 1)) {
      for (const int problem : test::thorough() ? std::vector{EIO, ENOSPC} : std::vector{at % 4 == 0 ? EIO : ENOSPC}) {
        const std::string where = fmt::format("{}, step {} of {}, errno {}", name, at, steps, problem);
        reset();
        {
          Store store = value_of(Store::open_for_writing(folder));
          plan = {at, problem};
          const auto status = operation(store);
          if (!status) {
            const ErrorCode code = status.error().code;
            EXPECT_TRUE(code == ErrorCode::io || code == ErrorCode::disk_full)
                << where << ": " << status.error().describe();
          }
          plan = {};
        }
        if (!Store::exists(folder)) ADD_FAILURE() << where;
        check(old, done, where);
        // The next attempt finds nothing in its way; removing what is gone is the one thing that cannot be done twice.
        Store store = value_of(Store::open_for_writing(folder));
        const auto again = operation(store);
        EXPECT_TRUE(again.ok() || again.error().code == ErrorCode::session_not_found ||
                    again.error().code == ErrorCode::session_differs)
            << where << ": " << again.error().describe();
        EXPECT_EQ(state_of(store), done) << where;
        EXPECT_TRUE(value_of(store.verify()).problems.empty()) << where;
      }
    }
  }
}

TEST_P(StoreFaults, TheProcessDiesBeforeEveryStep) {
  const State old = before();
  int deaths = 0;
  for (const auto& [name, operation] : operations()) {
    const auto [done, steps] = run_once(operation);
    for (int at = 0; at < steps; at += test::sample(GetParam() ? 8 : 3, 1)) {
      const std::string where = fmt::format("{}, before step {} of {}", name, at, steps);
      reset();
      const pid_t child = fork();
      if (child == 0) {
        auto store = Store::open_for_writing(folder);
        if (!store) _exit(1);
        plan = {at};
        plan.die = true;
        _exit(operation(*store).ok() ? 0 : 1);
      }
      int status = 0;
      waitpid(child, &status, 0);
      ASSERT_TRUE(WIFEXITED(status)) << where;
      ASSERT_EQ(WEXITSTATUS(status), 42) << where;
      ++deaths;
      check(old, done, where);
      Store store = value_of(Store::open_for_writing(folder));
      const auto again = operation(store);
      EXPECT_TRUE(again.ok() || again.error().code == ErrorCode::session_not_found ||
                  again.error().code == ErrorCode::session_differs)
          << where << ": " << again.error().describe();
      EXPECT_EQ(state_of(store), done) << where;
      EXPECT_TRUE(value_of(store.verify()).problems.empty()) << where;
    }
  }
  RecordProperty("deaths", deaths);
}

/// A machine that loses its power loses what has not been flushed; no process that dies shows that.
TEST_P(StoreFaults, TheIndexNamesOnlyWhatHasBeenFlushed) {
  for (const auto& [name, operation] : operations()) {
    if (name == std::string("rebuild")) continue;  // writes no packs
    reset();
    std::string steps;
    {
      Store store = value_of(Store::open_for_writing(folder));
      plan.log = &steps;
      ASSERT_OK(operation(store));
      plan = {};
    }
    EXPECT_NE(steps.find('w'), std::string::npos) << name;
    bool flushed = true;
    for (const char step : steps) {
      if (step == 'w') flushed = false;
      if (step == 's') flushed = true;
      EXPECT_TRUE(step != 'i' || flushed) << name << ": " << steps;
    }
    // The folder, too, where there is a new pack.
    if (name == std::string("gc") || name == std::string("repair")) {
      EXPECT_NE(steps.find("ssi"), std::string::npos) << name << ": " << steps;
    }
  }
}

TEST_P(StoreFaults, FewBytesAtATimeAreAsGoodAsMany) {
  reset();
  plan.few = true;
  Store store = value_of(Store::open_for_writing(folder));
  ASSERT_OK(save_c(store));
  ASSERT_OK(store.gc({.dead_part = 0.0}));
  EXPECT_TRUE(is_near(value_of(get(store, "c")), c));
  EXPECT_TRUE(is_near(value_of(get(store, "a")), a));
}

TEST_P(StoreFaults, AReadThatFailsIsAnErrorAndNoMore) {
  reset();
  const Store store = reader();
  const auto source = value_of(store.source("a"));
  std::vector<std::byte> buffer;
  plan = {0};
  EXPECT_CODE(source.read(0, buffer), ErrorCode::io);
  plan = {};
  EXPECT_OK(source.read(0, buffer));
}

TEST_P(StoreFaults, AFileSystemThatCannotBeWrittenTo) {
  reset();
  using std::filesystem::perms;
  constexpr uid_t nobody = 65534;
  std::vector<std::filesystem::path> all = {scratch.path(), folder};
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) all.push_back(entry.path());
  for (const auto& path : all) {
    ASSERT_TRUE(geteuid() != 0 || ::chown(path.c_str(), nobody, nobody) == 0);
    if (path != scratch.path()) {
      std::filesystem::permissions(path, perms::owner_write, std::filesystem::perm_options::remove);
    }
  }
  const pid_t child = fork();
  if (child == 0) {
    if (geteuid() == 0 && ::setresuid(nobody, nobody, nobody) != 0) _exit(2);  // root may write anywhere
    const auto writer = Store::open_for_writing(folder);
    if (writer || writer.error().code != ErrorCode::io) _exit(3);
    const auto store = Store::open(folder);
    if (!store || !store->verify() || !store->verify()->problems.empty()) _exit(4);
    const auto tokens = store->tokens("a");
    _exit(tokens && *tokens == a ? 0 : 5);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  for (const auto& path : all) std::filesystem::permissions(path, perms::owner_all);
}

TEST_P(StoreFaults, AnImmutableStoreIsReadWithoutLocks) {
  reset();
  access.immutable = true;
  const int lock = ::open((folder / "store.db").c_str(), O_RDWR);
  struct flock all {};
  all.l_type = F_WRLCK;
  ASSERT_EQ(::fcntl(lock, F_OFD_SETLK, &all), 0);  // as a broken network file system would answer
  EXPECT_TRUE(is_near(value_of(get(reader(), "b")), b));
  ::close(lock);
  EXPECT_CODE(Store::open_for_writing(folder, access), ErrorCode::invalid_argument);
}

// 0: exact prefixes, 1: references.
INSTANTIATE_TEST_SUITE_P(Sharing, StoreFaults, testing::Bool());

}  // namespace
}  // namespace seqkv
