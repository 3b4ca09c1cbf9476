// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// linear+ref+ecsq: blocks that are predicted from others take fewer bits, decode to the same values everywhere, and
// not at all without what they were predicted from.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "codec/block.hpp"
#include "core/bytes.hpp"
#include "core/rope_table.hpp"
#include "seqkv/codec.hpp"
#include "support/kernels.hpp"
#include "support/predicted.hpp"

namespace seqkv {
namespace {

using test::value_of;

constexpr std::int64_t block_tokens = 48;
constexpr const char* reference_spec = "linear+ref+ecsq:step=0.125";

/// A context and another one of which a part has the same tokens, and almost the same values but that keys stand at
/// other positions.
struct Contexts {
  KvCache source, cache;
  std::vector<Token> ids;
  std::int64_t source_position = 1000;
  References references;

  static constexpr std::int64_t source_tokens = 150;
  static constexpr std::int64_t tokens = 170;

  explicit Contexts(const KvShape& shape, float difference = 0.01F)
      : source(test::random_cache(shape, source_tokens, 1)),
        cache(test::random_cache(shape, tokens, 2)),
        ids(test::random_tokens(tokens, 3, 50)) {
    // From the middle of a block of 48 to the middle of another; two parts within one block.
    refer(20, 100, 30, difference);
    refer(125, 5, 0, difference);
    refer(131, 11, 139, difference);
    references.blocks = {{0x1234, source_position, source.view()}};
  }

