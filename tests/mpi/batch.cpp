// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Batches on ranks: the same blocks as from one process, whatever the number of ranks, epochs and interruptions; errors
// of one rank are everybody's.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <Kokkos_Core.hpp>
#include <csignal>
#include <random>

#include "core/bytes.hpp"
#include "seqkv/kv_file.hpp"
#include "seqkv/mpi_batch.hpp"
#include "seqkv/profile.hpp"
#include "support/files.hpp"
#include "support/ranks.hpp"

namespace seqkv::mpi {
namespace {

using test::value_of;
using test::world;
using Space = Kokkos::DefaultExecutionSpace;

class BatchOnRanks : public testing::Test {
 protected:
  BatchOnRanks() {
    std::vector<std::byte> path;
    if (comm.rank() == 0) {
      scratch.emplace();
      const auto bytes = as_bytes(scratch->path().native());
      path.assign(bytes.begin(), bytes.end());
    }
    EXPECT_OK(comm.broadcast(path, 0));
    folder = std::string(reinterpret_cast<const char*>(path.data()), path.size());
  }
  ~BatchOnRanks() override { EXPECT_OK(comm.barrier()); }

  const Communicator& comm = world().get();
  Space space;
  std::optional<test::ScratchFolder> scratch;  ///< rank 0's
  std::filesystem::path folder;
  StoreAccess access;
  // Of a whole suite, and gone before Kokkos is.
  static void SetUpTestSuite() { loaded() = value_of(Model<Space>::load(Space(), SEQKV_MODEL)); }
  static void TearDownTestSuite() { loaded().reset(); }
  static std::shared_ptr<const Model<Space>>& loaded() {
    static std::shared_ptr<const Model<Space>> model;
    return model;
  }
  static const std::shared_ptr<const Model<Space>>& model() { return loaded(); }

  /// Sessions with preambles of several depths, twins, and short ones.
  static std::vector<ManifestLine> manifest(std::size_t sessions, std::uint32_t seed = 1) {
    std::mt19937 random(seed);
    const auto tokens = [&random](std::size_t count) {
      std::vector<Token> out(count);
      for (Token& token : out) token = random() % 4000;
      return out;
    };
    const std::vector<std::vector<Token>> preambles = {tokens(70), tokens(40), tokens(100)};
    std::vector<ManifestLine> lines;
    for (std::size_t i = 0; i < sessions; ++i) {
      ManifestLine line;
      line.line = static_cast<std::int64_t>(i) + 1;
      line.session = "session " + std::to_string(i);
      if (i % 9 == 8) {
        line.tokens = lines[i - 2].tokens;  // twins
      } else if (i % 7 == 6) {
        line.tokens = tokens(5);
      } else {
        line.tokens = preambles[i % 4 == 3 ? 0 : i % 3];
        if (i % 2 == 0) line.tokens.insert(line.tokens.end(), preambles[1].begin(), preambles[1].end());
        const auto tail = tokens(10 + 7 * (i % 5));
        line.tokens.insert(line.tokens.end(), tail.begin(), tail.end());
      }
      lines.push_back(std::move(line));
    }
    return lines;
  }
  static BatchOptions options(const char* spec) {
    Codec codec = value_of(Codec::parse(spec));
    if (codec.needs_profile()) {
      const auto path = std::filesystem::path(SEQKV_MODEL) / "profile.safetensors";
      codec = value_of(codec.with_profile(value_of(Profile::load(path))));
    }
    BatchOptions options{codec};
    options.block_tokens = 16;
    return options;
  }
  Result<BatchReport> run(const std::vector<ManifestLine>& lines, const BatchOptions& batch,
                          const BatchSettings& settings = {}) {
    return run_batch(space, comm, model(), folder / "store", lines, batch, settings);
  }

