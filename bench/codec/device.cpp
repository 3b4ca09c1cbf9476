// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Kernels on data that lies in the memory of the default device, beside a copy of that memory in the same run. GB/s
// (10^9): of uncoded symbols, of bf16 components, and of bytes read and written for `copy_memory` and
// `transform_vectors`. SEQKV_MIB is the size of what is coded (default 1024), SEQKV_TOKENS the length of the cache of
// the shape of Llama 3 8B (default 131072).
#include <benchmark/benchmark.h>

#include <Kokkos_Core.hpp>
#include <Kokkos_Random.hpp>
#include <map>
#include <numeric>

#include "backends/gemm.hpp"
#include "backends/gpu/spread_vector.hpp"
#include "codec/batch.hpp"
#include "codec/entropy/symbol_coder.hpp"
#include "codec/entropy/tables.hpp"
#include "codec/kernel.hpp"
#include "codec/nvcomp.hpp"
#include "codec/wide_batch.hpp"
#include "support/device_memory.hpp"
#include "support/gaussian.hpp"
#include "support/stages.hpp"
#include "support/value.hpp"

namespace seqkv {
namespace {

using bench::Array;
using bench::number_of;
using bench::room;
using bench::Space;

std::int64_t all_bytes() { return number_of("SEQKV_MIB", 1024) << 20; }

void report(benchmark::State& state, std::int64_t bytes) {
  state.counters["GB/s"] =
      benchmark::Counter(static_cast<double>(bytes), benchmark::Counter::kIsIterationInvariantRate);
}

void copy_memory(benchmark::State& state) {
  const std::int64_t bytes = state.range(0) << 10;
  const auto from = room<std::byte>("from", bytes);
  const auto to = room<std::byte>("to", bytes);
  const Space space;
  for (auto _ : state) {
    Kokkos::deep_copy(space, to, from);
    space.fence();
  }
  report(state, 2 * bytes);
}

// ---- symbol blocks ----------------------------------------------------------------------------------------------

// Not private types of the batch: nvcc names them where all can see them.
struct Repeat {
  Array<std::uint8_t> pattern, symbols;
  KOKKOS_FUNCTION void operator()(const std::int64_t i) const {
    symbols.data()[i] = pattern.data()[i % pattern.size()];
  }
};
struct Compare {
  Array<std::uint8_t> pattern, symbols;
  KOKKOS_FUNCTION void operator()(const std::int64_t i, std::int64_t& different) const {
    different += symbols.data()[i] != pattern.data()[i % pattern.size()] ? 1 : 0;
  }
};

/// Blocks of symbols of a known entropy, all with one table: 16 MiB of them, again and again.
class SymbolBatch {
 public:
  SymbolBatch(int bits, std::int64_t block, std::int64_t bytes)
      : blocks_count_(bytes / block), symbols_(room<std::uint8_t>("symbols", bytes)), tables_(make_tables(bits)) {
    const bench::Bytes& some = numbers(bits);
    pattern_ = upload(some.data(), some.size());
    Kokkos::parallel_for("seqkv::bench::repeat", Kokkos::RangePolicy<Space>(0, bytes), Repeat{pattern_, symbols_});
    classes_ = Array<std::uint8_t>("classes", 1);
    codec::SymbolBlock layout{nullptr, 1, block, nullptr, 0, 1, nullptr, 0};
    const std::int64_t place = (layout.most_bytes() + 15) / 16 * 16;
    coded_ = room<std::byte>("coded", place * blocks_count_);
    blocks_.reserve("blocks", blocks_count_);
    for (std::int64_t i = 0; i < blocks_count_; ++i) {
      blocks_[i] = {symbols_.data() + i * block, 1, block, classes_.data(), 0, 1, coded_.data() + i * place, 0};
    }
    encode();
    blocks_.to_host(space_, blocks_count_);
    space_.fence();
    for (std::int64_t i = 0; i < blocks_count_; ++i) coded_bytes_ += blocks_[i].bytes;
  }

