// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Symbol blocks: tables made for counts and scales, the choice among them, escapes, packing; every kernel of this
// machine writes the bytes of the portable one and gives the same verdict on any bytes.
#include "codec/entropy/symbols.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <numeric>
#include <random>

#include "backends/cpu/kernels.hpp"
#include "codec/entropy/symbol_coder.hpp"
#include "codec/entropy/tables.hpp"
#include "support/kernels.hpp"
#include "support/result.hpp"
#include "support/spaces.hpp"
#include "support/symbol_blocks.hpp"

namespace seqkv {
namespace {

using codec::Counts;
using codec::Frequencies;
using codec::SymbolBlock;
using codec::SymbolTables;
using codec::TableFamily;
namespace rans = codec::rans;
using test::BlockOf;
using test::Bytes;
using test::draw;
using test::Symbols;
using test::varied_blocks;

// ---- tables -----------------------------------------------------------------------------------------------------

double cost(const Counts& counts, const Frequencies& frequencies) {
  double bits = 0;
  for (std::size_t s = 0; s < 256; ++s) {
    if (frequencies[s] > 0) bits += static_cast<double>(counts[s]) * std::log2(4096.0 / frequencies[s]);
  }
  return bits;
}

Counts geometric_counts(double decay) {
  Counts counts{};
  for (std::size_t s = 0; s < 256; ++s) counts[s] = static_cast<std::uint64_t>(1e9 * std::pow(decay, s));
  return counts;
}

TEST(OptimalFrequencies, NoSlotCouldServeAnotherSymbolBetter) {
  for (double decay : {0.1, 0.5, 0.8, 0.95, 0.999}) {
    const Counts counts = geometric_counts(decay);
    const Frequencies frequencies = codec::optimal_frequencies(counts);
    EXPECT_EQ(std::accumulate(frequencies.begin(), frequencies.end(), 0), 4096);
    std::size_t alphabet = 0;
    while (alphabet < 256 && frequencies[alphabet] > 0) ++alphabet;
    Counts coded{};
    for (std::size_t s = 0; s < 256; ++s) coded[std::min(s, alphabet - 1)] += counts[s];
    const double best = cost(coded, frequencies);
    for (std::size_t from = 0; from < alphabet; ++from) {
      for (std::size_t to = 0; to < alphabet && frequencies[from] > 1; ++to) {
        Frequencies moved = frequencies;
        --moved[from];
        ++moved[to];
        EXPECT_GE(cost(coded, moved), best * (1 - 1e-12)) << decay << ": a slot of " << from << " for " << to;
      }
    }
  }
}

TEST(OptimalFrequencies, RareSymbolsAreEscapedAndNothingIsLeftOut) {
  Counts one{};
  one[0] = 1'000'000;
  EXPECT_EQ(codec::optimal_frequencies(one)[0], 4095);  // symbol 1 is the escape
  EXPECT_EQ(codec::optimal_frequencies(one)[1], 1);
  Counts last{};
  last[255] = 1;
  const Frequencies all = codec::optimal_frequencies(last);
  for (std::size_t s = 0; s < 255; ++s) EXPECT_EQ(all[s], 1);
  EXPECT_EQ(codec::optimal_frequencies({})[0] + codec::optimal_frequencies({})[1], 4096);
}

TEST(TableFamily, RefusesWhatIsNoTable) {
  EXPECT_CODE(TableFamily::create({}), ErrorCode::invalid_argument);
  EXPECT_CODE(TableFamily::create(std::vector<Frequencies>(1025)), ErrorCode::limit_exceeded);
  Frequencies good{};
  good[0] = 4000;
  good[1] = 96;
  EXPECT_OK(TableFamily::create({good}));
  Frequencies sum = good;
  ++sum[1];
  Frequencies hole{};
  hole[0] = 4000;
  hole[2] = 96;
  Frequencies lone{};
  lone[0] = 4096;
  for (const Frequencies& bad : {sum, hole, lone, Frequencies{}}) {
    const Error error = test::error_of(TableFamily::create({good, bad}));
    EXPECT_EQ(error.code, ErrorCode::corrupt);
    EXPECT_NE(error.message.find("table 1"), std::string::npos);
  }
}

/// A coder chooses tables by costs: what they say is what a symbol takes, to the nearest 1/256 bit.
TEST(TableFamily, CostsAreBitsRounded) {
  const TableFamily family = TableFamily::of_scales(8, 0.25, 32);
  const codec::SymbolTables tables = family.view();
  for (int t = 0; t < family.tables(); ++t) {
    const Frequencies& frequencies = family.frequencies(t);
    const auto alphabet = static_cast<std::size_t>(std::ranges::find(frequencies, 0) - frequencies.begin());
    for (std::size_t s = 0; s < frequencies.size(); ++s) {
      const bool is_escaped = alphabet < frequencies.size() && s + 1 >= alphabet;
      const double bits = std::log2(4096.0 / frequencies[std::min(s, alphabet - 1)]) + (is_escaped ? 8 : 0);
      EXPECT_NEAR(tables.costs[static_cast<std::size_t>(t) * frequencies.size() + s], 256 * bits, 0.5 + 1e-9);
    }
  }
}

TEST(TableFamily, TablesOfScalesFitNormalNumbers) {
  const TableFamily family = TableFamily::of_scales(33, 0.25, 32);
  std::mt19937 random(1);
  for (int t : {0, 8, 16, 24, 32}) {
    const double scale = 0.25 * std::pow(128.0, t / 32.0);
    std::normal_distribution<double> normal(0, scale);
    Counts counts{};
    for (int i = 0; i < 200'000; ++i) {
      const auto q = std::clamp(std::lround(normal(random)), -127L, 127L);
      ++counts[static_cast<std::size_t>(q >= 0 ? 2 * q : -2 * q - 1)];
    }
    double entropy = 0;
    for (std::uint64_t c : counts)
      entropy -= c > 0 ? static_cast<double>(c) * std::log2(static_cast<double>(c) / 2e5) : 0;
    double bits = 0;
    for (std::size_t s = 0; s < 256; ++s) {
      bits += static_cast<double>(counts[s]) * family.view().costs[static_cast<std::size_t>(t) * 256 + s] /
              codec::cost_of_bit;
    }
    EXPECT_LT(bits, 1.012 * entropy + 0.006 * 2e5) << "scale " << scale;
  }
}

// ---- blocks -----------------------------------------------------------------------------------------------------

struct Coder {
  std::string name;
  std::function<void(const SymbolTables&, SymbolBlock*, std::int64_t)> encode, decode;
};

std::vector<Coder> coders() {
  std::vector<Coder> all = {{"portable",
                             [](const auto& tables, SymbolBlock* blocks, std::int64_t count) {
                               for (std::int64_t i = 0; i < count; ++i) kokkos::EncodeSymbols{tables, blocks}(i);
                             },
                             [](const auto& tables, SymbolBlock* blocks, std::int64_t count) {
                               for (std::int64_t i = 0; i < count; ++i) kokkos::DecodeSymbols{tables, blocks}(i);
                             }}};
  for (const cpu::Kernels* kernels : test::cpu_kernels()) {
    const auto with_memory = [kernels](auto* code) {
      return [=](const SymbolTables& tables, SymbolBlock* blocks, std::int64_t count) {
        std::int64_t runs = 0;
        for (std::int64_t i = 0; i < count; ++i) runs += blocks[i].runs;
        std::vector<std::byte> memory(static_cast<std::size_t>(kernels->symbols_memory(count, runs)) + 64);
        code(tables, blocks, count, memory.data() + (64 - reinterpret_cast<std::uintptr_t>(memory.data()) % 64) % 64);
      };
    };
    const std::string name = kernels->name;
    all.push_back(
        {name, with_memory(kernels->symbols_encode.with_gather), with_memory(kernels->symbols_decode.with_gather)});
    all.push_back({name + " without gather", with_memory(kernels->symbols_encode.without_gather),
                   with_memory(kernels->symbols_decode.without_gather)});
  }
  return all;
}

void encode(const Coder& coder, const SymbolTables& tables, std::vector<BlockOf>& blocks) {
  std::vector<SymbolBlock> views;
  for (BlockOf& block : blocks) {
    block.coded.assign(static_cast<std::size_t>(block.view().most_bytes()), std::byte{0xcc});
    views.push_back(block.view());
  }
  coder.encode(tables, views.data(), static_cast<std::int64_t>(views.size()));
  for (std::size_t i = 0; i < blocks.size(); ++i) blocks[i].coded.resize(static_cast<std::size_t>(views[i].bytes));
}

/// Replaces the symbols; which blocks were whole.
std::vector<bool> decode(const Coder& coder, const SymbolTables& tables, std::vector<BlockOf>& blocks) {
  std::vector<SymbolBlock> views;
  std::vector<std::unique_ptr<std::byte[]>> copies;  // of their own size, for sanitizers
  for (BlockOf& block : blocks) {
    std::fill(block.symbols.begin(), block.symbols.end(), std::uint8_t{0xee});
    copies.push_back(std::make_unique<std::byte[]>(block.coded.size()));
    std::copy(block.coded.begin(), block.coded.end(), copies.back().get());
    views.push_back(block.view());
    views.back().coded = copies.back().get();
  }
  coder.decode(tables, views.data(), static_cast<std::int64_t>(views.size()));
  std::vector<bool> whole;
  for (const SymbolBlock& view : views) whole.push_back(view.bytes >= 0);
  return whole;
}

TEST(SymbolBlocks, AllImplementationsWriteAndReadTheSame) {
  const TableFamily family = TableFamily::of_scales(64, 0.1, 40);
  for (unsigned seed = 0; seed < 5; ++seed) {
    auto expected = varied_blocks(family, seed);
    const auto original = expected;
    encode(coders()[0], family.view(), expected);
    for (const Coder& coder : coders()) {
      auto blocks = original;
      encode(coder, family.view(), blocks);
      for (std::size_t i = 0; i < blocks.size(); ++i) {
        EXPECT_EQ(blocks[i].coded, expected[i].coded) << coder.name << ", block " << i;
        EXPECT_EQ(blocks[i].symbols, original[i].symbols) << coder.name << ", block " << i;
      }
      const auto whole = decode(coder, family.view(), blocks);
      for (std::size_t i = 0; i < blocks.size(); ++i) {
        EXPECT_TRUE(whole[i]) << coder.name << ", block " << i;
        EXPECT_EQ(blocks[i].symbols, original[i].symbols) << coder.name << ", block " << i;
      }
    }
  }
}

TEST(SymbolBlocks, AreNeverLargerThanPacked) {
  const TableFamily family = TableFamily::of_scales(16, 0.1, 8);
  auto blocks = varied_blocks(family, 9);
  encode(coders()[0], family.view(), blocks);
  for (BlockOf& block : blocks) {
    const auto count = static_cast<std::int64_t>(block.symbols.size());
    const int bits = codec::packed_bits(block.symbols.data(), count);
    EXPECT_LE(static_cast<std::int64_t>(block.coded.size()), 2 + 4 + codec::packed_bytes(bits, count));
    EXPECT_TRUE(bits > 0 || block.coded == (Bytes{std::byte{0}, std::byte{0}}));
  }
}

/// 24 bytes of states, 2 of head, and what the sample and the grid of scales miss.
TEST(SymbolBlocks, TheChoiceComesNearTheEntropy) {
  const TableFamily family = TableFamily::of_scales(64, 0.1, 40);
  std::mt19937 random(3);
  for (double scale : {0.3, 0.7, 1.94, 5.0, 20.0}) {
    std::vector<BlockOf> blocks = {{draw(scale, 16384, 0, random), 1, {0}, 0, family.tables(), {}}};
    encode(coders()[0], family.view(), blocks);
    Counts counts{};
    for (std::uint8_t s : blocks[0].symbols) ++counts[s];
    double entropy = 0;
    for (std::uint64_t c : counts)
      entropy -= c > 0 ? static_cast<double>(c) * std::log2(static_cast<double>(c) / 16384) : 0;
    EXPECT_LT(static_cast<double>(blocks[0].coded.size()), 1.012 * entropy / 8 + 26 + 12) << "scale " << scale;
  }
}

TEST(SymbolBlocks, EveryTruncationIsSeenAndTheVerdictOnAnyBytesIsTheSame) {
  const TableFamily family = TableFamily::of_scales(64, 0.1, 40);
  auto originals = varied_blocks(family, 11);
  encode(coders()[0], family.view(), originals);
  std::mt19937 random(4);
  std::vector<BlockOf> broken;
  for (const BlockOf& block : originals) {
    if (block.symbols.size() > 1000) continue;
    for (std::size_t bytes = 0; bytes < block.coded.size(); bytes += 1 + block.coded.size() / 60) {
      broken.push_back(block);
      broken.back().coded.resize(bytes);
    }
  }
  const std::size_t truncated = broken.size();
  for (int round = 0; round < 20; ++round) {
    for (const BlockOf& block : originals) {
      broken.push_back(block);
      Bytes& coded = broken.back().coded;
      if (round % 4 == 3) coded.push_back(std::byte{1});
      coded[round % 2 == 0 ? random() % std::min<std::size_t>(coded.size(), 8) : random() % coded.size()] ^=
          static_cast<std::byte>(1U << random() % 8);
    }
  }
  auto expected = broken;
  const auto verdict = decode(coders()[0], family.view(), expected);
  for (std::size_t i = 0; i < truncated; ++i) EXPECT_FALSE(verdict[i]) << i;
  for (const Coder& coder : coders()) {
    auto blocks = broken;
    EXPECT_EQ(decode(coder, family.view(), blocks), verdict) << coder.name;
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      EXPECT_TRUE(!verdict[i] || blocks[i].symbols == expected[i].symbols) << coder.name << ", " << i;
    }
  }
}

template <class Space>
class SymbolKernels : public testing::Test {};
TYPED_TEST_SUITE(SymbolKernels, test::Spaces);

TYPED_TEST(SymbolKernels, GiveTheSameBytesOnEverySpace) {
  const TypeParam space;
  const TableFamily family = TableFamily::of_scales(20, 0.2, 20);
  const SymbolTables host = family.view();
  const auto copy = [](const auto* from, std::size_t count) {
    using T = std::remove_cvref_t<decltype(*from)>;
    return test::Array<TypeParam, T>(std::vector<T>(from, from + count));
  };
  const auto slots = copy(host.slots, 20 * rans::total);
  const auto codes = copy(host.codes, 20 * rans::symbols);
  const auto intervals = copy(host.intervals, 20);
  const auto costs = copy(host.costs, 20 * rans::symbols);
  const auto alphabets = copy(host.alphabets, 20);
  const SymbolTables tables{slots.data(), codes.data(), intervals.data(), costs.data(), alphabets.data(), 20};

  std::mt19937 random(5);
  const std::int64_t size = 2000;
  std::vector<BlockOf> expected;
  Symbols symbols;
  for (int i = 0; i < 23; ++i) {
    expected.push_back({draw(0.3 * (i + 1), size, i % 3, random), 1, {0}, 0, 20, {}});
    symbols.insert(symbols.end(), expected.back().symbols.begin(), expected.back().symbols.end());
  }
  const std::int64_t room = expected[0].view().most_bytes();
  encode(coders()[0], host, expected);
  const test::Array<TypeParam, std::uint8_t> on_device(symbols), decoded(Symbols(symbols.size())), classes(Symbols{0});
  const test::Array<TypeParam, std::byte> rooms(Bytes(expected.size() * static_cast<std::size_t>(room)));
  std::vector<SymbolBlock> list;
  for (std::int64_t i = 0; i < 23; ++i) {
    list.push_back({on_device.data() + i * size, 1, size, classes.data(), 0, 20, rooms.data() + i * room, 0});
  }
  const auto run = [&](auto code) {
    if constexpr (is_host_space<TypeParam>) {
      code(list.data());
      space.fence("seqkv::test: blocks are read");
    } else {
      const test::Array<TypeParam, SymbolBlock> blocks(list);
      code(blocks.data());
      space.fence("seqkv::test: blocks are read");
      list = blocks.read();
    }
  };
  run([&](SymbolBlock* blocks) { codec::encode_symbols(space, tables, blocks, 23); });
  const Bytes all = rooms.read();
  for (std::int64_t i = 0; i < 23; ++i) {
    const auto* first = all.data() + i * room;
    EXPECT_EQ(Bytes(first, first + list[i].bytes), expected[i].coded) << i;
    list[i].symbols = decoded.data() + i * size;
  }
  run([&](SymbolBlock* blocks) { codec::decode_symbols(space, tables, blocks, 23); });
  for (const SymbolBlock& block : list) EXPECT_GE(block.bytes, 0);
  EXPECT_EQ(decoded.read(), symbols);
}

}  // namespace
}  // namespace seqkv
