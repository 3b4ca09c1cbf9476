// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Caches in the memory of the execution space are coded and restored as those of the host are: the same blocks, the
// same bits. On a build without devices the default space is one of the host, which refuses them.
#include <gtest/gtest.h>

#include <Kokkos_Core.hpp>

#include "core/mirrored.hpp"
#include "seqkv/codec.hpp"
#include "support/caches.hpp"
#include "support/files.hpp"
#include "support/profiles.hpp"
#include "support/result.hpp"

namespace seqkv {
namespace {

using Space = Kokkos::DefaultExecutionSpace;
using test::value_of;

/// [tokens][heads][dim], as engines have it, in memory of the space.
struct DeviceCache {
  Kokkos::View<std::byte*, Space::memory_space> memory;
  KvView view;

  DeviceCache(const KvShape& shape, std::int64_t tokens)
      : memory("cache", static_cast<std::size_t>(tokens * shape.components_per_token()) * size_of(shape.dtype)),
        view{shape, tokens, {}, {}, MemorySpace::device} {
    const std::int64_t width = shape.kv_heads * shape.head_dim;
    view.strides.fill({shape.head_dim, width, 1});
    for (std::int64_t i = 0; i < 2 * shape.layers; ++i) {
      view.tensors.push_back(memory.data() + i * tokens * width * static_cast<std::int64_t>(size_of(shape.dtype)));
    }
  }
};

class DeviceViews : public testing::TestWithParam<const char*> {
 protected:
  test::ScratchFolder scratch;
  static constexpr std::int64_t tokens = 150;
  static constexpr std::int64_t block_tokens = 64;
};

TEST_P(DeviceViews, AreCodedAsThoseOfTheHost) {
  const KvShape shape = test::shape_of(3, 2, 32, DType::bf16);
  Codec codec = value_of(Codec::parse(GetParam()));
  if (codec.needs_profile()) {
    const auto path = test::made_up_profile(shape, {}).write(scratch.path() / "profile");
    codec = value_of(codec.with_profile(value_of(Profile::load(path))));
  }
  const std::vector<Token> ids = test::random_tokens(tokens, 1, 50);
  const KvCache host = test::random_cache(shape, tokens, 2);
  const DeviceCache device(shape, tokens);
  const Space space;
  if constexpr (is_host_space<Space>) {
    EXPECT_CODE(encode(space, codec, device.view, ids, 0, block_tokens), ErrorCode::invalid_argument);
    const auto blocks = value_of(encode(space, codec, host.view(), ids, 0, block_tokens));
    const std::vector<CodedBlockView> views(blocks.begin(), blocks.end());
    EXPECT_CODE(decode(space, codec, views, device.view), ErrorCode::invalid_argument);
    EXPECT_CODE(copy(space, host.view(), device.view), ErrorCode::invalid_argument);
  } else {
    ASSERT_OK(copy(space, host.view(), device.view));
    KvCache back = value_of(KvCache::create(shape, tokens));
    ASSERT_OK(copy(space, device.view, back.view()));
    EXPECT_TRUE(test::same_bytes(back, host));

    const auto expected = value_of(encode(space, codec, host.view(), ids, 0, block_tokens));
    const auto blocks = value_of(encode(space, codec, device.view, ids, 0, block_tokens));
    EXPECT_EQ(blocks, expected);

    const std::vector<CodedBlockView> views(blocks.begin(), blocks.end());
    KvCache restored = value_of(KvCache::create(shape, tokens));
    ASSERT_OK(decode(space, codec, views, restored.view()));
    const DeviceCache out(shape, tokens);
    ASSERT_OK(decode(space, codec, views, out.view));
    ASSERT_OK(copy(space, out.view, back.view()));
    EXPECT_TRUE(test::same_bytes(back, restored));
  }
}

/// A device takes many blocks in parts, on several streams.
TEST(DeviceBatches, OfManyBlocksAreCodedAsOnTheHost) {
  const test::ScratchFolder scratch;
  const KvShape shape = test::shape_of(3, 2, 32, DType::bf16);
  const auto path = test::made_up_profile(shape, {}).write(scratch.path() / "profile");
  const std::shared_ptr<const Profile> profile = value_of(Profile::load(path));
  constexpr std::int64_t block_tokens = 16;
  constexpr std::int64_t tokens = 300 * block_tokens + 5;
  const std::vector<Token> ids = test::random_tokens(tokens, 3, 50);
  const KvCache cache = test::random_cache(shape, tokens, 4);
  const Kokkos::Serial host;
  for (const char* spec : {"linear+ecsq:step=0.5", "linear+lossless"}) {
    const Codec codec = value_of(value_of(Codec::parse(spec)).with_profile(profile));
    const auto expected = value_of(encode(host, codec, cache.view(), ids, 0, block_tokens));
    const auto blocks = value_of(encode(Space(), codec, cache.view(), ids, 0, block_tokens));
    EXPECT_EQ(blocks, expected) << spec;
    const std::vector<CodedBlockView> views(blocks.begin(), blocks.end());
    KvCache there = value_of(KvCache::create(shape, tokens));
    KvCache here = value_of(KvCache::create(shape, tokens));
    ASSERT_OK(decode(Space(), codec, views, there.view()));
    ASSERT_OK(decode(host, codec, views, here.view()));
    EXPECT_TRUE(test::same_bytes(there, here)) << spec;
  }
}

INSTANTIATE_TEST_SUITE_P(Codecs, DeviceViews,
                         testing::Values("raw", "none+lossless", "none+turboquant:3", "linear+lossless",
                                         "linear+ecsq:step=0.5", "linear+turboquant:2"));

}  // namespace
}  // namespace seqkv
