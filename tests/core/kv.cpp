// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Caches on the host: limits before memory, layout, slices, and copies between any strides and dtypes.
#include "seqkv/kv.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "core/float16.hpp"
#include "seqkv/limits.hpp"
#include "support/result.hpp"

namespace seqkv {
namespace {

using test::value_of;

constexpr KvShape small{3, 2, 4, {}, DType::f32};

/// A number that tells where it stands, exact in bf16.
float mark(std::int64_t tensor, std::int64_t head, std::int64_t token, std::int64_t component) {
  return static_cast<float>(((tensor * 2 + head) * 5 + token) * 4 + component) - 60.0F;
}

std::int64_t place(const KvStrides& strides, std::int64_t head, std::int64_t token, std::int64_t component) {
  return head * strides.head + token * strides.token + component * strides.component;
}

template <class Visit>
void for_each_component(const KvShape& shape, std::int64_t tokens, const Visit& visit) {
  for (std::int64_t tensor = 0; tensor < 2 * shape.layers; ++tensor) {
    for (std::int64_t head = 0; head < shape.kv_heads; ++head) {
      for (std::int64_t token = 0; token < tokens; ++token) {
        for (std::int64_t component = 0; component < shape.head_dim; ++component) visit(tensor, head, token, component);
      }
    }
  }
}

void fill_with_marks(const KvView& view) {
  for_each_component(view.shape, view.tokens, [&view](std::int64_t t, std::int64_t h, std::int64_t i, std::int64_t c) {
    store_from_float(view.tensors[t], view.shape.dtype, place(view.strides[t % 2], h, i, c), mark(t, h, i, c));
  });
}

void expect_marks(const ConstKvView& view, std::int64_t first = 0) {
  for_each_component(view.shape, view.tokens, [&](std::int64_t t, std::int64_t h, std::int64_t i, std::int64_t c) {
    ASSERT_EQ(load_as_float(view.tensors[t], view.shape.dtype, place(view.strides[t % 2], h, i, c)),
              mark(t, h, first + i, c));
  });
}

/// Memory of its own for a view of any strides; what lies between the numbers is 0x7f bytes.
struct Strided {
  std::vector<std::vector<std::byte>> memory;
  KvView view;

  Strided(const KvShape& shape, std::int64_t tokens, const KvStrides& keys, const KvStrides& values) {
    view = {shape, tokens, {}, {keys, values}, MemorySpace::host};
    for (std::int64_t t = 0; t < 2 * shape.layers; ++t) {
      const std::int64_t last = place(view.strides[t % 2], shape.kv_heads - 1, tokens - 1, shape.head_dim - 1);
      memory.emplace_back((last + 1) * size_of(shape.dtype), std::byte{0x7f});
      view.tensors.push_back(memory.back().data());
    }
  }
};

// ---- KvShape ----------------------------------------------------------------------------------------------

TEST(KvShape, CountsKeysAndValues) {
  EXPECT_EQ(small.components_per_token(), 2 * 3 * 2 * 4);
  EXPECT_EQ(small.describe(), "3 layers x 2 KV heads x 4 (f32)");
}

TEST(KvShape, AcceptsItsLimits) {
  EXPECT_OK((KvShape{1, 1, 1, {}, DType::bf16}.check()));
  EXPECT_OK((KvShape{limits::max_layers, limits::max_kv_heads, limits::max_head_dim, {}, DType::f32}.check()));
}

TEST(KvShape, RefusesWhatIsBeyondThem) {
  EXPECT_CODE((KvShape{0, 1, 1, {}, DType::bf16}.check()), ErrorCode::invalid_argument);
  EXPECT_CODE((KvShape{1, -1, 1, {}, DType::bf16}.check()), ErrorCode::invalid_argument);
  EXPECT_CODE((KvShape{1, 1, 0, {}, DType::bf16}.check()), ErrorCode::invalid_argument);
  EXPECT_CODE((KvShape{limits::max_layers + 1, 1, 1, {}, DType::bf16}.check()), ErrorCode::limit_exceeded);
  EXPECT_CODE((KvShape{1, limits::max_kv_heads + 1, 1, {}, DType::bf16}.check()), ErrorCode::limit_exceeded);
  EXPECT_CODE((KvShape{1, 1, limits::max_head_dim + 1, {}, DType::bf16}.check()), ErrorCode::limit_exceeded);
  EXPECT_CODE((KvShape{INT64_MAX, INT64_MAX, INT64_MAX, {}, DType::bf16}.check()), ErrorCode::limit_exceeded);
}

TEST(KvShape, RefusesARotationThatCannotBe) {
  const auto check = [](const RopeConfig& rope) { return KvShape{1, 1, 64, rope, DType::bf16}.check(); };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_OK((check({10000, RopeScaling::llama3, 8, 1, 4, 8192, 64})));
  for (std::int64_t dim : {-2, 63, 66}) {
    EXPECT_CODE((check({10000, RopeScaling::none, 1, 1, 4, 8192, dim})), ErrorCode::invalid_argument);
  }
  for (double bad : {0.0, -1.0, nan, infinity}) {
    SCOPED_TRACE(bad);
    EXPECT_CODE((check({bad, RopeScaling::none, 1, 1, 4, 8192, 64})), ErrorCode::invalid_argument);
    EXPECT_CODE((check({10000, RopeScaling::linear, bad, 1, 4, 8192, 64})), ErrorCode::invalid_argument);
    EXPECT_CODE((check({10000, RopeScaling::llama3, 8, bad, 4, 8192, 64})), ErrorCode::invalid_argument);
    EXPECT_CODE((check({10000, RopeScaling::llama3, 8, 1, bad, 8192, 64})), ErrorCode::invalid_argument);
  }
  EXPECT_CODE((check({10000, RopeScaling::llama3, 8, 4, 4, 8192, 64})), ErrorCode::invalid_argument);
  EXPECT_CODE((check({10000, RopeScaling::llama3, 8, 1, 4, 0, 64})), ErrorCode::invalid_argument);
}

// ---- KvCache ----------------------------------------------------------------------------------------------

TEST(KvCache, IsZeroAlignedAndInTheStatedOrder) {
  KvCache cache = value_of(KvCache::create(small, 5));
  EXPECT_EQ(cache.tokens(), 5);
  EXPECT_EQ(cache.components(), 5 * small.components_per_token());
  EXPECT_EQ(cache.bytes(), cache.components() * 4);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(cache.raw().data()) % 64, 0U);
  for (std::byte b : cache.raw()) ASSERT_EQ(b, std::byte{0});

