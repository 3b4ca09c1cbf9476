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

const std::vector<KvFile>& caches() {
  static const std::vector<KvFile> all = [] {
    std::vector<std::filesystem::path> paths;
    for (const auto& entry : std::filesystem::directory_iterator(std::getenv("SEQKV_ENGINE_CACHES"))) {
      if (entry.path().extension() == ".safetensors") paths.push_back(entry.path());
    }
    std::sort(paths.begin(), paths.end());
    std::vector<KvFile> out;
    for (const auto& path : paths) out.push_back(value_of(KvFile::open(path)));
    return out;
  }();
  return all;
}

/// Which engine is assumed, and whether its hidden states are at hand.
struct Way {
  const char* codec;
  bool hidden;
};

/// The blocks of a cache.
std::vector<CodedBlock> encode_cache(ReplayCoder<Space>& coder, const KvFile& file, bool hidden) {
  constexpr std::int64_t block_tokens = 256;
  const KvSource source = source_of(file);
  std::vector<CodedBlock> blocks;
  KvCache buffer;
  for (std::int64_t first = 0; first < std::ssize(source.tokens); first += block_tokens) {
    const std::int64_t count = std::min(block_tokens, std::ssize(source.tokens) - first);
    const auto states = hidden ? value_of(source.hidden(first, count)) : std::vector<std::span<const std::byte>>();
    blocks.push_back(value_of(coder.encode(Space(), source.tokens.subspan(first, count),
                                           value_of(source.read(first, count, buffer)), states)));
  }
  return blocks;
}

ReplayCoder<Space> coder_of(const Way& way) {
  return value_of(
      ReplayCoder<Space>::create(Space(), model(), value_of(Codec::parse(way.codec)), caches()[0].shape().dtype));
}

void encode(benchmark::State& state, const Way& way) {
  double bytes = 0, token_bytes = 0, state_bytes = 0, cache_bytes = 0, components = 0, tokens = 0;
  for (auto _ : state) {
    for (const KvFile& file : caches()) {
      auto coder = coder_of(way);
      encode_cache(coder, file, way.hidden);
      const auto& report = coder.report();
      const double of_states = std::accumulate(report.state_bytes.begin(), report.state_bytes.end(), 0.0);
      bytes += static_cast<double>(report.bytes);
      token_bytes += static_cast<double>(report.token_bytes);
      state_bytes += of_states;
      cache_bytes += std::accumulate(report.cache_bytes.begin(), report.cache_bytes.end(), -of_states);
      tokens += static_cast<double>(report.tokens);
      components += static_cast<double>(report.tokens * file.shape().components_per_token());
    }
  }
  state.counters["bits"] = 8 * bytes / components;
  state.counters["token_bits"] = 8 * token_bytes / components;
  state.counters["state_bits"] = 8 * state_bytes / components;
  state.counters["cache_bits"] = 8 * cache_bytes / components;
  state.counters["tokens_per_s"] = benchmark::Counter(tokens, benchmark::Counter::kIsRate);
}

void decode(benchmark::State& state, const Way& way) {
  double tokens = 0;
  std::vector<std::vector<CodedBlock>> sessions;
  for (const KvFile& file : caches()) {
    auto coder = coder_of(way);
    sessions.push_back(encode_cache(coder, file, way.hidden));
  }
  for (auto _ : state) {
    for (std::size_t i = 0; i < sessions.size(); ++i) {
      auto coder = coder_of(way);
      for (const CodedBlock& bytes : sessions[i]) {
        const std::int64_t first = coder.position();
        const auto block = value_of(coder.decode(Space(), bytes));
        auto ours = value_of(KvCache::create(block.cache.shape, block.cache.tokens));
        auto theirs = value_of(KvCache::create(caches()[i].shape(), block.cache.tokens));
        check(copy(block.cache, ours.view()));
        check(copy(caches()[i].view().slice(first, block.cache.tokens), theirs.view()));
        if (!std::ranges::equal(ours.raw(), theirs.raw())) state.SkipWithError("other bits came back");
      }
      tokens += static_cast<double>(coder.position());
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
    once("encode/eager" + end, encode, {"replay+lossless:engine=eager", hidden});
    once("encode/sdpa" + end, encode, {"replay+lossless:engine=sdpa", hidden});
    once("encode/off" + end, encode, {"replay+lossless:engine=none", hidden});
    once("decode/eager" + end, decode, {"replay+lossless:engine=eager", hidden});
  }
  return true;
}

[[maybe_unused]] const bool added = add();

}  // namespace
}  // namespace seqkv::bench
