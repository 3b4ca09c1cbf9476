// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// rANS: tables, the scalar coder, the portable kernels on every execution space, and every kernel of this CPU. All
// write the same streams and give the same verdict on any bytes.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <numeric>

#include "support/kernels.hpp"
#include "support/spaces.hpp"
#include "support/streams.hpp"

namespace seqkv {
namespace {

using namespace test;

std::vector<StreamOf> erased(std::vector<StreamOf> streams) {
  for (StreamOf& stream : streams) {
    for (RunOf& run : stream) std::fill(run.symbols.begin(), run.symbols.end(), std::uint8_t{0xee});
  }
  return streams;
}

bool same_symbols(const StreamOf& a, const StreamOf& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const RunOf& x, const RunOf& y) { return x.symbols == y.symbols; });
}

TEST(RansTables, FrequenciesAddUpAndKeepWhatIsPresent) {
  std::mt19937 random(1);
  for (int round = 0; round < 300; ++round) {
    std::array<std::uint32_t, rans::symbols> counts{};
    const unsigned present = 1 + random() % rans::symbols;
    for (unsigned i = 0; i < present; ++i) counts[random() % rans::symbols] = random() >> (random() % 32);
    if (std::accumulate(counts.begin(), counts.end(), std::uint64_t{0}) == 0) counts[random() % rans::symbols] = 1;
    Frequencies frequencies;
    rans::normalize(counts.data(), frequencies.data());
    EXPECT_EQ(std::accumulate(frequencies.begin(), frequencies.end(), 0U), rans::total);
    for (std::size_t s = 0; s < counts.size(); ++s) EXPECT_EQ(frequencies[s] > 0, counts[s] > 0);
  }
}

TEST(RansTables, SlotsAreTheIntervalsOfTheSymbols) {
  const Tables tables = varied_tables();
  for (std::size_t t = 0; t < tables.frequencies.size(); ++t) {
    std::uint32_t slot = 0;
    for (std::uint32_t s = 0; s < rans::symbols; ++s) {
      EXPECT_EQ(tables.codes[t * rans::symbols + s].start, slot);
      for (std::uint32_t k = 0; k < tables.frequencies[t][s]; ++k, ++slot) {
        EXPECT_EQ(tables.slots[t * rans::total + slot], s << 24U | std::uint32_t{tables.frequencies[t][s]} << 12U | k);
      }
    }
    EXPECT_EQ(slot, rans::total);
  }
}

/// The division of the encoder, for every frequency, at states around multiples of it and at random ones.
TEST(RansTables, QuotientsAreExact) {
  std::mt19937 random(2);
  for (std::uint32_t frequency = 1; frequency < rans::total; ++frequency) {
    Frequencies frequencies{};
    frequencies[0] = static_cast<std::uint16_t>(frequency);
    frequencies[1] = static_cast<std::uint16_t>(rans::total - frequency);
    std::array<rans::Code, rans::symbols> codes;
    rans::fill_codes(frequencies.data(), codes.data());
    const std::uint64_t most = std::uint64_t{frequency} << 20U;  // states are below it
    const auto check = [&](std::uint64_t x) {
      if (x >= most) return;
      const auto quotient =
          static_cast<std::uint32_t>(static_cast<float>(static_cast<std::uint32_t>(x)) * codes[0].reciprocal);
      const std::uint64_t exact = x / frequency;
      ASSERT_TRUE(quotient == exact || quotient + 1 == exact) << x << " / " << frequency;
    };
    for (int i = 0; i < 40; ++i) {
      const std::uint64_t multiple = random() % (1U << 20U) * std::uint64_t{frequency};
      for (std::uint64_t x : {multiple, multiple + 1, multiple + frequency - 1}) check(x);
      check(random() % most);
    }
    for (std::uint64_t x : {std::uint64_t{0}, most - 1, most - frequency, most - frequency - 1}) check(x);
  }
}

TEST(RansStreams, AllImplementationsWriteAndReadTheSame) {
  const Tables tables = varied_tables();
  for (std::size_t count : {1U, 2U, 3U, 9U, 10U, 11U, 41U}) {
    const auto streams = varied_streams(tables, count, static_cast<unsigned>(count));
    const auto expected = encode(stream_coders()[0], tables, streams);
    for (const StreamCoder& coder : stream_coders()) {
      EXPECT_EQ(encode(coder, tables, streams), expected) << coder.name << ", " << count << " streams";
      auto decoded = erased(streams);
      const auto whole = decode(coder, tables, expected, decoded);
      for (std::size_t i = 0; i < count; ++i) {
        EXPECT_TRUE(whole[i]) << coder.name << ", stream " << i << " of " << count;
        EXPECT_TRUE(same_symbols(decoded[i], streams[i])) << coder.name << ", stream " << i << " of " << count;
      }
    }
  }
}

/// A stream costs its symbols' information, and about three bytes a state.
TEST(RansStreams, CostWhatTheirTablesSay) {
  const Tables tables = varied_tables();
  std::mt19937 random(3);
  for (std::size_t t = 0; t < tables.frequencies.size(); ++t) {
    const Symbols symbols = tables.draw(static_cast<std::int64_t>(t), 20000, random);
    double bits = 0;
    for (std::uint8_t s : symbols) bits -= std::log2(tables.frequencies[t][s] / 4096.0);
    const auto coded = encode(stream_coders()[0], tables, {{{static_cast<std::int64_t>(t), symbols}}});
    const double overhead = static_cast<double>(coded[0].size()) - bits / 8;
    EXPECT_GT(overhead, 15) << "table " << t;
    EXPECT_LT(overhead, 33 + 0.0002 * bits / 8) << "table " << t;
  }
}

