// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Longest prefixes: the windows of 8 tokens at 1 M places of a text in a trie of 4 M windows, and whole sessions.
// `found` takes them from the stream the trie was built of, `mixed` from another stream of the same source. The peers:
// a hash map of all prefixes, which does the same; and one probe of an open-addressing table of whole windows, which
// tells no prefix.
#include <benchmark/benchmark.h>

#include <Kokkos_Core.hpp>
#include <unordered_map>

#include "seqkv/trie_match.hpp"
#include "support/value.hpp"
#include "trie/match.hpp"
#include "trie/streams.hpp"

namespace seqkv::bench {
namespace {

using Space = Kokkos::DefaultExecutionSpace;

constexpr std::size_t windows = 4'000'000;
constexpr std::size_t depth = 8;
constexpr std::size_t lookups = 1'000'000;

const std::vector<Token>& stream() {
  static const std::vector<Token> tokens = markov_stream(windows, 32'000, 0.95, 1);
  return tokens;
}

std::vector<TokenSpan> queries_of(const std::vector<Token>& tokens) {
  std::vector<TokenSpan> queries(lookups);
  for (std::size_t i = 0; i < lookups; ++i) queries[i] = TokenSpan(tokens).subspan(i, depth);
  return queries;
}

void report(benchmark::State& state, std::size_t count) {
  state.counters["lookups_per_s"] =
      benchmark::Counter(static_cast<double>(count), benchmark::Counter::kIsIterationInvariantRate);
}

void match_all(benchmark::State& state, const Trie& trie, const std::vector<TokenSpan>& queries,
               decltype(&trie::match_portable<Space>) matcher = &match<Space>) {
  const auto device = value_of(DeviceTrie<Space>::create(Space(), trie));
  std::vector<TrieCursor> places(queries.size());
  std::uint64_t tokens = 0;
  for (auto _ : state) {
    std::ranges::fill(places, TrieCursor());
    check(matcher(Space(), device, queries, places, 1));
  }
  for (const TrieCursor& place : places) tokens += place.depth;
  report(state, queries.size());
  state.counters["tokens_per_s"] =
      benchmark::Counter(static_cast<double>(tokens), benchmark::Counter::kIsIterationInvariantRate);
  state.counters["tokens_matched"] = static_cast<double>(tokens) / static_cast<double>(queries.size());
}

const Trie& window_trie() {
  static const Trie trie = value_of(build_window_trie(Space(), std::vector<TokenSpan>{stream()}, depth));
  return trie;
}

void match_windows_found(benchmark::State& state) { match_all(state, window_trie(), queries_of(stream())); }
void match_windows_portable(benchmark::State& state) {
  match_all(state, window_trie(), queries_of(stream()), &trie::match_portable<Space>);
}
void match_windows_mixed(benchmark::State& state) {
  static const std::vector<Token> other = markov_stream(windows, 32'000, 0.95, 2);
  match_all(state, window_trie(), queries_of(other));
}

/// Each prefix of a window by its hash: as one writes it first.
void match_windows_hash_map(benchmark::State& state) {
  const auto hash = [](std::uint64_t h, Token token) { return (h ^ token) * 0x9e3779b97f4a7c15U; };
  std::unordered_map<std::uint64_t, std::uint32_t> prefixes;
  for (std::size_t i = 0; i + depth <= stream().size(); ++i) {
    std::uint64_t h = 0;
    for (std::size_t d = 0; d < depth; ++d) ++prefixes[h = hash(h, stream()[i + d])];
  }
  const auto queries = queries_of(stream());
  std::uint64_t matched = 0;
  for (auto _ : state) {
    for (const TokenSpan query : queries) {
      std::uint64_t h = 0;
      for (std::size_t d = 0; d < depth && prefixes.contains(h = hash(h, query[d])); ++d) ++matched;
    }
  }
  benchmark::DoNotOptimize(matched);
  report(state, lookups);
}

void match_windows_one_probe(benchmark::State& state) {
  const auto hash = [](const Token* tokens) {
    std::uint64_t h = 0;
    for (std::size_t d = 0; d < depth; ++d) h = (h ^ tokens[d]) * 0x9e3779b97f4a7c15U;
    return h ^ h >> 32U;
  };
  constexpr std::size_t mask = (std::size_t{1} << 23U) - 1;
  std::vector<std::uint64_t> table(mask + 1);
  for (std::size_t i = 0; i + depth <= stream().size(); ++i) {
    const std::uint64_t h = hash(&stream()[i]) | 1U;
    std::size_t at = h >> 8U & mask;
    while (table[at] != 0 && table[at] != h) at = (at + 1) & mask;
    table[at] = h;
  }
  const auto queries = queries_of(stream());
  std::uint64_t found = 0;
  for (auto _ : state) {
    for (const TokenSpan query : queries) {
      const std::uint64_t h = hash(query.data()) | 1U;
      std::size_t at = h >> 8U & mask;
      while (table[at] != 0 && table[at] != h) at = (at + 1) & mask;
      found += table[at] == h ? 1 : 0;
    }
  }
  benchmark::DoNotOptimize(found);
  report(state, lookups);
}

void match_sessions(benchmark::State& state) {
  const auto sequences = sessions_with_preambles(5'000, 4096, 16, 2);
  std::vector<TrieSession> sessions;
  for (std::size_t i = 0; i < sequences.size(); ++i) sessions.push_back({sequences[i], i, {}});
  const Trie trie = value_of(build_session_trie(Space(), sessions));
  match_all(state, trie, {sequences.begin(), sequences.end()});
}

BENCHMARK(match_windows_found)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(match_windows_portable)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(match_windows_mixed)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(match_windows_hash_map)->Unit(benchmark::kMillisecond)->Iterations(1)->UseRealTime();
BENCHMARK(match_windows_one_probe)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(match_sessions)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace seqkv::bench
