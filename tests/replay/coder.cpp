// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Caches by replay: those of transformers, whose bits all come back and take few; any others, which take many; and the
// model's own, regenerated from tokens alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "core/bytes.hpp"
#include "replay/difference_coder.hpp"
#include "seqkv/hash.hpp"
#include "seqkv/kv_file.hpp"
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

template <class Space>
class ReplayCoderTest : public testing::Test {
 protected:
  using Options = typename ReplayCoder<Space>::Options;

  Space space;
  std::shared_ptr<const Model<Space>> model = value_of(Model<Space>::load(space, SEQKV_MODEL));
  EngineCache engine;

  static Options options(std::int64_t block_tokens = 256) {
    return {Rounding::transformers_eager(DType::bf16), block_tokens, true};
  }
  ReplayCoder<Space> coder(const Options& wanted) { return value_of(ReplayCoder<Space>::create(space, model, wanted)); }
  Bytes encoded(const Options& wanted, const Hidden& hidden, typename ReplayCoder<Space>::Report* report = nullptr) {
    return value_of(coder(wanted).encode(space, engine.file.tokens(), engine.file.view(), hidden, report));
  }
};
TYPED_TEST_SUITE(ReplayCoderTest, test::Spaces);

TYPED_TEST(ReplayCoderTest, TransformersCachesComeBack) {
  const Bytes expected = bytes_of(this->engine.file.view());
  for (const Hidden& hidden : {this->engine.hidden, Hidden()}) {
    for (const Rounding& rounding :
         {Rounding::transformers_eager(DType::bf16), Rounding::transformers_sdpa(DType::bf16), Rounding::none()}) {
      auto options = this->options(16);
      options.rounding = rounding;
      const Bytes stream = this->encoded(options, hidden);
      // A decoder needs no options.
      const auto session = value_of(this->coder(this->options()).decode(this->space, stream));
      EXPECT_TRUE(std::ranges::equal(session.tokens, this->engine.file.tokens()));
      EXPECT_EQ(bytes_of(session.cache), expected);
    }
  }
}

/// The point of it: with the states a few bits a hundred components, without them a few a component.
TYPED_TEST(ReplayCoderTest, TransformersCachesTakeFewBits) {
  const auto components =
      static_cast<double>(this->engine.file.shape().components_per_token() * std::ssize(this->engine.file.tokens()));
  typename ReplayCoder<TypeParam>::Report report;
  const auto bits = [&](const typename ReplayCoder<TypeParam>::Options& options, const Hidden& hidden) {
    const Bytes stream = this->encoded(options, hidden, &report);
    EXPECT_EQ(report.bytes, std::ssize(stream));
    return 8 * static_cast<double>(stream.size()) / components;
  };
  EXPECT_LT(bits(this->options(), this->engine.hidden), 0.12);
  EXPECT_LT(report.cache_bytes[0] + report.cache_bytes[7], 100);
  EXPECT_LT(bits(this->options(), {}), 0.5);
  auto off = this->options();
  off.rounding = Rounding::none();
  EXPECT_LT(bits(off, {}), 3.7);
}

TYPED_TEST(ReplayCoderTest, SpacesGiveTheSameBytes) {
  const Kokkos::Serial serial;
  auto other =
      value_of(ReplayCoder<Kokkos::Serial>::create(serial, value_of(Model<Kokkos::Serial>::load(serial, SEQKV_MODEL)),
                                                   {Rounding::transformers_eager(DType::bf16), 16, true}));
  for (const Hidden& hidden : {this->engine.hidden, Hidden()}) {
    const Bytes stream = this->encoded(this->options(16), hidden);
    EXPECT_EQ(stream, value_of(other.encode(serial, this->engine.file.tokens(), this->engine.file.view(), hidden)));
    EXPECT_EQ(bytes_of(value_of(other.decode(serial, stream)).cache), bytes_of(this->engine.file.view()));
  }
}

/// The bytes are part of the format.
TYPED_TEST(ReplayCoderTest, GoldenStreams) {
  EXPECT_EQ(xxh3_64(this->encoded(this->options(16), this->engine.hidden)), 4941011038462934167U);
  EXPECT_EQ(xxh3_64(this->encoded(this->options(16), {})), 1935714602558178323U);
}

TYPED_TEST(ReplayCoderTest, AnythingComesBack) {
  unsigned seed = 0;
  for (const auto& family : test::load_families(this->space)) {
    const TokenSpan tokens = family.tokens().first(std::min<std::size_t>(family.tokens().size(), 37));
    for (const DType dtype : {DType::bf16, DType::f16, DType::f32}) {
      auto cache = value_of(KvCache::create(family.model->config().kv_shape(dtype), std::ssize(tokens)));
      const Bytes expected = random_bytes(static_cast<std::size_t>(cache.bytes()), ++seed);
      std::copy(expected.begin(), expected.end(), cache.view().tensors[0]);
      const Bytes states =
          random_bytes(tokens.size() * static_cast<std::size_t>(family.model->config().hidden) * size_of(dtype), seed);
      const Hidden hidden(static_cast<std::size_t>(family.model->config().layers), states);
      for (const bool with_states : {false, true}) {
        auto coder = value_of(ReplayCoder<TypeParam>::create(this->space, family.model,
                                                             {Rounding::transformers_eager(dtype), 16, !with_states}));
        const Bytes stream =
            value_of(coder.encode(this->space, tokens, std::as_const(cache).view(), with_states ? hidden : Hidden()));
        const auto session = value_of(coder.decode(this->space, stream, with_states ? tokens : TokenSpan()));
        ASSERT_TRUE(std::ranges::equal(session.tokens, tokens)) << family.name;
        ASSERT_EQ(bytes_of(session.cache), expected) << family.name << ' ' << to_string(dtype) << with_states;
      }
    }
  }
}

