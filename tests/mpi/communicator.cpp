// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Communicators: agreement, parts of any size in messages of any limit, mailboxes.
#include "seqkv/mpi.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <numeric>

#include "io/file.hpp"
#include "seqkv/mpi_view.hpp"
#include "support/files.hpp"
#include "support/ranks.hpp"

namespace seqkv::mpi {
namespace {

using test::value_of;
using Bytes = std::vector<std::byte>;
using Space = Kokkos::DefaultExecutionSpace;

/// Bytes that tell who sent them to whom.
Bytes bytes_of(int from, int to, std::int64_t size) {
  Bytes bytes(static_cast<std::size_t>(size));
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::byte>(static_cast<std::size_t>(31 * from + 7 * to) + i * i);
  }
  return bytes;
}

/// Limits below, at and above the sizes that are sent.
class Limits : public testing::TestWithParam<std::int64_t> {
 protected:
  Communicator comm = value_of(Communicator::duplicate(Program::world(), {.message_limit = GetParam()}));
  int rank = comm.rank();
  int ranks = comm.size();
  static std::int64_t size_for(int from, int to) { return (from * 37 + to * 11) % 64; }
};

TEST_P(Limits, BroadcastGivesTheRootsBytes) {
  for (int root = 0; root < ranks; ++root) {
    Bytes bytes = rank == root ? bytes_of(root, 0, 50) : Bytes(3);
    EXPECT_OK(comm.broadcast(bytes, root));
    EXPECT_EQ(bytes, bytes_of(root, 0, 50));
  }
}

TEST_P(Limits, PartsOfAllRanksAreGathered) {
  const Bytes mine = bytes_of(rank, 0, size_for(rank, 0));
  const auto all = value_of(comm.all_gather(mine));
  const auto on_root = value_of(comm.gather(mine, ranks - 1));
  for (int r = 0; r < ranks; ++r) {
    EXPECT_TRUE(std::ranges::equal(all.of(r), bytes_of(r, 0, size_for(r, 0))));
    if (rank != ranks - 1) continue;
    EXPECT_TRUE(std::ranges::equal(on_root.of(r), bytes_of(r, 0, size_for(r, 0))));
  }
  EXPECT_EQ(on_root.sizes.empty(), rank != ranks - 1);
}

TEST_P(Limits, EachSendsToEach) {
  Bytes bytes;
  std::vector<std::int64_t> sizes;
  for (int r = 0; r < ranks; ++r) {
    const Bytes part = bytes_of(rank, r, size_for(rank, r));
    bytes.insert(bytes.end(), part.begin(), part.end());
    sizes.push_back(static_cast<std::int64_t>(part.size()));
  }
  const auto all = value_of(comm.all_to_all(bytes, sizes));
  for (int r = 0; r < ranks; ++r) {
    EXPECT_TRUE(std::ranges::equal(all.of(r), bytes_of(r, rank, size_for(r, rank))));
  }
}

TEST_P(Limits, NumbersAreReduced) {
  std::vector<std::int64_t> numbers(20);
  std::iota(numbers.begin(), numbers.end(), rank);
  EXPECT_OK(comm.reduce(numbers, Reduction::sum));
  for (int i = 0; i < 20; ++i) EXPECT_EQ(numbers[static_cast<std::size_t>(i)], ranks * i + ranks * (ranks - 1) / 2);
  std::array<double, 2> most = {static_cast<double>(rank), static_cast<double>(-rank)};
  EXPECT_OK(comm.reduce(most, Reduction::max));
  EXPECT_EQ(most[0], ranks - 1);
  EXPECT_EQ(most[1], 0);
  EXPECT_EQ(value_of(comm.sum_before(rank + 1)), rank * (rank + 1) / 2);
}

TEST_P(Limits, MailIsTakenWheneverThereIsTime) {
  Mailbox mailbox(comm, 3);
  for (int round = 0; round < 3; ++round) {
    for (int r = 0; r < ranks; ++r) EXPECT_OK(mailbox.post(bytes_of(rank, r, size_for(rank, r)), r));
  }
  std::vector<int> seen(static_cast<std::size_t>(ranks), 0);
  const auto check = [&](const Message& message) {
    EXPECT_EQ(message.bytes, bytes_of(message.source, rank, size_for(message.source, rank)));
    ++seen[static_cast<std::size_t>(message.source)];
  };
  for (int i = 0; i < 10; ++i) {
    if (const auto message = value_of(mailbox.poll())) check(*message);
  }
  for (const Message& message : value_of(mailbox.drain())) check(message);
  EXPECT_EQ(seen, std::vector<int>(static_cast<std::size_t>(ranks), 3));
  EXPECT_TRUE(value_of(mailbox.drain()).empty());
}

TEST_P(Limits, AnErrorOfOneIsEverybodys) {
  EXPECT_OK(comm.agree(Result<void>()));
  const int last = ranks - 1;
  Result<void> mine;
  if (rank == last || rank == last / 2) {
    mine = Error(ErrorCode::disk_full, rank == last / 2 ? "no space" : "not me").in_file("pack").at_byte(7);
  }
  const auto all = comm.agree(mine);
  EXPECT_CODE(all, ErrorCode::disk_full);
  EXPECT_EQ(all.error().message, ranks == 1 ? "no space" : "rank " + std::to_string(last / 2) + ": no space");
  EXPECT_EQ(all.error().file, "pack");
  EXPECT_EQ(all.error().offset, 7);
}

INSTANTIATE_TEST_SUITE_P(MessageLimit, Limits, testing::Values(1, 7, 64, 1 << 30));

TEST(Communicator, ALimitBeyondMpisCountsIsRefused) {
  EXPECT_CODE(Communicator::duplicate(Program::world(), {.message_limit = 1LL << 31}), ErrorCode::invalid_argument);
  EXPECT_CODE(Communicator::duplicate(Program::world(), {.message_limit = 0}), ErrorCode::invalid_argument);
}

TEST(Communicator, ErrorsOfMpiAreReturned) {
  const auto& comm = test::world().get();
  const Bytes bytes(8);
  const auto status = comm.send(bytes, comm.size() + 5, 1);
  EXPECT_CODE(status, ErrorCode::communication);
}

TEST(Communicator, ANodesRanksShareItsDevices) {
  const auto& comm = test::world().get();
  EXPECT_FALSE(comm.device(0).has_value());
  EXPECT_EQ(comm.device(comm.node_size()), comm.node_rank());
  EXPECT_EQ(comm.device(1), 0);
  EXPECT_LT(comm.node_rank(), comm.node_size());
  EXPECT_LE(comm.node_size(), comm.size());
}

TEST(Communicator, ViewsOfTheDefaultSpaceTravel) {
  const auto& comm = test::world().get();
  const Space space;
  constexpr std::size_t size = 1 << 16;
  const ByteView<Space::memory_space> out("seqkv::mpi::test_out", size);
  const ByteView<Space::memory_space> in("seqkv::mpi::test_in", size);
  Kokkos::deep_copy(out, static_cast<std::byte>(comm.rank()));
  const int next = (comm.rank() + 1) % comm.size();
  const int before = (comm.rank() + comm.size() - 1) % comm.size();
  if (comm.size() == 1) return;
  // Even ranks send first.
  if (comm.rank() % 2 == 0) EXPECT_OK(send(space, comm, out, next, 5));
  EXPECT_OK(receive(space, comm, in, before, 5));
  if (comm.rank() % 2 == 1) EXPECT_OK(send(space, comm, out, next, 5));
  const auto host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), in);
  for (std::size_t i = 0; i < size; ++i) ASSERT_EQ(host(i), static_cast<std::byte>(before));
}

