// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "mpi/plan.hpp"

#include <algorithm>
#include <map>
#include <numeric>

namespace seqkv::mpi {

double TokenCost::of(std::int64_t first, std::int64_t last) const {
  const auto tokens = static_cast<double>(last - first);
  return tokens + by_position * tokens * static_cast<double>(first + last) / 2;
}

// ---- handing on -------------------------------------------------------------------------------------------

std::int64_t Handover::place_of(int rank) const {
  const auto found = std::ranges::lower_bound(ranks.begin() + 1, ranks.end(), rank);
  return rank == owner ? 0 : found - ranks.begin();
}

int Handover::from(int rank) const { return ranks[static_cast<std::size_t>((place_of(rank) - 1) / fan_out)]; }

std::vector<int> Handover::to(int rank) const {
  const std::int64_t begin = std::min(place_of(rank) * fan_out + 1, std::ssize(ranks));
  const std::int64_t end = std::min(begin + fan_out, std::ssize(ranks));
  return {ranks.begin() + begin, ranks.begin() + end};
}

namespace {

std::int64_t common_blocks(const PlanSession& a, const PlanSession& b) {
  return std::ranges::mismatch(a.blocks, b.blocks).in1 - a.blocks.begin();
}

/// Sessions next to each other that one rank must have, and what they cost.
struct Unit {
  std::int64_t sessions = 0;
  double cost = 0;
};

class Planner {
 public:
  Planner(const std::vector<PlanSession>& sessions, std::int64_t block_tokens, int ranks, const TokenCost& cost,
          bool divisible)
      : sessions_(sessions), block_tokens_(block_tokens), ranks_(ranks), cost_(cost), divisible_(divisible) {}

  Plan make() {
    put_in_order();
    cut(units());
    find_handovers();
    return std::move(plan_);
  }

 private:
  const PlanSession& at(std::size_t place) const { return sessions_[static_cast<std::size_t>(plan_.order[place])]; }

  /// Those that share blocks stand together, the more they share the closer.
  void put_in_order() {
    plan_.order.resize(sessions_.size());
    std::iota(plan_.order.begin(), plan_.order.end(), 0);
    std::ranges::sort(plan_.order, [this](std::int64_t a, std::int64_t b) {
      const PlanSession& x = sessions_[static_cast<std::size_t>(a)];
      const PlanSession& y = sessions_[static_cast<std::size_t>(b)];
      const auto order = x.blocks <=> y.blocks;
      return order != 0 ? order < 0 : a < b;
    });
    plan_.common.assign(sessions_.size(), 0);
    for (std::size_t i = 1; i < plan_.order.size(); ++i) plan_.common[i] = common_blocks(at(i - 1), at(i));
  }

  double cost_of(std::size_t place) const {
    const PlanSession& session = at(place);
    if (!session.computed) return cost_.of_session + cost_.of_given * static_cast<double>(session.tokens);
    const std::int64_t known = std::min(plan_.common[place] * block_tokens_, session.tokens);
    return cost_.of_session + cost_.of(known, session.tokens);
  }

  std::vector<Unit> units() const {
    std::vector<Unit> units;
    for (std::size_t begin = 0; begin < plan_.order.size();) {
      std::size_t end = begin + 1;
      while (end < plan_.order.size() && plan_.common[end] > 0) ++end;
      bool together = !divisible_;
      for (std::size_t i = begin; i < end; ++i) together = together || !at(i).computed;
      for (std::size_t i = begin; i < end; ++i) {
        if (i == begin || !together) units.emplace_back();
        ++units.back().sessions;
        units.back().cost += cost_of(i);
      }
      begin = end;
    }
    return units;
  }

  /// How many ranks it takes if none may have more than `most`.
  static int ranks_for(const std::vector<Unit>& units, double most) {
    int ranks = 1;
    double here = 0;
    for (const Unit& unit : units) {
      if (here > 0 && here + unit.cost > most) {
        ++ranks;
        here = 0;
      }
      here += unit.cost;
    }
    return ranks;
  }

