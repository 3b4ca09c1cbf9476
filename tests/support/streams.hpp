// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Batches of rANS streams for tests: tables, symbols drawn from them, and every implementation that this machine has.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "backends/cpu/kernels.hpp"
#include "backends/kokkos/rans.hpp"

namespace seqkv::test {

namespace rans = codec::rans;

using Frequencies = std::array<std::uint16_t, rans::symbols>;
using Bytes = std::vector<std::byte>;
using Symbols = std::vector<std::uint8_t>;

/// A two-sided geometric distribution around 128 on [first, last], each symbol with at least 1/4096.
inline Frequencies geometric(double decay, int first = 0, int last = rans::symbols - 1) {
  std::array<std::uint32_t, rans::symbols> counts{};
  for (int s = first; s <= last; ++s) {
    counts[static_cast<std::size_t>(s)] = 1 + static_cast<std::uint32_t>(1e6 * std::pow(decay, std::abs(s - 128)));
  }
  Frequencies frequencies;
  rans::normalize(counts.data(), frequencies.data());
  return frequencies;
}

/// Tables in both forms.
struct Tables {
  std::vector<Frequencies> frequencies;
  std::vector<rans::Slot> slots;
  std::vector<rans::Code> codes;
  std::vector<rans::Intervals> intervals;

  explicit Tables(std::vector<Frequencies> all) : frequencies(std::move(all)) {
    slots.resize(frequencies.size() * rans::total);
    codes.resize(frequencies.size() * rans::symbols);
    intervals.resize(frequencies.size());
    for (std::size_t t = 0; t < frequencies.size(); ++t) {
      rans::fill_slots(frequencies[t].data(), &slots[t * rans::total]);
      rans::fill_codes(frequencies[t].data(), &codes[t * rans::symbols]);
      rans::fill_intervals(frequencies[t].data(), intervals[t]);
    }
  }

  /// Symbols with the probabilities of a table.
  Symbols draw(std::int64_t table, std::int64_t count, std::mt19937& random) const {
    Symbols symbols(static_cast<std::size_t>(count));
    const rans::Slot* of_table = &slots[static_cast<std::size_t>(table) * rans::total];
    for (auto& s : symbols) s = static_cast<std::uint8_t>(of_table[random() % rans::total] >> 24U);
    return symbols;
  }
};

/// Flat, skewed, two symbols, few symbols at one end of the alphabet.
inline Tables varied_tables() {
  Frequencies two{};
  two[0] = 1;
  two[255] = 4095;
  Frequencies even{};
  for (auto& f : even) f = 16;
  return Tables({geometric(0.5), geometric(0.9), geometric(0.01), two, even, geometric(0.8, 100, 150),
                 geometric(1.0, 0, 2), geometric(0.98)});
}

/// Runs of a stream as a test keeps them.
struct RunOf {
  std::int64_t table;
  Symbols symbols;
};
using StreamOf = std::vector<RunOf>;

/// Streams of many shapes: runs of 0, 1, 31, 32, 33, ... symbols, long ones, and streams without runs.
inline std::vector<StreamOf> varied_streams(const Tables& tables, std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  constexpr std::int64_t counts[] = {0, 1, 7, 31, 32, 33, 63, 64, 65, 127, 256, 256, 1000, 4096, 5001};
  std::vector<StreamOf> streams(count);
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t r = 0; r < i % 7; ++r) {
      const auto table = static_cast<std::int64_t>(random() % tables.frequencies.size());
      streams[i].push_back({table, tables.draw(table, counts[random() % std::size(counts)], random)});
    }
  }
  return streams;
}

/// One way of coding a batch.
struct StreamCoder {
  std::string name;
  std::function<void(const rans::EncodeTables&, rans::Stream*, std::int64_t)> encode;
  std::function<void(const rans::DecodeTables&, rans::Stream*, std::int64_t)> decode;
};

/// The scalar coder, which the portable kernels run, and those of this machine.
inline std::vector<StreamCoder> stream_coders() {
  std::vector<StreamCoder> all = {{"scalar",
                                   [](const auto& tables, rans::Stream* streams, std::int64_t count) {
                                     const kokkos::EncodeStream encode{tables, streams};
                                     for (std::int64_t i = 0; i < count; ++i) encode(i);
                                   },
                                   [](const auto& tables, rans::Stream* streams, std::int64_t count) {
                                     const kokkos::DecodeStream decode{tables, streams};
                                     for (std::int64_t i = 0; i < count; ++i) decode(i);
                                   }}};
  for (const char* name : {"avx2", "avx512"}) {
    const cpu::Kernels* kernels = cpu::kernels(name);
    if (kernels == nullptr) continue;
    all.push_back({std::string(name) + ", gather", kernels->rans_encode.with_gather, kernels->rans_decode.with_gather});
    all.push_back(
        {std::string(name) + ", no gather", kernels->rans_encode.without_gather, kernels->rans_decode.without_gather});
  }
  return all;
}

inline std::vector<Bytes> encode(const StreamCoder& coder, const Tables& tables, std::vector<StreamOf> streams) {
  std::vector<std::vector<rans::Run>> runs(streams.size());
  std::vector<Bytes> rooms(streams.size());
  std::vector<rans::Stream> batch(streams.size());
  for (std::size_t i = 0; i < streams.size(); ++i) {
    std::int64_t symbols = 0;
    for (RunOf& run : streams[i]) {
      runs[i].push_back({run.symbols.data(), static_cast<std::int64_t>(run.symbols.size()), run.table});
      symbols += runs[i].back().count;
    }
    rooms[i].resize(static_cast<std::size_t>(rans::most_bytes(symbols)));
    batch[i] = {runs[i].data(), static_cast<std::int64_t>(runs[i].size()), rooms[i].data() + rooms[i].size(), 0};
  }
  coder.encode({tables.codes.data(), tables.intervals.data()}, batch.data(), static_cast<std::int64_t>(batch.size()));
  std::vector<Bytes> coded;
  for (const rans::Stream& stream : batch) coded.emplace_back(stream.coded, stream.coded + stream.bytes);
  return coded;
}

/// Whether each of `coded` is a stream; then the symbols of `streams` (whose runs say how many) are replaced. Each
/// stream lies in memory of its own size, so that sanitizers see reads beyond it.
inline std::vector<bool> decode(const StreamCoder& coder, const Tables& tables, const std::vector<Bytes>& coded,
                                std::vector<StreamOf>& streams) {
  std::vector<std::vector<rans::Run>> runs(streams.size());
  std::vector<std::unique_ptr<std::byte[]>> copies(streams.size());
  std::vector<rans::Stream> batch(streams.size());
  for (std::size_t i = 0; i < streams.size(); ++i) {
    for (RunOf& run : streams[i]) {
      runs[i].push_back({run.symbols.data(), static_cast<std::int64_t>(run.symbols.size()), run.table});
    }
    copies[i] = std::make_unique<std::byte[]>(coded[i].size());
    std::copy(coded[i].begin(), coded[i].end(), copies[i].get());
    batch[i] = {runs[i].data(), static_cast<std::int64_t>(runs[i].size()), copies[i].get(),
                static_cast<std::int64_t>(coded[i].size())};
  }
  coder.decode({tables.slots.data(), tables.intervals.data()}, batch.data(), static_cast<std::int64_t>(batch.size()));
  std::vector<bool> whole;
  for (const rans::Stream& stream : batch) whole.push_back(stream.bytes >= 0);
  return whole;
}

}  // namespace seqkv::test
