// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Token streams for benchmarks of tries: made here, the same on every machine.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "seqkv/kv.hpp"

namespace seqkv::bench {

/// Ranks 0 .. count - 1 with probabilities proportional to (1 + rank)^-exponent.
class Zipf {
 public:
  Zipf(std::uint32_t count, double exponent) : cumulative_(count) {
    double sum = 0;
    for (std::uint32_t i = 0; i < count; ++i) cumulative_[i] = sum += std::pow(1.0 + i, -exponent);
  }
  /// `uniform` from 0 to 1.
  std::uint32_t operator()(double uniform) const {
    const auto at = std::ranges::lower_bound(cumulative_, uniform * cumulative_.back());
    return static_cast<std::uint32_t>(std::min<std::ptrdiff_t>(at - cumulative_.begin(), std::ssize(cumulative_) - 1));
  }

 private:
  std::vector<double> cumulative_;
};

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  std::uint64_t bits() { return engine_(); }
  double uniform() { return static_cast<double>(engine_() >> 11U) * 0x1p-53; }

 private:
  std::mt19937_64 engine_;
};

/// A text of `vocabulary` tokens with Zipf frequencies (exponent 1). With probability `follow` a token is one of 16
/// successors of the one before it, themselves with Zipf frequencies (exponent 1.5): a Markov chain, which repeats
/// n-grams as texts do. 4 M tokens of 32,000 at 0.95: the windows of 8 tokens have 3.16 different prefixes each.
inline std::vector<Token> markov_stream(std::size_t count, Token vocabulary, double follow, std::uint64_t seed) {
  Random random(seed);
  const Zipf frequency(vocabulary, 1.0);
  const Zipf successor(16, 1.5);
  std::vector<Token> tokens(count);
  Token before = 0;
  for (Token& token : tokens) {
    double uniform = random.uniform();
    if (uniform < follow) {
      std::uint64_t hash = before * 0x9e3779b97f4a7c15U + successor(random.uniform()) * 0xc2b2ae3d27d4eb4fU;
      hash = (hash ^ hash >> 29U) * 0xbf58476d1ce4e5b9U;
      uniform = static_cast<double>(hash >> 11U) * 0x1p-53;
    } else {
      uniform = random.uniform();
    }
    before = token = frequency(uniform);
  }
  return tokens;
}

/// Sessions of `tokens` tokens; each starts with a part of one of `preambles` that others start with, too.
inline std::vector<std::vector<Token>> sessions_with_preambles(std::size_t count, std::size_t tokens,
                                                               std::size_t preambles, std::uint64_t seed) {
  Random random(seed);
  std::vector<std::vector<Token>> heads;
  for (std::size_t i = 0; i < preambles; ++i) heads.push_back(markov_stream(tokens, 32000, 0.9, random.bits()));
  std::vector<std::vector<Token>> sessions(count);
  for (auto& session : sessions) {
    const auto& head = heads[random.bits() % preambles];
    session.assign(head.begin(), head.begin() + static_cast<std::ptrdiff_t>(random.bits() % (tokens + 1)));
    while (session.size() < tokens) session.push_back(static_cast<Token>(random.bits() % 32000));
  }
  return sessions;
}

}  // namespace seqkv::bench
