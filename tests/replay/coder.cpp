// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Caches by replay: those of transformers, whose bits all come back and take few; any others, which take many; and the
// model's own, regenerated from tokens alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "core/bytes.hpp"
#include "seqkv/hash.hpp"
#include "seqkv/kv_file.hpp"
#include "seqkv/profile.hpp"
#include "seqkv/replay.hpp"
#include "support/families.hpp"
#include "support/result.hpp"
#include "support/spaces.hpp"

namespace seqkv {
namespace {

using test::value_of;
using Bytes = std::vector<std::byte>;
using Hidden = std::vector<std::span<const std::byte>>;

/// torch's cache of some tokens, and the states that entered each layer: bench/replay/dump_transformers.py.
struct EngineCache {
  KvFile file = value_of(KvFile::open(SEQKV_TEST_DATA "/docs-7m-transformers-bf16.safetensors"));
  Hidden hidden;

  EngineCache() {
    for (std::int64_t layer = 0; layer < file.shape().layers; ++layer) {
      hidden.push_back(value_of(file.file().tensor("layers." + std::to_string(layer) + ".hidden")).bytes);
    }
  }
};

Bytes bytes_of(const ConstKvView& view) {
  auto plain = value_of(KvCache::create(view.shape, view.tokens));
  value_of(copy(view, plain.view()));
  return {plain.raw().begin(), plain.raw().end()};
}
Bytes bytes_of(const KvCache& cache) { return {cache.raw().begin(), cache.raw().end()}; }

/// Bit patterns of all kinds: not numbers, infinities, both zeros.
Bytes random_bytes(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  Bytes bytes(count);
  for (std::byte& byte : bytes) byte = random() % 5 == 0 ? std::byte{0xff} : static_cast<std::byte>(random());
  return bytes;
}

/// Blocks of a session, one after another.
using Blocks = std::vector<CodedBlock>;

std::size_t size_of(const Blocks& blocks) {
  std::size_t bytes = 0;
  for (const CodedBlock& block : blocks) bytes += block.size();
  return bytes;
}
std::uint64_t hash_of(const Blocks& blocks) {
  std::uint64_t hash = 0;
  for (const CodedBlock& block : blocks) hash = xxh3_64(block, hash);
  return hash;
}

Codec codec_of(const std::string& spec) { return value_of(Codec::parse(spec)); }

/// The rows of states that belong to some tokens.
Hidden rows_of(const Hidden& hidden, std::size_t tokens, std::size_t first, std::size_t count) {
  Hidden out;
  for (const auto& layer : hidden) {
    const std::size_t row = layer.size() / tokens;
    out.push_back(layer.subspan(first * row, count * row));
  }
  return out;
}

template <class Space>
Result<Blocks> encode(const Space& space, ReplayCoder<Space>& coder, TokenSpan tokens, const ConstKvView& cache,
                      const Hidden& hidden, std::size_t block_tokens) {
  Blocks blocks;
  for (std::size_t first = 0; first < tokens.size(); first += block_tokens) {
    const std::size_t count = std::min(block_tokens, tokens.size() - first);
    const auto part = cache.slice(static_cast<std::int64_t>(first), static_cast<std::int64_t>(count));
    auto block = coder.encode(space, tokens.subspan(first, count), part, rows_of(hidden, tokens.size(), first, count));
    if (!block) return std::move(block).error();
    blocks.push_back(std::move(*block));
  }
  return blocks;
}

struct Session {
  std::vector<Token> tokens;
  Bytes cache;
};

template <class Space>
Result<Session> decode(const Space& space, ReplayCoder<Space>& coder, const Blocks& blocks, std::int64_t tokens) {
  Session session;
  KvCache cache;
  for (const CodedBlock& bytes : blocks) {
    const std::int64_t first = coder.position();
    auto block = coder.decode(space, bytes);
    if (!block) return std::move(block).error();
    if (cache.tokens() == 0) cache = value_of(KvCache::create(block->cache.shape, tokens));
    value_of(copy(block->cache, cache.view().slice(first, block->cache.tokens)));
    session.tokens.insert(session.tokens.end(), block->tokens.begin(), block->tokens.end());
  }
  session.cache = bytes_of(cache);
  return session;
}

template <class Space>
class ReplayCoderTest : public testing::Test {
 protected:
  using Coder = ReplayCoder<Space>;

