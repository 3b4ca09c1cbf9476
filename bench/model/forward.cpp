// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Prefill: tokens per second through a model, with the logits of the last row. The model is SEQKV_MODEL or the
// embedded one; SEQKV_CPU chooses the kernels, OMP_NUM_THREADS the threads.
#include "seqkv/forward.hpp"

#include <benchmark/benchmark.h>

#include "support/model.hpp"

namespace seqkv {
namespace {

using bench::model;
using bench::some_tokens;
using bench::Space;

void prefill(benchmark::State& state) {
  const Space space;
  const std::vector<Token> tokens = some_tokens(state.range(0));
  auto forward = bench::value_of(Forward<Space>::create(space, model()));
  Sequence<Space> sequence(model()->config());
  bench::check(sequence.reserve(space, state.range(0)));
  Forward<Space>::Output output;
  for (auto _ : state) {
    sequence.truncate(0);
    const Forward<Space>::Item item{&sequence, tokens, 1};
    bench::check(forward.run(space, {&item, 1}, &output));
  }
  state.counters["tokens_per_second"] =
      benchmark::Counter(static_cast<double>(state.range(0)), benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(prefill)->ArgName("tokens")->Arg(512)->Arg(2048)->UseRealTime()->Unit(benchmark::kMillisecond);

/// One token after another, as generation does it.
void decode(benchmark::State& state) {
  const Space space;
  const std::vector<Token> tokens = some_tokens(state.range(0) + 1);
  auto forward = bench::value_of(Forward<Space>::create(space, model()));
  Sequence<Space> sequence(model()->config());
  const Forward<Space>::Item context{&sequence, TokenSpan(tokens).first(tokens.size() - 1), 0};
  bench::check(forward.run(space, {&context, 1}));
  Forward<Space>::Output output;
  for (auto _ : state) {
    const Forward<Space>::Item item{&sequence, TokenSpan(tokens).last(1), 1};
    bench::check(forward.run(space, {&item, 1}, &output));
    sequence.truncate(state.range(0));
  }
  state.counters["tokens_per_second"] = benchmark::Counter(1, benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(decode)->ArgName("context")->Arg(512)->Arg(2048)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace seqkv
