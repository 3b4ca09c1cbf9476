// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Transforms of 256 rows with their quantizers, on one core: with each kernel of this CPU, beside the same product
// alone and the portable kernel. GB/s (10^9) of fp32 components; GFLOP/s of the products.
#include "codec/transform/transform.hpp"

#include <benchmark/benchmark.h>

#include <Kokkos_Core.hpp>
#include <random>
#include <string>

#include "backends/cpu/launch_transform.hpp"
#include "backends/kokkos/transform.hpp"

namespace seqkv {
namespace {

constexpr std::int64_t rows = 256;
const Kokkos::Serial& space() {
  static const Kokkos::Serial serial;
  return serial;
}

struct Data {
  std::vector<float> in, matrix, out;
  std::vector<codec::Quantizer> quantizers;
  std::vector<std::int16_t> numbers;

  explicit Data(std::int64_t width)
      : in(static_cast<std::size_t>(rows * width)),
        matrix(static_cast<std::size_t>(width * width)),
        out(in.size()),
        quantizers(static_cast<std::size_t>(width), codec::Quantizer::uniform(0.7F)),
        numbers(in.size()) {
    std::mt19937 engine(1);
    std::normal_distribution<float> normal;
    for (float& x : in) x = normal(engine);
    for (float& x : matrix) x = normal(engine) / std::sqrt(static_cast<float>(width));
    for (auto& q : numbers) q = static_cast<std::int16_t>(std::lround(normal(engine)));
  }
  kernels::PackedMatrix packed(std::int64_t width) const { return {matrix.data(), false, width, width}; }
};

void report(benchmark::State& state, std::int64_t width) {
  using benchmark::Counter;
  const auto components = static_cast<double>(rows * width);
  state.counters["GB/s"] = Counter(4 * components, Counter::kIsIterationInvariantRate);
  state.counters["FLOP/s"] = Counter(2 * components * static_cast<double>(width), Counter::kIsIterationInvariantRate);
}

void forward(benchmark::State& state, const cpu::Kernels* kernels, std::int64_t width) {
  Data data(width);
  const codec::ForwardTransform args{
      rows, data.in.data(), width, {data.packed(width)}, data.quantizers.data(), data.numbers.data(), rows};
  for (auto _ : state) {
    kernels != nullptr ? cpu::forward_transform(*kernels, space(), args) : kokkos::forward_transform(space(), args);
    benchmark::ClobberMemory();
  }
  report(state, width);
}

void inverse(benchmark::State& state, const cpu::Kernels* kernels, std::int64_t width) {
  Data data(width);
  const codec::InverseTransform args{
      rows, data.numbers.data(), rows, data.quantizers.data(), {data.packed(width)}, data.out.data(), width};
  for (auto _ : state) {
    kernels != nullptr ? cpu::inverse_transform(*kernels, space(), args) : kokkos::inverse_transform(space(), args);
    benchmark::ClobberMemory();
  }
  report(state, width);
}

void product(benchmark::State& state, const cpu::Kernels* kernels, std::int64_t width) {
  Data data(width);
  const kernels::Gemm args{rows, data.in.data(), width, data.packed(width), data.out.data(), width};
  for (auto _ : state) {
    cpu::gemm(*kernels, space(), args);
    benchmark::ClobberMemory();
  }
  report(state, width);
}

const bool registered = [] {
  const auto add = [](const std::string& name, auto function, const cpu::Kernels* kernels, std::int64_t width) {
    benchmark::RegisterBenchmark(
        (name + "/" + (kernels != nullptr ? kernels->name : "portable") + "/" + std::to_string(width)).c_str(),
        [=](benchmark::State& state) { function(state, kernels, width); })
        ->UseRealTime();
  };
  for (std::int64_t width : {32, 64, 128, 256, 512}) {
    for (const cpu::Kernels* kernels : {cpu::kernels("avx512"), cpu::kernels("avx2")}) {
      if (kernels == nullptr) continue;
      add("forward", forward, kernels, width);
      add("inverse", inverse, kernels, width);
      add("product-alone", product, kernels, width);
    }
  }
  add("forward", forward, nullptr, 64);
  add("inverse", inverse, nullptr, 64);
  return true;
}();

}  // namespace
}  // namespace seqkv
