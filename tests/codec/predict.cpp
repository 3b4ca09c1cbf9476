// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// linear+...: errors are bounded by the step, bits do not depend on how the work is cut, what cannot be coded is kept
// as it is, and damage is noticed.
#include <gtest/gtest.h>
#include <algorithm>

#include <cmath>
#include <limits>

#include "codec/block.hpp"
#include "seqkv/codec.hpp"
#include "seqkv/frame.hpp"
#include "seqkv/transfer.hpp"
#include "support/predicted.hpp"

namespace seqkv {
namespace {

using test::value_of;

template <class Space>
class Predict : public test::Predicted<Space> {
 protected:
  Codec codec_for(const KvShape& shape, const std::string& step, const test::MadeUp& how = {}) {
    return this->codec_of(shape, "linear+ecsq:step=" + step, how);
  }
};
TYPED_TEST_SUITE(Predict, test::Spaces);

/// A quantizer of each kind.
constexpr const char* lossy[] = {"linear+ecsq:step=0.25", "linear+turboquant:3"};

std::vector<KvShape> shapes_to_predict() {
  std::vector<KvShape> out = {test::shape_of(4, 2, 16, DType::bf16), test::shape_of(3, 1, 64, DType::f16),
                              test::shape_of(5, 3, 10, DType::f32), test::shape_of(1, 1, 6, DType::bf16)};
  out.back().rope.dim = 0;
  for (const std::int64_t dim : {80, 96, 128}) out.push_back(test::shape_of(2, 1, dim, DType::bf16));
  return out;
}

double largest_error(const KvCache& a, const KvCache& b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.view().tensors.size(); ++i) {
    const std::int64_t count = a.shape().kv_heads * a.tokens() * a.shape().head_dim;
    for (std::int64_t k = 0; k < count; ++k) {
      const double x = load_as_float(a.view().tensors[i], a.shape().dtype, k);
      largest = std::max(largest, std::abs(x - load_as_float(b.view().tensors[i], b.shape().dtype, k)));
    }
  }
  return largest;
}

/// An error of half a step in each coefficient, less weighted tokens more: weights go down to 2^-8, transforms to 1/2.
TYPED_TEST(Predict, ErrorsFallWithTheStep) {
  for (const KvShape& shape : shapes_to_predict()) {
    const KvCache cache = test::random_cache(shape, 100, 3);
    const auto ids = test::random_tokens(100, 4, 60);
    double before = std::numeric_limits<double>::infinity();
    for (const char* step : {"1", "0.03125", "0.0009765625"}) {
      const Codec codec = this->codec_for(shape, step);
      const auto blocks = this->code(codec, cache.view(), ids, 0, 32);
      const double error = largest_error(this->restore(codec, shape, blocks, 100), cache);
      EXPECT_LT(error, before / 4) << shape.describe() << " step " << step;
      before = error;
    }
    EXPECT_LT(before, 0.05) << shape.describe();
  }
}

/// All together, block by block, and in other spaces (style of round_trip): the same bytes.
TYPED_TEST(Predict, BlocksDoNotDependOnEachOther) {
  for (const KvShape& shape : shapes_to_predict()) {
    const KvCache cache = test::random_cache(shape, 150, 5);
    const auto ids = test::random_tokens(150, 6, 50);
    for (const char* spec : lossy) {
      const Codec codec = this->codec_of(shape, spec);
      const auto together = this->code(codec, cache.view(), ids, 0, 48);
      const auto restored = this->restore(codec, shape, together, 150);
      ASSERT_EQ(together.size(), 4U);
      for (std::int64_t block = 0; block < 4; ++block) {
        const std::int64_t first = 48 * block;
        const std::int64_t count = std::min<std::int64_t>(48, 150 - first);
        const auto alone = this->code(codec, ConstKvView(cache.view()).slice(first, count),
                                      TokenSpan(ids).subspan(first, count), first, 48);
        EXPECT_EQ(alone.front(), together[block]) << shape.describe() << " block " << block;
        const KvCache part = this->restore(codec, shape, alone, count);
        KvCache expected = value_of(KvCache::create(shape, count));
        ASSERT_OK(copy(restored.view().slice(first, count), expected.view()));
        EXPECT_TRUE(test::same_bytes(part, expected)) << shape.describe() << " block " << block;
      }
      const auto serial = value_of(encode(Kokkos::Serial(), codec, cache.view(), ids, 0, 48));
      EXPECT_EQ(serial, together) << shape.describe();
    }
  }
}

TYPED_TEST(Predict, LayersBelowMayBeNoneOrAll) {
  const KvShape shape = test::shape_of(4, 2, 16, DType::bf16);
  const KvCache cache = test::random_cache(shape, 64, 7);
  const auto ids = test::random_tokens(64, 8, 50);
  for (std::int64_t below : {0, 1, 3, 9}) {
    const Codec codec = this->codec_for(shape, "0.01", {.layers_below = below});
    const auto blocks = this->code(codec, cache.view(), ids, 0, 64);
    EXPECT_LT(largest_error(this->restore(codec, shape, blocks, 64), cache), 1.0) << below;
  }
}

/// Predictors as factors and transforms by blocks, for the shapes of caches of large models; tokens that say nothing.
TYPED_TEST(Predict, FactorsAndBlocksCodeAsWell) {
  const std::pair<KvShape, test::MadeUp> cases[] = {
      {test::shape_of(4, 8, 16, DType::bf16), {.rank = 12, .blocks = 8}},
      {test::shape_of(3, 1, 128, DType::bf16), {.rank = 40}},
      {test::shape_of(3, 2, 80, DType::f16), {.rank = 33, .blocks = 2}},
      {test::shape_of(3, 4, 96, DType::bf16), {.token_width = 0, .rank = 16, .blocks = 2}},
      {test::shape_of(3, 3, 10, DType::f32), {.layers_below = 1, .rank = 1, .blocks = 3}},
      {test::shape_of(2, 2, 16, DType::bf16), {.layers_below = 0, .token_width = 0}},
  };
  for (const auto& [shape, how] : cases) {
    const KvCache cache = test::random_cache(shape, 90, 21);
    const auto ids = test::random_tokens(90, 22, 60);
    double before = std::numeric_limits<double>::infinity();
    for (const char* step : {"1", "0.03125", "0.0009765625"}) {
      const Codec codec = this->codec_for(shape, step, how);
      const auto blocks = this->code(codec, cache.view(), ids, 0, 40);
      if (before == std::numeric_limits<double>::infinity()) {
        EXPECT_EQ(value_of(inspect_block(shape, blocks.front())).raw_subblocks, 0) << shape.describe();
      }
      EXPECT_EQ(value_of(encode(Kokkos::Serial(), codec, cache.view(), ids, 0, 40)), blocks) << shape.describe();
      const auto last = this->code(codec, ConstKvView(cache.view()).slice(80, 10), TokenSpan(ids).subspan(80), 80, 40);
      EXPECT_EQ(last.front(), blocks.back()) << shape.describe();
      const double error = largest_error(this->restore(codec, shape, blocks, 90), cache);
      EXPECT_LT(error, before / 4) << shape.describe() << " step " << step;
      before = error;
    }
    EXPECT_LT(before, 0.05) << shape.describe();
  }
}

/// NaN, infinities, and numbers far from all others.
TYPED_TEST(Predict, WhatHasNoNumberIsKeptExactly) {
  const KvShape shape = test::shape_of(3, 2, 16, DType::bf16);
  KvCache cache = test::random_cache(shape, 40, 9);
  const auto ids = test::random_tokens(40, 10, 50);
  const auto at = [&](std::size_t tensor, std::int64_t i, float x) {
    store_from_float(cache.view().tensors[tensor], shape.dtype, i, x);
  };
  at(1, 17, std::nanf(""));
  at(2, 300, std::numeric_limits<float>::infinity());
  at(4, 301, 3e38F);
  for (const char* spec : lossy) {
    const Codec codec = this->codec_of(shape, spec);
    const auto blocks = this->code(codec, cache.view(), ids, 0, 64);
    const KvCache restored = this->restore(codec, shape, blocks, 40);
    const std::size_t bytes = cache.raw().size() / 6;
    for (std::size_t tensor : {1, 2, 4}) {
      EXPECT_EQ(std::memcmp(restored.view().tensors[tensor], cache.view().tensors[tensor], bytes), 0) << tensor;
    }
    const codec::BlockParts parts = value_of(codec::parse_block(shape, blocks.front()));
    for (std::size_t i = 0; i < parts.subblocks.size(); ++i) {
      EXPECT_EQ(parts.subblocks[i].raw, i == 1 || i == 2 || i == 4) << spec << " " << i;
    }
  }
}

/// Single numbers beyond 127 steps, which symbols of 8 bits do not hold.
TYPED_TEST(Predict, LargeNumbersAreListed) {
  const KvShape shape = test::shape_of(2, 1, 16, DType::f32);
  KvCache cache = test::random_cache(shape, 64, 11);
  const auto ids = test::random_tokens(64, 12, 50);
  for (std::int64_t i = 0; i < 1024; i += 97) store_from_float(cache.view().tensors[3], shape.dtype, i, 1000.0F + i);
  const Codec codec = this->codec_for(shape, "0.5");
  const auto blocks = this->code(codec, cache.view(), ids, 0, 64);
  EXPECT_EQ(value_of(inspect_block(shape, blocks.front())).raw_subblocks, 0);
  EXPECT_LT(largest_error(this->restore(codec, shape, blocks, 64), cache), 200.0);
}

/// The usual first token costs nothing and is exact: its values are the profile's.
TYPED_TEST(Predict, TheFirstTokenIsTheProfiles) {
  const KvShape shape = test::shape_of(2, 1, 16, DType::f32);
  const test::ProfileParts parts = test::made_up_profile(shape);
  const auto profile = value_of(Profile::load(parts.write(this->scratch.path() / "profile")));
  const Codec codec = value_of(value_of(Codec::parse("linear+ecsq:step=4")).with_profile(profile));
  KvCache cache = test::random_cache(shape, 33, 13);
  for (std::size_t i = 0; i < 4; ++i) {
    const auto& row = parts.tensors.at(fmt::format("layers.{}.{}.first_row", i / 2, i % 2 == 0 ? "key" : "value"));
    std::memcpy(cache.view().tensors[i], row.bytes.data(), row.bytes.size());
  }
  auto ids = test::random_tokens(33, 14, 50);
  ids[0] = 0;
  const auto blocks = this->code(codec, cache.view(), ids, 0, 64);
  const KvCache restored = this->restore(codec, shape, blocks, 33);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(std::memcmp(restored.view().tensors[i], cache.view().tensors[i], 64), 0) << i;
  }
}

