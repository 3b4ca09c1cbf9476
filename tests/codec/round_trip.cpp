// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Every codec on every shape, dtype and block size: what must be exact is, sizes are bounded, bits do not depend on
// how the work was cut or on which execution space ran it.
#include <gtest/gtest.h>
#include <algorithm>

#include "codec/block.hpp"
#include "seqkv/codec.hpp"
#include "seqkv/frame.hpp"
#include "support/caches.hpp"
#include "support/spaces.hpp"

namespace seqkv {
namespace {

using test::value_of;

constexpr const char* all_codecs[] = {"raw",
                                      "none+lossless",
                                      "none+turboquant:1",
                                      "none+turboquant:2",
                                      "none+turboquant:3",
                                      "none+turboquant:4",
                                      "none+turboquant:5",
                                      "none+turboquant:3,keys=unrotated"};

std::vector<CodedBlockView> views(const std::vector<CodedBlock>& blocks) { return {blocks.begin(), blocks.end()}; }

template <class Space>
class RoundTrip : public testing::Test {
 protected:
  Space space;

  std::vector<CodedBlock> encode_all(const char* spec, const KvCache& cache, const std::vector<Token>& tokens,
                                     std::int64_t block) {
    return value_of(encode(space, value_of(Codec::parse(spec)), cache.view(), tokens, 0, block));
  }
  KvCache decode_all(const char* spec, const std::vector<CodedBlock>& blocks, const KvShape& shape,
                     std::int64_t tokens) {
    KvCache out = value_of(KvCache::create(shape, tokens));
    const auto status = decode(space, value_of(Codec::parse(spec)), views(blocks), out.view());
    if (!status) throw std::runtime_error(status.error().describe());
    return out;
  }
};
TYPED_TEST_SUITE(RoundTrip, test::Spaces);

TYPED_TEST(RoundTrip, ExactCodecsKeepEveryBit) {
  for (DType dtype : {DType::bf16, DType::f16, DType::f32}) {
    const KvShape shape = test::shape_of(2, 3, 20, dtype);
    for (std::int64_t tokens : {1, 31, 64, 100}) {
      const auto ids = test::random_tokens(tokens, 1);
      for (const char* spec : {"raw", "none+lossless"}) {
        for (const KvCache& cache : {test::random_cache(shape, tokens, 2), test::random_bits_cache(shape, tokens, 3),
                                     value_of(KvCache::create(shape, tokens))}) {
          const auto blocks = this->encode_all(spec, cache, ids, 32);
          EXPECT_TRUE(test::same_bytes(this->decode_all(spec, blocks, shape, tokens), cache))
              << spec << " " << to_string(dtype) << " " << tokens;
        }
      }
    }
  }
}

/// Exponents that are all the same and planes of zeros cost next to nothing: far below any fixed rate.
TYPED_TEST(RoundTrip, FramesOfValuesThatHoldLittleComeBack) {
  for (DType dtype : {DType::bf16, DType::f16, DType::f32}) {
    const KvShape shape = test::shape_of(2, 2, 64, dtype);
    KvCache zeros = value_of(KvCache::create(shape, 300));
    KvCache rounded = value_of(KvCache::create(shape, 300));
    const KvCache few_bits = test::random_cache(test::shape_of(2, 2, 64, DType::bf16), 300, 7);
    if (dtype != DType::f16) value_of(copy(few_bits.view(), rounded.view()));  // bf16 values in f32
    const auto ids = test::random_tokens(300, 8);
    for (const KvCache* cache : {&zeros, &rounded}) {
      for (const char* spec : {"none+lossless", "raw", "none+turboquant:2"}) {
        const auto codec = value_of(Codec::parse(spec));
        const auto blocks = value_of(encode(this->space, codec, cache->view(), ids, 0, 256));
        const auto frame = value_of(make_frame({shape, 300, 256, codec.spec(), {}, {}}, blocks));
        const auto decoded = decode(this->space, value_of(FrameReader::parse(frame, "test")));
        ASSERT_OK(decoded);
        if (codec.is_exact()) {
          EXPECT_TRUE(test::same_bytes(*decoded, *cache)) << spec << " " << to_string(dtype);
        }
      }
    }
  }
}

TYPED_TEST(RoundTrip, BlocksAreNeverLargerThanRawAndTheirHeader) {
  const KvShape shape = test::shape_of(2, 2, 64, DType::bf16);
  const KvCache cache = test::random_bits_cache(shape, 40, 4);
  const auto ids = test::random_tokens(40, 5);
  const auto raw = this->encode_all("raw", cache, ids, 64);
  for (const char* spec : all_codecs) {
    EXPECT_LE(this->encode_all(spec, cache, ids, 64)[0].size(), raw[0].size()) << spec;
  }
}

TYPED_TEST(RoundTrip, TokensAndPositionsComeBack) {
  const KvShape shape = test::shape_of(1, 1, 16, DType::f16);
  for (Token largest : {Token{0}, Token{1}, Token{4095}, Token{0x7fffffff}}) {
    auto ids = test::random_tokens(50, 6, largest + 1);
    ids[17] = largest;
    const auto blocks = value_of(
        encode(this->space, value_of(Codec::parse("raw")), test::random_cache(shape, 50, 7).view(), ids, 96, 32));
    ASSERT_EQ(blocks.size(), 2U);
    const auto first = value_of(inspect_block(shape, blocks[0]));
    const auto second = value_of(inspect_block(shape, blocks[1]));
    EXPECT_EQ(first.first_position, 96);
    EXPECT_EQ(second.first_position, 128);
    std::vector<Token> all = first.tokens;
    all.insert(all.end(), second.tokens.begin(), second.tokens.end());
    EXPECT_EQ(all, ids);
  }
}

TYPED_TEST(RoundTrip, BitsDoNotDependOnHowTheWorkIsCut) {
  const KvShape shape = test::shape_of(2, 2, 64, DType::bf16);
  const KvCache cache = test::random_cache(shape, 200, 8);
  const auto ids = test::random_tokens(200, 9);
  const auto serial = [&](const char* spec) {
    return value_of(encode(Kokkos::Serial(), value_of(Codec::parse(spec)), cache.view(), ids, 0, 32));
  };
  for (const char* spec : all_codecs) {
    const auto whole = this->encode_all(spec, cache, ids, 32);
    EXPECT_EQ(whole, serial(spec)) << spec;
    std::vector<CodedBlock> pieces;
    for (std::int64_t first = 0; first < 200; first += 64) {
      const std::int64_t count = std::min<std::int64_t>(64, 200 - first);
      for (auto& block : value_of(encode(this->space, value_of(Codec::parse(spec)), cache.view().slice(first, count),
                                         TokenSpan(ids).subspan(first, count), first, 32))) {
        pieces.push_back(std::move(block));
      }
    }
    EXPECT_EQ(whole, pieces) << spec;
    const KvCache out = this->decode_all(spec, whole, shape, 200);
    KvCache alone = value_of(KvCache::create(shape, 32));
    const CodedBlockView third = whole[3];
    ASSERT_OK(decode(this->space, value_of(Codec::parse(spec)), {&third, 1}, alone.view()));
    for (std::size_t t = 0; t < out.view().tensors.size(); ++t) {
      EXPECT_EQ(std::memcmp(alone.view().tensors[t], out.view().tensors[t] + 3 * 32 * 64 * 2, 32 * 64 * 2), 0) << spec;
    }
  }
}

TYPED_TEST(RoundTrip, AnyStridesGiveTheSameBlocks) {
  const KvShape shape = test::shape_of(1, 2, 16, DType::bf16);
  const KvCache cache = test::random_cache(shape, 40, 10);
  const auto ids = test::random_tokens(40, 11);
  // [tokens][heads][dim], as engines with the NHD layout hold it, keys and values interleaved.
  std::vector<std::uint16_t> memory(2 * 40 * 2 * 16);
  KvView nhd{shape, 40, {}, {}, MemorySpace::host};
  nhd.tensors = {reinterpret_cast<std::byte*>(memory.data()), reinterpret_cast<std::byte*>(memory.data() + 16)};
  nhd.strides.fill({32, 64, 1});
  ASSERT_OK(copy(cache.view(), nhd));
  for (const char* spec : {"none+lossless", "none+turboquant:3"}) {
    const auto codec = value_of(Codec::parse(spec));
    EXPECT_EQ(value_of(encode(this->space, codec, nhd, ids, 0, 32)), this->encode_all(spec, cache, ids, 32)) << spec;
    const auto blocks = this->encode_all(spec, cache, ids, 32);
    const auto expected = this->decode_all(spec, blocks, shape, 40);
    ASSERT_OK(decode(this->space, codec, views(blocks), nhd));
    KvCache gathered = value_of(KvCache::create(shape, 40));
    ASSERT_OK(copy(nhd, gathered.view()));
    EXPECT_TRUE(test::same_bytes(gathered, expected)) << spec;
    ASSERT_OK(copy(cache.view(), nhd));
  }
}

TYPED_TEST(RoundTrip, LossyCodecsStoreWhatTheyCannotCodeExactly) {
  const KvShape shape = test::shape_of(2, 1, 32, DType::bf16);
  KvCache cache = test::random_cache(shape, 20, 12);
  // Layer 0 keys: a NaN; layer 1 values: infinity. These sub-blocks come back exactly, the others nearly.
  reinterpret_cast<std::uint16_t*>(cache.view().tensor(0, Kind::key))[7] = 0x7fc1;
  reinterpret_cast<std::uint16_t*>(cache.view().tensor(1, Kind::value))[9] = 0xff80;
  const auto blocks = this->encode_all("none+turboquant:4", cache, test::random_tokens(20, 13), 32);
  EXPECT_EQ(value_of(inspect_block(shape, blocks[0])).raw_subblocks, 2);
  const KvCache out = this->decode_all("none+turboquant:4", blocks, shape, 20);
  EXPECT_EQ(std::memcmp(out.view().tensor(0, Kind::key), cache.view().tensor(0, Kind::key), 20 * 32 * 2), 0);
  EXPECT_EQ(std::memcmp(out.view().tensor(1, Kind::value), cache.view().tensor(1, Kind::value), 20 * 32 * 2), 0);
  EXPECT_NE(std::memcmp(out.view().tensor(0, Kind::value), cache.view().tensor(0, Kind::value), 20 * 32 * 2), 0);
}

TYPED_TEST(RoundTrip, WrongArgumentsAreRefused) {
  const KvShape shape = test::shape_of(1, 1, 16, DType::bf16);
  const KvCache cache = test::random_cache(shape, 20, 14);
  const auto ids = test::random_tokens(20, 15);
  const auto codec = value_of(Codec::parse("none+turboquant:3"));
  EXPECT_CODE(encode(this->space, codec, cache.view(), TokenSpan(ids).first(19), 0, 32), ErrorCode::shape_mismatch);
  EXPECT_CODE(encode(this->space, codec, cache.view(), ids, 0, 8), ErrorCode::invalid_argument);
  EXPECT_CODE(encode(this->space, codec, cache.view(), ids, 0, 8192), ErrorCode::invalid_argument);
  EXPECT_CODE(encode(this->space, codec, cache.view(), ids, -1, 32), ErrorCode::invalid_argument);
  KvShape unknown = shape;
  unknown.rope.dim = 0;
  const KvCache plain = test::random_cache(unknown, 20, 16);
  EXPECT_CODE(encode(this->space, value_of(Codec::parse("none+turboquant:3,keys=unrotated")), plain.view(), ids, 0, 32),
              ErrorCode::invalid_argument);
  const KvCache narrow = test::random_cache(test::shape_of(1, 1, 2, DType::bf16), 20, 17);
  EXPECT_CODE(encode(this->space, codec, narrow.view(), ids, 0, 32), ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace seqkv
