// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Building tries: windows beside a map of children and a hash map of prefixes, as one writes them first; sessions of
// growing numbers. Counters: windows or tokens a second, bytes a node, peak bytes a window.
#include <benchmark/benchmark.h>
#include <sys/resource.h>

#include <Kokkos_Core.hpp>
#include <cstdio>
#include <deque>
#include <fstream>
#include <map>
#include <string>
#include <unordered_map>

#include "seqkv/trie.hpp"
#include "support/value.hpp"
#include "trie/streams.hpp"
#include "trie/windows.hpp"

namespace seqkv::bench {
namespace {

using Space = Kokkos::DefaultExecutionSpace;

constexpr std::size_t windows = 4'000'000;
constexpr int depth = 8;
constexpr Token vocabulary = 32'000;

const std::vector<Token>& stream() {
  static const std::vector<Token> tokens = markov_stream(windows, vocabulary, 0.95, 1);
  return tokens;
}

/// Resident memory at its highest since the last reset, in bytes (Linux).
double peak_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return 1024 * std::stod(line.substr(6));
  }
  return 0;
}
double resident_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) return 1024 * std::stod(line.substr(6));
  }
  return 0;
}
void reset_peak() { std::ofstream("/proc/self/clear_refs") << '5'; }

void report(benchmark::State& state, double items, const char* what) {
  state.counters[what] = benchmark::Counter(items, benchmark::Counter::kIsIterationInvariantRate);
}

void build_windows(benchmark::State& state) {
  const std::vector<TokenSpan> sequences = {stream()};
  TrieShape shape;
  std::size_t bytes = 0;
  reset_peak();
  const double before = resident_bytes();
  for (auto _ : state) {
    const Trie trie = value_of(build_window_trie(Space(), sequences, depth));
    shape = trie.shape();
    bytes = trie.image().size();
  }
  report(state, windows, "windows_per_s");
  state.counters["nodes"] = static_cast<double>(shape.nodes);
  state.counters["tokens_of_edges_per_window"] =
      static_cast<double>(shape.nodes + shape.label_tokens) / static_cast<double>(windows);
  state.counters["bytes_per_node"] = static_cast<double>(bytes) / static_cast<double>(shape.nodes);
  state.counters["peak_bytes_per_window"] = (peak_bytes() - before) / static_cast<double>(windows);
}

/// By the portable kernels alone.
void build_windows_portable(benchmark::State& state) {
  const std::vector<TokenSpan> sequences = {stream()};
  for (auto _ : state) benchmark::DoNotOptimize(value_of(trie::build_window_trie_portable(Space(), sequences, depth)));
  report(state, windows, "windows_per_s");
}

/// A node has a map of its children.
struct MapNode {
  std::map<Token, MapNode*> children;
  std::uint64_t count = 0;
};

void build_windows_map(benchmark::State& state) {
  const auto& tokens = stream();
  for (auto _ : state) {
    std::deque<MapNode> nodes(1);
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      MapNode* at = &nodes.front();
      ++at->count;
      for (std::size_t d = i; d < std::min(tokens.size(), i + depth); ++d) {
        MapNode*& child = at->children[tokens[d]];
        if (child == nullptr) child = &nodes.emplace_back();
        at = child;
        ++at->count;
      }
    }
    state.counters["nodes"] = static_cast<double>(nodes.size());
  }
  report(state, windows, "windows_per_s");
}

/// Children in one hash map, by parent and token.
struct Step {
  std::uint32_t parent;
  Token token;
  bool operator==(const Step&) const = default;
};
struct StepHash {
  std::size_t operator()(const Step& step) const {
    return (std::uint64_t{step.parent} << 32U | step.token) * 0x9e3779b97f4a7c15U >> 20U;
  }
};

void build_windows_hash(benchmark::State& state) {
  const auto& tokens = stream();
  for (auto _ : state) {
    std::unordered_map<Step, std::uint32_t, StepHash> children;
    std::vector<std::uint64_t> counts(1);
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      std::uint32_t at = 0;
      ++counts[at];
      for (std::size_t d = i; d < std::min(tokens.size(), i + depth); ++d) {
        const auto [entry, fresh] = children.try_emplace({at, tokens[d]}, static_cast<std::uint32_t>(counts.size()));
        if (fresh) counts.push_back(0);
        at = entry->second;
        ++counts[at];
      }
    }
    state.counters["nodes"] = static_cast<double>(counts.size());
  }
  report(state, windows, "windows_per_s");
}

void build_sessions(benchmark::State& state) {
  const auto count = static_cast<std::size_t>(state.range(0));
  constexpr std::size_t tokens = 4096;
  const auto sequences = sessions_with_preambles(count, tokens, 16, 2);
  std::vector<TrieSession> sessions;
  for (std::size_t i = 0; i < count; ++i) sessions.push_back({sequences[i], i, {}});
  std::size_t bytes = 0;
  std::uint64_t stored = 0;
  for (auto _ : state) {
    const Trie trie = value_of(build_session_trie(Space(), sessions));
    bytes = trie.image().size();
    stored = trie.shape().nodes + trie.shape().label_tokens;
  }
  const double all = static_cast<double>(count) * static_cast<double>(tokens);
  report(state, all, "tokens_per_s");
  state.counters["tokens"] = all;
  state.counters["bytes_per_stored_token"] = static_cast<double>(bytes) / static_cast<double>(stored);
}

BENCHMARK(build_windows)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(build_windows_portable)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(build_windows_hash)->Unit(benchmark::kMillisecond)->Iterations(1)->UseRealTime();
BENCHMARK(build_windows_map)->Unit(benchmark::kMillisecond)->Iterations(1)->UseRealTime();
BENCHMARK(build_sessions)->Unit(benchmark::kMillisecond)->Arg(250)->Arg(1'000)->Arg(10'000)->Arg(25'000)->UseRealTime();

}  // namespace
}  // namespace seqkv::bench