/// Past the checksum of the block: payloads that no encoder writes are errors or values, never anything else.
TYPED_TEST(Predict, DamagedPayloadsAreNoticed) {
  const KvShape shape = test::shape_of(2, 1, 16, DType::bf16);
  const KvCache cache = test::random_cache(shape, 40, 15);
  const auto ids = test::random_tokens(40, 16, 50);
  for (const char* spec : lossy) {
    const Codec codec = this->codec_of(shape, spec);
    const auto block = this->code(codec, cache.view(), ids, 0, 64).front();
    const codec::BlockParts parts = value_of(codec::parse_block(shape, block));
    int errors = 0;
    for (std::size_t which = 0; which < parts.subblocks.size(); ++which) {
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
      for (std::size_t size = 0; size < payload.size(); ++size) {
        std::vector<std::byte> bytes(payload.begin(), payload.begin() + static_cast<std::ptrdiff_t>(size));
        EXPECT_FALSE(decode_with(bytes).ok()) << which << " cut to " << size;
        bytes.assign(payload.begin(), payload.end());
        bytes[size] ^= std::byte{1} << (size % 8);
        errors += decode_with(bytes).ok() ? 0 : 1;
      }
    }
    EXPECT_GT(errors, 0);
  }
}

/// What the paper composes: the quantizer of caches on what prediction leaves. Here next to nothing is left.
TYPED_TEST(Predict, TurboQuantOfResidualsErrsByTheirSize) {
  const KvShape shape = test::shape_of(2, 2, 16, DType::f32);
  const Codec codec = this->codec_of(shape, "linear+turboquant:4");
  const Codec fine = this->codec_for(shape, "0.015625");
  const auto ids = test::random_tokens(64, 20, 50);
  // A cache that the profile predicts: what it restores from next to no bits.
  const KvCache zero = value_of(KvCache::create(shape, 64));
  KvCache predictable = this->restore(this->codec_for(shape, "1000"), shape,
                                      this->code(this->codec_for(shape, "1000"), zero.view(), ids, 0, 64), 64);
  const auto error_of = [&](const Codec& with, const KvCache& cache) {
    return largest_error(this->restore(with, shape, this->code(with, cache.view(), ids, 0, 64), 64), cache);
  };
  EXPECT_LT(error_of(codec, predictable), 1e-3);
  const KvCache random = test::random_cache(shape, 64, 21);
  EXPECT_GT(error_of(codec, random), 1e-2);
  EXPECT_LT(error_of(codec, random), 2);
}