  void encode() {
    blocks_.to_device(space_, blocks_count_);
    codec::encode_symbols(space_, tables_->view, blocks_.device(), blocks_count_);
    space_.fence();
  }
  void decode() {
    codec::decode_symbols(space_, tables_->view, blocks_.device(), blocks_count_);
    space_.fence();
  }
  /// What `decode` gives is what `encode` took.
  bool comes_back() {
    Kokkos::deep_copy(symbols_, std::uint8_t{255});
    blocks_.to_device(space_, blocks_count_);
    decode();
    std::int64_t different = 0;
    Kokkos::parallel_reduce("seqkv::bench::compare", Kokkos::RangePolicy<Space>(0, bytes()),
                            Compare{pattern_, symbols_}, different);
    return different == 0;
  }
  std::uint8_t* symbols() const { return symbols_.data(); }
  std::int64_t bytes() const { return static_cast<std::int64_t>(symbols_.size()); }
  double ratio() const {
    constexpr std::int64_t index_entry = 4;
    return static_cast<double>(coded_bytes_ + index_entry * blocks_count_) / static_cast<double>(bytes());
  }

 private:
  /// A family in the memory of the device.
  struct DeviceTables {
    Array<codec::rans::Slot> slots;
    Array<codec::rans::Code> codes;
    Array<codec::rans::Intervals> intervals;
    Array<std::uint32_t> costs;
    Array<std::uint16_t> alphabets;
    codec::SymbolTables view;
  };

  static const bench::Bytes& numbers(int bits) {
    static std::map<int, bench::Bytes> all;
    auto& found = all[bits];
    if (found.empty()) found = bench::quantized_gaussian(bench::sigma_of_entropy(bits), 16U << 20U, 1);
    return found;
  }

  template <class T>
  static Array<T> upload(const T* from, std::size_t count) {
    const Kokkos::View<const T*, Kokkos::HostSpace, Kokkos::MemoryUnmanaged> host(from, count);
    const auto out = room<T>("table", static_cast<std::int64_t>(count));
    Kokkos::deep_copy(out, host);
    return out;
  }

  static std::shared_ptr<DeviceTables> make_tables(int bits) {
    codec::Counts counts{};
    for (std::uint8_t symbol : bench::quantized_gaussian(bench::sigma_of_entropy(bits), 4U << 20U, 2)) ++counts[symbol];
    const auto family = bench::value_of(codec::TableFamily::create({codec::optimal_frequencies(counts)}));
    const codec::SymbolTables host = family.view();
    auto out = std::make_shared<DeviceTables>();
    out->slots = upload(host.slots, codec::rans::total);
    out->codes = upload(host.codes, codec::rans::symbols);
    out->intervals = upload(host.intervals, 1);
    out->costs = upload(host.costs, codec::rans::symbols);
    out->alphabets = upload(host.alphabets, 1);
    out->view = {out->slots.data(), out->codes.data(),     out->intervals.data(),
                 out->costs.data(), out->alphabets.data(), 1};
    return out;
  }

