// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Reading untrusted bytes: no read passes the end, and after the first short one everything is zero.
#include "core/bytes.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace seqkv {
namespace {

std::vector<std::byte> bytes_of(std::initializer_list<int> values) {
  std::vector<std::byte> bytes;
  for (int value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

// ---- ByteReader -------------------------------------------------------------------------------------------

TEST(ByteReader, ReadsLittleEndianNumbersInOrder) {
  const auto bytes = bytes_of({1, 2, 3, 0xff, 0xff, 0xff, 0xff, 0, 0, 0x80, 0x3f});
  ByteReader reader(bytes);
  EXPECT_EQ(reader.get<std::uint8_t>(), 1);
  EXPECT_EQ(reader.get<std::uint16_t>(), 0x0302);
  EXPECT_EQ(reader.get<std::int32_t>(), -1);
  EXPECT_EQ(reader.get<float>(), 1.0F);
  EXPECT_TRUE(reader.ok());
  EXPECT_EQ(reader.remaining(), 0U);
}

TEST(ByteReader, AShortNumberIsZeroAndTakesNothing) {
  const auto bytes = bytes_of({1, 2, 3});
  ByteReader reader(bytes);
  EXPECT_EQ(reader.get<std::uint32_t>(), 0U);
  EXPECT_FALSE(reader.ok());
  EXPECT_EQ(reader.position(), 0U);
}

TEST(ByteReader, AfterAShortReadNothingIsReadAnyMore) {
  const auto bytes = bytes_of({7, 7, 7});
  ByteReader reader(bytes);
  reader.get<std::uint64_t>();
  EXPECT_EQ(reader.get<std::uint8_t>(), 0);
  EXPECT_TRUE(reader.get_bytes(1).empty());
  EXPECT_EQ(reader.get_string(1), "");
  EXPECT_FALSE(reader.skip_padding(8));
  EXPECT_FALSE(reader.ok());
}

TEST(ByteReader, EveryLengthFromEveryPlace) {
  const std::vector<std::byte> bytes(9, std::byte{1});
  for (std::size_t start = 0; start <= bytes.size(); ++start) {
    for (std::size_t count = 0; count <= 12; ++count) {
      ByteReader reader(bytes);
      reader.get_bytes(start);
      const auto got = reader.get_bytes(count);
      const bool fits = start + count <= bytes.size();
      EXPECT_EQ(reader.ok(), fits);
      EXPECT_EQ(got.size(), fits ? count : 0);
      EXPECT_EQ(reader.position(), fits ? start + count : start);
    }
  }
}

TEST(ByteReader, ALengthFromTheWireDoesNotOverflow) {
  const auto bytes = bytes_of({1, 2, 3, 4});
  ByteReader reader(bytes);
  reader.get<std::uint8_t>();
  EXPECT_TRUE(reader.get_bytes(std::numeric_limits<std::size_t>::max()).empty());
  EXPECT_FALSE(reader.ok());
  EXPECT_EQ(reader.remaining(), 3U);
}

TEST(ByteReader, OfNothing) {
  ByteReader reader({});
  EXPECT_TRUE(reader.get_bytes(0).empty());
  EXPECT_TRUE(reader.ok());
  EXPECT_EQ(reader.get<std::uint8_t>(), 0);
  EXPECT_FALSE(reader.ok());
}

TEST(ByteReader, PaddingMustBeZeroAndThere) {
  const auto zeros = bytes_of({1, 0, 0, 0, 2});
  ByteReader good(zeros);
  good.get<std::uint8_t>();
  EXPECT_TRUE(good.skip_padding(4));
  EXPECT_EQ(good.get<std::uint8_t>(), 2);

  const auto dirty = bytes_of({1, 0, 9, 0, 2});
  ByteReader bad(dirty);
  bad.get<std::uint8_t>();
  EXPECT_FALSE(bad.skip_padding(4));

  ByteReader cut(std::span<const std::byte>(zeros).first(2));
  cut.get<std::uint8_t>();
  EXPECT_FALSE(cut.skip_padding(4));
  EXPECT_FALSE(cut.ok());
}

TEST(ByteReader, NoPaddingAtAnAlignedPlace) {
  const auto bytes = bytes_of({1, 2});
  ByteReader reader(bytes);
  EXPECT_TRUE(reader.skip_padding(64));
  EXPECT_EQ(reader.position(), 0U);
}

// ---- ByteWriter -------------------------------------------------------------------------------------------

TEST(ByteWriter, WritesWhatTheReaderReads) {
  ByteWriter writer;
  writer.put(std::uint8_t{5});
  writer.pad_to(8);
  writer.put(std::int64_t{-2});
  writer.put(0.5);
  writer.put(as_bytes(std::string_view("xyz")));
  const std::vector<std::byte> bytes = std::move(writer).take();

  ByteReader reader(bytes);
  EXPECT_EQ(reader.get<std::uint8_t>(), 5);
  EXPECT_TRUE(reader.skip_padding(8));
  EXPECT_EQ(reader.get<std::int64_t>(), -2);
  EXPECT_EQ(reader.get<double>(), 0.5);
  EXPECT_EQ(reader.get_string(3), "xyz");
  EXPECT_EQ(reader.remaining(), 0U);
}

// ---- arithmetic -------------------------------------------------------------------------------------------

TEST(Bytes, RoundingUp) {
  EXPECT_EQ(round_up(0, 8), 0);
  EXPECT_EQ(round_up(1, 8), 8);
  EXPECT_EQ(round_up(8, 8), 8);
  EXPECT_EQ(divide_up(0, 3), 0);
  EXPECT_EQ(divide_up(7, 3), 3);
  EXPECT_EQ(divide_up(9, 3), 3);
}

TEST(Bytes, CheckedMultiplicationKnowsTheLimit) {
  std::int64_t product = 0;
  EXPECT_TRUE(checked_multiply(std::int64_t{1} << 31, std::int64_t{1} << 31, product));
  EXPECT_EQ(product, std::int64_t{1} << 62);
  EXPECT_FALSE(checked_multiply(std::int64_t{1} << 32, std::int64_t{1} << 31, product));
  EXPECT_FALSE(checked_multiply(std::numeric_limits<std::int64_t>::min(), std::int64_t{-1}, product));
}

TEST(Bytes, NumbersAtOddPlaces) {
  std::array<std::byte, 16> memory{};
  for (std::size_t at = 0; at < 8; ++at) {
    store_le(memory.data() + at, std::uint64_t{0x1122334455667788});
    EXPECT_EQ(load_le<std::uint64_t>(memory.data() + at), 0x1122334455667788U);
    EXPECT_EQ(memory[at], std::byte{0x88});
  }
}

}  // namespace
}  // namespace seqkv
