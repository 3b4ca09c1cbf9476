// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Walsh-Hadamard transforms of rows in place, in the first-level cache and out of all caches; the peer is a copy of the
// same bytes, which reads and writes as many.
#include <benchmark/benchmark.h>

#include <Kokkos_Core.hpp>
#include <algorithm>
#include <cstring>
#include <vector>

#include "backends/cpu/kernels.hpp"
#include "backends/kokkos/hadamard.hpp"

namespace seqkv {
namespace {

using Buffer = Kokkos::View<float*, Kokkos::HostSpace>;
constexpr std::int64_t cached_bytes = 16 << 10;
constexpr std::int64_t many_bytes = 512 << 20;
using Transform = void(float*, std::int64_t rows, std::int64_t size);

void portable(float* x, std::int64_t rows, std::int64_t size) {
  for (std::int64_t r = 0; r < rows; ++r) kokkos::walsh_hadamard(x + r * size, size);
}

Transform* transform_of(const char* kind) {
  if (std::strcmp(kind, "portable") == 0) return portable;
  const cpu::Kernels* kernels = cpu::kernels(kind);
  return kernels == nullptr ? nullptr : kernels->hadamard_rows;
}

void report(benchmark::State& state, std::int64_t bytes) { state.SetBytesProcessed(state.iterations() * bytes); }

void transform(benchmark::State& state, const char* kind, std::int64_t bytes) {
  Transform* const run = transform_of(kind);
  if (run == nullptr) return state.SkipWithError("not on this machine");
  const std::int64_t size = state.range(0);
  const std::int64_t numbers = bytes / static_cast<std::int64_t>(sizeof(float));
  const Buffer x("seqkv::bench::rows", static_cast<std::size_t>(numbers));  // zeros: they stay finite
  for (auto _ : state) {
    run(x.data(), numbers / size, size);
    benchmark::DoNotOptimize(x.data());
    benchmark::ClobberMemory();
  }
  report(state, bytes);
  using benchmark::Counter;
  state.counters["time_per_row"] =
      Counter(static_cast<double>(numbers / size), Counter::kIsIterationInvariantRate | Counter::kInvert);
}

void copy(benchmark::State& state, std::int64_t bytes) {
  const Buffer from("seqkv::bench::from", static_cast<std::size_t>(bytes) / sizeof(float));
  const Buffer to("seqkv::bench::to", from.size());
  for (auto _ : state) {
    std::memcpy(to.data(), from.data(), static_cast<std::size_t>(bytes));
    benchmark::DoNotOptimize(to.data());
    benchmark::ClobberMemory();
  }
  report(state, bytes);
}

void in_cache(benchmark::State& state, const char* kind) { transform(state, kind, cached_bytes); }
void out_of_cache(benchmark::State& state, const char* kind) { transform(state, kind, many_bytes); }

double least(const std::vector<double>& all) { return *std::min_element(all.begin(), all.end()); }
double greatest(const std::vector<double>& all) { return *std::max_element(all.begin(), all.end()); }

/// Other programs slow some rounds down: besides the median, the best.
void repeat(benchmark::internal::Benchmark* benchmark) {
  benchmark->Repetitions(9)->ReportAggregatesOnly();
  benchmark->ComputeStatistics("min", least)->ComputeStatistics("max", greatest);
}
void sizes(benchmark::internal::Benchmark* benchmark) {
  repeat(benchmark);
  for (int size : {64, 128, 256, 1024}) benchmark->Arg(size);
}

BENCHMARK_CAPTURE(in_cache, avx512, "avx512")->Apply(sizes)->MinTime(0.05);
BENCHMARK_CAPTURE(in_cache, avx2, "avx2")->Apply(sizes)->MinTime(0.05);
BENCHMARK_CAPTURE(in_cache, portable, "portable")->Apply(sizes)->MinTime(0.05);
BENCHMARK_CAPTURE(copy, in_cache, cached_bytes)->Apply(repeat)->MinTime(0.05);
BENCHMARK_CAPTURE(out_of_cache, avx512, "avx512")->Apply(sizes)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(out_of_cache, avx2, "avx2")->Apply(sizes)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(out_of_cache, portable, "portable")->Apply(sizes)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(copy, out_of_cache, many_bytes)->Apply(repeat)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace seqkv