// A message and a write of more than 2^31 bytes need 5 GB of memory and 2 GB of disk: SEQKV_TEST_HUGE=1.
TEST(Communicator, MoreThanTwoToThe31Bytes) {
  if (std::getenv("SEQKV_TEST_HUGE") == nullptr) GTEST_SKIP() << "SEQKV_TEST_HUGE is not set";
  const auto& comm = test::world().get();
  if (comm.size() < 2) GTEST_SKIP() << "needs two ranks";
  constexpr std::size_t size = (1ULL << 31) + 12345;
  const auto value = [](std::size_t i) { return static_cast<std::byte>((i >> 20) * 7 + i % 251); };
  Bytes bytes(comm.rank() < 2 ? size : 0);
  if (comm.rank() == 0) {
    for (std::size_t i = 0; i < size; ++i) bytes[i] = value(i);
  }
  const double start = Program::now();
  Result<void> status;
  if (comm.rank() == 0) status = comm.send(bytes, 1, 1);
  if (comm.rank() == 1) status = comm.receive(bytes, 0, 1);
  EXPECT_OK(comm.agree(status));
  const double seconds = Program::now() - start;
  const auto wrong = [&] {
    std::size_t count = 0;
    for (std::size_t i = 0; i < size; ++i) count += bytes[i] != value(i) ? 1 : 0;
    return count;
  };
  if (comm.rank() != 1) return;
  EXPECT_EQ(wrong(), 0U);
  std::fprintf(stderr, "%zu bytes in one message: %.2f s, %.2f GB/s\n", size, seconds,
               static_cast<double>(size) / seconds / 1e9);
  // The same to disk, as records go to packs, and back.
  const test::ScratchFolder scratch;
  const auto path = scratch.path() / "pack";
  const auto file = value_of(io::open_for_writing(path, io::Existing::empty));
  const double begin = Program::now();
  ASSERT_OK(io::write_all(file, path, bytes, 64));
  ASSERT_OK(io::sync(file, path));
  const double written = Program::now() - begin;
  std::ranges::fill(bytes, std::byte{0});
  ASSERT_OK(io::read_all(file, path, bytes, 64));
  EXPECT_EQ(wrong(), 0U);
  std::fprintf(stderr, "%zu bytes in one write with fsync: %.2f s, %.2f GB/s\n", size, written,
               static_cast<double>(size) / written / 1e9);
}

}  // namespace
}  // namespace seqkv::mpi