  Space space_;
  std::int64_t blocks_count_;
  Array<std::uint8_t> pattern_;
  Array<std::uint8_t> symbols_;
  Array<std::uint8_t> classes_;
  Array<std::byte> coded_;
  std::shared_ptr<DeviceTables> tables_;
  Mirrored<Space, codec::SymbolBlock> blocks_;
  std::int64_t coded_bytes_ = 0;
};

void code_symbols(benchmark::State& state, bool decoding) {
  const auto bits = static_cast<int>(state.range(0));
  const std::int64_t block = state.range(1) << 10;
  const std::int64_t bytes = std::min(state.range(2) << 10, all_bytes());
  SymbolBatch batch(bits, block, bytes);
  if (!batch.comes_back()) return state.SkipWithError("decoded symbols differ");
  for (auto _ : state) decoding ? batch.decode() : batch.encode();
  report(state, batch.bytes());
  state.counters["ratio"] = batch.ratio();
}

#if defined(SEQKV_HAVE_NVCOMP)
/// The same symbols by nvCOMP, which makes a table for each chunk.
void code_with_nvcomp(benchmark::State& state, bool decoding) {
  const auto bits = static_cast<int>(state.range(0));
  const std::int64_t block = state.range(1) << 10;
  const SymbolBatch symbols(bits, block, std::min(state.range(2) << 10, all_bytes()));
  bench::NvcompBatch batch(symbols.symbols(), symbols.bytes(), block);
  batch.encode();
  for (auto _ : state) decoding ? batch.decode() : batch.encode();
  report(state, symbols.bytes());
  state.counters["ratio"] = static_cast<double>(batch.coded_bytes()) / static_cast<double>(symbols.bytes());
}
#endif

// ---- caches as they are -----------------------------------------------------------------------------------------

/// Sub-blocks of 8 heads, 256 tokens and 128 components of bf16, in the memory of the device.
void code_cache(benchmark::State& state, const char* spec, bool decoding) {
  const Space space;
  const codec::Subblock subblock{8, 256, 128, DType::bf16, true, 0};
  KvShape shape;
  shape.layers = 8;
  shape.kv_heads = 8;
  shape.head_dim = 128;
  const std::int64_t count = all_bytes() / (2 * subblock.values());
  auto owner = bench::value_of(codec::KernelOwner<Space>::create(space, bench::value_of(Codec::parse(spec)), shape));
  owner.set_positions(space, 0, subblock.tokens);
  const auto values = room<std::uint16_t>("values", count * subblock.values());
  const Kokkos::Random_XorShift64_Pool<Space> pool(1);
  Kokkos::parallel_for(
      "seqkv::bench::fill", Kokkos::RangePolicy<Space>(0, static_cast<std::int64_t>(values.size())),
      KOKKOS_LAMBDA(const std::int64_t i) {
        auto random = pool.get_state();
        values(static_cast<std::size_t>(i)) = float_to_bf16(static_cast<float>(random.normal()));
        pool.free_state(random);
      });
  std::visit(
      [&](const auto& kernel) {
        const std::int64_t size = (kernel.size(subblock) + 15) / 16 * 16;
        const auto coded = room<std::byte>("coded", count * size);
        codec::Tasks<Space> tasks;
        tasks.reserve("tasks", count);
        for (std::int64_t i = 0; i < count; ++i) {
          tasks[i] = {subblock,
                      static_cast<std::uint64_t>(i % 16),
                      reinterpret_cast<std::byte*>(values.data() + i * subblock.values()),
                      coded.data() + i * size,
                      size,
                      false};
        }
        tasks.to_device(space, count);
        codec::encode_tasks(space, kernel, subblock, tasks, count);
        tasks.to_host(space, count);
        space.fence();
        std::int64_t bytes = 0;
        for (std::int64_t i = 0; i < count; ++i) bytes += tasks[i].bytes;
        for (auto _ : state) {
          if (decoding) {
            codec::decode_tasks(space, kernel, subblock, tasks, count);
          } else {
            codec::encode_tasks(space, kernel, subblock, tasks, count);
          }
          space.fence();
        }
        state.counters["ratio"] = static_cast<double>(bytes) / static_cast<double>(2 * count * subblock.values());
      },
      owner.kernel());
  report(state, 2 * count * subblock.values());
}

// ---- Walsh-Hadamard transform ------------------------------------------------------------------------------------

/// Vectors of bf16 are transformed where they are, as TurboQuant does it in registers.
struct TransformVectors {
  static constexpr int dim = 128;
  static constexpr int team_threads = 256;
  static constexpr int of_team = team_threads / gpu::group_lanes;
  using Vector = gpu::SpreadVector<dim, 8, gpu::Bf16Pair>;
  Array<std::uint32_t> pairs;

