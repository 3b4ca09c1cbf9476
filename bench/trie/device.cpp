// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Tries in the memory of a device, beside the cores of the host in the same run: building windows of 8 tokens, and the
// longest prefixes of as many queries. SEQKV_BENCH_TOKENS: of the text (default 100,000,000).
#include <benchmark/benchmark.h>

#include <Kokkos_Core.hpp>
#include <cstdlib>

#include "seqkv/trie_match.hpp"
#include "support/value.hpp"
#include "trie/streams.hpp"

namespace seqkv::bench {
namespace {

using Device = Kokkos::DefaultExecutionSpace;
using Host = Kokkos::DefaultHostExecutionSpace;

constexpr int depth = 8;
constexpr std::size_t most_lookups = 50'000'000;

std::size_t token_count() {
  const char* given = std::getenv("SEQKV_BENCH_TOKENS");
  return given == nullptr ? 100'000'000 : std::strtoull(given, nullptr, 10);
}
const std::vector<Token>& stream(std::uint64_t seed) {
  static const std::vector<Token> first = markov_stream(token_count(), 32'000, 0.95, 1);
  static const std::vector<Token> second =
      markov_stream(std::min(token_count(), most_lookups + depth), 32'000, 0.95, 2);
  return seed == 1 ? first : second;
}

template <class Space, class T>
Kokkos::View<T*, typename Space::memory_space> to_space(const std::vector<T>& values) {
  Kokkos::View<T*, typename Space::memory_space> there("seqkv::bench::values", values.size());
  Kokkos::deep_copy(there, Kokkos::View<const T*, Kokkos::HostSpace>(values.data(), values.size()));
  return there;
}
/// A text in the memory of a space.
template <class Space>
struct Text {
  Kokkos::View<Token*, typename Space::memory_space> tokens;
  Kokkos::View<std::uint64_t*, typename Space::memory_space> offsets;
  explicit Text(const std::vector<Token>& of)
      : tokens(to_space<Space>(of)), offsets(to_space<Space>(std::vector<std::uint64_t>{0, of.size()})) {}
  TokenBatch<typename Space::memory_space> batch() const { return {tokens, offsets}; }
};

void rate(benchmark::State& state, std::size_t count, const char* what) {
  state.counters[what] = benchmark::Counter(static_cast<double>(count), benchmark::Counter::kIsIterationInvariantRate);
}

template <class Space>
void build(benchmark::State& state) {
  const Text<Space> text(stream(1));
  TrieShape shape;
  for (auto _ : state) shape = value_of(DeviceTrie<Space>::build_windows(Space(), text.batch(), depth)).shape();
  rate(state, text.tokens.size(), "windows_per_s");
  state.counters["nodes"] = static_cast<double>(shape.nodes);
}

/// From tokens on the host to a trie on the host.
void build_and_return(benchmark::State& state) {
  const std::vector<TokenSpan> sequences = {stream(1)};
  for (auto _ : state) benchmark::DoNotOptimize(value_of(build_window_trie(Device(), sequences, depth)));
  rate(state, sequences[0].size(), "windows_per_s");
}

/// Windows at the places of a text, in its order: of the one that the trie has, or of another from the same source.
template <class Space>
void match_windows(benchmark::State& state) {
  const Text<Space> text(stream(1));
  const auto trie = value_of(DeviceTrie<Space>::build_windows(Space(), text.batch(), depth));
  const Text<Space> asked(stream(static_cast<std::uint64_t>(state.range(0))));
  std::vector<TokenRange> ranges(std::min(most_lookups, asked.tokens.size() - depth));
  for (std::size_t i = 0; i < ranges.size(); ++i) ranges[i] = {asked.tokens.data() + i, depth};
  const auto queries = to_space<Space>(ranges);
  const Kokkos::View<TrieCursor*, typename Space::memory_space> places("seqkv::bench::places", ranges.size());
  for (auto _ : state) {
    state.PauseTiming();
    Kokkos::deep_copy(places, TrieCursor());
    Kokkos::fence();
    state.ResumeTiming();
    check(match(Space(), trie, queries, places));
    Kokkos::fence();
  }
  rate(state, ranges.size(), "lookups_per_s");
}

BENCHMARK(build<Device>)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(build_and_return)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(match_windows<Device>)->Unit(benchmark::kMillisecond)->Arg(1)->Arg(2)->UseRealTime();
BENCHMARK(build<Host>)->Unit(benchmark::kMillisecond)->Iterations(1)->UseRealTime();
BENCHMARK(match_windows<Host>)->Unit(benchmark::kMillisecond)->Arg(1)->Arg(2)->Iterations(1)->UseRealTime();

}  // namespace
}  // namespace seqkv::bench