  Space space;
  std::shared_ptr<const Model<Space>> model = value_of(Model<Space>::load(space, SEQKV_MODEL));
  EngineCache engine;
  TokenSpan ids = engine.file.tokens();

  Coder coder(const std::string& spec = "replay+lossless", std::int64_t block_tokens = 256, bool code_tokens = true) {
    return value_of(Coder::create(space, model, codec_of(spec), DType::bf16, {block_tokens, code_tokens}));
  }
  std::vector<Hidden> with_and_without_states() const { return {engine.hidden, Hidden()}; }

  Blocks encoded(const std::string& spec, std::int64_t block_tokens, const Hidden& hidden, bool code_tokens = true) {
    auto with = coder(spec, block_tokens, code_tokens);
    return value_of(encode(space, with, ids, engine.file.view(), hidden, static_cast<std::size_t>(block_tokens)));
  }
  Result<Session> decoded(const Blocks& blocks, const std::string& spec = "replay+lossless", bool code_tokens = true) {
    auto with = coder(spec, 256, code_tokens);
    return decode(space, with, blocks, std::ssize(ids));
  }
};
TYPED_TEST_SUITE(ReplayCoderTest, test::Spaces);

TYPED_TEST(ReplayCoderTest, TransformersCachesComeBack) {
  const Bytes expected = bytes_of(this->engine.file.view());
  for (const Hidden& hidden : this->with_and_without_states()) {
    for (const std::string of : {"engine=eager", "engine=sdpa", "engine=none", "rounding=bf16.21.1"}) {
      for (const bool code_tokens : {true, false}) {
        const std::string spec = "replay+lossless:" + of;
        const auto session = value_of(this->decoded(this->encoded(spec, 16, hidden, code_tokens), spec, code_tokens));
        EXPECT_TRUE(std::ranges::equal(session.tokens, this->ids));
        EXPECT_EQ(session.cache, expected);
      }
    }
  }
}

/// The point of it: with the states a few bits a hundred components, without them a few a component.
TYPED_TEST(ReplayCoderTest, TransformersCachesTakeFewBits) {
  const auto components = static_cast<double>(this->engine.file.shape().components_per_token() * std::ssize(this->ids));
  const auto bits = [&](const std::string& spec, const Hidden& hidden) {
    auto coder = this->coder(spec);
    const Blocks blocks = value_of(encode(this->space, coder, this->ids, this->engine.file.view(), hidden, 256));
    EXPECT_EQ(coder.report().bytes, std::ssize(blocks[0]));
    EXPECT_EQ(coder.report().tokens, std::ssize(this->ids));
    EXPECT_LT(coder.report().token_bytes, 64);
    return 8 * static_cast<double>(size_of(blocks)) / components;
  };
  EXPECT_LT(bits("replay+lossless:engine=eager", this->engine.hidden), 0.12);
  EXPECT_LT(bits("replay+lossless:engine=eager", {}), 0.5);
  EXPECT_LT(bits("replay+lossless:engine=none", {}), 3.7);
}

TYPED_TEST(ReplayCoderTest, SpacesGiveTheSameBytes) {
  const Kokkos::Serial serial;
  const auto same_model = value_of(Model<Kokkos::Serial>::load(serial, SEQKV_MODEL));
  for (const std::string spec : {"replay", "replay+lossless:engine=eager"}) {
    for (const Hidden& hidden : this->with_and_without_states()) {
      const auto other = [&] {
        return value_of(
            ReplayCoder<Kokkos::Serial>::create(serial, same_model, codec_of(spec), DType::bf16, {16, true}));
      };
      auto encoder = other();
      const Blocks blocks = value_of(encode(serial, encoder, this->ids, this->engine.file.view(), hidden, 16));
      EXPECT_EQ(this->encoded(spec, 16, hidden), blocks);
      auto decoder = other();
      EXPECT_EQ(value_of(decode(serial, decoder, blocks, 40)).cache, value_of(this->decoded(blocks, spec)).cache);
    }
  }
}

/// The bytes are part of the format.
TYPED_TEST(ReplayCoderTest, GoldenBlocks) {
  EXPECT_EQ(hash_of(this->encoded("replay+lossless:engine=eager", 16, this->engine.hidden)), 15266469605657783168U);
  EXPECT_EQ(hash_of(this->encoded("replay+lossless:engine=eager", 16, {})), 10611356819510464663U);
  EXPECT_EQ(hash_of(this->encoded("replay", 16, {})), 2585256805569187424U);
}

TYPED_TEST(ReplayCoderTest, AnythingComesBack) {
  unsigned seed = 0;
  for (const auto& family : test::load_families(this->space)) {
    const TokenSpan tokens = family.tokens().first(std::min<std::size_t>(family.tokens().size(), 37));
    for (const DType dtype : {DType::bf16, DType::f16, DType::f32}) {
      auto cache = value_of(KvCache::create(family.model->config().kv_shape(dtype), std::ssize(tokens)));
      const Bytes expected = random_bytes(static_cast<std::size_t>(cache.bytes()), ++seed);
      std::copy(expected.begin(), expected.end(), cache.view().tensors[0]);
      const Bytes states = random_bytes(
          tokens.size() * static_cast<std::size_t>(family.model->config().hidden) * seqkv::size_of(dtype), seed);
      const Hidden hidden(static_cast<std::size_t>(family.model->config().layers), states);
      for (const bool with_states : {false, true}) {
        const auto coder = [&] {
          return value_of(ReplayCoder<TypeParam>::create(this->space, family.model, codec_of("replay+lossless"), dtype,
                                                         {16, !with_states}));
        };
        auto encoder = coder();
        const Blocks blocks = value_of(
            encode(this->space, encoder, tokens, std::as_const(cache).view(), with_states ? hidden : Hidden(), 16));
        // What no pass expects is stored as it is.
        EXPECT_LT(size_of(blocks), expected.size() + 3 * 400);
        auto decoder = coder();
        const auto session = value_of(decode(this->space, decoder, blocks, std::ssize(tokens)));
        ASSERT_TRUE(std::ranges::equal(session.tokens, tokens)) << family.name;
        ASSERT_EQ(session.cache, expected) << family.name << ' ' << to_string(dtype) << with_states;
      }
    }
  }
}

TYPED_TEST(ReplayCoderTest, WhateverIsBrokenIsRefused) {
  for (const std::string spec : {"replay", "replay+lossless"}) {
    const Blocks blocks = this->encoded(spec, 16, this->engine.hidden);
    const auto try_bytes = [&](const CodedBlock& bytes) {
      auto coder = this->coder(spec);
      value_of(coder.decode(this->space, blocks[0]));
      return coder.decode(this->space, bytes).ok();
    };
    EXPECT_TRUE(try_bytes(blocks[1]));
    for (std::size_t size = 0; size < blocks[1].size(); size += 37) {
      EXPECT_FALSE(try_bytes({blocks[1].begin(), blocks[1].begin() + static_cast<std::ptrdiff_t>(size)}));
    }
    int refused = 0, tried = 0;
    for (std::size_t i = 8; i < blocks[1].size(); i += i < 60 ? 3 : 23) {
      CodedBlock broken = blocks[1];
      broken[i] ^= std::byte{0x20};
      EXPECT_FALSE(try_bytes(broken));
      // With its checksum put right the rest must notice, but for the last bits of a payload, which mean nothing.
      store_le(broken.data(), xxh3_64(std::span<const std::byte>(broken).subspan(8)));
      refused += try_bytes(broken) ? 0 : 1;
      ++tried;
    }
    EXPECT_GE(refused, tried - 2) << spec;
    auto coder = this->coder(spec);
    EXPECT_CODE(coder.decode(this->space, blocks[1]), ErrorCode::corrupt);  // not its place
    auto plain = this->coder(spec, 256, false);
    EXPECT_CODE(plain.decode(this->space, blocks[0]), ErrorCode::corrupt);
    const Blocks in_the_clear = this->encoded(spec, 16, this->engine.hidden, false);
    EXPECT_CODE(this->coder(spec).decode(this->space, in_the_clear[0]), ErrorCode::corrupt);
    auto small = this->coder(spec, 8);
    EXPECT_CODE(small.decode(this->space, blocks[0]), ErrorCode::limit_exceeded);
  }
}

TYPED_TEST(ReplayCoderTest, WhatDoesNotFitIsRefused) {
  const auto result_of = [&](TokenSpan tokens, const ConstKvView& view, const Hidden& hidden) {
    return this->coder().encode(this->space, tokens, view, hidden);
  };
  const ConstKvView& view = this->engine.file.view();
  EXPECT_CODE(result_of(this->ids.first(39), view, {}), ErrorCode::shape_mismatch);
  EXPECT_CODE(result_of({}, view.slice(0, 0), {}), ErrorCode::invalid_argument);
  Hidden hidden = this->engine.hidden;
  hidden[3] = hidden[3].first(hidden[3].size() - 2);
  const auto result = result_of(this->ids, view, hidden);
  EXPECT_CODE(result, ErrorCode::shape_mismatch);
  EXPECT_EQ(result.error().field, "layers.3.hidden");
  hidden.pop_back();
  EXPECT_CODE(result_of(this->ids, view, hidden), ErrorCode::shape_mismatch);
  EXPECT_CODE(this->coder("replay", 16).encode(this->space, this->ids, view), ErrorCode::invalid_argument);
  const auto create = [&](const std::string& spec, std::int64_t block_tokens) {
    return ReplayCoder<TypeParam>::create(this->space, this->model, codec_of(spec), DType::bf16, {block_tokens, true});
  };
  EXPECT_CODE(create("replay", 0), ErrorCode::invalid_argument);
  EXPECT_CODE(create("none+lossless", 16), ErrorCode::invalid_argument);
}

/// Tokens alone bring back what the model's own prefill made, and say of another cache how much they do not.
TYPED_TEST(ReplayCoderTest, ReplayAloneGivesThePrefillsCache) {
  for (const DType dtype : {DType::bf16, DType::f16, DType::f32}) {
    auto forward = value_of(Forward<TypeParam>::create(this->space, this->model, 7));
    auto cache = value_of(KvCache::create(this->model->config().kv_shape(dtype), std::ssize(this->ids)));
    value_of(regenerate(this->space, forward, this->ids, cache.view()));
    for (const bool code_tokens : {true, false}) {
      const auto coder = [&](std::int64_t block_tokens) {
        return value_of(ReplayCoder<TypeParam>::create(this->space, this->model, codec_of("replay"), dtype,
                                                       {block_tokens, code_tokens}));
      };
      auto encoder = coder(16);
      const Blocks blocks = value_of(encode(this->space, encoder, this->ids, std::as_const(cache).view(), {}, 16));
      EXPECT_EQ(encoder.report().different, 0);
      auto decoder = coder(64);
      const auto session = value_of(decode(this->space, decoder, blocks, std::ssize(this->ids)));
      EXPECT_EQ(session.cache, bytes_of(std::as_const(cache).view())) << to_string(dtype);
      EXPECT_TRUE(std::ranges::equal(session.tokens, this->ids));
    }
  }
  auto encoder = this->coder("replay", 256, false);
  const auto block = value_of(encoder.encode(this->space, this->ids, this->engine.file.view()));
  EXPECT_GT(encoder.report().different, 1000);  // torch rounds otherwise
  encoder.rewind(0);
  EXPECT_EQ(value_of(encoder.encode(this->space, this->ids, {})), block);
}

/// The first layers come back as the model makes them, the others in fewer bits than without; every space and every
/// number of threads agrees about it.
TYPED_TEST(ReplayCoderTest, FirstLayersAreRunAgain) {
  const auto profile = value_of(Profile::load(SEQKV_MODEL "/profile.safetensors"));
  auto forward = value_of(Forward<TypeParam>::create(this->space, this->model));
  auto cache = value_of(KvCache::create(this->model->config().kv_shape(DType::bf16), std::ssize(this->ids)));
  value_of(regenerate(this->space, forward, this->ids, cache.view()));
  const ConstKvView exact = std::as_const(cache).view();
  const Kokkos::Serial serial;
  const auto same_model = value_of(Model<Kokkos::Serial>::load(serial, SEQKV_MODEL));
  std::size_t last = static_cast<std::size_t>(cache.bytes());
  for (const std::int64_t layers : {1, 4, 6}) {
    for (const std::string quantizer : {"ecsq:step=1", "turboquant:3"}) {
      const auto codec = value_of(codec_of("replay:" + std::to_string(layers) + "+" + quantizer).with_profile(profile));
      const auto coder = [&] {
        return value_of(ReplayCoder<TypeParam>::create(this->space, this->model, codec, DType::bf16, {16, true}));
      };
      auto encoder = coder();
      const Blocks blocks = value_of(encode(this->space, encoder, this->ids, exact, {}, 16));
      auto decoder = coder();
      const auto session = value_of(decode(this->space, decoder, blocks, std::ssize(this->ids)));
      EXPECT_TRUE(std::ranges::equal(session.tokens, this->ids));
      EXPECT_EQ(encoder.report().different, 0) << layers;
      const auto kept = static_cast<std::ptrdiff_t>(cache.bytes() / 8 * (layers + 1));
      EXPECT_TRUE(std::equal(session.cache.begin(), session.cache.begin() + kept, cache.raw().begin())) << layers;
      EXPECT_FALSE(std::equal(session.cache.begin() + kept, session.cache.end(), cache.raw().begin() + kept));
      if (quantizer == "ecsq:step=1") {
        EXPECT_LT(size_of(blocks), last);
        last = size_of(blocks);
      }
      auto other = value_of(ReplayCoder<Kokkos::Serial>::create(serial, same_model, codec, DType::bf16, {16, true}));
      EXPECT_EQ(value_of(decode(serial, other, blocks, std::ssize(this->ids))).cache, session.cache);
      CodedBlock with_payload = blocks[0];
      with_payload[40] = std::byte{8};  // bytes of the first sub-block
      store_le(with_payload.data(), xxh3_64(std::span<const std::byte>(with_payload).subspan(8)));
      EXPECT_CODE(coder().decode(this->space, with_payload), ErrorCode::corrupt);
    }
  }
  const auto create = [&](const Codec& codec) {
    return ReplayCoder<TypeParam>::create(this->space, this->model, codec, DType::bf16, {16, true});
  };
  EXPECT_CODE(create(codec_of("replay:2+ecsq:step=1")), ErrorCode::invalid_argument);  // no profile
  EXPECT_CODE(create(value_of(codec_of("replay:7+ecsq:step=1").with_profile(profile))), ErrorCode::invalid_argument);
}

TYPED_TEST(ReplayCoderTest, RegeneratesWhatPrefillMade) {
  const auto golden = value_of(KvFile::open(SEQKV_TEST_DATA "/docs-7m-golden.safetensors"));
  const TokenSpan tokens = golden.tokens();
  auto tokens_only = value_of(ModelTokenCoder<TypeParam>::create(this->space, this->model));
  const Bytes stream = value_of(tokens_only.encode(this->space, {&tokens, 1}));
  const auto restored = value_of(tokens_only.decode(this->space, stream))[0];
  for (const DType dtype : {DType::bf16, DType::f16, DType::f32}) {
    // What prefill makes, in uneven steps.
    auto prefill = value_of(Forward<TypeParam>::create(this->space, this->model, 7));
    Sequence<TypeParam> sequence(this->model->config());
    for (std::size_t first = 0; first < tokens.size(); first += 50) {
      const typename Forward<TypeParam>::Item item{
          &sequence, tokens.subspan(first, std::min<std::size_t>(50, tokens.size() - first)), 0};
      value_of(prefill.run(this->space, {&item, 1}));
    }
    auto expected = value_of(KvCache::create(this->model->config().kv_shape(dtype), std::ssize(tokens)));
    value_of(sequence.read(this->space, 0, expected.view()));

    for (const std::int64_t chunk : {1, 64, 256}) {
      auto forward = value_of(Forward<TypeParam>::create(this->space, this->model, chunk));
      auto cache = value_of(KvCache::create(this->model->config().kv_shape(dtype), std::ssize(restored)));
      value_of(regenerate(this->space, forward, restored, cache.view()));
      EXPECT_EQ(bytes_of(cache), bytes_of(expected)) << to_string(dtype) << ' ' << chunk;
    }
    auto forward = value_of(Forward<TypeParam>::create(this->space, this->model));
    EXPECT_CODE(regenerate(this->space, forward, tokens.first(3), expected.view()), ErrorCode::shape_mismatch);
  }
}

}  // namespace
}  // namespace seqkv