TYPED_TEST(ReplayCoderTest, NoTokensAreASessionToo) {
  const auto cache = value_of(KvCache::create(this->model->config().kv_shape(DType::bf16), 0));
  auto coder = this->coder(this->options());
  const Bytes stream = value_of(coder.encode(this->space, {}, cache.view(), {}));
  EXPECT_EQ(value_of(coder.decode(this->space, stream)).cache.tokens(), 0);
}

TYPED_TEST(ReplayCoderTest, WhateverIsBrokenIsRefused) {
  auto options = this->options(16);
  options.with_tokens = false;
  const TokenSpan tokens = this->engine.file.tokens();
  const Bytes stream = this->encoded(options, this->engine.hidden);
  auto coder = this->coder(options);
  for (std::size_t size = 0; size < stream.size(); size += size < 60 ? 1 : 41) {
    EXPECT_CODE(coder.decode(this->space, std::span(stream).first(size), tokens), ErrorCode::truncated);
  }
  int tried = 0;
  int refused = 0;
  for (std::size_t i = 0; i < stream.size(); i += i < 60 ? 1 : 29) {
    Bytes broken = stream;
    broken[i] ^= std::byte{0x20};
    // The last bits of a payload mean nothing: what comes back then is right.
    const auto result = coder.decode(this->space, broken, tokens);
    ASSERT_TRUE(!result.ok() || bytes_of(result->cache) == bytes_of(this->engine.file.view())) << "byte " << i;
    refused += result.ok() ? 0 : 1;
    ++tried;
  }
  EXPECT_GE(refused, tried - 3);  // one a block
  Bytes longer = stream;
  longer.push_back(std::byte{0});
  EXPECT_CODE(coder.decode(this->space, longer, tokens), ErrorCode::corrupt);
  EXPECT_CODE(coder.decode(this->space, stream), ErrorCode::invalid_argument);
  EXPECT_CODE(coder.decode(this->space, stream, tokens.first(39)), ErrorCode::invalid_argument);
  std::vector<Token> others(tokens.begin(), tokens.end());
  others[20] ^= 1U;
  EXPECT_CODE(coder.decode(this->space, stream, others), ErrorCode::invalid_argument);
  const auto families = test::load_families(this->space);
  auto other = value_of(ReplayCoder<TypeParam>::create(this->space, families[0].model, options));
  EXPECT_CODE(other.decode(this->space, stream, tokens), ErrorCode::wrong_model);
}

TYPED_TEST(ReplayCoderTest, WhatDoesNotFitIsRefused) {
  auto coder = this->coder(this->options());
  const TokenSpan tokens = this->engine.file.tokens();
  const ConstKvView& view = this->engine.file.view();
  EXPECT_CODE(coder.encode(this->space, tokens.first(39), view, {}), ErrorCode::shape_mismatch);
  Hidden hidden = this->engine.hidden;
  hidden[3] = hidden[3].first(hidden[3].size() - 2);
  const auto result = coder.encode(this->space, tokens, view, hidden);
  EXPECT_CODE(result, ErrorCode::shape_mismatch);
  EXPECT_EQ(result.error().field, "layers.3.hidden");
  hidden.pop_back();
  EXPECT_CODE(coder.encode(this->space, tokens, view, hidden), ErrorCode::shape_mismatch);
  EXPECT_CODE(ReplayCoder<TypeParam>::create(this->space, this->model, {Rounding::none(), 0, true}),
              ErrorCode::invalid_argument);
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

/// Differences of every size, whatever is expected.
TEST(DifferenceModel, EveryDifferenceComesBack) {
  for (const DType dtype : {DType::bf16, DType::f16, DType::f32}) {
    std::mt19937 random(3);
    std::vector<std::int32_t> expected, exact;
    constexpr std::size_t channels = 5;
    constexpr std::size_t rows = 400;
    for (std::size_t i = 0; i < channels * rows; ++i) {
      const auto any = [&] {
        return dtype == DType::f32 ? static_cast<std::int32_t>(random()) : static_cast<std::int16_t>(random());
      };
      expected.push_back(any());
      exact.push_back(random() % 3 == 0 ? any() : expected.back());
    }
    const auto run = [&](auto& coder, std::vector<std::int32_t>& numbers) {
      replay::DifferenceModel model(channels, dtype);
      for (std::size_t row = 0; row < rows; ++row) {
        float drift = 1;
        model.code_row(
            coder, expected, numbers, [=](std::size_t channel) { return row * channels + channel; }, drift);
      }
    };
    replay::BitEncoder encoder;
    std::vector<std::int32_t> numbers = exact;
    run(encoder, numbers);
    EXPECT_EQ(numbers, exact);
    const Bytes bytes = std::move(encoder).finish();
    replay::BitDecoder decoder(bytes);
    numbers.assign(exact.size(), 0);
    run(decoder, numbers);
    EXPECT_EQ(numbers, exact) << to_string(dtype);
    EXPECT_TRUE(decoder.at_end());
  }
}

}  // namespace
}  // namespace seqkv
