// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Checksums and digests against published values: files carry them from machine to machine.
#include "seqkv/hash.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "core/bytes.hpp"

namespace seqkv {
namespace {

constexpr const char* empty_digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
constexpr const char* abc_digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

Digest sha256(std::string_view text) { return Sha256().update(text).finish(); }

// ---- XXH3 -------------------------------------------------------------------------------------------------

/// Bytes 0, 1, 2, ...
std::vector<std::byte> counting(std::size_t count) {
  std::vector<std::byte> bytes(count);
  for (std::size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::byte>(i);
  return bytes;
}

TEST(Xxh3, OfNothing) { EXPECT_EQ(xxh3_64({}), 0x2d06800538d394c2ULL); }

TEST(Xxh3, OfEveryLengthClass) {
  // The algorithm has a path for each of 1-3, 4-8, 9-16, 17-128, 129-240 bytes and for more; values from PyPI
  // xxhash.
  const std::vector<std::pair<std::size_t, std::uint64_t>> golden = {
      {1, 0xc44bdff4074eecdbULL},    {3, 0x5f4299fc161c9cbbULL},      {4, 0x60dab036a58211f2ULL},
      {8, 0x3a1c2d7c85af88f8ULL},    {9, 0xe9612598145bb9dcULL},      {16, 0x8355e3a6f61770dbULL},
      {17, 0x9ef341a99de37328ULL},   {128, 0x85c6174c7ff4c46bULL},    {129, 0xec7642b431ba3e5aULL},
      {240, 0x375a384d957fe865ULL},  {241, 0x02e8cd95421c6d02ULL},    {1024, 0xa870f92984398d22ULL},
      {1025, 0x78c86e91ee939852ULL}, {100000, 0x39cf9d035d60ad58ULL},
  };
  for (const auto& [length, expected] : golden) EXPECT_EQ(xxh3_64(counting(length)), expected) << length;
}

TEST(Xxh3, DoesNotDependOnAlignment) {
  const std::vector<std::byte> bytes = counting(1000);
  std::vector<std::byte> shifted(1001);
  std::copy(bytes.begin(), bytes.end(), shifted.begin() + 1);
  EXPECT_EQ(xxh3_64(std::span(shifted).subspan(1)), xxh3_64(bytes));
}

TEST(Xxh3, SeesEveryBit) {
  std::vector<std::byte> bytes = counting(300);
  const std::uint64_t before = xxh3_64(bytes);
  for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    bytes[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
    EXPECT_NE(xxh3_64(bytes), before) << bit;
    bytes[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
  }
}

// ---- SHA-256 ----------------------------------------------------------------------------------------------

TEST(Sha256, OfPublishedTexts) {
  EXPECT_EQ(sha256("").hex(), empty_digest);
  EXPECT_EQ(sha256("abc").hex(), abc_digest);
  EXPECT_EQ(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq").hex(),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256(std::string(1'000'000, 'a')).hex(),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, InPiecesAsAtOnce) {
  Sha256 pieces;
  pieces.update("a").update("").update("b").update(as_bytes(std::string_view("c")));
  EXPECT_EQ(pieces.finish().hex(), abc_digest);
}

TEST(Sha256, NumbersAreLittleEndian) {
  Sha256 number;
  number.update(std::uint64_t{0x0807060504030201});
  EXPECT_EQ(number.finish(), sha256("\1\2\3\4\5\6\7\10"));
}

TEST(Sha256, MovesWithItsState) {
  Sha256 first;
  first.update("ab");
  Sha256 second = std::move(first);
  Sha256 third;
  third = std::move(second);
  EXPECT_EQ(third.update("c").finish().hex(), abc_digest);
}

// ---- Digest -----------------------------------------------------------------------------------------------

TEST(Digest, ParsesWhatItWrites) {
  Digest digest;
  ASSERT_TRUE(Digest::parse(abc_digest, digest));
  EXPECT_EQ(digest, sha256("abc"));
  EXPECT_EQ(digest.hex(), abc_digest);
}

TEST(Digest, RefusesWhatIsNotSixtyFourLowerCaseDigits) {
  const std::string good = abc_digest;
  std::string bad_digit = good;
  bad_digit[63] = 'g';
  std::string upper = good;
  upper[0] = 'B';
  for (const std::string& text : {std::string(), good.substr(1), good + "0", bad_digit, upper, good.substr(1) + " "}) {
    Digest digest;
    EXPECT_FALSE(Digest::parse(text, digest)) << text;
  }
}

TEST(Digest, ZeroMeansNone) {
  Digest digest;
  EXPECT_TRUE(digest.is_zero());
  digest.bytes[31] = std::byte{1};
  EXPECT_FALSE(digest.is_zero());
}

TEST(Digest, OrdersByItsBytes) {
  Digest low;
  Digest high;
  high.bytes[0] = std::byte{0x80};  // above 0x7f: bytes have no sign
  low.bytes[0] = std::byte{0x7f};
  EXPECT_LT(low, high);
}

}  // namespace
}  // namespace seqkv
