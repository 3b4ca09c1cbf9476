// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Entropy coding of 64 MiB of quantized Gaussian numbers with an entropy of 2, 3 and 5 bits, in blocks of 4 and 16 KiB
// that decode on their own, on one core: symbol blocks with each kernel of this CPU, beside zstd's Huffman coder,
// htscodecs' rANS, lz4 and Blosc. GB/s (10^9) of uncoded bytes; `ratio` counts every byte, the index of blocks
// included.
#include <benchmark/benchmark.h>
#include <algorithm>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "backends/cpu/kernels.hpp"
#include "backends/kokkos/symbols.hpp"
#include "codec/entropy/tables.hpp"
#include "codec/peers.hpp"
#include "support/gaussian.hpp"
#include "support/value.hpp"

namespace seqkv {
namespace {

using bench::Bytes;
using codec::SymbolBlock;
using codec::SymbolTables;
using codec::TableFamily;

constexpr std::size_t data_bytes = 64U << 20U;
constexpr std::int64_t index_entry = 4;  // the size of a block, which a reader must know

/// The numbers, and one static table made from others of the same distribution.
struct Data {
  Bytes symbols;
  TableFamily trained;
};

const Data& data(int bits) {
  static std::map<int, Data> all;
  auto found = all.find(bits);
  if (found == all.end()) {
    const double sigma = bench::sigma_of_entropy(bits);
    codec::Counts counts{};
    for (std::uint8_t symbol : bench::quantized_gaussian(sigma, data_bytes / 4, 2)) ++counts[symbol];
    Data made{bench::quantized_gaussian(sigma, data_bytes, 1),
              bench::value_of(TableFamily::create({codec::optimal_frequencies(counts)}))};
    found = all.emplace(bits, std::move(made)).first;
  }
  return found->second;
}

/// Tables for any scale, of which each block takes the cheapest.
const TableFamily& family() {
  static const TableFamily made = TableFamily::of_scales(64, 0.25, 16);
  return made;
}

using Kernel = std::function<void(const SymbolTables&, SymbolBlock*, std::int64_t, std::byte*)>;

struct Coder {
  std::string name;
  Kernel encode, decode;
};

std::vector<Coder> coders() {
  std::vector<Coder> all = {{"portable",
                             [](const SymbolTables& tables, SymbolBlock* blocks, std::int64_t count, std::byte*) {
                               for (std::int64_t i = 0; i < count; ++i) kokkos::EncodeSymbols{tables, blocks}(i);
                             },
                             [](const SymbolTables& tables, SymbolBlock* blocks, std::int64_t count, std::byte*) {
                               for (std::int64_t i = 0; i < count; ++i) kokkos::DecodeSymbols{tables, blocks}(i);
                             }}};
  for (const char* name : {"avx2", "avx512"}) {
    if (const cpu::Kernels* kernels = cpu::kernels(name)) {
      all.push_back({std::string(name), kernels->symbols_encode.with_gather, kernels->symbols_decode.with_gather});
      all.push_back({std::string(name) + "-without-gather", kernels->symbols_encode.without_gather,
                     kernels->symbols_decode.without_gather});
    }
  }
  return all;
}

/// Blocks of symbols and the memory behind them.
class Blocks {
 public:
  Blocks(const Bytes& symbols, std::int64_t block, const TableFamily& tables)
      : tables_(tables.view()), symbols_(symbols) {
    for (std::size_t i = 0; i < symbols_.size(); i += static_cast<std::size_t>(block)) {
      blocks_.push_back({&symbols_[i], 1, block, &class_, 0, tables_.tables, nullptr, 0});
    }
    room_ = blocks_.front().most_bytes();
    rooms_.resize(static_cast<std::size_t>(room_ * together));
    memory_.resize(1U << 17U);
  }

  /// The coded bytes, block after block.
  std::int64_t encode(const Kernel& kernel, std::vector<std::byte>* out) {
    std::int64_t bytes = 0;
    for (std::size_t first = 0; first < blocks_.size(); first += together) {
      const std::size_t count = std::min<std::size_t>(together, blocks_.size() - first);
      for (std::size_t i = 0; i < count; ++i)
        blocks_[first + i].coded = rooms_.data() + static_cast<std::int64_t>(i) * room_;
      kernel(tables_, &blocks_[first], static_cast<std::int64_t>(count), aligned());
      for (std::size_t i = first; i < first + count; ++i) {
        bytes += blocks_[i].bytes;
        if (out != nullptr) out->insert(out->end(), blocks_[i].coded, blocks_[i].coded + blocks_[i].bytes);
      }
    }
    return bytes + index_entry * static_cast<std::int64_t>(blocks_.size());
  }

  void decode(const Kernel& kernel, std::vector<std::byte>& coded, Bytes& to) {
    std::byte* at = coded.data();
    std::vector<SymbolBlock> decoding = blocks_;
    for (std::size_t i = 0; i < decoding.size(); ++i) {
      decoding[i].symbols = to.data() + (decoding[i].symbols - symbols_.data());
      decoding[i].coded = at;
      at += decoding[i].bytes;
    }
    for (std::size_t first = 0; first < decoding.size(); first += together) {
      const std::size_t count = std::min<std::size_t>(together, decoding.size() - first);
      kernel(tables_, &decoding[first], static_cast<std::int64_t>(count), aligned());
    }
  }

