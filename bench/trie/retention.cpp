// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Retention policies on synthetic traces: the part of the cost of recomputing, and of the bytes, that stored blocks
// saved. Peers are LRU, LFU and GDSF, and a store that knows the future. An item is the use of one block.
#include "seqkv/retention.hpp"

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <array>
#include <unordered_map>

#include "support/value.hpp"
#include "trie/clairvoyant.hpp"
#include "trie/traces.hpp"

namespace seqkv::bench {
namespace {

constexpr int seeds = 3;
constexpr double usual_half_life = 5000.0;  // requests

enum class Prior : std::uint8_t { none, true_rate, noisy, misleading };

struct Contender {
  const char* name;
  RetentionPolicy policy;
  Admission admission;
  bool counts;         ///< the uses of blocks that are not stored are known too
  Prior prior;         ///< when a block is stored; with counts, when it is first seen
  double trust = 1.0;  ///< factor of the prior's rate
  bool plain = false;  ///< all uses count the same, forever, and so do all bytes: of value that leaves LFU
};
constexpr auto value = RetentionPolicy::value;
constexpr auto by_rank = Admission::by_rank;
constexpr auto always = Admission::always;
constexpr std::array<Contender, 14> contenders = {{
    {"lru", RetentionPolicy::lru, always, false, Prior::none},
    {"lfu", RetentionPolicy::lfu, always, false, Prior::none},
    {"gdsf", RetentionPolicy::gdsf, always, false, Prior::none},
    {"value", value, always, false, Prior::none},
    {"value,by_rank", value, by_rank, false, Prior::none},
    {"value,by_rank,true", value, by_rank, false, Prior::true_rate},
    {"value,by_rank,noisy", value, by_rank, false, Prior::noisy},
    {"value,by_rank,misleading", value, by_rank, false, Prior::misleading},
    {"value,counts", value, always, true, Prior::none},
    {"value,counts,by_rank", value, by_rank, true, Prior::none},
    {"value,counts,by_rank,true", value, by_rank, true, Prior::true_rate},
    {"value,counts,by_rank,noisy", value, by_rank, true, Prior::noisy},
    {"value,counts,by_rank,misleading", value, by_rank, true, Prior::misleading},
    {"lfu,counts,by_rank", value, by_rank, true, Prior::none, 0.0, true},
}};

constexpr std::array<const char*, 8> trace_names = {"zipf0.6",   "zipf0.8", "zipf1.0", "zipf1.2",
                                                    "preambles", "scans",   "drift",   "codecs"};

Trace make(std::size_t which, std::uint64_t seed) {
  TraceMaker maker(seed);
  constexpr std::array<double, 4> exponents = {0.6, 0.8, 1.0, 1.2};
  if (which < exponents.size()) return maker.zipf(trace_names[which], exponents[which]);
  if (which == 4) return maker.preambles();
  if (which == 5) return maker.scans();
  if (which == 6) return maker.zipf("drift", 0.9, 500);
  return maker.zipf("codecs", 0.9, 0, true);
}

const Trace& trace_of(std::size_t which, int seed) {
  static std::unordered_map<std::size_t, Trace> made;
  const std::size_t key = which * seeds + static_cast<std::size_t>(seed);
  const auto found = made.find(key);
  return found != made.end() ? found->second : made.emplace(key, make(which, key + 1)).first->second;
}

/// Sums over requests of what they need and what they found.
struct Totals {
  double cost = 0.0, saved_cost = 0.0, early_cost = 0.0, early_saved_cost = 0.0;
  double bytes = 0.0, hit_bytes = 0.0;
  std::int64_t uses = 0;

  void count(const RetentionNode& block, bool hit, std::size_t request) {
    const double saved = hit ? block.cost : 0.0;
    cost += block.cost;
    saved_cost += saved;
    if (request < 1000) {
      early_cost += block.cost;
      early_saved_cost += saved;
    }
    bytes += static_cast<double>(block.bytes);
    hit_bytes += hit ? static_cast<double>(block.bytes) : 0.0;
    ++uses;
  }
};

double prior_of(const Contender& contender, const TraceNode& node) {
  switch (contender.prior) {
    case Prior::none:
      return 0.0;
    case Prior::true_rate:
      return contender.trust * node.rate;
    case Prior::noisy:
      return contender.trust * node.noisy_rate;
    case Prior::misleading:
      return contender.trust * node.misleading_rate;
  }
  return 0.0;
}

/// What a trie of counts knows of all blocks it has seen, stored or not: a prior once, then uses, all forgotten as
/// those of stored blocks are.
class Counts {
 public:
  Counts(const Contender& contender, double half_life) : contender_(contender), half_life_(half_life) {}
  double rate(std::int64_t block, const TraceNode& node, double now) const {
    const auto found = uses_.find(block);
    return found == uses_.end() ? prior_of(contender_, node) : reuse_rate(found->second, now, half_life_);
  }
  void use(std::int64_t block, const TraceNode& node, double now) {
    const RetentionNode first{1, 1.0, prior_of(contender_, node)};
    const auto [found, is_new] = uses_.try_emplace(block, first_use(first, now, half_life_));
    if (!is_new) found->second = next_use(found->second, now, half_life_);
  }

