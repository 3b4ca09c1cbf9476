// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Synthetic traces of requests to a store (docs/retention.md): a tree of blocks, and for each request the last block
/// of its session. One request a unit of time.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "seqkv/retention.hpp"

namespace seqkv::bench {

struct TraceNode {
  std::int64_t parent = -1;
  std::int64_t depth = 0;  ///< blocks before it
  RetentionNode block;     ///< without a prior
  double rate = 0.0;       ///< true uses per request, when the trace begins
  double noisy_rate = 0.0;
  double misleading_rate = 0.0;  ///< as if the ranks of sessions were reversed
};

struct Trace {
  std::string name;
  std::vector<TraceNode> nodes;        ///< parents first
  std::vector<std::int64_t> requests;  ///< nodes

  /// The blocks of a request, the first one first.
  std::vector<std::int64_t> path(std::int64_t last) const {
    std::vector<std::int64_t> blocks(static_cast<std::size_t>(nodes[last].depth) + 1);
    for (auto block = blocks.rbegin(); block != blocks.rend(); ++block, last = nodes[last].parent) *block = last;
    return blocks;
  }

  /// Of the blocks that are used more than once: what an unlimited store is of use for.
  std::int64_t reused_bytes() const {
    std::vector<int> uses(nodes.size());
    for (const std::int64_t last : requests) {
      for (const std::int64_t block : path(last)) ++uses[block];
    }
    std::int64_t sum = 0;
    for (std::size_t i = 0; i < nodes.size(); ++i) sum += uses[i] > 1 ? nodes[i].block.bytes : 0;
    return sum;
  }
};

/// Draws indices with probability proportional to 1 / (index + 1)^s.
class Zipf {
 public:
  Zipf(std::int64_t count, double s) {
    for (std::int64_t i = 0; i < count; ++i) weights_.push_back(std::pow(static_cast<double>(i) + 1.0, -s));
    double sum = 0.0;
    for (const double weight : weights_) sum += weight;
    for (double& weight : weights_) weight /= sum;
    draw_ = std::discrete_distribution<std::int64_t>(weights_.begin(), weights_.end());
  }
  double probability(std::int64_t index) const { return weights_[index]; }
  double reversed(std::int64_t index) const { return weights_[weights_.size() - 1 - index]; }
  std::int64_t operator()(std::mt19937_64& engine) { return draw_(engine); }
  std::int64_t size() const { return static_cast<std::int64_t>(weights_.size()); }

 private:
  std::vector<double> weights_;
  std::discrete_distribution<std::int64_t> draw_;
};

/// Makes traces; what they have in common is a model of 8 billion parameters, 32 layers, 32 query and 8 KV heads of
/// 128, stored with 4.26 bits a component.
class TraceMaker {
 public:
  static constexpr std::int64_t request_count = 20000;
  static constexpr std::int64_t session_count = 2000;

  explicit TraceMaker(std::uint64_t seed) : engine_(seed) {}

  /// Sessions that share nothing, their popularity Zipf's; swap_every > 0: 5 % of the ranks change places each time.
  Trace zipf(const std::string& name, double s, std::int64_t swap_every = 0, bool mixed_codecs = false) {
    Trace trace{name, {}, {}};
    Zipf popularity(session_count, s);
    auto sessions = add_sessions(trace, popularity, mixed_codecs);
    for (std::int64_t i = 0; i < request_count; ++i) {
      if (swap_every > 0 && i % swap_every == swap_every - 1) {
        for (std::int64_t k = 0; k < session_count / 20; ++k) {
          std::swap(sessions[engine_() % session_count], sessions[engine_() % session_count]);
        }
      }
      trace.requests.push_back(sessions[popularity(engine_)]);
    }
    return trace;
  }

