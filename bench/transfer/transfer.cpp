// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// A KV file into a frame and back, durable (fsync included), beside a copy of the file. bytes_per_second counts values.
// SEQKV_FOLDER names the folder to work in (default: where temporary files go), SEQKV_MIB the size of the file (1024).
#include "seqkv/transfer.hpp"

#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <Kokkos_Core.hpp>
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>

#include "transfer/cache_file.hpp"

namespace seqkv {
namespace {

using Space = Kokkos::DefaultExecutionSpace;
using Clock = std::chrono::steady_clock;
namespace fs = std::filesystem;

struct Setting {
  std::string codec;
  int cores;
  bool overlap;
  bool cold;
  std::int64_t memory = 0;
};

const bench::CacheFile& files() {
  static const bench::CacheFile made;
  return made;
}

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// What is to be read is on the disk alone, or in the cache of the system alone.
void prepare(const fs::path& input, bool cold) {
  const int file = ::open(input.c_str(), O_RDONLY);
  ::posix_fadvise(file, 0, 0, cold ? POSIX_FADV_DONTNEED : POSIX_FADV_WILLNEED);
  std::vector<char> part(1 << 20);
  while (!cold && ::read(file, part.data(), part.size()) > 0) {
  }
  ::close(file);
}

/// The peak of resident memory from now on is another one.
void forget_peak() { std::ofstream("/proc/self/clear_refs") << 5; }

double peak_of_memory() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return 1024.0 * std::atof(line.c_str() + 6);
  }
  return 0;
}

TransferOptions options_of(const Setting& setting) {
  TransferOptions options;
  options.cores = setting.cores;
  options.memory = setting.memory;
  options.overlap = setting.overlap;
  return options;
}

/// Times work(), which gives a report, on files that are not there yet.
template <class Work>
void measure(benchmark::State& state, const fs::path& input, const fs::path& output, const Setting& setting,
             const Work& work) {
  TransferReport report;
  double seconds = 0;
  for (auto _ : state) {
    fs::remove(output);
    prepare(input, setting.cold);
    forget_peak();
    const auto start = Clock::now();
    report = work();
    seconds = seconds_since(start);
    state.SetIterationTime(seconds);
  }
  state.SetBytesProcessed(state.iterations() * files().bytes());
  state.counters["read_s"] = report.read_seconds;
  state.counters["code_s"] = report.code_seconds;
  state.counters["write_s"] = report.write_seconds;
  state.counters["commit_s"] = seconds - report.seconds;
  state.counters["blocks"] = report.blocks_under_way;
  state.counters["peak_MB"] = 1e-6 * static_cast<double>(report.peak_bytes);
  state.counters["rss_MB"] = 1e-6 * peak_of_memory();
}

void compress_file(benchmark::State& state, const Setting& setting) {
  const fs::path output = files().folder() / "out.sqkv";
  measure(state, files().kv(), output, setting, [&]() {
    const auto file = bench::value_of(KvFile::open(files().kv()));
    const auto tokens = static_cast<std::int64_t>(file.tokens().size());
    auto writer = bench::value_of(FrameWriter::create(output, {file.shape(), tokens, 256, setting.codec, {}, {}}));
    const auto report = bench::value_of(compress(Space(), source_of(file), writer, options_of(setting)));
    bench::check(writer.commit());
    return report;
  });
}

void decompress_file(benchmark::State& state, const Setting& setting) {
  const fs::path input = files().frame(setting.codec);
  const fs::path output = files().folder() / "back.safetensors";
  measure(state, input, output, setting, [&]() {
    const auto frame = bench::value_of(FrameReader::open(input));
    auto writer =
        bench::value_of(KvFileWriter::create(output, frame.info().shape, frame.info().tokens, frame.info().model));
    const auto report = bench::value_of(decompress(Space(), source_of(frame), sink_of(writer), options_of(setting)));
    bench::check(writer.commit());
    return report;
  });
}

/// As cp and fsync: what the disk and the kernel take of the time.
void copy_file(benchmark::State& state, const Setting& setting) {
  const fs::path output = files().folder() / "copy.safetensors";
  measure(state, files().kv(), output, setting, [&]() {
    const int in = ::open(files().kv().c_str(), O_RDONLY);
    const int out = ::open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    std::vector<char> part(256 << 10);
    for (ssize_t got = 0; (got = ::read(in, part.data(), part.size())) > 0;) {
      if (::write(out, part.data(), static_cast<std::size_t>(got)) != got) std::abort();
    }
    ::fsync(out);
    ::close(in);
    ::close(out);
    return TransferReport{};
  });
  fs::remove(output);
}

/// The best of a few: others may be at work on the machine.
double least(const std::vector<double>& values) { return *std::min_element(values.begin(), values.end()); }

void add(const std::string& name, void (*function)(benchmark::State&, const Setting&), const Setting& setting,
         int repetitions) {
  benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) { function(state, setting); })
      ->UseManualTime()
      ->Iterations(1)
      ->Repetitions(repetitions)
      ->ReportAggregatesOnly()
      ->ComputeStatistics("least", least)
      ->Unit(benchmark::kMillisecond);
}

const bool registered = [] {
  constexpr int repetitions = 5;
  for (bool cold : {false, true}) {
    const std::string cache = cold ? "cold" : "warm";
    add("copy/" + cache, copy_file, {"", 1, false, cold}, repetitions);
    for (const std::string codec : {"none+lossless", "none+turboquant:3"}) {
      const int rounds = codec == "none+lossless" ? repetitions : 2;
      for (int cores : {1, 2}) {
        for (bool overlap : {false, true}) {
          const auto tail = fmt::format("/{}/{}/{}_cores/{}", codec, cache, cores, overlap ? "overlap" : "one_by_one");
          add("compress" + tail, compress_file, {codec, cores, overlap, cold}, rounds);
          add("decompress" + tail, decompress_file, {codec, cores, overlap, cold}, rounds);
        }
      }
    }
  }
  for (std::int64_t mib : {16, 32, 64, 128}) {
    const auto tail = fmt::format("/none+lossless/warm/2_cores/memory_{}M", mib);
    add("compress" + tail, compress_file, {"none+lossless", 2, true, false, mib << 20}, 1);
    add("decompress" + tail, decompress_file, {"none+lossless", 2, true, false, mib << 20}, 1);
  }
  return true;
}();

}  // namespace
}  // namespace seqkv
