// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Blocks and frames that somebody damaged: an error or the right values, never anything else.
#include <gtest/gtest.h>

#include <Kokkos_Core.hpp>

#include "codec/block.hpp"
#include "core/bytes.hpp"
#include "seqkv/frame.hpp"
#include "seqkv/hash.hpp"
#include "seqkv/limits.hpp"
#include "support/caches.hpp"

namespace seqkv {
namespace {

using test::value_of;
using Space = Kokkos::DefaultExecutionSpace;

struct Sample {
  KvShape shape = test::shape_of(2, 1, 16, DType::bf16);
  KvCache cache = test::random_cache(shape, 40, 1);
  std::vector<Token> ids = test::random_tokens(40, 2);
  std::vector<CodedBlock> blocks;
  std::vector<std::byte> frame;

  explicit Sample(const char* spec) {
    blocks = value_of(encode(Space(), value_of(Codec::parse(spec)), cache.view(), ids, 0, 32));
    frame = value_of(make_frame({shape, 40, 32, spec, Sha256().update("model").finish(), {}}, blocks));
  }
};

Result<KvCache> decode_frame(std::span<const std::byte> bytes) {
  auto frame = FrameReader::parse(bytes, "test");
  if (!frame) return std::move(frame).error();
  if (auto tokens = frame->tokens(); !tokens) return std::move(tokens).error();
  return decode(Space(), *frame);
}

bool is_refusal(ErrorCode code) {
  return code == ErrorCode::corrupt || code == ErrorCode::checksum_mismatch || code == ErrorCode::truncated ||
         code == ErrorCode::unsupported_version || code == ErrorCode::unsupported;
}

class Corruption : public testing::TestWithParam<const char*> {};

TEST_P(Corruption, TheWholeFrameDecodes) { ASSERT_OK(decode_frame(Sample(GetParam()).frame)); }

TEST_P(Corruption, EveryFlippedBitOfAFrameIsNoticed) {
  Sample sample(GetParam());
  for (std::size_t i = 0; i < sample.frame.size(); ++i) {
    const auto bit = std::byte{1} << (i % 8);
    sample.frame[i] ^= bit;
    const auto result = decode_frame(sample.frame);
    sample.frame[i] ^= bit;
    ASSERT_FALSE(result.ok()) << "byte " << i;
    EXPECT_TRUE(is_refusal(result.error().code)) << "byte " << i << ": " << result.error().describe();
  }
}

TEST_P(Corruption, EveryTruncationOfAFrameIsNoticed) {
  const Sample sample(GetParam());
  for (std::size_t size = 0; size < sample.frame.size(); ++size) {
    const auto result = decode_frame(std::span(sample.frame).first(size));
    ASSERT_FALSE(result.ok()) << size;
    EXPECT_TRUE(is_refusal(result.error().code)) << size << ": " << result.error().describe();
  }
}

/// Gives a damaged block a right checksum, as an attacker would.
void reseal(CodedBlock& block) { store_le(block.data(), xxh3_64(std::span<const std::byte>(block).subspan(8))); }

TEST_P(Corruption, AForgedBlockIsRefusedOrHarmless) {
  const Sample sample(GetParam());
  const Codec codec = value_of(Codec::parse(GetParam()));
  KvCache expected = value_of(KvCache::create(sample.shape, 32));
  const CodedBlockView good = sample.blocks[0];
  ASSERT_OK(decode(Space(), codec, {&good, 1}, expected.view()));
  std::mt19937 random(3);
  for (int round = 0; round < 3000; ++round) {
    CodedBlock forged = sample.blocks[0];
    const int changes = 1 + static_cast<int>(random() % 4);
    for (int c = 0; c < changes; ++c) forged[8 + random() % (forged.size() - 8)] = static_cast<std::byte>(random());
    reseal(forged);
    KvCache out = value_of(KvCache::create(sample.shape, 32));
    const CodedBlockView view = forged;
    const auto status = decode(Space(), codec, {&view, 1}, out.view());
    // Tokens and unused bits may be forged; values may not without their own checksum.
    EXPECT_TRUE(!status.ok() || test::same_bytes(out, expected));
  }
}

TEST_P(Corruption, RandomBytesNeverDecode) {
  std::mt19937 random(4);
  const KvShape shape = test::shape_of(2, 1, 16, DType::bf16);
  for (int round = 0; round < 2000; ++round) {
    CodedBlock block(40 + random() % 400);
    for (auto& byte : block) byte = static_cast<std::byte>(random());
    reseal(block);
    EXPECT_FALSE(inspect_block(shape, block).ok());
  }
}

INSTANTIATE_TEST_SUITE_P(Codecs, Corruption, testing::Values("raw", "none+lossless", "none+turboquant:3"),
                         [](const auto& name) { return "codec" + std::to_string(name.index); });

TEST(Frame, NamesWhatItHolds) {
  const Sample sample("none+turboquant:3");
  const auto frame = value_of(FrameReader::parse(sample.frame, "test"));
  EXPECT_EQ(frame.info().shape, sample.shape);
  EXPECT_EQ(frame.info().codec, "none+turboquant:3");
  EXPECT_EQ(frame.info().tokens, 40);
  EXPECT_EQ(frame.info().model, Sha256().update("model").finish());
  EXPECT_EQ(value_of(frame.tokens()), sample.ids);
}

TEST(Frame, ANewerVersionIsRefusedByNumber) {
  Sample sample("raw");
  store_le<std::uint16_t>(sample.frame.data() + 8, 2);
  const auto frame = FrameReader::parse(sample.frame, "test");
  ASSERT_FALSE(frame.ok());
  EXPECT_EQ(frame.error().code, ErrorCode::unsupported_version);
  EXPECT_NE(frame.error().message.find("version 2"), std::string::npos);
}

TEST(Frame, AShapeThatTheBytesCannotHoldIsRefusedBeforeMemoryIsTaken) {
  // 1,024 heads of 512 for 4,096 tokens a block would be 16 GiB; the blocks are those of one head of 16.
  Sample sample("none+turboquant:3");
  KvShape huge = sample.shape;
  huge.kv_heads = limits::max_kv_heads;
  huge.head_dim = limits::max_head_dim;
  sample.frame = value_of(make_frame({huge, 40, 32, "none+turboquant:3", {}, {}}, sample.blocks));
  const auto frame = value_of(FrameReader::parse(sample.frame, "test"));
  EXPECT_CODE(decode(Space(), frame), ErrorCode::corrupt);
}

TEST(Frame, SubblocksBeyondTheLimitAreRefused) {
  const Sample sample("none+turboquant:3");
  KvShape huge = sample.shape;
  huge.kv_heads = limits::max_kv_heads;
  huge.head_dim = limits::max_head_dim;
  codec::BlockWriter writer;
  writer.start({}, 0, std::vector<Token>(limits::max_block_tokens), {}, 4);
  for (int i = 0; i < 4; ++i) writer.append({});
  const CodedBlock block = writer.finish(0);
  EXPECT_CODE(check_block(huge, block), ErrorCode::corrupt);
}

TEST(Frame, ACodecOfAnotherVersionIsNamed) {
  const Sample sample("none+turboquant:3");
  const auto bytes = value_of(make_frame({sample.shape, 40, 32, "other+quantizer:2", {}, {}}, sample.blocks));
  const auto decoded = decode(Space(), value_of(FrameReader::parse(bytes, "test")));
  ASSERT_FALSE(decoded.ok());
  EXPECT_EQ(decoded.error().code, ErrorCode::unsupported);
  EXPECT_NE(decoded.error().message.find("other+quantizer:2"), std::string::npos);
}

/// With a right checksum: only the rules of the format are broken.
TEST(Block, WhatNoEncoderWritesIsRefused) {
  const KvShape shape = test::shape_of(2, 1, 16, DType::bf16);
  const std::vector<Token> ids = {1, 2, 3};  // of two bits: six of a byte
  const KvCache cache = test::random_cache(shape, 3, 1);
  const auto blocks = value_of(encode(Space(), value_of(Codec::parse("raw")), cache.view(), ids, 0, 32));
  constexpr std::size_t table = 40;
  constexpr std::size_t tokens = table + 4 * sizeof(std::uint32_t);
  ASSERT_EQ(std::to_integer<int>(blocks[0][tokens]), 1 | 2 << 2 | 3 << 4);
  const auto code = [&](CodedBlock block) {
    reseal(block);
    const auto parts = codec::parse_block(shape, block);
    return parts.ok() ? ErrorCode::internal : parts.error().code;
  };
  EXPECT_EQ(code(blocks[0]), ErrorCode::internal);  // nothing is wrong with it
  for (const std::size_t at : {tokens, tokens + 1, tokens + 7}) {
    CodedBlock unused = blocks[0];
    unused[at] |= std::byte{0x80};
    EXPECT_EQ(code(unused), ErrorCode::corrupt) << at;
  }
  // Coded values that take as much as the raw ones.
  CodedBlock large = blocks[0];
  store_le(large.data() + table, load_le<std::uint32_t>(large.data() + table) & ~(1U << 31U));
  EXPECT_EQ(code(large), ErrorCode::corrupt);
}

TEST(Frame, BlocksNotAtTheirPlaceAreRefused) {
  const KvShape shape = test::shape_of(2, 1, 16, DType::bf16);
  const KvCache cache = test::random_cache(shape, 64, 1);
  auto blocks =
      value_of(encode(Space(), value_of(Codec::parse("raw")), cache.view(), test::random_tokens(64, 2), 0, 32));
  std::swap(blocks[0], blocks[1]);
  const auto bytes = value_of(make_frame({shape, 64, 32, "raw", {}, {}}, blocks));
  const auto frame = value_of(FrameReader::parse(bytes, "test"));
  const auto status = frame.inspect({});
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, ErrorCode::corrupt);
  EXPECT_EQ(status.error().block, 0);
}

TEST(Frame, BlocksOfAnotherOrderAreRefused) {
  const Sample sample("raw");
  const auto codec = value_of(Codec::parse("raw"));
  KvCache out = value_of(KvCache::create(sample.shape, 40));
  const std::vector<CodedBlockView> swapped = {sample.blocks[1], sample.blocks[0]};
  EXPECT_CODE(decode(Space(), codec, swapped, out.view()), ErrorCode::corrupt);
}

}  // namespace
}  // namespace seqkv
