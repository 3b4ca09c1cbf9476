// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// linear+ecsq: coding and decoding of the embedded model's cache of documentation with its profile, and of a made-up
// cache and profile of the shape of Llama-3-8B at effort 5. GB/s (10^9) of bf16 components; share of the time by stage.
#include <benchmark/benchmark.h>

#include <Kokkos_Core.hpp>
#include <chrono>
#include <fstream>
#include <numeric>
#include <sstream>

#include "seqkv/codec.hpp"
#include "seqkv/forward.hpp"
#include "support/model.hpp"
#include "support/stages.hpp"
#include "support/wide_profile.hpp"

namespace seqkv {
namespace {

using bench::Space;
using Clock = std::chrono::steady_clock;

struct Data {
  KvCache cache;
  std::vector<Token> ids;
  std::shared_ptr<const Profile> profile;
};

/// The documentation of this project through the embedded model.
const Data& small() {
  static const Data data = [] {
    Data out;
    const std::filesystem::path root = SEQKV_SOURCE;
    std::ostringstream text;
    text << std::ifstream(root / "docs/format.md").rdbuf();
    out.ids = bench::value_of(bench::model()->encode_document(text.str()));
    out.ids.resize(1024);
    const Space space;
    Sequence<Space> sequence(bench::model()->config());
    auto forward = bench::value_of(Forward<Space>::create(space, bench::model()));
    const Forward<Space>::Item item{&sequence, out.ids, 0};
    bench::check(forward.run(space, {&item, 1}));
    out.cache = bench::value_of(KvCache::create(bench::model()->config().kv_shape(DType::bf16), 1024));
    bench::check(sequence.read(space, 0, out.cache.view()));
    out.profile = bench::value_of(Profile::load(root / "models/docs-7m/profile.safetensors"));
    return out;
  }();
  return data;
}

const Data& large() {
  static const Data data = [] {
    Data out;
    const bench::WideModel model(bench::llama3_8b(), {});
    const auto path = std::filesystem::temp_directory_path() / "seqkv-bench-wide-profile.safetensors";
    model.write_profile(path);
    out.profile = bench::value_of(Profile::load(path));
    std::filesystem::remove(path);
    out.cache = model.cache(512);
    out.ids.resize(512);
    std::iota(out.ids.begin(), out.ids.end(), 1000U);
    return out;
  }();
  return data;
}

void report(benchmark::State& state, const Data& data, const std::vector<CodedBlock>& blocks, double seconds) {
  std::size_t bytes = 0;
  for (const CodedBlock& block : blocks) bytes += block.size();
  state.SetBytesProcessed(state.iterations() * data.cache.bytes());
  state.counters["bits_per_component"] =
      8.0 * static_cast<double>(bytes) / static_cast<double>(data.cache.components());
  for (const auto& [stage, some] : bench::Stages::seconds()) state.counters["share:" + stage] = some / seconds;
}

void code(benchmark::State& state, const Data& (*make)(), const char* step, bool decoding) {
  const Data& data = make();
  const Space space;
  const Codec plain = bench::value_of(Codec::parse(std::string("linear+ecsq:step=") + step));
  const Codec codec = bench::value_of(plain.with_profile(data.profile));
  std::vector<CodedBlock> blocks = bench::value_of(encode(space, codec, data.cache.view(), data.ids, 0, 256));
  const std::vector<CodedBlockView> views(blocks.begin(), blocks.end());
  KvCache restored = bench::value_of(KvCache::create(data.cache.shape(), data.cache.tokens()));
  bench::Stages::start();
  const auto start = Clock::now();
  for (auto _ : state) {
    if (decoding) {
      bench::check(decode(space, codec, views, restored.view()));
    } else {
      benchmark::DoNotOptimize(encode(space, codec, data.cache.view(), data.ids, 0, 256));
    }
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  bench::Stages::stop();
  report(state, data, blocks, seconds);
}

const bool registered = [] {
  for (const char* step : {"1", "2"}) {
    for (const bool decoding : {false, true}) {
      for (const auto& [name, make] : {std::pair{"docs-7m", &small}, std::pair{"llama-3-8b-shape", &large}}) {
        const std::string whole = std::string(name) + "/step=" + step + (decoding ? "/decode" : "/encode");
        benchmark::RegisterBenchmark(whole.c_str(),
                                     [=, make = make](benchmark::State& state) { code(state, make, step, decoding); })
            ->UseRealTime()
            ->Unit(benchmark::kMillisecond);
      }
    }
  }
  return true;
}();

}  // namespace
}  // namespace seqkv