  fill_with_marks(cache.view());
  const auto* numbers = reinterpret_cast<const float*>(cache.raw().data());
  for_each_component(small, 5, [&numbers](std::int64_t t, std::int64_t h, std::int64_t i, std::int64_t c) {
    ASSERT_EQ(*numbers++, mark(t, h, i, c));
  });
  EXPECT_EQ(cache.view().tensor(1, Kind::value), cache.view().tensors[3]);
}

TEST(KvCache, KeepsItsMemoryWhenMoved) {
  KvCache first = value_of(KvCache::create(small, 5));
  fill_with_marks(first.view());
  KvCache second = std::move(first);
  KvCache third;
  third = std::move(second);
  expect_marks(third.view());
}

TEST(KvCache, OfNoTokens) {
  KvCache cache = value_of(KvCache::create(small, 0));
  EXPECT_EQ(cache.bytes(), 0);
  EXPECT_TRUE(cache.raw().empty());
  EXPECT_EQ(cache.view().tensors.size(), 6U);
}

TEST(KvCache, RefusesSizesBeforeItAllocates) {
  const KvShape largest{limits::max_layers, limits::max_kv_heads, limits::max_head_dim, {}, DType::f32};
  EXPECT_CODE(KvCache::create(small, -1), ErrorCode::invalid_argument);
  EXPECT_CODE(KvCache::create(small, limits::max_tokens + 1), ErrorCode::limit_exceeded);
  EXPECT_CODE((KvCache::create(KvShape{0, 1, 1, {}, DType::f32}, 1)), ErrorCode::invalid_argument);
  // 2^32 bytes a token times 2^31 tokens is one bit more than a size has.
  EXPECT_CODE(KvCache::create(largest, limits::max_tokens), ErrorCode::limit_exceeded);
}

// ---- slices -----------------------------------------------------------------------------------------------

TEST(KvView, SlicesAlongTheTokens) {
  KvCache cache = value_of(KvCache::create(small, 5));
  fill_with_marks(cache.view());
  for (std::int64_t first = 0; first <= 5; ++first) {
    for (std::int64_t count = 0; first + count <= 5; ++count) {
      const ConstKvView part = cache.view().slice(first, count);
      EXPECT_EQ(part.tokens, count);
      expect_marks(part, first);
    }
  }
}

TEST(KvView, SlicesKeysAndValuesByTheirOwnStrides) {
  Strided strided({3, 2, 4, {}, DType::f16}, 5, {20, 4, 1}, {4, 8, 1});  // values [tokens][heads][dim]
  fill_with_marks(strided.view);
  expect_marks(strided.view.slice(2, 3), 2);
}

// ---- copies -----------------------------------------------------------------------------------------------

struct Layout {
  const char* name;
  KvStrides keys, values;
};

constexpr Layout layouts[] = {
    {"contiguous", {20, 4, 1}, {20, 4, 1}},     {"token_major", {4, 8, 1}, {4, 8, 1}},
    {"padded_rows", {35, 7, 1}, {35, 7, 1}},    {"component_major", {20, 1, 5}, {20, 1, 5}},
    {"keys_transposed", {20, 1, 5}, {4, 8, 1}},
};

TEST(KvCopy, BetweenAllLayoutsAndDtypes) {
  for (const Layout& a : layouts) {
    for (const Layout& b : layouts) {
      for (DType from_dtype : {DType::bf16, DType::f16, DType::f32}) {
        for (DType to_dtype : {DType::bf16, DType::f16, DType::f32}) {
          SCOPED_TRACE(std::string(a.name) + " to " + b.name);
          Strided from({3, 2, 4, {}, from_dtype}, 5, a.keys, a.values);
          Strided to({3, 2, 4, {}, to_dtype}, 5, b.keys, b.values);
          fill_with_marks(from.view);
          EXPECT_OK(copy(from.view, to.view));
          expect_marks(to.view);
        }
      }
    }
  }
}

TEST(KvCopy, WritesNothingBetweenTheRows) {
  Strided from(small, 5, {20, 4, 1}, {20, 4, 1});
  Strided to(small, 5, {35, 7, 1}, {35, 7, 1});
  EXPECT_OK(copy(from.view, to.view));
  for (const auto& memory : to.memory) {
    for (std::size_t i = 0; i < memory.size() / 4; ++i) {
      if (i % 7 >= 4) {
        EXPECT_EQ(memory[4 * i], std::byte{0x7f}) << i;
      }
    }
  }
}

TEST(KvCopy, RoundsToNearestEvenAndKeepsNotANumber) {
  const KvShape wide{1, 1, 4, {}, DType::f32};
  KvShape narrow = wide;
  narrow.dtype = DType::bf16;
  KvCache from = value_of(KvCache::create(wide, 1));
  const float middle = 1.0F + 0x1p-8F;  // between 1 and the next bf16
  const std::vector<float> numbers = {middle, middle + 0x1p-7F, std::nanf(""), -std::numeric_limits<float>::max()};
  std::memcpy(from.view().tensor(0, Kind::key), numbers.data(), 16);
  KvCache to = value_of(KvCache::create(narrow, 1));
  EXPECT_OK(copy(from.view(), to.view()));
  const auto got = [&to](std::int64_t i) { return load_as_float(to.view().tensor(0, Kind::key), DType::bf16, i); };
  EXPECT_EQ(got(0), 1.0F);
  EXPECT_EQ(got(1), 1.0F + 0x1p-6F);
  EXPECT_TRUE(std::isnan(got(2)));
  EXPECT_EQ(got(3), -std::numeric_limits<float>::infinity());
}

TEST(KvCopy, RefusesShapesThatDiffer) {
  KvCache from = value_of(KvCache::create(small, 5));
  for (const auto& [shape, tokens] : std::vector<std::pair<KvShape, std::int64_t>>{{{2, 2, 4, {}, DType::f32}, 5},
                                                                                   {{3, 1, 4, {}, DType::f32}, 5},
                                                                                   {{3, 2, 2, {}, DType::f32}, 5},
                                                                                   {small, 4}}) {
    KvCache to = value_of(KvCache::create(shape, tokens));
    EXPECT_CODE(copy(from.view(), to.view()), ErrorCode::shape_mismatch);
  }
}

TEST(KvCopy, RefusesDeviceMemoryAndMissingTensors) {
  KvCache cache = value_of(KvCache::create(small, 5));
  KvView device = cache.view();
  device.memory = MemorySpace::device;
  EXPECT_CODE(copy(cache.view(), device), ErrorCode::invalid_argument);
  EXPECT_CODE(copy(device, cache.view()), ErrorCode::invalid_argument);
  KvView short_of_one = cache.view();
  short_of_one.tensors.pop_back();
  EXPECT_CODE(copy(cache.view(), short_of_one), ErrorCode::invalid_argument);
}

TEST(KvCopy, OfNoTokensTouchesNothing) {
  KvCache from = value_of(KvCache::create(small, 5));
  Strided to(small, 5, {20, 4, 1}, {20, 4, 1});
  EXPECT_OK(copy(from.view().slice(5, 0), to.view.slice(0, 0)));
  EXPECT_EQ(to.memory[0][0], std::byte{0x7f});
}

}  // namespace
}  // namespace seqkv
