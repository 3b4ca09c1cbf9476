// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// The kernels of TurboQuant alone, on sub-blocks of bf16 that do not fit the caches of a core, in bytes of bf16 a
// second; bench/turboquant_numpy.py puts them beside numpy.
#include <benchmark/benchmark.h>

#include <Kokkos_Core.hpp>
#include <algorithm>
#include <cstring>
#include <random>

#include "codec/batch.hpp"
#include "codec/kernel.hpp"
#include "support/value.hpp"

namespace seqkv {
namespace {

using Space = Kokkos::Serial;
constexpr std::int64_t heads = 8;
constexpr std::int64_t tokens = 256;
constexpr std::size_t different = 100'003;  ///< random numbers, then the same again

KvShape shape_of(std::int64_t dim) {
  KvShape shape;
  shape.layers = 8;
  shape.kv_heads = heads;
  shape.head_dim = dim;
  shape.rope.dim = dim;
  return shape;
}

/// Sub-blocks of keys, coded by one implementation; `kind` is as in SEQKV_CPU.
class Batch {
 public:
  Batch(const char* kind, const char* spec, std::int64_t dim, std::int64_t bytes)
      : bytes_(bytes),
        cpu_(cpu::kernels(kind)),
        is_portable_(std::strcmp(kind, "portable") == 0),
        owner_(bench::value_of(
            codec::KernelOwner<Space>::create(space_, bench::value_of(Codec::parse(spec)), shape_of(dim)))),
        subblock_{heads, tokens, dim, DType::bf16, true, 0} {
    owner_.set_positions(space_, 0, tokens);
    values_.resize(static_cast<std::size_t>(count() * subblock_.values()));
    coded_.resize(static_cast<std::size_t>(count() * kernel().size(subblock_)));
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    for (std::size_t i = 0; i < values_.size(); ++i) {
      values_[i] = i < different ? float_to_bf16(normal(random)) : values_[i - different];
    }
    tasks_.reserve("seqkv::bench::tasks", count());
    for (std::int64_t i = 0; i < count(); ++i) {
      auto* values = reinterpret_cast<std::byte*>(&values_[static_cast<std::size_t>(i * subblock_.values())]);
      const std::int64_t size = kernel().size(subblock_);
      tasks_[i] = {subblock_, static_cast<std::uint64_t>(i), values, coded_.data() + i * size, size, false};
    }
  }

  bool runs() const { return is_portable_ || cpu_ != nullptr; }
  std::int64_t bytes() const { return static_cast<std::int64_t>(values_.size() * sizeof(values_[0])); }
  void encode() {
    if (cpu_ != nullptr && cpu::encode(*cpu_, space_, kernel(), subblock_, tasks_.host(), count())) return;
    codec::encode_tasks_portably(space_, kernel(), subblock_, tasks_, count());
  }
  void decode() {
    if (cpu_ != nullptr && cpu::decode(*cpu_, space_, kernel(), subblock_, tasks_.host(), count())) return;
    codec::decode_tasks_portably(space_, kernel(), subblock_, tasks_, count());
  }

 private:
  std::int64_t count() const { return bytes_ / (2 * subblock_.values()); }
  const kokkos::TurboQuant& kernel() const { return std::get<kokkos::TurboQuant>(owner_.kernel()); }

  Space space_;
  std::int64_t bytes_;
  const cpu::Kernels* cpu_;
  bool is_portable_;
  codec::KernelOwner<Space> owner_;
  codec::Subblock subblock_;
  std::vector<std::uint16_t> values_;
  std::vector<std::byte> coded_;
  codec::Tasks<Space> tasks_;
};

void run(benchmark::State& state, const char* kind, const char* spec, void (Batch::*work)()) {
  Batch batch(kind, spec, state.range(0), state.range(1) << 20);
  if (!batch.runs()) return state.SkipWithError("not on this machine");
  batch.encode();
  for (auto _ : state) (batch.*work)();
  state.SetBytesProcessed(state.iterations() * batch.bytes());
}

constexpr const char* kinds[] = {"avx512", "avx2", "portable"};
constexpr const char* specs[] = {"none+turboquant:2", "none+turboquant:3", "none+turboquant:4",
                                 "none+turboquant:3,keys=unrotated"};

/// Other programs slow some rounds down: besides the median, the best.
double greatest(const std::vector<double>& all) { return *std::max_element(all.begin(), all.end()); }

[[maybe_unused]] const bool registered = [] {
  for (const char* kind : kinds) {
    for (const char* spec : specs) {
      for (auto [name, work] : {std::pair("encode/", &Batch::encode), std::pair("decode/", &Batch::decode)}) {
        auto* const one =
            benchmark::RegisterBenchmark((std::string(name) + kind + "/" + (spec + 5)).c_str(),
                                         [=, work = work](benchmark::State& state) { run(state, kind, spec, work); });
        one->ArgNames({"dim", "MiB"})->ArgsProduct({{64, 80, 128}, {1, 64}});
        one->MinTime(0.1)->Repetitions(7)->ReportAggregatesOnly()->ComputeStatistics("max", greatest);
      }
    }
  }
  return true;
}();

}  // namespace
}  // namespace seqkv