  /// 40 preambles of 2 to 48 blocks, each with 500 questions of 1 to 6; 30 % of the questions are asked only once.
  Trace preambles() {
    Trace trace{"preambles", {}, {}};
    Zipf preamble(40, 0.9);
    Zipf question(500, 0.8);
    std::vector<std::int64_t> roots;
    std::vector<std::vector<std::int64_t>> questions;
    for (std::int64_t p = 0; p < preamble.size(); ++p) {
      roots.push_back(add_segment(trace, -1, uniform(2, 48), preamble.probability(p), preamble.reversed(p), 4.26));
      auto& own = questions.emplace_back();
      for (std::int64_t q = 0; q < question.size(); ++q) {
        own.push_back(add_segment(trace, roots.back(), uniform(1, 6),
                                  0.7 * preamble.probability(p) * question.probability(q),
                                  0.7 * preamble.reversed(p) * question.reversed(q), 4.26));
      }
    }
    for (std::int64_t i = 0; i < request_count; ++i) {
      const std::int64_t p = preamble(engine_);
      const std::int64_t asked = engine_() % 10 < 3 ? add_once(trace, roots[p], uniform(1, 6), question.probability(0))
                                                    : questions[p][question(engine_)];
      trace.requests.push_back(asked);
    }
    return trace;
  }

  /// After each 1000 requests of Zipf's (0.9) sessions a job reads 500 others, each for the only time.
  Trace scans() {
    Trace trace{"scans", {}, {}};
    Zipf popularity(session_count, 0.9);
    const auto sessions = add_sessions(trace, popularity, false);
    for (std::int64_t i = 0; i < request_count; ++i) {
      const bool scan = i % 1500 >= 1000;
      trace.requests.push_back(scan ? add_once(trace, -1, length(), popularity.probability(0))
                                    : sessions[popularity(engine_)]);
    }
    return trace;
  }

 private:
  /// Blocks below `parent`, all of one popularity; the last one.
  std::int64_t add_segment(Trace& trace, std::int64_t parent, std::int64_t blocks, double rate, double misleading,
                           double bits) {
    const RecomputeCost cost = RecomputeCost::of_model(8e9, 32, 32 * 128);
    const double noisy = rate * std::exp2(4.0 * normal_(engine_));
    for (; blocks > 0; --blocks) {
      const std::int64_t depth = parent < 0 ? 0 : trace.nodes[parent].depth + 1;
      const auto bytes = static_cast<std::int64_t>(2.0 * 32 * 8 * 128 * 256 * bits / 8.0);
      trace.nodes.push_back({parent, depth, {bytes, cost.of(256 * depth, 256), 0.0}, rate, noisy, misleading});
      parent = static_cast<std::int64_t>(trace.nodes.size()) - 1;
    }
    return parent;
  }

  /// A session for one request. Its true rate is 0; who is misled takes it for the most popular.
  std::int64_t add_once(Trace& trace, std::int64_t parent, std::int64_t blocks, double misleading) {
    return add_segment(trace, parent, blocks, 0.0, misleading, 4.26);
  }

  std::vector<std::int64_t> add_sessions(Trace& trace, const Zipf& popularity, bool mixed_codecs) {
    std::vector<std::int64_t> sessions;
    for (std::int64_t i = 0; i < session_count; ++i) {
      const double bits = mixed_codecs && engine_() % 2 ? 10.7 : 4.26;
      sessions.push_back(add_segment(trace, -1, length(), popularity.probability(i), popularity.reversed(i), bits));
    }
    return sessions;
  }

  /// Blocks of a session: log-normal, half of them below 12 (3,072 tokens), at most 128.
  std::int64_t length() {
    return std::clamp(static_cast<std::int64_t>(12.0 * std::exp(0.8 * normal_(engine_))), std::int64_t{1},
                      std::int64_t{128});
  }
  std::int64_t uniform(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(engine_() % static_cast<std::uint64_t>(high - low + 1));
  }

  std::mt19937_64 engine_;
  std::normal_distribution<double> normal_;
};

}  // namespace seqkv::bench