TEST(RansStreams, EveryTruncationAndExtensionIsSeen) {
  const Tables tables = varied_tables();
  std::mt19937 random(4);
  const StreamOf stream = {{0, tables.draw(0, 300, random)}, {1, tables.draw(1, 77, random)}};
  const Bytes whole = encode(stream_coders()[0], tables, {stream})[0];
  std::vector<Bytes> cut;
  for (std::size_t bytes = 0; bytes < whole.size(); ++bytes) {
    cut.emplace_back(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(bytes));
  }
  for (std::size_t more = 1; more < 200; ++more) {
    cut.push_back(whole);
    cut.back().resize(whole.size() + more);
  }
  for (const StreamCoder& coder : stream_coders()) {
    std::vector<StreamOf> out(cut.size(), stream);
    for (bool good : decode(coder, tables, cut, out)) EXPECT_FALSE(good) << coder.name;
  }
}

/// Streams with bytes changed and streams of noise, broken ones among whole ones: where an implementation accepts, the
/// symbols are those of all others.
TEST(RansStreams, TheVerdictOnAnyBytesIsTheSame) {
  const Tables tables = varied_tables();
  std::mt19937 random(5);
  for (unsigned round = 0; round < 30; ++round) {
    const auto streams = varied_streams(tables, 40, 100 + round);
    auto coded = encode(stream_coders()[0], tables, streams);
    for (std::size_t i = 0; i < coded.size(); ++i) {
      if (i % 3 == 0) continue;
      for (unsigned flips = 1 + random() % 3; flips > 0; --flips) {
        coded[i][random() % coded[i].size()] ^= static_cast<std::byte>(1U << random() % 8);
      }
      if (i % 5 == 0) std::generate(coded[i].begin(), coded[i].end(), [&] { return static_cast<std::byte>(random()); });
    }
    auto expected = erased(streams);
    const auto verdict = decode(stream_coders()[0], tables, coded, expected);
    for (const StreamCoder& coder : stream_coders()) {
      auto decoded = erased(streams);
      EXPECT_EQ(decode(coder, tables, coded, decoded), verdict) << coder.name;
      for (std::size_t i = 0; i < coded.size(); ++i) {
        EXPECT_TRUE(!verdict[i] || same_symbols(decoded[i], expected[i])) << coder.name;
      }
    }
  }
}

TEST(RansStreams, StreamsWithoutSymbolsAreStates) {
  const Tables tables = varied_tables();
  const std::vector<StreamOf> streams = {{}, {{0, {}}}, {{0, {}}, {1, {}}}};
  for (const StreamCoder& coder : stream_coders()) {
    for (const Bytes& coded : encode(coder, tables, streams)) {
      ASSERT_EQ(coded.size(), 32U);
      for (std::size_t i = 0; i < 32; ++i) EXPECT_EQ(coded[i], std::byte{i % 4 == 2});  // 65536
    }
  }
}

template <class Space>
class RansKernels : public testing::Test {};
TYPED_TEST_SUITE(RansKernels, test::Spaces);

TYPED_TEST(RansKernels, GiveTheBytesOfTheScalarCoder) {
  const TypeParam space;
  const Tables tables = varied_tables();
  std::mt19937 random(6);
  const std::int64_t count = 5;
  const std::int64_t length = 1500;
  std::vector<StreamOf> streams;
  std::vector<std::uint8_t> symbols;
  for (std::int64_t i = 0; i < count; ++i) {
    streams.push_back({{i, tables.draw(i, length, random)}});
    symbols.insert(symbols.end(), streams.back()[0].symbols.begin(), streams.back()[0].symbols.end());
  }
  const auto expected = encode(stream_coders()[0], tables, streams);
  const std::int64_t room = rans::most_bytes(length);

  const Array<TypeParam, rans::Slot> slots(tables.slots);
  const Array<TypeParam, rans::Code> codes(tables.codes);
  const Array<TypeParam, std::uint8_t> on_device(symbols);
  const Array<TypeParam, std::uint8_t> decoded(std::vector<std::uint8_t>(symbols.size()));
  const Array<TypeParam, std::byte> rooms(Bytes(static_cast<std::size_t>(count * room)));
  std::vector<rans::Run> runs;
  for (std::int64_t i = 0; i < count; ++i) runs.push_back({on_device.data() + i * length, length, i});
  for (std::int64_t i = 0; i < count; ++i) runs.push_back({decoded.data() + i * length, length, i});
  const Array<TypeParam, rans::Run> run_list(runs);
  std::vector<rans::Stream> list;
  for (std::int64_t i = 0; i < count; ++i) list.push_back({run_list.data() + i, 1, rooms.data() + (i + 1) * room, 0});
  const Array<TypeParam, rans::Stream> encoding(list);
  kokkos::encode_streams(space, {codes.data(), nullptr}, encoding.data(), count);
  space.fence("seqkv::test: streams are read");
  list = encoding.read();
  const Bytes all = rooms.read();
  for (std::int64_t i = 0; i < count; ++i) {
    const auto* first = all.data() + (i + 1) * room - list[i].bytes;
    EXPECT_EQ(Bytes(first, first + list[i].bytes), expected[i]);
    list[i].runs = run_list.data() + count + i;
  }
  const Array<TypeParam, rans::Stream> decoding(list);
  kokkos::decode_streams(space, {slots.data(), nullptr}, decoding.data(), count);
  space.fence("seqkv::test: symbols are read");
  for (const rans::Stream& stream : decoding.read()) EXPECT_GE(stream.bytes, 0);
  EXPECT_EQ(decoded.read(), symbols);
}

}  // namespace
}  // namespace seqkv
