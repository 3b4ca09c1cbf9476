// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Plans: every session once, every block computed by one rank, and whoever lacks one is handed it.
#include "mpi/plan.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <random>
#include <set>

namespace seqkv::mpi {
namespace {

/// Sessions that begin with each other's blocks, to random depths.
std::vector<PlanSession> random_sessions(std::mt19937& random, int count, int block_tokens) {
  std::vector<PlanSession> sessions;
  std::uint64_t next = 1;
  for (int i = 0; i < count; ++i) {
    PlanSession session;
    if (!sessions.empty() && random() % 4 != 0) {
      session.blocks = sessions[random() % sessions.size()].blocks;
      session.blocks.resize(random() % (session.blocks.size() + 1));
    }
    const std::uint64_t more = random() % 5;
    for (std::uint64_t b = 0; b < more || session.blocks.empty(); ++b) session.blocks.push_back({random(), next++});
    session.tokens = static_cast<std::int64_t>(session.blocks.size()) * block_tokens;
    session.computed = random() % 16 != 0;
    sessions.push_back(std::move(session));
  }
  return sessions;
}

/// What each rank has of the sessions' blocks, as it works through its piece.
class Simulation {
 public:
  Simulation(const std::vector<PlanSession>& sessions, const Plan& plan, int ranks) : sessions_(sessions), plan_(plan) {
    for (int r = 0; r < ranks; ++r) run(r);
  }

  std::set<std::int64_t> seen;
  std::map<BlockKey, std::set<int>> computed;  ///< of each block the ranks that compute it

 private:
  const std::vector<BlockKey>& blocks_at(std::int64_t place) const {
    return sessions_[static_cast<std::size_t>(plan_.order[static_cast<std::size_t>(place)])].blocks;
  }

  /// Blocks of the rank's first session that others hand it.
  std::int64_t handed(int rank) const {
    std::int64_t depth = 0;
    for (const Handover& handover : plan_.handovers) {
      if (handover.owner == rank || !std::ranges::count(handover.ranks, rank)) continue;
      EXPECT_EQ(handover.first_block, depth) << "pieces do not fit";
      EXPECT_LT(handover.owner, rank) << "a rank that comes later cannot be waited for";
      const auto& mine = blocks_at(plan_.first[static_cast<std::size_t>(rank)]);
      const auto& owners = sessions_[static_cast<std::size_t>(handover.session)].blocks;
      EXPECT_TRUE(std::equal(mine.begin(), mine.begin() + handover.last_block, owners.begin()));
      depth = handover.last_block;
    }
    return depth;
  }

  void run(int rank) {
    const auto begin = plan_.first[static_cast<std::size_t>(rank)];
    const auto end = plan_.first[static_cast<std::size_t>(rank) + 1];
    if (begin == end) return;
    const std::int64_t depth = handed(rank);
    const auto wanted = plan_.wanted(rank);
    for (std::int64_t i = end; i-- > begin;) {
      seen.insert(plan_.order[static_cast<std::size_t>(i)]);
      const std::int64_t given = wanted[static_cast<std::size_t>(i - begin)];
      EXPECT_LE(given, depth);
      const auto& blocks = blocks_at(i);
      for (auto b = static_cast<std::size_t>(given); b < blocks.size(); ++b) computed[blocks[b]].insert(rank);
    }
    // A rank hands on what it computes itself, of its last session.
    for (const Handover& handover : plan_.handovers) {
      if (handover.owner != rank) continue;
      EXPECT_EQ(handover.session, plan_.order[static_cast<std::size_t>(end - 1)]);
      EXPECT_GE(handover.first_block, wanted.back());
    }
  }

  const std::vector<PlanSession>& sessions_;
  const Plan& plan_;
};

TEST(Plan, EveryBlockIsComputedByOneRankAndHandedToThoseWhoLackIt) {
  std::mt19937 random(1);
  for (int round = 0; round < 400; ++round) {
    const auto sessions = random_sessions(random, 1 + static_cast<int>(random() % 40), 16);
    const int ranks = 1 + static_cast<int>(random() % 12);
    const bool divisible = random() % 4 != 0;
    const Plan plan = make_plan(sessions, 16, ranks, {}, divisible);
    ASSERT_EQ(plan.first.size(), static_cast<std::size_t>(ranks) + 1);
    ASSERT_TRUE(std::ranges::is_sorted(plan.first));
    const Simulation run(sessions, plan, ranks);
    EXPECT_EQ(run.seen.size(), sessions.size());
    for (const auto& [block, who] : run.computed) EXPECT_EQ(who.size(), 1U);
    EXPECT_TRUE(divisible || plan.handovers.empty());
  }
}

TEST(Plan, WhatIsHandedOnReachesEveryRankOnce) {
  std::mt19937 random(2);
  for (int round = 0; round < 100; ++round) {
    std::vector<PlanSession> sessions(200);
    for (std::size_t i = 0; i < sessions.size(); ++i) {
      sessions[i] = {32, {{7, 7}, {random(), i}}, true};
    }
    const int ranks = 2 + static_cast<int>(random() % 100);
    const Plan plan = make_plan(sessions, 16, ranks, {}, true);
    ASSERT_EQ(plan.handovers.size(), 1U);
    const Handover& handover = plan.handovers[0];
    std::multiset<int> reached;
    for (const int rank : handover.ranks) {
      const auto next = handover.to(rank);
      EXPECT_LE(std::ssize(next), Handover::fan_out);
      for (const int to : next) {
        EXPECT_EQ(handover.from(to), rank);
        reached.insert(to);
      }
    }
    std::vector<int> all(handover.ranks.begin() + 1, handover.ranks.end());
    EXPECT_TRUE(std::ranges::equal(reached, all));
  }
}

TEST(Plan, PiecesAreAsEvenAsSessionsAllow) {
  for (const int ranks : {1, 2, 3, 4, 8, 16}) {
    std::vector<PlanSession> sessions;
    for (std::uint64_t i = 0; i < 64; ++i) sessions.push_back({1024, {{1, 1}, {2, i}, {3, i}, {4, i}}, true});
    const Plan plan = make_plan(sessions, 256, ranks, {}, true);
    const double even = plan.most / plan.mean;
    EXPECT_LE(even, ranks == 3 ? 1.04 : 1.3) << ranks;
    EXPECT_LE(plan.most, plan.mean + 1024 + 16) << ranks;
  }
}

TEST(Plan, MoreRanksThanSessionsAndNone) {
  const Plan few = make_plan({{16, {{1, 1}}, true}, {16, {{1, 1}}, true}, {16, {}, false}}, 16, 8, {}, true);
  EXPECT_EQ(few.first.back(), 3);
  EXPECT_EQ(std::ssize(few.order), 3);
  const Plan none = make_plan({}, 16, 4, {}, true);
  EXPECT_EQ(none.first, std::vector<std::int64_t>(5, 0));
}

}  // namespace
}  // namespace seqkv::mpi
