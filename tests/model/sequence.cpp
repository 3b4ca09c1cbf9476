// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Sequences: what is read out of them, put back, cut off and grown keeps its bits, in any strides and dtypes.
// And what Forward refuses, before a sequence has changed.
#include <algorithm>
#include <functional>
#include <vector>

#include "seqkv/kv_file.hpp"
#include "support/caches.hpp"
#include "support/runs.hpp"
#include "support/spaces.hpp"

namespace seqkv {
namespace {

using test::error_of;
using test::run_on;
using test::same_bytes;
using test::value_of;

template <class Space>
class SequenceTest : public testing::Test {
 protected:
  // 2 layers, 2 KV heads of 24, whose values are padded to 32 in memory; 128 positions.
  Space space;
  std::shared_ptr<const Model<Space>> model = value_of(Model<Space>::load(space, SEQKV_TEST_DATA "/families/qwen3"));
  KvFile golden = value_of(KvFile::open(SEQKV_TEST_DATA "/families/qwen3/golden.safetensors"));
  TokenSpan tokens = golden.tokens();  // 70

  Sequence<Space> prefilled(std::int64_t count) {
    Sequence<Space> sequence(model->config());
    run_on(space, model, {&sequence}, {tokens.first(count)}, 256, 0);
    return sequence;
  }
  KvCache read(const Sequence<Space>& sequence, DType dtype = DType::f32) {
    KvCache cache = value_of(KvCache::create(model->config().kv_shape(dtype), sequence.tokens()));
    value_of(sequence.read(space, 0, cache.view()));
    return cache;
  }
  ErrorCode refusal(std::initializer_list<typename Forward<Space>::Item> items,
                    typename Forward<Space>::Output* output) {
    auto forward = value_of(Forward<Space>::create(space, model));
    return error_of(forward.run(space, items, output)).code;
  }
};
TYPED_TEST_SUITE(SequenceTest, test::Spaces);

/// Memory for a cache in which token goes before head, components are two apart and every tensor has a margin.
struct Strided {
  KvView view;
  std::vector<float> memory;

