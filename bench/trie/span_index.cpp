// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Spans of sessions of 2,048 tokens in an index of 10^8: of sessions that share nothing with it, of such that are half
// taken from it, at any offset, and of one token.
#include <benchmark/benchmark.h>

#include "seqkv/span_index.hpp"
#include "support/value.hpp"
#include "trie/streams.hpp"

namespace seqkv::bench {
namespace {

constexpr std::size_t stored = 100'000'000;
constexpr std::size_t session = 2048;
constexpr std::size_t sessions = 2000;

/// Sequences of 16,384 tokens.
const std::vector<Token>& text() {
  static const std::vector<Token> tokens = markov_stream(stored, 128'000, 0.95, 1);
  return tokens;
}

const SpanIndex& index() {
  static const SpanIndex all = [] {
    SpanIndex out(42);
    out.reserve(stored);
    for (std::size_t at = 0; at < stored; at += 16'384) {
      value_of(out.add(TokenSpan(text()).subspan(at, std::min<std::size_t>(16'384, stored - at))));
    }
    return out;
  }();
  return all;
}

void find_all(benchmark::State& state, const std::vector<Token>& queries) {
  std::int64_t found = 0;
  const SpanIndex& all = index();
  for (auto _ : state) {
    found = 0;
    for (std::size_t at = 0; at + session <= queries.size(); at += session) {
      for (const SharedSpan& span : all.find(TokenSpan(queries).subspan(at, session))) found += span.count;
    }
  }
  const auto tokens = static_cast<double>(queries.size() / session * session);
  state.counters["tokens_per_s"] = benchmark::Counter(tokens, benchmark::Counter::kIsIterationInvariantRate);
  state.counters["share_found"] = static_cast<double>(found) / tokens;
  state.counters["bytes_per_stored_token"] = static_cast<double>(all.bytes()) / static_cast<double>(stored);
}

void find_fresh(benchmark::State& state) {
  static const std::vector<Token> queries = markov_stream(sessions * session, 128'000, 0.95, 2);
  find_all(state, queries);
}

void find_half(benchmark::State& state) {
  static const std::vector<Token> queries = [] {
    std::vector<Token> out = markov_stream(sessions * session, 128'000, 0.95, 3);
    Random random(4);
    for (std::size_t at = 0; at < out.size(); at += 2 * 512) {
      std::copy_n(text().begin() + static_cast<std::ptrdiff_t>(random.bits() % (stored - 512)), 512,
                  out.begin() + static_cast<std::ptrdiff_t>(at));
    }
    return out;
  }();
  find_all(state, queries);
}

void find_repetition(benchmark::State& state) { find_all(state, std::vector<Token>(sessions * session, 17)); }

BENCHMARK(find_fresh)->Unit(benchmark::kMillisecond);
BENCHMARK(find_half)->Unit(benchmark::kMillisecond);
BENCHMARK(find_repetition)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace seqkv::bench
