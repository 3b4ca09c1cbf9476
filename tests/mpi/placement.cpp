// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Where sessions go, and how they get there.
#include "seqkv/mpi_placement.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <Kokkos_Core.hpp>
#include <algorithm>
#include <numeric>
#include <random>

#include "support/caches.hpp"
#include "support/ranks.hpp"

namespace seqkv::mpi {
namespace {

using test::value_of;
using test::world;

TEST(Placement, SessionsGoWhereTheirPrefixIsWhileThatIsSooner) {
  std::vector<double> load(4, 0.0);
  const std::vector<PlacementRequest> requests(16, {1100, 1000, 2});
  const auto placed = place_sessions(requests, load, 0.05);
  // The holder takes them until moving 1,000 tokens at the price of 50 is sooner.
  EXPECT_EQ(placed[0].rank, 2);
  EXPECT_FALSE(placed[0].moves);
  const auto here = std::ranges::count_if(placed, [](const Placement& p) { return p.rank == 2; });
  EXPECT_GE(here, 4);
  EXPECT_LT(here, 8);
  for (const Placement& p : placed) EXPECT_EQ(p.moves, p.rank != 2);
  EXPECT_LE(std::ranges::max(load) - std::ranges::min(load), 150.0);
}

TEST(Placement, WithoutPrefixTheRankThatHasLeastToDo) {
  std::vector<double> load = {500, 0, 250};
  const std::vector<PlacementRequest> requests(3, {100, 0, 0});
  const auto placed = place_sessions(requests, load);
  for (const Placement& p : placed) EXPECT_EQ(p.rank, 1);
  EXPECT_EQ(load, (std::vector<double>{500, 300, 250}));
}

TEST(Placement, APrefixThatIsDearToMoveIsComputedAgainOnlyIfThatIsSooner) {
  std::vector<double> load = {2000, 0};
  const std::vector<PlacementRequest> requests = {{1100, 1000, 0}, {1100, 1000, 0}};
  const auto placed = place_sessions(requests, load, 3.0);
  EXPECT_EQ(placed[0].rank, 1);
  EXPECT_FALSE(placed[0].moves);
  EXPECT_EQ(load[1], 1100);
  EXPECT_EQ(placed[1].rank, 0);
}

TEST(Placement, RandomLoadsEndNearEachOther) {
  std::mt19937 random(1);
  for (int round = 0; round < 50; ++round) {
    std::vector<double> load(1 + random() % 20, 0.0);
    std::vector<PlacementRequest> requests;
    for (int i = 0; i < 400; ++i) {
      const auto tokens = static_cast<std::int64_t>(100 + random() % 900);
      requests.push_back(
          {tokens, static_cast<std::int64_t>(random()) % tokens, static_cast<int>(random() % load.size())});
    }
    const auto placed = place_sessions(requests, load);
    ASSERT_EQ(placed.size(), requests.size());
    for (const Placement& p : placed) ASSERT_LT(static_cast<std::size_t>(p.rank), load.size());
    EXPECT_LE(std::ranges::max(load) - std::ranges::min(load), 1100.0);
  }
}

TEST(Rebalance, RanksThatJoinedGetTheirShare) {
  const Communicator& comm = world().get();
  // The first half of the ranks, rounded up, has all there is.
  const int old = (comm.size() + 1) / 2;
  std::mt19937 random(static_cast<std::uint32_t>(comm.rank()));
  std::vector<double> costs;
  for (int i = 0; comm.rank() < old && i < 200; ++i) costs.push_back(1.0 + random() % 10);
  const auto moves = value_of(plan_rebalance(comm, costs));
  std::vector<double> change(static_cast<std::size_t>(comm.size()), 0.0);
  for (const Move& move : moves) {
    change[static_cast<std::size_t>(move.to)] += costs[move.session];
    change[static_cast<std::size_t>(comm.rank())] -= costs[move.session];
  }
  change[static_cast<std::size_t>(comm.rank())] += std::accumulate(costs.begin(), costs.end(), 0.0);
  ASSERT_OK(comm.reduce(change, Reduction::sum));
  const double mean = std::accumulate(change.begin(), change.end(), 0.0) / comm.size();
  for (const double load : change) EXPECT_NEAR(load, mean, 25.0);
}

TEST(MoveSessions, ArriveAsTheyWere) {
  const Communicator& comm = world().get();
  const KvShape shape = test::shape_of(2, 1, 16, DType::bf16);
  const auto codec = value_of(Codec::parse("none+lossless"));
  const auto session_of = [&](int from, int number) {
    const std::vector<Token> tokens(static_cast<std::size_t>(20 + number), static_cast<Token>(from));
    const KvCache cache = value_of(KvCache::create(shape, std::ssize(tokens)));
    return MovedSession{fmt::format("s{}.{}", from, number), codec.spec(),
                        value_of(encode(Kokkos::DefaultExecutionSpace(), codec, cache.view(), tokens, 0, 16))};
  };
  std::vector<MovedSession> mine;
  std::vector<int> to;
  for (int i = 0; i < 5; ++i) {
    mine.push_back(session_of(comm.rank(), i));
    to.push_back((comm.rank() + i) % comm.size());
  }
  const auto got = value_of(move_sessions(comm, shape, mine, to));
  EXPECT_EQ(got.size(), 5U);
  for (int from = 0, at = 0; from < comm.size(); ++from) {
    for (int i = 0; i < 5; ++i) {
      if ((from + i) % comm.size() != comm.rank()) continue;
      ASSERT_LT(static_cast<std::size_t>(at), got.size());
      EXPECT_EQ(got[static_cast<std::size_t>(at++)], session_of(from, i));
    }
  }
  // A block that is damaged on its way, or before, is nobody's.
  if (comm.rank() == 0) mine[0].blocks[0][mine[0].blocks[0].size() / 2] ^= std::byte{1};
  EXPECT_FALSE(move_sessions(comm, shape, mine, to).ok());
  to[0] = comm.rank() == comm.size() - 1 ? comm.size() : 0;
  EXPECT_CODE(move_sessions(comm, shape, mine, to), ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace seqkv::mpi
