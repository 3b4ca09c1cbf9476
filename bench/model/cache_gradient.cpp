// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Gradients of a cache of 768 tokens by a continuation of 128, and the forward passes over the same tokens. The model
// is SEQKV_MODEL or the embedded one; SEQKV_CPU chooses the kernels, OMP_NUM_THREADS the threads.
#include "seqkv/cache_gradient.hpp"

#include <benchmark/benchmark.h>

#include "support/model.hpp"

namespace seqkv {
namespace {

using bench::model;
using bench::Space;

constexpr std::int64_t context = 768;
constexpr std::int64_t rows = 128;

struct Fixture {
  Space space;
  std::vector<Token> tokens = bench::some_tokens(context + rows);
  Forward<Space> forward = bench::value_of(Forward<Space>::create(space, model()));
  Sequence<Space> sequence{model()->config()};
  Forward<Space>::Output output;

  void run(std::int64_t first, std::int64_t count, std::int64_t logits) {
    const Forward<Space>::Item item{&sequence, TokenSpan(tokens).subspan(first, count), logits};
    bench::check(forward.run(space, {&item, 1}, &output));
  }
};

void forward_all(benchmark::State& state) {
  Fixture fixture;
  for (auto _ : state) {
    fixture.sequence.truncate(0);
    fixture.run(0, context + rows, rows);
  }
}
BENCHMARK(forward_all)->UseRealTime()->Unit(benchmark::kMillisecond);

void forward_continuation(benchmark::State& state) {
  Fixture fixture;
  fixture.run(0, context, 0);
  for (auto _ : state) {
    fixture.run(context, rows, rows);
    fixture.sequence.truncate(context);
  }
}
BENCHMARK(forward_continuation)->UseRealTime()->Unit(benchmark::kMillisecond);

void gradient(benchmark::State& state) {
  Fixture fixture;
  fixture.run(0, context, 0);
  auto by = bench::value_of(CacheGradient<Space>::create(fixture.space, model()));
  KvCache out = bench::value_of(KvCache::create(model()->config().kv_shape(DType::f32), context));
  for (auto _ : state) {
    bench::check(by.run(fixture.space, fixture.sequence, TokenSpan(fixture.tokens).last(rows), 1, out.view()));
  }
}
BENCHMARK(gradient)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace seqkv