  std::int64_t count() const { return static_cast<std::int64_t>(pairs.size()) / (dim / 2); }
  KOKKOS_FUNCTION void operator()(const Kokkos::TeamPolicy<Space>::member_type& team) const {
    const int lane = team.team_rank() % gpu::group_lanes;
    const std::int64_t number = std::int64_t{team.league_rank()} * of_team + team.team_rank() / gpu::group_lanes;
    std::uint32_t* const at = pairs.data() + number * (dim / 2);
    Vector::Halves halves;
    halves.load(lane, at);
    Vector vector;
    vector.take(halves);
    vector.spread(lane);
    vector.scale(0.088388347648F);
    vector.store(lane, at);
  }
};

void transform_vectors(benchmark::State& state) {
  const Space space;
  const TransformVectors transform{Array<std::uint32_t>("pairs", static_cast<std::size_t>(all_bytes() / 4))};
  Kokkos::Random_XorShift64_Pool<Space> pool(1);
  Kokkos::fill_random(transform.pairs, pool, 0x3f803f80U);
  const Kokkos::TeamPolicy<Space> policy(space, static_cast<int>(transform.count() / TransformVectors::of_team),
                                         TransformVectors::team_threads);
  for (auto _ : state) {
    Kokkos::parallel_for("seqkv::bench::transform_vectors", policy, transform);
    space.fence();
  }
  report(state, 2 * all_bytes());
}

// ---- matrix products --------------------------------------------------------------------------------------------

void multiply(benchmark::State& state) {
  const std::int64_t rows = state.range(0);
  const std::int64_t inputs = state.range(1);
  const std::int64_t outputs = state.range(2);
  const Space space;
  const Array<float> a("a", static_cast<std::size_t>(rows * inputs));
  const Array<float> b("b", static_cast<std::size_t>(kernels::packed_size(outputs, inputs)));
  const Array<float> c("c", static_cast<std::size_t>(rows * ((outputs + 31) / 32 * 32)));
  Kokkos::Random_XorShift64_Pool<Space> pool(1);
  Kokkos::fill_random(a, pool, -1.0F, 1.0F);
  Kokkos::fill_random(b, pool, -1.0F, 1.0F);
  for (auto _ : state) {
    gemm(space, {rows, a.data(), inputs, {b.data(), false, outputs, inputs}, c.data(), (outputs + 31) / 32 * 32});
    space.fence();
  }
  state.counters["TFLOP/s"] = benchmark::Counter(2e-12 * static_cast<double>(rows * inputs * outputs),
                                                 benchmark::Counter::kIsIterationInvariantRate);
}

// ---- linear+ecsq ------------------------------------------------------------------------------------------------

void predict(benchmark::State& state, const char* step, bool decoding) {
  bench::WideBatch batch(step, state.range(0));
  const std::int64_t coded = batch.keep_payloads(decoding);
  for (auto _ : state) decoding ? batch.decode() : batch.encode();
  report(state, batch.all_bytes());
  state.counters["bits_per_component"] = 16.0 * static_cast<double>(coded) / static_cast<double>(batch.all_bytes());
  bench::Stages::start();
  decoding ? batch.decode() : batch.encode();
  bench::Stages::stop();
  for (const auto& [stage, seconds] : bench::Stages::seconds()) state.counters["ms:" + stage] = 1e3 * seconds;
}

BENCHMARK(transform_vectors)->UseRealTime();
BENCHMARK(copy_memory)->ArgName("KiB")->Arg(1024)->Arg(1 << 20)->UseRealTime();

const bool registered = [] {
  for (const bool decoding : {true, false}) {
    const std::string end = decoding ? "/decode" : "/encode";
    benchmark::RegisterBenchmark(("symbols" + end).c_str(),
                                 [=](benchmark::State& state) { code_symbols(state, decoding); })
        ->ArgNames({"bits", "block_KiB", "KiB"})
        ->ArgsProduct({{2, 3, 5}, {16}, {1 << 20}})
        ->ArgsProduct({{3}, {4, 64}, {1 << 20}})
        ->ArgsProduct({{3}, {4}, {64, 1024, 16384}})
        ->UseRealTime();
#if defined(SEQKV_HAVE_NVCOMP)
    benchmark::RegisterBenchmark(("nvcomp-ans" + end).c_str(),
                                 [=](benchmark::State& state) { code_with_nvcomp(state, decoding); })
        ->ArgNames({"bits", "chunk_KiB", "KiB"})
        ->ArgsProduct({{2, 3, 5}, {16, 64, 1024}, {1 << 20}})
        ->ArgsProduct({{3}, {4}, {64, 1024, 16384}})
        ->UseRealTime();
#endif
    for (const char* spec : {"none+lossless", "none+turboquant:3"}) {
      benchmark::RegisterBenchmark((spec + end).c_str(), [=](benchmark::State& state) {
        code_cache(state, spec, decoding);
      })->UseRealTime();
    }
    for (const char* step : {"1", "2"}) {
      benchmark::RegisterBenchmark(("linear+ecsq:" + std::string(step) + "/llama-3-8b-shape" + end).c_str(),
                                   [=](benchmark::State& state) { predict(state, step, decoding); })
          ->ArgName("blocks")
          ->Arg(512)
          ->UseRealTime()
          ->Unit(benchmark::kMillisecond);
    }
  }
  return true;
}();

BENCHMARK(multiply)
    ->ArgNames({"rows", "inputs", "outputs"})
    ->Args({131072, 1024, 1024})
    ->Args({131072, 2048, 256})
    ->Args({2048, 256, 1024})
    ->Args({8192, 4096, 4096})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace seqkv