/// A long session: any block alone gives the bits that it gives among all, and memory does not grow with the length.
TYPED_TEST(Predict, LongSessionsAreCodedInPieces) {
  const KvShape shape = test::shape_of(2, 1, 16, DType::bf16);
  constexpr std::int64_t tokens = 32768;
  constexpr std::int64_t block_tokens = 256;
  const KvCache cache = test::random_cache(shape, tokens, 23);
  const auto ids = test::random_tokens(tokens, 24, 50);
  const Codec codec = this->codec_for(shape, "0.25");
  const auto code_first = [&](std::int64_t count) {
    const FrameInfo info{shape, count, block_tokens, codec.spec(), test::test_model(), codec.profile_fingerprint()};
    auto writer = value_of(FrameWriter::create(this->scratch.path() / "long.sqkv", info));
    TransferOptions options;
    options.profile = codec.profile();
    options.cores = 1;         // with more, it depends on who is first
    options.memory = 1 << 20;  // devices take as many blocks at a time as that allows
    const KvCache& all = cache;
    const KvSource source = source_of(all.view().slice(0, count), TokenSpan(ids).first(count));
    const TransferReport report = value_of(compress(this->space, source, writer, options));
    value_of(writer.commit());
    return report.peak_bytes;
  };
  const std::int64_t peak_of_an_eighth = code_first(tokens / 8);
  EXPECT_LE(code_first(tokens), peak_of_an_eighth);

  const FrameReader frame = value_of(FrameReader::open(this->scratch.path() / "long.sqkv"));
  const KvCache whole = value_of(decode(this->space, frame, codec.profile()));
  for (const std::int64_t block : {0, 63, 127}) {
    KvCache alone = value_of(KvCache::create(shape, block_tokens));
    ASSERT_OK(decode(this->space, codec, frame.blocks(block, 1), alone.view()));
    KvCache expected = value_of(KvCache::create(shape, block_tokens));
    ASSERT_OK(copy(whole.view().slice(block * block_tokens, block_tokens), expected.view()));
    EXPECT_TRUE(test::same_bytes(alone, expected)) << block;
  }
}

