// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Sessions whose blocks are predicted from stored ones: found, named, kept as long as they are needed.
#include <gtest/gtest.h>

#include <set>

#include "support/referring.hpp"
#include "support/thorough.hpp"

namespace seqkv {
namespace {

using test::joined;
using test::Space;
using test::value_of;

class StoreReferences : public test::ReferringStoreTest {
 protected:
  std::int64_t blocks(const Store& store) { return value_of(store.totals()).blocks; }
};

TEST_F(StoreReferences, TheSameTokensBehindAnotherPreamble) {
  Store store = writer();
  const auto first = value_of(put(store, "a", session(1)));
  const auto second = value_of(put(store, "b", session(2)));
  EXPECT_EQ(second.known_tokens, 0);
  EXPECT_LT(second.new_bytes, 0.75 * static_cast<double>(first.new_bytes));
  EXPECT_EQ(referring(store, "a"), 0);
  EXPECT_EQ(referring(store, "b"), 5) << "of six: the first is all preamble";
  EXPECT_TRUE(is_near(value_of(get(store, "a")), session(1)));
  EXPECT_TRUE(is_near(value_of(get(store, "b")), session(2)));
  expect_sound(store);

  // Whatever way it is restored.
  const KvCache all = value_of(get(store, "b"));
  ASSERT_OK(StoreTest::restore(store, "b"));
  KvCache again = value_of(KvCache::create(parameters.shape, all.tokens()));
  ASSERT_OK(value_of(KvFile::open(restored)).read(0, again.view()));
  EXPECT_TRUE(test::same_bytes(again, all));
  for (const auto& [from, count] : {std::pair<std::int64_t, std::int64_t>{0, 370}, {100, 3}, {63, 66}, {369, 1}}) {
    KvCache part = value_of(KvCache::create(parameters.shape, count));
    ASSERT_OK(seqkv::restore(Space(), store, "b", {.first_token = from, .tokens = count}, part.view()));
    KvCache expected = value_of(KvCache::create(parameters.shape, count));
    ASSERT_OK(copy(std::as_const(all).view().slice(from, count), expected.view()));
    EXPECT_TRUE(test::same_bytes(part, expected)) << from;
  }
  const StoredBlocks matched = value_of(store.match(session(2), codec));
  EXPECT_EQ(matched.tokens(), 370);
  ASSERT_OK(decode(Space(), codec, matched, again.view()));
  EXPECT_TRUE(test::same_bytes(again, all));
  EXPECT_CODE(decode(Space(), codec, std::span<const CodedBlockView>(matched), again.view()),
              ErrorCode::missing_reference);
}

/// A restore takes two blocks: what is predicted is not predicted from.
TEST_F(StoreReferences, OneStepAndNoMore) {
  Store store = writer();
  std::set<std::uint64_t> of_first;
  ASSERT_OK(put(store, "a", session(1)));
  const StoredBlocks first = value_of(store.blocks("a"));
  for (const CodedBlockView& block : first) {
    of_first.insert(value_of(inspect_block(parameters.shape, block)).hash);
  }
  for (unsigned i = 2; i < 6; ++i) {
    const std::string name = fmt::format("s{}", i);
    ASSERT_OK(put(store, name, session(i, 30 + 17 * i)));
    EXPECT_GT(referring(store, name), 3);
    const StoredBlocks all = value_of(store.blocks(name));
    for (const StoredReference& source : all.references()) {
      EXPECT_TRUE(of_first.contains(source.hash)) << name;
    }
  }
  expect_sound(store);
}

/// A writer that begins anew finds the same.
TEST_F(StoreReferences, FoundAfterOpeningAnew) {
  { ASSERT_OK(put(*std::make_unique<Store>(writer()), "a", session(1))); }
  std::int64_t bytes = 0;
  {
    Store store = writer();
    bytes = value_of(put(store, "b", session(2))).new_bytes;
    EXPECT_EQ(referring(store, "b"), 5);
    ASSERT_OK(store.remove("b"));
  }
  Store store = writer();
  ASSERT_OK(store.gc({.dead_part = 0.0}));
  EXPECT_EQ(value_of(put(store, "b", session(2))).new_bytes, bytes);
}

TEST_F(StoreReferences, WithinASession) {
  Store store = writer();
  const auto tokens = joined(joined(document, test::random_tokens(50, 7, 50)), document);
  ASSERT_OK(put(store, "twice", tokens));
  EXPECT_GT(referring(store, "twice"), 3);
  EXPECT_TRUE(is_near(value_of(get(store, "twice")), tokens));
  ASSERT_OK(put(store, "alone", tokens, {.sharing = Sharing::none}));
  EXPECT_EQ(referring(store, "alone"), referring(store, "twice")) << "it has its own, and nobody else's";
  const StoredBlocks alone = value_of(store.blocks("alone"));
  for (const StoredReference& source : alone.references()) EXPECT_LT(source.first_position, 300);
  ASSERT_OK(store.remove("twice"));
  EXPECT_TRUE(is_near(value_of(get(store, "alone")), tokens));
  ASSERT_OK(store.remove("alone"));
  EXPECT_EQ(blocks(store), 0) << "nothing keeps itself";
}

TEST_F(StoreReferences, OneTokenOverAndOver) {
  Store store = writer();
  const std::vector<Token> tokens(static_cast<std::size_t>(test::sample<std::int64_t>(20 * size, 1'000'000)), Token{7});
  ASSERT_OK(put(store, "same", tokens));
  EXPECT_GT(referring(store, "same"), 15);
  EXPECT_TRUE(is_near(value_of(get(store, "same")), tokens));
  ASSERT_OK(put(store, "other", joined({3, 1, 4, 1, 5}, tokens)));
  EXPECT_TRUE(is_near(value_of(get(store, "other")), joined({3, 1, 4, 1, 5}, tokens)));
  for (const char* name : {"same", "other"}) {
    const StoredBlocks all = value_of(store.blocks(name));
    EXPECT_LE(all.references().size(), 2U) << name;
  }
  expect_sound(store);
}

TEST_F(StoreReferences, ShortSpansAreNone) {
  Store store = writer();
  ASSERT_OK(put(store, "a", session(1)));
  const std::vector<Token> some(document.begin() + 100, document.begin() + 163);
  const auto tokens = joined(joined(test::random_tokens(70, 8, 50), some), test::random_tokens(70, 9, 50));
  ASSERT_OK(put(store, "b", tokens));
  EXPECT_EQ(referring(store, "b"), 0);
}

TEST_F(StoreReferences, TenantsShareNothing) {
  std::int64_t alone = 0;
  {
    access.salt = "one";
    Store store = writer();
    alone = value_of(put(store, "a", session(1))).new_bytes;
    ASSERT_OK(put(store, "again", session(3)));
    EXPECT_EQ(referring(store, "again"), 5);
  }
  access.salt = "two";
  Store store = writer();
  EXPECT_EQ(value_of(put(store, "a", session(1))).new_bytes, alone) << "byte for byte as in an empty store";
  EXPECT_EQ(referring(store, "a"), 0);
  ASSERT_OK(put(store, "b", session(2)));
  EXPECT_EQ(referring(store, "b"), 5) << "from its own";
  ASSERT_OK(store.remove("a"));
  ASSERT_OK(store.remove("b"));
  access.salt = "one";
  EXPECT_EQ(referring(reader(), "again"), 5);
}

/// Values of unknown origin are nobody's reference, and have none but their own.
TEST_F(StoreReferences, SessionsThatShareNothing) {
  Store store = writer();
  ASSERT_OK(put(store, "a", session(1), {.sharing = Sharing::none}));
  ASSERT_OK(put(store, "b", session(2)));
  EXPECT_EQ(referring(store, "b"), 0);
  ASSERT_OK(put(store, "c", session(3), {.sharing = Sharing::none}));
  EXPECT_EQ(referring(store, "c"), 0);
}

TEST_F(StoreReferences, AProfileWithoutThemCodesAsLinear) {
  codec = codec_of({});
  ASSERT_FALSE(codec.uses_references());
  Store store = writer();
  ASSERT_OK(put(store, "a", session(1)));
  ASSERT_OK(put(store, "b", session(2)));
  EXPECT_EQ(referring(store, "b"), 0);
  codec = codec_of({}, "linear+ecsq:step=0.125");
  const StoredBlocks stored = value_of(store.blocks("a"));
  const auto coded = value_of(encode(Space(), codec, context_of(session(1)).view(), session(1), 0, size));
  ASSERT_EQ(stored.size(), coded.size());
  for (std::size_t i = 0; i < coded.size(); ++i) EXPECT_TRUE(std::ranges::equal(stored[i], coded[i])) << i;
}

/// An option that nothing bounds: a is as it was, b has its values.
TEST_F(StoreReferences, BareReuse) {
  codec = codec_of({.references = true}, "ref:recode=48+ecsq:step=0.125");
  Store store = writer();
  ASSERT_OK(put(store, "a", session(1)));
  const auto report = value_of(put(store, "b", session(2)));
  EXPECT_EQ(referring(store, "b"), 5);
  const KvCache a = value_of(get(store, "a"));
  const KvCache b = value_of(get(store, "b"));
  EXPECT_TRUE(is_near(b, session(2))) << "contexts differ little";
  // From its 49th token on the document is what it is in a, to the bit, in layers that have references.
  std::int64_t differ = 0;
  for (std::size_t tensor = 2; tensor < 6; ++tensor) {
    for (std::int64_t i = (70 + 48) * 16; i < 370 * 16; ++i) {
      const float there = load_as_float(a.view().tensors[tensor], DType::bf16, i);
      differ += load_as_float(b.view().tensors[tensor], DType::bf16, i) == there ? 0 : 1;
    }
  }
  EXPECT_EQ(differ, 0);
  expect_sound(store);
  codec = codec_of({.references = true});
  EXPECT_LT(report.new_bytes, value_of(put(store, "c", session(2))).new_bytes);
}

TEST_F(StoreReferences, WhatIsNeededStays) {
  Store store = writer();
  const KvCache of_b = [&] {
    EXPECT_TRUE(put(store, "a", session(1)).ok());
    EXPECT_TRUE(put(store, "b", session(2)).ok());
    return value_of(get(store, "b"));
  }();
  const auto expect_b = [&](const Store& in, const char* when) {
    const auto now = get(in, "b");
    ASSERT_TRUE(now.ok()) << when << ": " << now.error().describe();
    EXPECT_TRUE(test::same_bytes(*now, of_b)) << when;
    expect_sound(in);
  };
  EXPECT_EQ(blocks(store), 12);
  ASSERT_OK(store.remove("a"));
  expect_b(store, "its source was removed");
  EXPECT_EQ(blocks(store), 12) << "the first block, too, which is before those that are needed";
  ASSERT_OK(store.gc({.dead_part = 0.0}));
  expect_b(store, "and packs written anew");
  { const Store closed = std::move(store); }
  EXPECT_EQ(value_of(Store::rebuild_index(folder)).sessions, 1);
  store = writer();
  expect_b(store, "and the index made again");
  EXPECT_EQ(blocks(store), 12);
  ASSERT_OK(put(store, "c", session(3)));
  EXPECT_EQ(referring(store, "c"), 5) << "it is found as long as it is there";
  ASSERT_OK(store.remove("c"));
  ASSERT_OK(store.remove("b"));
  EXPECT_EQ(blocks(store), 0);
  const auto report = value_of(store.gc({.dead_part = 0.0}));
  EXPECT_LT(report.bytes_after, 2048) << "records of removals";
  ASSERT_OK(put(store, "b", session(2)));
  EXPECT_EQ(referring(store, "b"), 0) << "what is gone is not found";
  expect_sound(store);
}

TEST_F(StoreReferences, BudgetsTakeWhatIsPredictedFirst) {
  Store store = writer();
  for (unsigned i = 0; i < 5; ++i) ASSERT_OK(put(store, fmt::format("s{}", i), session(i)));
  ASSERT_OK(store.set_pinned("s3", true));
  const KvCache pinned = value_of(get(store, "s3"));
  for (std::int64_t budget = value_of(store.totals()).block_bytes; budget > 0; budget -= 3000) {
    const auto report = value_of(store.retain({.bytes = budget}));
    expect_sound(store);
    for (const std::string& name : names(store)) {
      EXPECT_TRUE(is_near(value_of(get(store, name)), session(static_cast<unsigned>(name[1] - '0')))) << name;
    }
    ASSERT_TRUE(test::same_bytes(value_of(get(store, "s3")), pinned));
    EXPECT_TRUE(report.bytes <= budget || names(store).size() <= 2) << "only what the pinned one needs";
  }
  ASSERT_OK(store.set_pinned("s3", false));
  ASSERT_OK(store.retain({.bytes = 1}));
  EXPECT_EQ(blocks(store), 0);
  ASSERT_OK(put(store, "again", session(9)));
  ASSERT_OK(put(store, "and", session(8)));
  ASSERT_OK(store.retain({.sessions = 1}));
  EXPECT_EQ(names(store).size(), 1U);
  EXPECT_TRUE(get(store, names(store).front()).ok());
}

TEST_F(StoreReferences, ForksExtensionsAndReplacements) {
  Store store = writer();
  ASSERT_OK(put(store, "a", session(1)));
  ASSERT_OK(put(store, "b", session(2)));
  ASSERT_OK(store.fork("b", "twig", 200));
  const KvCache twig = value_of(get(store, "twig"));
  EXPECT_EQ(twig.tokens(), 200);
  const auto longer = joined(session(2), document);
  ASSERT_OK(put(store, "b", longer, {.if_exists = IfExists::extend}));
  EXPECT_TRUE(is_near(value_of(get(store, "b")), longer));
  ASSERT_OK(put(store, "a", session(5), {.if_exists = IfExists::replace}));
  EXPECT_TRUE(is_near(value_of(get(store, "a")), session(5)));
  EXPECT_TRUE(is_near(value_of(get(store, "b")), longer));
  EXPECT_TRUE(test::same_bytes(value_of(get(store, "twig")), twig));
  expect_sound(store);
  for (const char* name : {"a", "b", "twig"}) ASSERT_OK(store.remove(name));
  EXPECT_EQ(blocks(store), 0);
}

TEST_F(StoreReferences, InStoresWithAKey) {
  for (int i = 0; i < 32; ++i) access.key.push_back(static_cast<std::byte>(i));
  for (const Protection protection : {Protection::authentic, Protection::encrypted}) {
    parameters.protection = protection;
    std::filesystem::remove_all(folder);
    Store store = writer();
    ASSERT_OK(put(store, "a", session(1)));
    ASSERT_OK(put(store, "b", joined(session(2), document)));
    EXPECT_GT(referring(store, "b"), 5);
    const KvCache all = value_of(get(store, "b"));
    EXPECT_TRUE(is_near(all, joined(session(2), document)));
    ASSERT_OK(StoreTest::restore(store, "b"));
    KvCache again = value_of(KvCache::create(parameters.shape, all.tokens()));
    ASSERT_OK(value_of(KvFile::open(restored)).read(0, again.view()));
    EXPECT_TRUE(test::same_bytes(again, all));
    expect_sound(store);
  }
}

TEST_F(StoreReferences, ABlockThatNamesWhatNobodyGaveIsRefused) {
  Store store = writer();
  ASSERT_OK(put(store, "a", session(1)));
  const KvCache cache = context_of(session(2));
  const KvCache source = context_of(session(1));
  const References references{{{0x1234, 0, source.view().slice(0, size)}}, {{0, size, 0, 0}}};
  const auto coded = value_of(
      encode(Space(), codec, source.view().slice(0, size), TokenSpan(session(2)).first(size), 0, size, references));
  ASSERT_GT(value_of(inspect_block(parameters.shape, coded.front())).referring_subblocks, 0);
  const auto tokens = session(2);
  SessionWriter session = value_of(store.begin("b", tokens, codec));
  EXPECT_CODE(session.append(coded.front()), ErrorCode::missing_reference);
}

}  // namespace
}  // namespace seqkv