  /// Pieces of which the largest is as small as can be.
  void cut(const std::vector<Unit>& units) {
    double all = 0;
    double low = 0;
    for (const Unit& unit : units) {
      all += unit.cost;
      low = std::max(low, unit.cost);
    }
    double high = all;
    low = std::max(low, all / ranks_);
    for (int i = 0; i < 60 && ranks_for(units, low) > ranks_; ++i) {
      const double middle = (low + high) / 2;
      (ranks_for(units, middle) > ranks_ ? low : high) = middle;
    }
    if (ranks_for(units, low) > ranks_) low = high;
    plan_.first.assign(1, 0);
    double here = 0;
    std::int64_t sessions = 0;
    for (const Unit& unit : units) {
      if (here > 0 && here + unit.cost > low) {
        plan_.first.push_back(sessions);
        here = 0;
      }
      here += unit.cost;
      sessions += unit.sessions;
      plan_.most = std::max(plan_.most, here);
    }
    plan_.first.resize(static_cast<std::size_t>(ranks_) + 1, sessions);
    plan_.mean = all / ranks_;
  }

  /// Of every rank the prefix that its first session shares with the one before, and who computes which part of it: a
  /// rank owns what its last session has in common with that and its first session has not with the one before it.
  void find_handovers() {
    std::vector<std::int64_t> least(static_cast<std::size_t>(ranks_), INT64_MAX);  // of `common` in each piece
    for (std::size_t r = 0; r < least.size(); ++r) {
      for (std::int64_t i = plan_.first[r]; i < plan_.first[r + 1]; ++i) {
        least[r] = std::min(least[r], plan_.common[static_cast<std::size_t>(i)]);
      }
    }
    // Of each owner: who wants how much.
    std::vector<std::map<std::int64_t, std::vector<int>>> wanted(least.size());
    for (std::size_t r = 1; r < least.size(); ++r) {
      if (plan_.first[r] == plan_.first[r + 1]) continue;
      std::int64_t depth = plan_.common[static_cast<std::size_t>(plan_.first[r])];
      for (std::size_t owner = r; owner-- > 0 && depth > 0;) {
        if (least[owner] < depth) wanted[owner][depth].push_back(static_cast<int>(r));
        depth = std::min(depth, least[owner]);
      }
    }
    for (std::size_t owner = 0; owner < wanted.size(); ++owner) {
      std::int64_t from = least[owner];
      for (auto at = wanted[owner].begin(); at != wanted[owner].end(); ++at) {
        Handover handover{plan_.order[static_cast<std::size_t>(plan_.first[owner + 1] - 1)],
                          from,
                          at->first,
                          static_cast<int>(owner),
                          {static_cast<int>(owner)}};
        for (auto deeper = at; deeper != wanted[owner].end(); ++deeper) {
          handover.ranks.insert(handover.ranks.end(), deeper->second.begin(), deeper->second.end());
        }
        std::sort(handover.ranks.begin() + 1, handover.ranks.end());
        from = at->first;
        plan_.handovers.push_back(std::move(handover));
      }
    }
  }

  const std::vector<PlanSession>& sessions_;
  std::int64_t block_tokens_;
  int ranks_;
  const TokenCost& cost_;
  bool divisible_;
  Plan plan_;
};

}  // namespace

std::vector<std::int64_t> Plan::wanted(int rank) const {
  const auto begin = static_cast<std::size_t>(first[static_cast<std::size_t>(rank)]);
  const auto end = static_cast<std::size_t>(first[static_cast<std::size_t>(rank) + 1]);
  std::vector<std::int64_t> blocks;
  std::int64_t shared = INT64_MAX;
  for (std::size_t i = begin; i < end; ++i) {
    shared = std::min(shared, common[i]);
    blocks.push_back(shared);
  }
  return blocks;
}

Plan make_plan(const std::vector<PlanSession>& sessions, std::int64_t block_tokens, int ranks, const TokenCost& cost,
               bool divisible) {
  return Planner(sessions, block_tokens, ranks, cost, divisible).make();
}

}  // namespace seqkv::mpi