TYPED_TEST(Predict, ProfilesThatDoNotFitAreRefused) {
  const KvShape shape = test::shape_of(2, 1, 16, DType::bf16);
  const KvCache cache = test::random_cache(shape, 40, 17);
  const auto ids = test::random_tokens(40, 18, 50);
  const Codec without = value_of(Codec::parse("linear+ecsq:step=1"));
  EXPECT_CODE(encode(this->space, without, cache.view(), ids, 0, 64), ErrorCode::invalid_argument);
  const Codec other = this->codec_for(test::shape_of(2, 1, 32, DType::bf16), "1");
  EXPECT_CODE(encode(this->space, other, cache.view(), ids, 0, 64), ErrorCode::shape_mismatch);

  const Codec codec = this->codec_for(shape, "1");
  const auto blocks = this->code(codec, cache.view(), ids, 0, 64);
  const FrameInfo info{shape, 40, 64, codec.spec(), test::test_model(), codec.profile()->fingerprint()};
  const auto bytes = value_of(make_frame(info, blocks));
  const FrameReader frame = value_of(FrameReader::parse(bytes, "frame"));
  EXPECT_OK(decode(this->space, frame, codec.profile()));
  EXPECT_CODE(decode(this->space, frame), ErrorCode::wrong_profile);
  EXPECT_CODE(decode(this->space, frame, other.profile()), ErrorCode::wrong_profile);
}

}  // namespace
}  // namespace seqkv
