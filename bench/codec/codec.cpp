// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Coding and decoding a bf16 cache of 4,096 tokens, in bytes of the cache per second; the peer is a copy of its memory.
#include "seqkv/codec.hpp"

#include <benchmark/benchmark.h>

#include <Kokkos_Core.hpp>
#include <cstring>
#include <numeric>
#include <random>

#include "support/value.hpp"

namespace seqkv {
namespace {

using Space = Kokkos::DefaultExecutionSpace;
constexpr std::int64_t tokens = 4096;
constexpr const char* specs[] = {"raw", "none+lossless", "none+turboquant:2", "none+turboquant:3", "none+turboquant:4"};

/// Normal values, whose exponents are spread like those of real caches.
const KvCache& cache() {
  static const KvCache filled = [] {
    KvShape shape;
    shape.layers = 8;
    shape.kv_heads = 2;
    shape.head_dim = 64;
    shape.dtype = DType::f32;
    KvCache exact = bench::value_of(KvCache::create(shape, tokens));
    std::mt19937_64 engine(1);
    std::normal_distribution<float> normal;
    const auto count = static_cast<std::size_t>(exact.components());
    auto* values = reinterpret_cast<float*>(exact.view().tensors[0]);
    for (std::size_t i = 0; i < count; ++i) values[i] = normal(engine);
    shape.dtype = DType::bf16;
    KvCache rounded = bench::value_of(KvCache::create(shape, tokens));
    bench::check(copy(exact.view(), rounded.view()));
    return rounded;
  }();
  return filled;
}

std::vector<CodedBlock> coded(const Codec& codec) {
  std::vector<Token> ids(tokens);
  std::iota(ids.begin(), ids.end(), 0U);
  return bench::value_of(encode(Space(), codec, cache().view(), ids, 0, 256));
}

void report(benchmark::State& state, const Codec& codec, const std::vector<CodedBlock>& blocks) {
  std::size_t bytes = 0;
  for (const CodedBlock& block : blocks) bytes += block.size();
  state.SetLabel(codec.spec());
  state.SetBytesProcessed(state.iterations() * cache().bytes());
  state.counters["bits_per_component"] = 8.0 * static_cast<double>(bytes) / static_cast<double>(cache().components());
}

void encode_cache(benchmark::State& state) {
  const Codec codec = bench::value_of(Codec::parse(specs[state.range(0)]));
  std::vector<CodedBlock> blocks;
  for (auto _ : state) blocks = coded(codec);
  report(state, codec, blocks);
}
BENCHMARK(encode_cache)->DenseRange(0, std::size(specs) - 1)->UseRealTime()->Unit(benchmark::kMillisecond);

void decode_cache(benchmark::State& state) {
  const Codec codec = bench::value_of(Codec::parse(specs[state.range(0)]));
  const std::vector<CodedBlock> blocks = coded(codec);
  const std::vector<CodedBlockView> views(blocks.begin(), blocks.end());
  KvCache restored = bench::value_of(KvCache::create(cache().shape(), tokens));
  for (auto _ : state) bench::check(decode(Space(), codec, views, restored.view()));
  report(state, codec, blocks);
}
BENCHMARK(decode_cache)->DenseRange(0, std::size(specs) - 1)->UseRealTime()->Unit(benchmark::kMillisecond);

void copy_cache(benchmark::State& state) {
  std::vector<std::byte> target(cache().raw().size());
  for (auto _ : state) {
    std::memcpy(target.data(), cache().raw().data(), target.size());
    benchmark::DoNotOptimize(target.data());
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * cache().bytes());
}
BENCHMARK(copy_cache)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace seqkv
