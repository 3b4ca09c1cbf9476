// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Caches saved from memory, and parts of them restored into it.
#include "seqkv/session.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include "support/stores.hpp"

namespace seqkv {
namespace {

using test::Space;
using test::value_of;

/// Three layers, four heads, a store a rank.
class StoreSession : public testing::Test {
 protected:
  test::ScratchFolder scratch;
  KvShape shape = test::shape_of(3, 4, 16, DType::bf16);
  std::vector<Token> tokens = test::random_tokens(75, 1);
  KvCache cache = test::random_cache(shape, 75, 2);
  Codec codec = value_of(Codec::parse("none+lossless"));

  Store open(const std::string& name, const KvShape& of) {
    return value_of(Store::open_for_writing(scratch.path() / name, {of, {}, 16}));
  }

  /// Layers, heads and tokens of the cache in another dtype, one number at a time.
  KvCache expected(const RestorePart& part, DType dtype) const {
    KvShape to = shape;
    to.layers = part.layers;
    to.kv_heads = part.heads;
    to.dtype = dtype;
    KvCache out = value_of(KvCache::create(to, part.tokens));
    for (std::int64_t l = 0; l < part.layers; ++l) {
      for (const Kind kind : {Kind::key, Kind::value}) {
        for (std::int64_t h = 0; h < part.heads; ++h) {
          for (std::int64_t i = 0; i < part.tokens * 16; ++i) {
            const std::int64_t from = (part.first_head + h) * 75 * 16 + part.first_token * 16 + i;
            store_from_float(out.view().tensor(l, kind), dtype, h * part.tokens * 16 + i,
                             load_as_float(cache.view().tensor(part.first_layer + l, kind), shape.dtype, from));
          }
        }
      }
    }
    return out;
  }
  void expect_part(std::span<const HeadShard> shards, const RestorePart& part, DType dtype) {
    const KvCache want = expected(part, dtype);
    KvCache got = value_of(KvCache::create(want.shape(), part.tokens));
    const auto ids = value_of(restore(Space(), shards, part, got.view()));
    EXPECT_TRUE(std::ranges::equal(ids, TokenSpan(tokens).subspan(static_cast<std::size_t>(part.first_token),
                                                                  static_cast<std::size_t>(part.tokens))));
    EXPECT_TRUE(test::same_bytes(got, want)) << part.first_token << "+" << part.tokens;
  }
};

TEST_F(StoreSession, SavesAndRestoresParts) {
  Store store = open("store", shape);
  const auto report = value_of(save(Space(), store, "s", tokens, codec, cache.view()));
  EXPECT_EQ(report.known_tokens, 0);
  EXPECT_EQ(value_of(save(Space(), store, "again", tokens, codec, cache.view())).new_bytes, 0);
  const HeadShard shard{&store, "s"};
  for (const DType dtype : {DType::bf16, DType::f16, DType::f32}) {
    expect_part({&shard, 1}, {0, 75, 0, 3, 0, 4}, dtype);
    expect_part({&shard, 1}, {0, 1, 0, 3, 0, 4}, dtype);
    expect_part({&shard, 1}, {16, 32, 0, 3, 0, 4}, dtype);
    expect_part({&shard, 1}, {15, 34, 1, 2, 1, 2}, dtype);
    expect_part({&shard, 1}, {74, 1, 2, 1, 3, 1}, dtype);
  }
  KvCache all = value_of(KvCache::create(shape, 75));
  ASSERT_OK(restore(Space(), store, "s", {}, all.view()));
  EXPECT_TRUE(test::same_bytes(all, cache));
}

TEST_F(StoreSession, RestoresIntoTheStridesOfAnEngine) {
  Store store = open("store", shape);
  ASSERT_OK(save(Space(), store, "s", tokens, codec, cache.view()));
  // [tokens][layers][K|V][heads][components], with room between.
  constexpr std::int64_t row = 3 * 2 * 4 * 16 + 5;
  std::vector<std::byte> memory(75 * row * 2);
  KvView view;
  view.shape = shape;
  view.tokens = 75;
  for (std::int64_t i = 0; i < 6; ++i) view.tensors.push_back(memory.data() + i * 4 * 16 * 2);
  view.strides = {KvStrides{16, row, 1}, KvStrides{16, row, 1}};
  ASSERT_OK(restore(Space(), store, "s", {}, view));
  KvCache back = value_of(KvCache::create(shape, 75));
  ASSERT_OK(copy(view, back.view()));
  EXPECT_TRUE(test::same_bytes(back, cache));
}

TEST_F(StoreSession, ShardsOfNRanksAreThoseOfM) {
  for (const int ranks : {2, 4}) {
    std::vector<Store> stores;
    KvShape part = shape;
    part.kv_heads = shape.kv_heads / ranks;
    for (int rank = 0; rank < ranks; ++rank) {
      stores.push_back(open(fmt::format("{}-of-{}", rank, ranks), part));
      KvView mine = cache.view();
      mine.shape = part;
      for (auto& tensor : mine.tensors) tensor += rank * part.kv_heads * 75 * 16 * 2;
      ASSERT_OK(save(Space(), stores.back(), "s", tokens, codec, mine));
    }
    std::vector<HeadShard> shards;
    for (const Store& store : stores) shards.push_back({&store, "s"});
    expect_part(shards, {0, 75, 0, 3, 0, 4}, DType::bf16);
    expect_part(shards, {5, 40, 0, 3, 1, 2}, DType::bf16);
    expect_part(shards, {5, 40, 2, 1, 3, 1}, DType::f32);
    KvCache out = value_of(KvCache::create(shape, 75));
    ASSERT_OK(save(Space(), stores[1], "other", test::random_tokens(75, 9), codec,
                   value_of(KvCache::create(part, 75)).view()));
    shards[1].session = "other";
    EXPECT_CODE(restore(Space(), std::span<const HeadShard>(shards), {}, out.view()), ErrorCode::shape_mismatch);
  }
}

TEST_F(StoreSession, DamageLeavesTheCallersMemoryAsItWas) {
  Store store = open("store", shape);
  ASSERT_OK(save(Space(), store, "s", tokens, codec, cache.view()));
  const auto pack = scratch.path() / "store" / "packs" / "00000001.pack";
  std::string bytes = test::read_all(pack);
  const StoredBlocks all_blocks = value_of(store.blocks("s"));
  const CodedBlockView last = all_blocks[4];
  bytes[bytes.find(std::string(reinterpret_cast<const char*>(last.data()), last.size())) + 20] ^= 1;
  std::ofstream(pack, std::ios::binary) << bytes;
  KvCache out = test::random_cache(shape, 75, 7);
  const KvCache before = test::random_cache(shape, 75, 7);
  const Store damaged = value_of(Store::open(scratch.path() / "store"));
  EXPECT_CODE(restore(Space(), damaged, "s", {}, out.view()), ErrorCode::checksum_mismatch);
  EXPECT_TRUE(test::same_bytes(out, before));
  KvCache early = value_of(KvCache::create(shape, 64));
  EXPECT_OK(restore(Space(), damaged, "s", {.tokens = 64}, early.view()));  // what is not damaged
}

TEST_F(StoreSession, RefusesWhatIsNotThere) {
  Store store = open("store", shape);
  EXPECT_CODE(save(Space(), store, "s", {}, codec, cache.view().slice(0, 0)), ErrorCode::empty_input);
  EXPECT_CODE(save(Space(), store, "s", tokens, codec, cache.view().slice(0, 74)), ErrorCode::shape_mismatch);
  ASSERT_OK(save(Space(), store, "s", tokens, codec, cache.view()));
  KvCache out = value_of(KvCache::create(shape, 75));
  for (const RestorePart& part : std::vector<RestorePart>{{-1},
                                                          {75},
                                                          {0, 76},
                                                          {0, 75, 3},
                                                          {0, 75, 0, 4},
                                                          {0, 75, 0, 0, 4},
                                                          {0, 75, 0, 0, 3, 2},
                                                          {INT64_MAX, 1},
                                                          {1, INT64_MAX},
                                                          {0, -1}}) {
    EXPECT_CODE(restore(Space(), store, "s", part, out.view()), ErrorCode::invalid_argument);
  }
  EXPECT_CODE(restore(Space(), store, "s", {.tokens = 74}, out.view()), ErrorCode::shape_mismatch);
  EXPECT_CODE(restore(Space(), store, "nobody", {}, out.view()), ErrorCode::session_not_found);
  EXPECT_CODE(restore(Space(), std::span<const HeadShard>(), {}, out.view()), ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace seqkv