 private:
  Contender contender_;
  double half_life_;
  std::unordered_map<std::int64_t, RetentionState> uses_;
};

Totals simulate(const Trace& trace, const Contender& contender, std::int64_t budget, double half_life) {
  if (contender.plain) half_life = 1e9;
  RetentionIndex index = value_of(RetentionIndex::create({contender.policy, contender.admission, budget, half_life}));
  Counts counts(contender, half_life);
  Totals totals;
  for (std::size_t i = 0; i < trace.requests.size(); ++i) {
    const auto now = static_cast<double>(i);
    const auto path = trace.path(trace.requests[i]);
    std::size_t known = 0;
    while (known < path.size() && index.contains(static_cast<RetentionId>(path[known]))) ++known;
    for (std::size_t k = 0; k < path.size(); ++k) totals.count(trace.nodes[path[k]].block, k < known, i);
    if (known > 0) check(index.touch(static_cast<RetentionId>(path[known - 1]), now));
    for (std::size_t k = known; k < path.size(); ++k) {
      const TraceNode& node = trace.nodes[path[k]];
      RetentionNode block = node.block;
      if (contender.plain) block.cost = static_cast<double>(block.bytes);
      block.prior_rate = contender.counts ? counts.rate(path[k], node, now) : prior_of(contender, node);
      const RetentionId parent = k == 0 ? retention_root : static_cast<RetentionId>(path[k - 1]);
      if (!value_of(index.insert(static_cast<RetentionId>(path[k]), parent, block, now)).stored) break;
    }
    if (!contender.counts) continue;
    for (const std::int64_t block : path) counts.use(block, trace.nodes[block], now);
  }
  return totals;
}

Totals clairvoyant(const Trace& trace, std::int64_t budget) {
  const auto next = next_uses(trace);
  Clairvoyant store(trace, budget);
  Totals totals;
  for (std::size_t i = 0; i < trace.requests.size(); ++i) {
    const auto path = trace.path(trace.requests[i]);
    for (std::size_t k = 0; k < path.size(); ++k) {
      totals.count(trace.nodes[path[k]].block, store.use(path[k], next[i][k]), i);
    }
  }
  return totals;
}

/// Runs once for each seed; counters are means over seeds; saved_cost_N is that of the seed N.
template <class Run>
void measure(benchmark::State& state, std::size_t which, double part, const Run& run) {
  std::vector<Totals> all;
  for (int seed = 0; seed < seeds; ++seed) trace_of(which, seed);
  for (auto _ : state) {
    for (int seed = 0; seed < seeds; ++seed) {
      const Trace& trace = trace_of(which, seed);
      all.push_back(run(trace, static_cast<std::int64_t>(part * static_cast<double>(trace.reused_bytes()))));
    }
  }
  double saved = 0.0, early = 0.0, hit = 0.0;
  std::int64_t uses = 0;
  for (const Totals& totals : all) {
    const double one = totals.saved_cost / totals.cost;
    saved += one / seeds;
    early += totals.early_saved_cost / totals.early_cost / seeds;
    hit += totals.hit_bytes / totals.bytes / seeds;
    state.counters[fmt::format("saved_cost_{}", state.counters.size() + 1)] = one;
    uses += totals.uses;
  }
  state.counters["saved_cost"] = saved;
  state.counters["saved_cost_first_1000"] = early;
  state.counters["byte_hit_rate"] = hit;
  state.SetItemsProcessed(uses);
}

template <class Run>
void add(const std::string& name, std::size_t which, double part, const Run& run) {
  benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) { measure(state, which, part, run); })
      ->Iterations(1)
      ->Unit(benchmark::kMillisecond);
}

/// Counts and a prior that is believed less.
void add_trusts(std::size_t which) {
  for (const double trust : {0.1, 0.01}) {
    for (std::size_t i = 10; i < 13; ++i) {
      Contender contender = contenders[i];
      contender.trust = trust;
      add(fmt::format("trust/{}/10%/{}/{:g}", trace_names[which], contender.name, trust), which, 0.1,
          [=](const Trace& trace, std::int64_t budget) { return simulate(trace, contender, budget, usual_half_life); });
    }
  }
}

/// A store without counts and one with them, that forget sooner or later.
void add_half_lives(std::size_t which) {
  for (const double half_life : {200.0, 1000.0, 5000.0, 25000.0, 1e9}) {
    for (const Contender& contender : {contenders[3], contenders[9]}) {
      add(fmt::format("half_life/{}/10%/{}/{:g}", trace_names[which], contender.name, half_life), which, 0.1,
          [=](const Trace& trace, std::int64_t budget) { return simulate(trace, contender, budget, half_life); });
    }
  }
}

bool add_all() {
  for (std::size_t which = 0; which < trace_names.size(); ++which) {
    for (const double part : {0.02, 0.1, 0.4}) {
      const std::string place = fmt::format("{}/{}%", trace_names[which], 100.0 * part);
      for (const Contender& contender : contenders) {
        add(fmt::format("policy/{}/{}", place, contender.name), which, part,
            [=](const Trace& trace, std::int64_t budget) {
              return simulate(trace, contender, budget, usual_half_life);
            });
      }
      add(fmt::format("policy/{}/clairvoyant", place), which, part, clairvoyant);
    }
    add_half_lives(which);
    add_trusts(which);
  }
  return true;
}

const bool added = add_all();

}  // namespace
}  // namespace seqkv::bench