  void refer(std::int64_t first, std::int64_t count, std::int64_t from, float difference) {
    references.spans.push_back({first, count, 0, from});
    std::mt19937 random(static_cast<unsigned>(first));
    std::normal_distribution<float> normal;
    const KvShape& shape = cache.shape();
    const auto frequencies = inverse_frequencies(shape.rope);
    const std::size_t pairs = frequencies.size();
    std::vector<float> cosine(pairs);
    std::vector<float> sine(pairs);
    std::vector<float> x(static_cast<std::size_t>(shape.head_dim));
    for (std::int64_t i = 0; i < 2 * shape.layers * shape.kv_heads * count; ++i) {
      const auto tensor = static_cast<std::size_t>(i / count / shape.kv_heads);
      const std::int64_t head = i / count % shape.kv_heads;
      const std::int64_t t = i % count;
      for (std::int64_t k = 0; k < shape.head_dim; ++k) {
        const std::int64_t at = (head * source_tokens + from + t) * shape.head_dim + k;
        x[static_cast<std::size_t>(k)] = load_as_float(source.view().tensors[tensor], shape.dtype, at);
      }
      const auto moved = static_cast<std::int64_t>(first + t) - (source_position + from + t);
      rope_angles(frequencies, std::abs(moved), cosine.data(), sine.data());
      for (std::size_t p = 0; tensor % 2 == 0 && p < pairs; ++p) {
        const float s = moved < 0 ? -sine[p] : sine[p];
        const float a = x[p];
        x[p] = a * cosine[p] - x[p + pairs] * s;
        x[p + pairs] = x[p + pairs] * cosine[p] + a * s;
      }
      for (std::int64_t k = 0; k < shape.head_dim; ++k) {
        const std::int64_t at = (head * tokens + first + t) * shape.head_dim + k;
        store_from_float(cache.view().tensors[tensor], shape.dtype, at,
                         x[static_cast<std::size_t>(k)] + difference * normal(random));
      }
    }
  }
};

std::int64_t bytes_of(const std::vector<CodedBlock>& blocks) {
  std::int64_t bytes = 0;
  for (const CodedBlock& block : blocks) bytes += static_cast<std::int64_t>(block.size());
  return bytes;
}

template <class Space>
class Reference : public test::Predicted<Space> {
 protected:
  Codec codec_for(const KvShape& shape, const test::MadeUp& how = {.references = true}) {
    return this->codec_of(shape, reference_spec, how);
  }
  template <class ExecutionSpace>
  std::vector<CodedBlock> code(const ExecutionSpace& on, const Codec& codec, const Contexts& contexts) {
    return value_of(encode(on, codec, contexts.cache.view(), contexts.ids, 0, block_tokens, contexts.references));
  }
  Result<KvCache> restore(const Codec& codec, const std::vector<CodedBlock>& blocks, const KvShape& shape,
                          std::span<const ReferenceBlock> references) {
    KvCache out = value_of(KvCache::create(shape, Contexts::tokens));
    auto status = decode(this->space, codec, test::views(blocks), out.view(), references);
    if (!status) return std::move(status).error();
    return out;
  }
};
TYPED_TEST_SUITE(Reference, test::Spaces);

std::vector<KvShape> shapes_to_refer() {
  std::vector<KvShape> out = {test::shape_of(3, 2, 16, DType::f32), test::shape_of(2, 1, 64, DType::f16),
                              test::shape_of(3, 3, 10, DType::bf16)};
  out.push_back(test::shape_of(2, 2, 24, DType::f32));
  out.back().rope.dim = 0;
  return out;
}

TYPED_TEST(Reference, TakesFewerBitsForTheSameValues) {
  for (const KvShape& shape : shapes_to_refer()) {
    const Contexts contexts(shape);
    const Codec codec = this->codec_for(shape);
    ASSERT_TRUE(codec.uses_references());
    const auto blocks = this->code(this->space, codec, contexts);
    const auto alone = value_of(encode(this->space, codec, contexts.cache.view(), contexts.ids, 0, block_tokens));
    EXPECT_LT(bytes_of(blocks), 0.85 * static_cast<double>(bytes_of(alone))) << shape.describe();
    const KvCache restored = value_of(this->restore(codec, blocks, shape, contexts.references.blocks));
    const KvCache without = value_of(this->restore(codec, alone, shape, {}));
    // Errors are of the same size: steps are.
    double with_error = 0;
    double without_error = 0;
    for (std::size_t i = 4; i < restored.view().tensors.size(); ++i) {
      for (std::int64_t k = 0; k < shape.kv_heads * Contexts::tokens * shape.head_dim; ++k) {
        const double x = load_as_float(contexts.cache.view().tensors[i], shape.dtype, k);
        with_error += std::pow(load_as_float(restored.view().tensors[i], shape.dtype, k) - x, 2);
        without_error += std::pow(load_as_float(without.view().tensors[i], shape.dtype, k) - x, 2);
      }
    }
    EXPECT_LE(with_error, 1.2 * without_error) << shape.describe();

    std::vector<BlockReference> expected = {{20, 28, 0x1234, 30}};
    EXPECT_EQ(value_of(inspect_block(shape, blocks[0])).references, expected);
    expected = {{0, 48, 0x1234, 58}};
    EXPECT_EQ(value_of(inspect_block(shape, blocks[1])).references, expected);
    expected = {{0, 24, 0x1234, 106}, {29, 5, 0x1234, 0}, {35, 11, 0x1234, 139}};
    EXPECT_EQ(value_of(inspect_block(shape, blocks[2])).references, expected);
    EXPECT_GT(value_of(inspect_block(shape, blocks[1])).referring_subblocks, 0);
    EXPECT_TRUE(value_of(inspect_block(shape, blocks[3])).references.empty());
    EXPECT_EQ(blocks[3], alone[3]) << "a block without references";
  }
}

/// In any space, with any kernels, together or alone.
TYPED_TEST(Reference, BytesDependOnNothingElse) {
  for (const KvShape& shape : shapes_to_refer()) {
    for (const test::MadeUp& how : {test::MadeUp{.references = true}, test::MadeUp{.rank = 9, .references = true}}) {
      const Contexts contexts(shape);
      const Codec codec = this->codec_for(shape, how);
      const auto blocks = this->code(this->space, codec, contexts);
      EXPECT_EQ(this->code(Kokkos::Serial(), codec, contexts), blocks) << shape.describe();
      for (std::int64_t block = 0; block < 3; ++block) {
        const std::int64_t first = block * block_tokens;
        const std::int64_t count = std::min(block_tokens, Contexts::tokens - first);
        References part{contexts.references.blocks, {}};
        for (const BlockReference& piece : value_of(inspect_block(shape, blocks[block])).references) {
          part.spans.push_back({piece.first, piece.count, 0, piece.source});
        }
        const auto alone = value_of(encode(this->space, codec, contexts.cache.view().slice(first, count),
                                           TokenSpan(contexts.ids).subspan(first, count), first, block_tokens, part));
        EXPECT_EQ(alone.front(), blocks[block]) << shape.describe() << " block " << block;
        KvCache restored = value_of(KvCache::create(shape, count));
        const CodedBlockView view = blocks[block];
        EXPECT_OK(decode(this->space, codec, std::span(&view, 1), restored.view(), contexts.references.blocks));
      }
    }
  }
}

/// What the other context says is worth nothing: the choice costs the names of what was not used.
TYPED_TEST(Reference, IsNotUsedWhereItDoesNotPay) {
  const KvShape shape = test::shape_of(3, 2, 16, DType::f32);
  Contexts contexts(shape, 30.0F);
  const Codec codec = this->codec_for(shape);
  const auto blocks = this->code(this->space, codec, contexts);
  const auto alone = value_of(encode(this->space, codec, contexts.cache.view(), contexts.ids, 0, block_tokens));
  EXPECT_LE(bytes_of(blocks), bytes_of(alone) + 5 * 16);
  EXPECT_OK(this->restore(codec, blocks, shape, contexts.references.blocks));
}

TYPED_TEST(Reference, WhatIsMissingOrDiffersIsAnErrorOfTheBlock) {
  const KvShape shape = test::shape_of(3, 2, 16, DType::bf16);
  Contexts contexts(shape);
  const Codec codec = this->codec_for(shape);
  const auto blocks = this->code(this->space, codec, contexts);
  auto result = this->restore(codec, blocks, shape, {});
  EXPECT_CODE(result, ErrorCode::missing_reference);
  EXPECT_EQ(result.error().block, 0);
  std::vector<ReferenceBlock> references = contexts.references.blocks;
  references[0].hash ^= 1U;
  EXPECT_CODE(this->restore(codec, blocks, shape, references), ErrorCode::missing_reference);
  references = contexts.references.blocks;
  references[0].first_position += 1;
  EXPECT_FALSE(this->restore(codec, blocks, shape, references).ok()) << "as a checksum or a payload that is none";
  references = contexts.references.blocks;
  references[0].values = references[0].values.slice(0, 60);
  EXPECT_CODE(this->restore(codec, blocks, shape, references), ErrorCode::corrupt);
  const KvCache other = test::random_cache(shape, Contexts::source_tokens, 77);
  references[0].values = other.view();
  EXPECT_FALSE(this->restore(codec, blocks, shape, references).ok());
  const KvCache differs = test::random_cache(test::shape_of(3, 1, 16, DType::bf16), Contexts::source_tokens, 77);
  references[0].values = differs.view();
  EXPECT_CODE(this->restore(codec, blocks, shape, references), ErrorCode::shape_mismatch);
  // A codec, or a profile, without references.
  const Codec linear = this->codec_of(shape, "linear+ecsq:step=0.125", {.references = true});
  EXPECT_CODE(this->restore(linear, blocks, shape, contexts.references.blocks), ErrorCode::corrupt);

  contexts.references.spans[1].first -= 10;
  EXPECT_CODE(encode(this->space, codec, contexts.cache.view(), contexts.ids, 0, block_tokens, contexts.references),
              ErrorCode::invalid_argument);
}

TYPED_TEST(Reference, ProfilesWithoutItCodeAsLinear) {
  const KvShape shape = test::shape_of(3, 2, 16, DType::bf16);
  const Contexts contexts(shape);
  const Codec codec = this->codec_for(shape, {});
  EXPECT_FALSE(codec.uses_references());
  const auto blocks = this->code(this->space, codec, contexts);
  const Codec linear = this->codec_of(shape, "linear+ecsq:step=0.125");
  EXPECT_EQ(value_of(encode(this->space, linear, contexts.cache.view(), contexts.ids, 0, block_tokens)), blocks);
  // Nor do references that have no use change a byte.
  const Codec with = this->codec_for(shape);
  EXPECT_EQ(value_of(encode(this->space, with, contexts.cache.view(), contexts.ids, 0, block_tokens)),
            value_of(encode(this->space, this->codec_of(shape, "linear+ecsq:step=0.125", {.references = true}),
                            contexts.cache.view(), contexts.ids, 0, block_tokens)));
}

/// Bare reuse: what has a reference becomes what the other context has, but for the first tokens of a span.
TYPED_TEST(Reference, ReusedAsItIs) {
  const KvShape shape = test::shape_of(3, 2, 16, DType::f32);
  constexpr float difference = 2.0F;
  Contexts contexts(shape, difference);
  const Contexts as_there(shape, 0.0F);
  const Codec codec = this->codec_of(shape, "ref:recode=40+ecsq:step=0.125", {.references = true});
  ASSERT_TRUE(codec.uses_references());
  // 100 tokens from 20 on, cut as a store may cut it; the others are shorter than what is recoded.
  std::vector<ReferenceSpan>& spans = contexts.references.spans;
  spans[0].count = 50;
  spans.insert(spans.begin() + 1, {70, 50, 0, 80, 50});
  const auto blocks = this->code(this->space, codec, contexts);
  EXPECT_LT(bytes_of(blocks), bytes_of(this->code(this->space, this->codec_for(shape), contexts)));
  const KvCache restored = value_of(this->restore(codec, blocks, shape, contexts.references.blocks));
  for (std::size_t i = 0; i < restored.view().tensors.size(); ++i) {
    double own = 0, there = 0, recoded = 0;
    for (std::int64_t k = 0; k < shape.kv_heads * Contexts::tokens * shape.head_dim; ++k) {
      const std::int64_t token = k / shape.head_dim % Contexts::tokens;
      const float x = load_as_float(restored.view().tensors[i], shape.dtype, k);
      const double from_own = std::abs(x - load_as_float(contexts.cache.view().tensors[i], shape.dtype, k));
      if (token < 60 || token >= 120) {
        recoded = std::max(recoded, from_own);
      } else {
        own = std::max(own, from_own);
        there = std::max<double>(there, std::abs(x - load_as_float(as_there.cache.view().tensors[i], shape.dtype, k)));
      }
    }
    EXPECT_LT(recoded, 1.0) << i;
    EXPECT_LT(there, 1.0) << i;
    EXPECT_GT(own, 2 * difference) << i;
  }
}

TYPED_TEST(Reference, HeadsThatCannotBeAreRefused) {
  const KvShape shape = test::shape_of(2, 1, 16, DType::bf16);
  const Contexts contexts(shape);
  const auto blocks = this->code(this->space, this->codec_for(shape), contexts);
  const codec::BlockParts parts = value_of(codec::parse_block(shape, blocks[2]));
  ASSERT_EQ(parts.references.size(), 3U);
  const auto parse_with = [&](const std::vector<BlockReference>& references) {
    codec::BlockWriter writer;
    writer.start({}, 96, TokenSpan(contexts.ids).subspan(96, 48), references, 4);
    for (const auto& payload : parts.subblocks) writer.append(payload);
    return codec::parse_block(shape, writer.finish(parts.decoded_hash)).ok();
  };
  EXPECT_TRUE(parse_with(parts.references));
  auto references = parts.references;
  std::swap(references[0], references[1]);
  EXPECT_FALSE(parse_with(references));
  references = parts.references;
  references[1].count = 7;
  EXPECT_FALSE(parse_with(references)) << "they overlap";
  references[1].count = 0;
  EXPECT_FALSE(parse_with(references));
  references = parts.references;
  references[2].count = 14;
  EXPECT_FALSE(parse_with(references)) << "behind the end";
  references = parts.references;
  references[2].source = 4090;
  EXPECT_FALSE(parse_with(references)) << "no block is that long";
  // More of them than there are bytes.
  CodedBlock block = blocks[2];
  store_le(block.data() + 36, std::uint32_t{4000});
  store_le(block.data(), xxh3_64(std::span<const std::byte>(block).subspan(8)));
  EXPECT_FALSE(codec::parse_block(shape, block).ok());
}

}  // namespace
}  // namespace seqkv
