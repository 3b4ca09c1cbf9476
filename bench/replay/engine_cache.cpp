// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Caches of another engine by replay: all .safetensors files of the folder SEQKV_ENGINE_CACHES, as
// bench/replay/dump_transformers.py writes them, made by the model SEQKV_MODEL. Counters: bits a component with all
// bytes counted, and what of them is tokens, states and cache; tokens a second.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <numeric>

#include "seqkv/kv_file.hpp"
#include "seqkv/replay.hpp"
#include "support/model.hpp"

namespace seqkv::bench {
namespace {

struct EngineCache {
  KvFile file;
  std::vector<std::span<const std::byte>> hidden;
};

const std::vector<EngineCache>& caches() {
  static const std::vector<EngineCache> all = [] {
    std::vector<std::filesystem::path> paths;
    for (const auto& entry : std::filesystem::directory_iterator(std::getenv("SEQKV_ENGINE_CACHES"))) {
      if (entry.path().extension() == ".safetensors") paths.push_back(entry.path());
    }
    std::sort(paths.begin(), paths.end());
    std::vector<EngineCache> out;
    for (const auto& path : paths) {
      EngineCache cache{value_of(KvFile::open(path)), {}};
      for (std::int64_t layer = 0; layer < model()->config().layers; ++layer) {
        const std::string name = "layers." + std::to_string(layer) + ".hidden";
        cache.hidden.push_back(value_of(cache.file.file().tensor(name)).bytes);
      }
      out.push_back(std::move(cache));
    }
    return out;
  }();
  return all;
}

/// Which engine is assumed, and whether its hidden states are at hand.
struct Way {
  Rounding (*rounding)(DType);
  bool hidden;
};
Rounding off(DType) { return Rounding::none(); }

void encode(benchmark::State& state, const Way& way) {
  ReplayCoder<Space>::Options options;
  options.rounding = way.rounding(caches()[0].file.shape().dtype);
  auto coder = value_of(ReplayCoder<Space>::create(Space(), model(), options));
  double bytes = 0, token_bytes = 0, state_bytes = 0, cache_bytes = 0, components = 0, tokens = 0;
  for (auto _ : state) {
    for (const EngineCache& cache : caches()) {
      ReplayCoder<Space>::Report report;
      const auto hidden = way.hidden ? std::span(cache.hidden) : std::span<const std::span<const std::byte>>();
      const auto stream = value_of(coder.encode(Space(), cache.file.tokens(), cache.file.view(), hidden, &report));
      bytes += static_cast<double>(stream.size());
      token_bytes += static_cast<double>(report.token_bytes);
      state_bytes += std::accumulate(report.state_bytes.begin(), report.state_bytes.end(), 0.0);
      cache_bytes += std::accumulate(report.cache_bytes.begin(), report.cache_bytes.end(), 0.0);
      tokens += static_cast<double>(cache.file.tokens().size());
      components += static_cast<double>(cache.file.view().tokens * cache.file.shape().components_per_token());
    }
  }
  state.counters["bits"] = 8 * bytes / components;
  state.counters["token_bits"] = 8 * token_bytes / components;
  state.counters["state_bits"] = 8 * state_bytes / components;
  state.counters["cache_bits"] = 8 * cache_bytes / components;
  state.counters["tokens_per_s"] = benchmark::Counter(tokens, benchmark::Counter::kIsRate);
}

void decode(benchmark::State& state, const Way& way) {
  ReplayCoder<Space>::Options options;
  options.rounding = way.rounding(caches()[0].file.shape().dtype);
  options.with_tokens = false;
  auto coder = value_of(ReplayCoder<Space>::create(Space(), model(), options));
  double tokens = 0;
  std::vector<std::vector<std::byte>> streams;
  for (const EngineCache& cache : caches()) {
    const auto hidden = way.hidden ? std::span(cache.hidden) : std::span<const std::span<const std::byte>>();
    streams.push_back(value_of(coder.encode(Space(), cache.file.tokens(), cache.file.view(), hidden)));
  }
  for (auto _ : state) {
    for (std::size_t i = 0; i < streams.size(); ++i) {
      const auto session = value_of(coder.decode(Space(), streams[i], caches()[i].file.tokens()));
      auto expected = value_of(KvCache::create(session.cache.shape(), session.cache.tokens()));
      check(copy(caches()[i].file.view(), expected.view()));
      if (!std::ranges::equal(session.cache.raw(), expected.raw())) state.SkipWithError("other bits came back");
      tokens += static_cast<double>(session.tokens.size());
    }
  }
  state.counters["tokens_per_s"] = benchmark::Counter(tokens, benchmark::Counter::kIsRate);
}

bool add() {
  if (std::getenv("SEQKV_ENGINE_CACHES") == nullptr) {
    std::fprintf(stderr, "SEQKV_ENGINE_CACHES is not set: nothing to code\n");
    return false;
  }
  const auto once = [](const std::string& name, auto function, const Way& way) {
    benchmark::RegisterBenchmark(name.c_str(), function, way)
        ->Unit(benchmark::kMillisecond)
        ->Iterations(1)
        ->UseRealTime();
  };
  for (const bool hidden : {true, false}) {
    const std::string end = hidden ? "/states" : "/none";
    once("encode/eager" + end, encode, {Rounding::transformers_eager, hidden});
    once("encode/sdpa" + end, encode, {Rounding::transformers_sdpa, hidden});
    once("encode/off" + end, encode, {off, hidden});
    once("decode/eager" + end, decode, {Rounding::transformers_eager, hidden});
  }
  return true;
}

[[maybe_unused]] const bool added = add();

}  // namespace
}  // namespace seqkv::bench