  /// On rank 0: the store holds what a batch of one process stores, and nothing is wrong with it.
  void expect_as_alone(const std::vector<ManifestLine>& lines, const BatchOptions& batch) {
    if (comm.rank() != 0) return;
    BatchOptions alone = batch;
    alone.restart = false;
    alone.stop = nullptr;
    value_of(seqkv::run_batch(space, model(), folder / "alone", lines, alone));
    const Store expected = value_of(Store::open(folder / "alone", access));
    const Store store = value_of(Store::open(folder / "store", access));
    const auto totals = value_of(store.totals());
    EXPECT_EQ(totals.sessions, std::ssize(lines));
    EXPECT_EQ(totals.blocks, value_of(expected.totals()).blocks);
    for (const ManifestLine& line : lines) {
      const auto a = value_of(store.blocks(line.session));
      const auto b = value_of(expected.blocks(line.session));
      ASSERT_EQ(a.size(), b.size()) << line.session;
      for (std::size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(std::ranges::equal(a[i], b[i])) << line.session;
    }
    EXPECT_EQ(value_of(store.verify()).problems, std::vector<std::string>());
  }
};

class Codecs : public BatchOnRanks, public testing::WithParamInterface<std::pair<const char*, DType>> {};

TEST_P(Codecs, StoreTheSameBlocks) {
  const auto lines = manifest(22);
  BatchOptions batch = options(GetParam().first);
  batch.dtype = GetParam().second;
  const auto report = value_of(run(lines, batch));
  EXPECT_FALSE(report.batch.interrupted);
  if (comm.rank() == 0) {
    EXPECT_EQ(report.ranks.size(), static_cast<std::size_t>(comm.size()));
    ASSERT_EQ(report.batch.rows.size(), lines.size());
    for (std::size_t i = 0; i < lines.size(); ++i) {
      EXPECT_EQ(report.batch.rows[i].session, lines[i].session);
      EXPECT_EQ(report.batch.rows[i].tokens, std::ssize(lines[i].tokens));
    }
  }
  expect_as_alone(lines, batch);
}

INSTANTIATE_TEST_SUITE_P(Batch, Codecs,
                         testing::Values(std::pair("none+lossless", DType::bf16),
                                         std::pair("none+turboquant:4", DType::bf16),
                                         std::pair("none+lossless", DType::f32),
                                         std::pair("linear+ecsq:step=1", DType::bf16),
                                         std::pair("replay", DType::bf16)));

TEST_F(BatchOnRanks, ASealedStoreOfATenant) {
  const auto lines = manifest(12);
  auto batch = options("none+turboquant:3");
  batch.protection = Protection::encrypted;
  batch.access.key.assign(32, std::byte{9});
  batch.access.salt = "tenant";
  value_of(run(lines, batch, {0.1}));
  access = batch.access;
  expect_as_alone(lines, batch);
}

TEST_F(BatchOnRanks, QualityIsMeasuredOnWhatOthersHaveWritten) {
  const auto lines = manifest(12);
  auto batch = options("none+turboquant:3");
  batch.measure = 8;
  const auto report = value_of(run(lines, batch));
  if (comm.rank() != 0) return;
  const auto alone = value_of(seqkv::run_batch(space, model(), folder / "alone", lines, batch));
  ASSERT_EQ(report.batch.rows.size(), alone.rows.size());
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const BatchRow& a = report.batch.rows[i];
    const BatchRow& b = alone.rows[i];
    ASSERT_EQ(a.quality.has_value(), b.quality.has_value()) << a.session;
    const double measured = a.quality ? a.quality->kl_mean : 0;
    EXPECT_EQ(measured, b.quality ? b.quality->kl_mean : 0) << a.session;
    EXPECT_EQ(a.bytes, b.bytes) << a.session;
  }
}

TEST_F(BatchOnRanks, AnEpochIsACommit) {
  const auto lines = manifest(20);
  const auto batch = options("none+lossless");
  const auto report = value_of(run(lines, batch, {0.02}));
  EXPECT_GE(report.epochs, 2);
  expect_as_alone(lines, batch);
}

TEST_F(BatchOnRanks, AStoppedJobGoesOn) {
  const auto lines = manifest(30);
  auto batch = options("none+lossless");
  std::atomic<bool> stop = false;
  // Only the last rank is told to stop, after the first commit or in it.
  const auto count = [&](std::int64_t, std::int64_t, const BatchRow&) { stop = comm.size() == 1; };
  batch.stop = &stop;
  if (comm.size() > 1 && comm.rank() == comm.size() - 1) stop = true;
  const auto first = value_of(run_batch(space, comm, model(), folder / "store", lines, batch, {0.05}, count));
  EXPECT_TRUE(first.batch.interrupted);
  stop = false;
  batch.restart = true;
  const auto second = value_of(run(lines, batch));
  EXPECT_FALSE(second.batch.interrupted);
  if (comm.rank() != 0) return;
  EXPECT_EQ(first.batch.rows.size() + second.batch.rows.size(), lines.size());
  expect_as_alone(lines, batch);
}

TEST_F(BatchOnRanks, WhatIsStoredIsNotDoneAgain) {
  const auto lines = manifest(12);
  const auto batch = options("none+turboquant:4");
  value_of(run(lines, batch));
  const auto again = value_of(run(lines, batch));
  for (const BatchRow& row : again.batch.rows) EXPECT_TRUE(row.stored_before) << row.session;
  auto more = manifest(12);
  for (std::size_t i = 0; i < 4; ++i) {
    more.push_back(more[i]);
    more.back().session += " longer";
    more.back().line = std::ssize(more);
    more.back().tokens.resize(more.back().tokens.size() + 20, 5);
  }
  value_of(run(more, batch));
  expect_as_alone(more, batch);
}

TEST_F(BatchOnRanks, MoreRanksThanSessions) {
  const auto lines = manifest(1);
  const auto batch = options("none+lossless");
  value_of(run(lines, batch));
  expect_as_alone(lines, batch);
  const auto none = value_of(run({}, batch));
  EXPECT_TRUE(none.batch.rows.empty());
}

TEST_F(BatchOnRanks, ACacheThatIsGivenStaysWithItsPrefix) {
  auto lines = manifest(14);
  const auto batch = options("none+lossless");
  if (comm.rank() == 0) {
    // Named as the model's own, though its values are others: who stores a block first decides.
    const KvShape shape = model()->config().kv_shape(DType::bf16);
    const KvCache cache = value_of(KvCache::create(shape, std::ssize(lines[1].tokens)));
    auto file = value_of(
        KvFileWriter::create(folder / "kv.safetensors", shape, lines[1].tokens, model()->fingerprint().combined()));
    ASSERT_OK(file.write(cache.view(), 0));
    ASSERT_OK(file.commit());
  }
  EXPECT_OK(comm.barrier());
  const std::vector<Token> tokens = lines[1].tokens;
  lines[1].tokens.clear();
  lines[1].kv = folder / "kv.safetensors";
  value_of(run(lines, batch));
  if (comm.rank() != 0) return;
  const Store store = value_of(Store::open(folder / "store"));
  EXPECT_EQ(value_of(store.tokens(lines[1].session)), tokens);
  EXPECT_EQ(value_of(store.totals()).sessions, std::ssize(lines));
  EXPECT_TRUE(value_of(store.verify()).problems.empty());
}

// ---- what goes wrong ----------------------------------------------------------------------------------------

TEST_F(BatchOnRanks, RanksThatDifferAreNamed) {
  if (comm.size() == 1) GTEST_SKIP() << "one rank agrees with itself";
  const int odd = comm.size() - 1;
  const auto lines = manifest(4);
  const auto batch = options("none+lossless");
  const auto check = [&](const std::vector<ManifestLine>& other, const BatchOptions& others, const Digest& digest,
                         const std::string& what) {
    const bool mine = comm.rank() == odd;
    const auto status = check_same(comm, mine ? digest : Digest(), mine ? other : lines, mine ? others : batch);
    EXPECT_CODE(status, ErrorCode::ranks_differ);
    EXPECT_NE(status.error().message.find("rank " + std::to_string(odd) + " has"), std::string::npos);
    EXPECT_NE(status.error().message.find(what), std::string::npos) << status.error().message;
  };
  EXPECT_OK(check_same(comm, Digest(), lines, batch));
  check(manifest(4, 2), batch, {}, "manifest");
  check(lines, options("none+raw"), {}, "codec raw, rank 0 none+lossless");
  check(lines, batch, Sha256().update("another").finish(), "model");
  auto salted = batch;
  salted.access.salt = "secret";
  check(lines, salted, {}, "another salt");
  const auto status = run(comm.rank() == odd ? manifest(3) : lines, batch);
  EXPECT_CODE(status, ErrorCode::ranks_differ);
  EXPECT_FALSE(std::filesystem::exists(folder / "store"));
}

TEST_F(BatchOnRanks, ATextThatOneRankCannotReadStopsAllBeforeWorkStarts) {
  auto lines = manifest(9);
  lines[5].tokens.clear();
  lines[5].text_file = folder / "missing.txt";
  const auto status = run(lines, options("none+lossless"));
  EXPECT_CODE(status, ErrorCode::file_not_found);
  EXPECT_NE(status.error().describe().find("manifest line 6, session 'session 5'"), std::string::npos);
  if (comm.rank() != 0) return;
  EXPECT_EQ(value_of(value_of(Store::open(folder / "store")).totals()).sessions, 0);
}

TEST_F(BatchOnRanks, AFullDiskOfOneRank) {
  if (comm.size() == 1) GTEST_SKIP() << "the disk of the index: tests/store/faults";
  const auto lines = manifest(16);
  auto batch = options("none+raw");
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit limit{};
  getrlimit(RLIMIT_FSIZE, &limit);
  const rlimit before = limit;
  if (comm.rank() == comm.size() - 1) {
    limit.rlim_cur = 30'000;
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  const auto status = run(lines, batch, {0.05});
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_FALSE(status.ok());
  EXPECT_EQ(exit_code(status.error().code), 6);
  const std::string rank = "rank " + std::to_string(comm.size() - 1) + ": ";
  EXPECT_EQ(status.error().message.find(rank), 0U) << status.error().message;
  EXPECT_OK(comm.barrier());
  if (comm.rank() == 0) {
    const Store store = value_of(Store::open(folder / "store"));
    EXPECT_EQ(value_of(store.verify()).problems, std::vector<std::string>());
    EXPECT_LT(value_of(store.totals()).sessions, std::ssize(lines));
  }
  EXPECT_OK(comm.barrier());
  batch.restart = true;
  value_of(run(lines, batch));
  expect_as_alone(lines, batch);
}

}  // namespace
}  // namespace seqkv::mpi
