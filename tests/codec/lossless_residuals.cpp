// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// linear+lossless: every bit comes back, whatever it is; bytes do not depend on how the work is cut or who does it;
// damage is noticed.
#include <gtest/gtest.h>
#include <algorithm>

#include <cmath>
#include <limits>
#include <random>

#include "backends/cpu/kernels.hpp"
#include "codec/block.hpp"
#include "codec/predict/lossless_steps.hpp"
#include "seqkv/codec.hpp"
#include "support/predicted.hpp"

namespace seqkv {
namespace {

using test::value_of;

// ---- bins ---------------------------------------------------------------------------------------------------------

/// Numbers of all kinds, in rising order of their magnitudes.
std::vector<std::uint32_t> magnitudes(DType dtype) {
  const codec::FloatLayout layout = codec::layout_of(dtype);
  const unsigned bits = layout.mantissa_bits + layout.exponent_bits;
  std::vector<std::uint32_t> out;
  if (bits < 16) {
    for (std::uint32_t u = 0; u < 1U << bits; ++u) out.push_back(u);
    return out;
  }
  for (std::uint32_t exponent = 0; exponent < 1U << layout.exponent_bits; ++exponent) {
    for (const std::uint32_t mantissa : {0U, 1U, 2U, 0x155555U, 0x3fffffU, 0x400000U, 0x7ffffeU, 0x7fffffU}) {
      out.push_back(exponent << layout.mantissa_bits | mantissa);
    }
  }
  return out;
}

class Bins : public testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(Types, Bins, testing::Values(DType::bf16, DType::f16, DType::f32));

TEST_P(Bins, EveryNumberHasOnePlace) {
  const codec::FloatLayout layout = codec::layout_of(GetParam());
  const unsigned sign = layout.mantissa_bits + layout.exponent_bits;
  for (const int log2_width : {-300, -140, -126, -30, -14, -3, 0, 2, 40, 127, 300}) {
    const codec::FloatBins bins(layout, log2_width);
    std::vector<std::uint32_t> numbers;
    for (const std::uint32_t u : magnitudes(GetParam())) {
      numbers.push_back(u);
      numbers.push_back(u | 1U << sign);
    }
    std::vector<std::byte> memory(8 * numbers.size() + 16);
    codec::BitWriter writer{memory.data(), static_cast<std::int64_t>(memory.size()) - 8};
    for (const std::uint32_t u : numbers) bins.put_place(u, writer);
    writer.finish();
    ASSERT_FALSE(writer.overflow);
    codec::BitReader reader{memory.data(), writer.bytes};
    std::int64_t before = -1;
    for (const std::uint32_t u : numbers) {
      std::uint32_t back = 0;
      const std::int64_t bin = bins.bin_of(u);
      ASSERT_TRUE(bins.take(bin, reader, back)) << u << " width 2^" << log2_width;
      ASSERT_EQ(back, u) << "width 2^" << log2_width;
      if (u >> sign != 0) {
        ASSERT_EQ(bin, ~before) << "of a negative number";
      } else {
        ASSERT_GE(bin, before < 0 ? 0 : before) << "bins rise with the numbers";
        before = bin;
      }
    }
    EXPECT_TRUE(reader.finished());
  }
}

/// A bin is as wide as it says, where numbers are close enough.
TEST(Bins, HaveOneWidth) {
  const codec::FloatBins bins(codec::layout_of(DType::bf16), -2);
  EXPECT_EQ(bins.bin_of(float_to_bf16(0.2F)), 0);
  EXPECT_EQ(bins.bin_of(float_to_bf16(0.25F)), 1);
  EXPECT_EQ(bins.bin_of(float_to_bf16(1.75F)), 7);
  EXPECT_EQ(bins.bin_of(float_to_bf16(31.75F)), 127);
  EXPECT_EQ(bins.bin_of(float_to_bf16(32.0F)), 128);
  EXPECT_EQ(bins.bin_of(float_to_bf16(64.0F)), 256) << "neighbors are 1/2 apart";
  EXPECT_EQ(bins.bin_of(float_to_bf16(64.5F)), 257);
  EXPECT_EQ(bins.bin_of(float_to_bf16(-1.75F)), ~std::int64_t{7});
}

TEST(Bins, WritersKeepToTheirRoom) {
  std::vector<std::byte> memory(32, std::byte{0xee});
  codec::BitWriter writer{memory.data(), 8};
  for (int i = 0; i < 100; ++i) writer.put(0x7fffffffffffU, 47);
  writer.finish();
  EXPECT_TRUE(writer.overflow);
  for (std::size_t i = 8 + 16; i < memory.size(); ++i) EXPECT_EQ(memory[i], std::byte{0xee}) << i;
}

// ---- blocks -------------------------------------------------------------------------------------------------------

template <class Space>
class LosslessResiduals : public test::Predicted<Space> {
 protected:
  Codec codec_for(const KvShape& shape, std::int64_t layers_below = 2) {
    return this->codec_of(shape, "linear+lossless", {.layers_below = layers_below});
  }
};
TYPED_TEST_SUITE(LosslessResiduals, test::Spaces);

/// Ordinary ones, 8 heads of queries a head, one head, sizes that are no power of two, odd ones, keys that turn in part
/// or not at all.
std::vector<KvShape> shapes() {
  std::vector<KvShape> out = {test::shape_of(4, 2, 16, DType::bf16), test::shape_of(3, 1, 64, DType::f16),
                              test::shape_of(2, 3, 10, DType::f32),  test::shape_of(2, 2, 80, DType::bf16),
                              test::shape_of(2, 1, 96, DType::bf16), test::shape_of(1, 2, 128, DType::f16),
                              test::shape_of(2, 2, 12, DType::bf16), test::shape_of(1, 1, 7, DType::bf16)};
  out[6].rope.dim = 8;
  out[7].rope.dim = 0;
  return out;
}

/// A cache as large as what the profile expects.
KvCache cache_of(const KvShape& shape, std::int64_t tokens, unsigned seed) {
  KvCache cache = value_of(KvCache::create(shape, tokens));
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  for (std::byte* tensor : cache.view().tensors) {
    for (std::int64_t i = 0; i < shape.kv_heads * tokens * shape.head_dim; ++i) {
      const std::int64_t component = i / (tokens * shape.head_dim) * shape.head_dim + i % shape.head_dim;
      store_from_float(tensor, shape.dtype, i, normal(random) * std::exp2(test::lossless_scale(component) / 16.0F));
    }
  }
  return cache;
}

TYPED_TEST(LosslessResiduals, EveryBitComesBack) {
  for (const KvShape& shape : shapes()) {
    const KvCache cache = cache_of(shape, 100, 3);
    const auto ids = test::random_tokens(100, 4, 60);
    const Codec codec = this->codec_for(shape);
    const auto blocks = this->code(codec, cache.view(), ids, 0, 32);
    EXPECT_TRUE(test::same_bytes(this->restore(codec, shape, blocks, 100), cache)) << shape.describe();
    std::int64_t raw = 0;
    for (const CodedBlock& block : blocks) raw += value_of(inspect_block(shape, block)).raw_subblocks;
    EXPECT_LT(raw, static_cast<std::int64_t>(blocks.size()) * 2 * shape.layers) << shape.describe();
  }
}

/// NaN with their payloads, infinities, subnormals, zeros of both signs; all in one cache, and alone among others.
TYPED_TEST(LosslessResiduals, BitsOfAnyKindComeBack) {
  for (const KvShape& shape : shapes()) {
    const auto ids = test::random_tokens(60, 6, 60);
    const Codec codec = this->codec_for(shape);
    const KvCache noise = test::random_bits_cache(shape, 60, 5);
    EXPECT_TRUE(test::same_bytes(this->restore(codec, shape, this->code(codec, noise.view(), ids, 0, 32), 60), noise))
        << shape.describe();
    KvCache cache = cache_of(shape, 60, 7);
    const std::int64_t count = shape.kv_heads * 60 * shape.head_dim;
    const codec::FloatLayout layout = codec::layout_of(shape.dtype);
    const std::uint32_t infinity = ((1U << layout.exponent_bits) - 1U) << layout.mantissa_bits;
    const std::uint32_t sign = 1U << (layout.exponent_bits + layout.mantissa_bits);
    const std::uint32_t kinds[] = {0,
                                   sign,
                                   1,
                                   sign | 1U,
                                   infinity,
                                   sign | infinity,
                                   infinity | 1U,
                                   infinity | 5U,
                                   sign | infinity | 3U,
                                   infinity - 1U,
                                   sign | (infinity - 1U)};
    std::int64_t at = 0;
    for (std::byte* tensor : cache.view().tensors) {
      for (const std::uint32_t u : kinds) codec::store_bits(tensor, shape.dtype, (at += 37) % count, u);
    }
    const auto blocks = this->code(codec, cache.view(), ids, 0, 64);
    EXPECT_TRUE(test::same_bytes(this->restore(codec, shape, blocks, 60), cache)) << shape.describe();
    EXPECT_LT(value_of(inspect_block(shape, blocks.front())).raw_subblocks, 2 * shape.layers) << shape.describe();
  }
}

/// All together, block by block, and on another space: the same bytes.
TYPED_TEST(LosslessResiduals, BlocksDoNotDependOnEachOther) {
  for (const KvShape& shape : shapes()) {
    const KvCache cache = cache_of(shape, 150, 5);
    const auto ids = test::random_tokens(150, 6, 50);
    const Codec codec = this->codec_for(shape);
    const auto together = this->code(codec, cache.view(), ids, 0, 48);
    ASSERT_EQ(together.size(), 4U);
    for (std::int64_t block = 0; block < 4; ++block) {
      const std::int64_t first = 48 * block;
      const std::int64_t count = std::min<std::int64_t>(48, 150 - first);
      const auto alone = this->code(codec, ConstKvView(cache.view()).slice(first, count),
                                    TokenSpan(ids).subspan(first, count), first, 48);
      EXPECT_EQ(alone.front(), together[block]) << shape.describe() << " block " << block;
      KvCache expected = value_of(KvCache::create(shape, count));
      ASSERT_OK(copy(ConstKvView(cache.view()).slice(first, count), expected.view()));
      EXPECT_TRUE(test::same_bytes(this->restore(codec, shape, alone, count), expected)) << shape.describe();
    }
    EXPECT_EQ(value_of(encode(Kokkos::Serial(), codec, cache.view(), ids, 0, 48)), together) << shape.describe();
  }
}

TYPED_TEST(LosslessResiduals, LayersBelowMayBeNoneOrAll) {
  const KvShape shape = test::shape_of(4, 2, 16, DType::bf16);
  const KvCache cache = cache_of(shape, 64, 7);
  const auto ids = test::random_tokens(64, 8, 50);
  for (std::int64_t below : {0, 1, 3, 9}) {
    const Codec codec = this->codec_for(shape, below);
    const auto blocks = this->code(codec, cache.view(), ids, 0, 64);
    EXPECT_TRUE(test::same_bytes(this->restore(codec, shape, blocks, 64), cache)) << below;
  }
}

/// What is like what the profile expects takes less than its values.
TYPED_TEST(LosslessResiduals, WhatIsExpectedIsSmaller) {
  const KvShape shape = test::shape_of(2, 1, 16, DType::bf16);
  KvCache cache = value_of(KvCache::create(shape, 64));
  test::ProfileParts parts = test::made_up_profile(shape);
  for (auto& [name, tensor] : parts.tensors) {
    if (name.ends_with("predict") || name.ends_with("below") || name.ends_with("first_row")) {
      std::fill(tensor.bytes.begin(), tensor.bytes.end(), std::byte{0});
    }
  }
  const auto profile = value_of(Profile::load(parts.write(this->scratch.path() / "profile")));
  const Codec codec = value_of(value_of(Codec::parse("linear+lossless")).with_profile(profile));
  const auto ids = test::random_tokens(64, 8, 50);
  for (std::byte* tensor : cache.view().tensors) {
    for (std::int64_t i = 0; i < 1024; ++i) store_from_float(tensor, shape.dtype, i, 0.4F);
  }
  const auto blocks = this->code(codec, cache.view(), ids, 0, 64);
  EXPECT_EQ(value_of(inspect_block(shape, blocks.front())).raw_subblocks, 0);
  EXPECT_TRUE(test::same_bytes(this->restore(codec, shape, blocks, 64), cache));
}

TYPED_TEST(LosslessResiduals, OldProfilesAreRefused) {
  const KvShape shape = test::shape_of(2, 1, 16, DType::bf16);
  test::ProfileParts parts = test::made_up_profile(shape);
  std::erase_if(parts.tensors, [](const auto& item) { return item.first.find("lossless.") != std::string::npos; });
  const auto profile = value_of(Profile::load(parts.write(this->scratch.path() / "profile")));
  const Codec codec = value_of(value_of(Codec::parse("linear+lossless")).with_profile(profile));
  const KvCache cache = cache_of(shape, 32, 9);
  const auto ids = test::random_tokens(32, 10, 50);
  const Error error = test::error_of(encode(this->space, codec, cache.view(), ids, 0, 32));
  EXPECT_EQ(error.code, ErrorCode::missing_field);
  EXPECT_NE(error.describe().find("calibrate"), std::string::npos) << error.describe();
}

/// Past the checksum of the block: payloads that no encoder writes are errors or values, never anything else.
TYPED_TEST(LosslessResiduals, DamagedPayloadsAreNoticed) {
  const KvShape shape = test::shape_of(2, 1, 16, DType::bf16);
  KvCache cache = cache_of(shape, 40, 15);
  store_from_float(cache.view().tensors[1], shape.dtype, 77, std::numeric_limits<float>::infinity());  // a list
  const auto ids = test::random_tokens(40, 16, 50);
  const Codec codec = this->codec_for(shape);
  const auto block = this->code(codec, cache.view(), ids, 0, 64).front();
  const codec::BlockParts parts = value_of(codec::parse_block(shape, block));
  int errors = 0;
  int damages = 0;
  for (std::size_t which = 0; which < parts.subblocks.size(); ++which) {
    ASSERT_FALSE(parts.subblocks[which].raw) << which;
    const auto payload = parts.subblocks[which].bytes;
    const auto decode_with = [&](const std::vector<std::byte>& bytes) {
      codec::BlockWriter writer;
      writer.start({}, 0, ids, {}, 4);
      for (std::size_t i = 0; i < 4; ++i) {
        writer.append(i == which ? codec::SubblockPayload{bytes, false} : parts.subblocks[i]);
      }
      const CodedBlock damaged = writer.finish(parts.decoded_hash);
      KvCache out = value_of(KvCache::create(shape, 40));
      const CodedBlockView view = damaged;
      return decode(this->space, codec, std::span(&view, 1), out.view());
    };
    for (std::size_t size = 0; size < payload.size(); size += 1 + size / 16) {
      EXPECT_FALSE(decode_with({payload.begin(), payload.begin() + static_cast<std::ptrdiff_t>(size)}).ok()) << size;
    }
    std::vector<std::byte> longer(payload.begin(), payload.end());
    longer.resize(payload.size() + 3);
    EXPECT_FALSE(decode_with(longer).ok());
    for (std::size_t at = 0; at < payload.size(); at += at < 24 ? 1 : 13) {
      std::vector<std::byte> bytes(payload.begin(), payload.end());
      bytes[at] ^= std::byte{0x41};
      errors += decode_with(bytes).ok() ? 0 : 1;
      ++damages;
    }
  }
  constexpr int unused = 4;  // bits of the last byte of places
  EXPECT_GE(errors + unused, damages);
}

}  // namespace
}  // namespace seqkv