  const Bytes& symbols() const { return symbols_; }

 private:
  static constexpr std::size_t together = 40;  // a multiple of what every kernel takes at a time
  std::byte* aligned() { return memory_.data() + (64 - reinterpret_cast<std::uintptr_t>(memory_.data()) % 64) % 64; }

  SymbolTables tables_;
  Bytes symbols_;
  std::uint8_t class_ = 0;
  std::int64_t room_ = 0;
  std::vector<SymbolBlock> blocks_;
  std::vector<std::byte> rooms_, memory_;
};

void report(benchmark::State& state, std::size_t symbols, double coded) {
  state.counters["GB/s"] =
      benchmark::Counter(static_cast<double>(symbols), benchmark::Counter::kIsIterationInvariantRate);
  state.counters["ratio"] = coded / static_cast<double>(symbols);
}

void encode(benchmark::State& state, const Coder& coder, int bits, std::int64_t block, bool choose) {
  Blocks blocks(data(bits).symbols, block, choose ? family() : data(bits).trained);
  std::int64_t bytes = 0;
  for (auto _ : state) bytes = blocks.encode(coder.encode, nullptr);
  report(state, data_bytes, static_cast<double>(bytes));
}

void decode(benchmark::State& state, const Coder& coder, int bits, std::int64_t block, bool choose) {
  Blocks blocks(data(bits).symbols, block, choose ? family() : data(bits).trained);
  std::vector<std::byte> coded;
  const std::int64_t bytes = blocks.encode(coder.encode, &coded);
  Bytes decoded(data_bytes);
  for (auto _ : state) blocks.decode(coder.decode, coded, decoded);
  if (decoded != blocks.symbols()) state.SkipWithError("decoded symbols differ");
  report(state, data_bytes, static_cast<double>(bytes));
}

void encode_peer(benchmark::State& state, bench::Peer& peer, int bits, std::size_t block) {
  const Bytes& symbols = data(bits).symbols;
  Bytes room(peer.bound(block));
  std::size_t bytes = 0;
  for (auto _ : state) {
    bytes = 0;
    for (std::size_t i = 0; i < symbols.size(); i += block)
      bytes += peer.encode({&symbols[i], block}, room) + index_entry;
  }
  report(state, data_bytes, static_cast<double>(bytes));
}

void decode_peer(benchmark::State& state, bench::Peer& peer, int bits, std::size_t block) {
  const Bytes& symbols = data(bits).symbols;
  Bytes room(peer.bound(block));
  Bytes coded;
  std::vector<std::size_t> starts = {0};
  for (std::size_t i = 0; i < symbols.size(); i += block) {
    coded.insert(coded.end(), room.begin(),
                 room.begin() + static_cast<std::ptrdiff_t>(peer.encode({&symbols[i], block}, room)));
    starts.push_back(coded.size());
  }
  Bytes decoded(data_bytes);
  for (auto _ : state) {
    for (std::size_t i = 0; i + 1 < starts.size(); ++i) {
      peer.decode({&coded[starts[i]], starts[i + 1] - starts[i]}, {&decoded[i * block], block});
    }
  }
  if (decoded != symbols) state.SkipWithError("decoded symbols differ");
  report(state, data_bytes, static_cast<double>(coded.size() + index_entry * (starts.size() - 1)));
}

const bool registered = [] {
  const auto add = [](const std::string& name, auto function) {
    benchmark::RegisterBenchmark(name.c_str(), function)->UseRealTime()->Unit(benchmark::kMillisecond);
  };
  for (int bits : {2, 3, 5}) {
    for (std::int64_t block : {4096, 16384}) {
      const std::string tail = "/H" + std::to_string(bits) + "/" + std::to_string(block / 1024) + "KiB";
      for (const Coder& coder : coders()) {
        for (bool choose : {false, true}) {
          const std::string name = coder.name + (choose ? "/family" : "/one-table") + tail;
          add("encode/" + name, [=](benchmark::State& state) { encode(state, coder, bits, block, choose); });
          add("decode/" + name, [=](benchmark::State& state) { decode(state, coder, bits, block, choose); });
        }
      }
    }
    for (bench::Peer* peer : bench::peers()) {
      for (std::size_t block : {std::size_t{16384}, std::size_t{131072}}) {
        const std::string tail =
            peer->name() + "/H" + std::to_string(bits) + "/" + std::to_string(block / 1024) + "KiB";
        add("encode/" + tail, [=](benchmark::State& state) { encode_peer(state, *peer, bits, block); });
        add("decode/" + tail, [=](benchmark::State& state) { decode_peer(state, *peer, bits, block); });
      }
    }
  }
  return true;
}();

}  // namespace
}  // namespace seqkv