  Strided(const KvShape& shape, std::int64_t tokens, float fill) {
    view.shape = shape;
    view.tokens = tokens;
    const std::int64_t row = 2 * shape.head_dim + 3;
    const std::int64_t per_tensor = tokens * shape.kv_heads * row + 5;
    memory.assign(static_cast<std::size_t>(2 * shape.layers * per_tensor), fill);
    for (std::int64_t i = 0; i < 2 * shape.layers; ++i) {
      view.tensors.push_back(reinterpret_cast<std::byte*>(memory.data() + i * per_tensor + 5));
    }
    view.strides.fill({row, shape.kv_heads * row, 2});
  }
};

TYPED_TEST(SequenceTest, TruncateThenAppendGivesTheSameBits) {
  auto sequence = this->prefilled(70);
  const KvCache whole = this->read(sequence);
  // From inside a tile of 64, from its edge, and from nothing.
  for (std::int64_t kept : {33, 64, 65, 0}) {
    sequence.truncate(kept);
    ASSERT_EQ(sequence.tokens(), kept);
    ASSERT_OK(sequence.append(this->space, whole.view().slice(kept, 70 - kept)));
    ASSERT_EQ(sequence.tokens(), 70);
    EXPECT_TRUE(same_bytes(this->read(sequence), whole)) << kept;
  }
}

TYPED_TEST(SequenceTest, GoesOnFromAnAppendedCache) {
  auto original = this->prefilled(66);
  Sequence<TypeParam> copied(this->model->config());
  const KvCache cache = this->read(original);
  ASSERT_OK(copied.append(this->space, cache.view()));
  const TokenSpan rest = this->tokens.subspan(66);
  const auto a = run_on(this->space, this->model, {&original}, {rest}, 256, 4);
  const auto b = run_on(this->space, this->model, {&copied}, {rest}, 256, 4);
  EXPECT_TRUE(a[0] == b[0]);
}

TYPED_TEST(SequenceTest, TruncateStaysInside) {
  auto sequence = this->prefilled(10);
  sequence.truncate(1000);
  EXPECT_EQ(sequence.tokens(), 10);
  sequence.truncate(-1);
  EXPECT_EQ(sequence.tokens(), 0);
}

TYPED_TEST(SequenceTest, GrowsWithoutChangingWhatItHolds) {
  auto sequence = this->prefilled(70);
  const KvCache whole = this->read(sequence);
  for (std::int64_t room : {1, 129, 200, 1000}) {
    ASSERT_OK(sequence.reserve(this->space, room));
    EXPECT_TRUE(same_bytes(this->read(sequence), whole)) << room;
  }
  // Token by token into a new one, which grows on its way.
  Sequence<TypeParam> grown(this->model->config());
  for (std::int64_t t = 0; t < 70; ++t) ASSERT_OK(grown.append(this->space, whole.view().slice(t, 1)));
  EXPECT_TRUE(same_bytes(this->read(grown), whole));
}

TYPED_TEST(SequenceTest, ReadsAndAppendsInAnyStrides) {
  const auto sequence = this->prefilled(70);
  const KvCache whole = this->read(sequence);
  Strided strided(whole.shape(), 37, -7.0F);
  ASSERT_OK(sequence.read(this->space, 30, strided.view));

  // Exactly the components are written: what lies between them keeps its fill.
  Strided expected(whole.shape(), 37, -7.0F);
  ASSERT_OK(copy(whole.view().slice(30, 37), expected.view));
  EXPECT_TRUE(strided.memory == expected.memory);

  auto again = this->prefilled(30);
  ASSERT_OK(again.append(this->space, strided.view));
  ASSERT_OK(again.append(this->space, whole.view().slice(67, 3)));
  EXPECT_TRUE(same_bytes(this->read(again), whole));
}

TYPED_TEST(SequenceTest, RoundsToTheDtypeOfTheView) {
  const auto sequence = this->prefilled(70);
  const KvCache exact = this->read(sequence);
  for (DType dtype : {DType::bf16, DType::f16}) {
    const KvCache rounded = this->read(sequence, dtype);
    KvCache expected = value_of(KvCache::create(rounded.shape(), 70));
    ASSERT_OK(copy(exact.view(), expected.view()));
    EXPECT_TRUE(same_bytes(rounded, expected)) << to_string(dtype);
    // And back: what was rounded once stays as it is.
    Sequence<TypeParam> restored(this->model->config());
    ASSERT_OK(restored.append(this->space, rounded.view()));
    EXPECT_TRUE(same_bytes(this->read(restored, dtype), rounded)) << to_string(dtype);
  }
}

TYPED_TEST(SequenceTest, RefusesWhatDoesNotFit) {
  auto sequence = this->prefilled(10);
  KvCache cache = value_of(KvCache::create(this->model->config().kv_shape(DType::f32), 8));
  EXPECT_CODE(sequence.read(this->space, 3, cache.view()), ErrorCode::invalid_argument);
  EXPECT_CODE(sequence.read(this->space, -1, cache.view()), ErrorCode::invalid_argument);
  for (const std::function<void(KvShape&)>& change :
       std::vector<std::function<void(KvShape&)>>{[](KvShape& s) { s.layers += 1; }, [](KvShape& s) { s.kv_heads = 1; },
                                                  [](KvShape& s) { s.head_dim = 26; }}) {
    KvShape shape = cache.shape();
    change(shape);
    KvCache other = value_of(KvCache::create(shape, 8));
    EXPECT_CODE(sequence.read(this->space, 0, other.view()), ErrorCode::shape_mismatch);
    EXPECT_CODE(sequence.append(this->space, other.view()), ErrorCode::shape_mismatch);
  }
  // The first layers can be read, not appended.
  KvShape fewer = cache.shape();
  fewer.layers = 1;
  KvCache first = value_of(KvCache::create(fewer, 8));
  value_of(sequence.read(this->space, 0, cache.view()));
  value_of(sequence.read(this->space, 0, first.view()));
  EXPECT_TRUE(std::ranges::equal(first.raw(), cache.raw().first(first.raw().size())));
  EXPECT_CODE(sequence.append(this->space, first.view()), ErrorCode::shape_mismatch);
  KvView elsewhere = cache.view();
  elsewhere.memory = MemorySpace::device;
  EXPECT_CODE(sequence.read(this->space, 0, elsewhere), ErrorCode::invalid_argument);
  EXPECT_CODE(sequence.append(this->space, elsewhere), ErrorCode::invalid_argument);
  KvView incomplete = cache.view();
  incomplete.tensors.pop_back();
  EXPECT_CODE(sequence.read(this->space, 0, incomplete), ErrorCode::invalid_argument);
  EXPECT_CODE(sequence.append(this->space, incomplete), ErrorCode::invalid_argument);
  EXPECT_EQ(sequence.tokens(), 10);
}

TYPED_TEST(SequenceTest, ForwardRefusesASequenceOfAnotherShape) {
  ModelConfig config = this->model->config();
  config.layers += 1;
  Sequence<TypeParam> other(config);
  EXPECT_EQ(this->refusal({{&other, this->tokens, 0}}, nullptr), ErrorCode::shape_mismatch);
}

// ---- Forward ----------------------------------------------------------------------------------------------

TYPED_TEST(SequenceTest, ForwardTakesReasonableChunksOnly) {
  for (std::int64_t chunk : {-1, 0, 65537}) {
    EXPECT_CODE(Forward<TypeParam>::create(this->space, this->model, chunk), ErrorCode::invalid_argument);
  }
}

TYPED_TEST(SequenceTest, ForwardRefusesBeforeAnySequenceChanges) {
  auto first = this->prefilled(5);
  auto second = this->prefilled(7);
  const KvCache before = this->read(first);
  typename Forward<TypeParam>::Output output;
  const TokenSpan some = this->tokens.first(6);
  const typename Forward<TypeParam>::Item good{&first, some, 0};

  std::vector<Token> unknown(some.begin(), some.end());
  unknown[4] = 300;
  EXPECT_EQ(this->refusal({good, {&second, unknown, 0}}, nullptr), ErrorCode::token_out_of_range);
  const std::vector<Token> too_many(122, 0);
  EXPECT_EQ(this->refusal({good, {&second, too_many, 0}}, nullptr), ErrorCode::limit_exceeded);
  EXPECT_EQ(this->refusal({good, good}, nullptr), ErrorCode::invalid_argument);
  EXPECT_EQ(this->refusal({good, {nullptr, some, 0}}, nullptr), ErrorCode::invalid_argument);
  EXPECT_EQ(this->refusal({good, {&second, some, 7}}, &output), ErrorCode::invalid_argument);
  EXPECT_EQ(this->refusal({good, {&second, some, -1}}, &output), ErrorCode::invalid_argument);
  EXPECT_EQ(this->refusal({good, {&second, some, 1}}, nullptr), ErrorCode::invalid_argument);

  EXPECT_EQ(first.tokens(), 5);
  EXPECT_EQ(second.tokens(), 7);
  EXPECT_TRUE(same_bytes(this->read(first), before));
}

TYPED_TEST(SequenceTest, ForwardNamesTheTokenThatIsNotOne) {
  auto forward = value_of(Forward<TypeParam>::create(this->space, this->model));
  Sequence<TypeParam> sequence(this->model->config());
  const std::vector<Token> unknown = {1, 2, 299, 4000000000U};
  const typename Forward<TypeParam>::Item item{&sequence, unknown, 0};
  const Error error = error_of(forward.run(this->space, {&item, 1}));
  EXPECT_EQ(error.message, "token 3 is 4000000000, the vocabulary has 300");
}

TYPED_TEST(SequenceTest, ForwardFillsTheLastPosition) {
  auto sequence = this->prefilled(7);
  const std::vector<Token> to_the_end(121, 0);
  run_on(this->space, this->model, {&sequence}, {to_the_end}, 50, 1);
  EXPECT_EQ(sequence.tokens(), 128);
}

TYPED_TEST(SequenceTest, ForwardTakesNothing) {
  auto forward = value_of(Forward<TypeParam>::create(this->space, this->model));
  EXPECT_OK(forward.run(this->space, {}));
  auto sequence = this->prefilled(5);
  const typename Forward<TypeParam>::Item item{&sequence, {}, 0};
  EXPECT_OK(forward.run(this->space, {&item, 1}));
  EXPECT_EQ(sequence.tokens(), 5);
}

TYPED_TEST(SequenceTest, AnOutputIsUsedAgain) {
  auto forward = value_of(Forward<TypeParam>::create(this->space, this->model));
  const test::Outcome expected = test::run_alone(this->space, this->model, this->tokens, 256, 3);
  typename Forward<TypeParam>::Output output;
  for (std::int64_t rows : {1, 70, 3}) {
    Sequence<TypeParam> sequence(this->model->config());
    const typename Forward<TypeParam>::Item item{&sequence, this->tokens, rows};
    ASSERT_OK(forward.run(this->space, {&item, 1}, &output));
  }
  ASSERT_GE(output.logits.extent(0), 3U);
  const auto host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), output.logits);
  EXPECT_TRUE(test::rows_of(host, 0, 3) == expected.logits);
}

}  // namespace
}  // namespace seqkv
