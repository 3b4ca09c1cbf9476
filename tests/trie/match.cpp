// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Longest prefixes against a search through all sequences; the kernels against each other; blocks; going on later.
#include <algorithm>

#include "support/result.hpp"
#include "support/spaces.hpp"
#include "support/tries.hpp"
#include "trie/match.hpp"

namespace seqkv {
namespace {

using test::Sequences;
using test::value_of;

std::size_t common(const std::vector<Token>& a, const std::vector<Token>& b) {
  return static_cast<std::size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
}

template <class Space>
class TrieMatch : public testing::Test {
 protected:
  using Matcher = decltype(&trie::match_portable<Space>);

  std::vector<TrieCursor> places(const Trie& trie, const Sequences& queries, std::int64_t block = 1,
                                 Matcher matcher = &match<Space>) {
    const auto device = value_of(DeviceTrie<Space>::create(Space(), trie));
    std::vector<TrieCursor> found(queries.size());
    test::value_of(matcher(Space(), device, test::spans_of(queries), found, block));
    return found;
  }
  std::vector<TrieCursor> portable(const Trie& trie, const Sequences& queries, std::int64_t block = 1) {
    return places(trie, queries, block, &trie::match_portable<Space>);
  }
};
TYPED_TEST_SUITE(TrieMatch, test::Spaces);

TYPED_TEST(TrieMatch, FindsTheLongestPrefix) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    const Token vocabulary = seed % 2 == 0 ? 5 : 1U << 20U;
    const Sequences stored = test::similar_sequences(80, 200, vocabulary, seed);
    Sequences queries = test::similar_sequences(100, 250, vocabulary, seed / 2);
    queries.emplace_back();
    const Trie trie = value_of(build_session_trie(TypeParam(), test::sessions_of(stored)));
    const auto found = this->places(trie, queries);
    EXPECT_TRUE(found == this->portable(trie, queries));
    for (std::size_t q = 0; q < queries.size(); ++q) {
      std::size_t longest = 0;
      for (const auto& sequence : stored) longest = std::max(longest, common(queries[q], sequence));
      ASSERT_EQ(found[q].depth, longest);
      std::vector<std::uint64_t> expected;
      for (std::size_t s = 0; s < stored.size(); ++s) {
        if (common(queries[q], stored[s]) >= longest) expected.push_back(s);
      }
      const auto sessions = sessions_at(trie.view(), found[q]);
      std::vector<std::uint64_t> actual(sessions.begin(), sessions.end());
      std::ranges::sort(actual);
      ASSERT_EQ(actual, expected);
    }
  }
}

TYPED_TEST(TrieMatch, OfWindows) {
  for (const Token vocabulary : {6U, 300U, 100'000U}) {
    const Sequences text = test::similar_sequences(50, 300, vocabulary, 1);
    const Trie trie = value_of(build_window_trie(TypeParam(), test::spans_of(text), 8));
    const Sequences queries = test::similar_sequences(3000, 12, vocabulary, 2);
    const auto found = this->places(trie, queries);
    EXPECT_TRUE(found == this->portable(trie, queries));
    const test::PlainTrie plain = test::plain_windows(text, 8);
    for (std::size_t q = 0; q < queries.size(); ++q) {
      const test::PlainTrie* at = &plain;
      std::uint64_t depth = 0;
      for (; depth < queries[q].size(); ++depth) {
        const auto child = at->children.find(queries[q][depth]);
        if (child == at->children.end()) break;
        at = &child->second;
      }
      ASSERT_EQ(found[q].depth, depth);
      ASSERT_EQ(trie.view().count(found[q].node), at->count);
    }
  }
}

TYPED_TEST(TrieMatch, WholeBlocksOnly) {
  const Sequences stored = test::similar_sequences(60, 300, 4, 9);
  const Sequences queries = test::similar_sequences(200, 300, 4, 10);
  const Trie trie = value_of(build_session_trie(TypeParam(), test::sessions_of(stored)));
  const auto tokens = this->places(trie, queries);
  const auto blocks = this->places(trie, queries, 16);
  for (std::size_t q = 0; q < queries.size(); ++q) {
    EXPECT_EQ(blocks[q].depth, tokens[q].depth / 16 * 16);
    // The place is the one of the shorter query.
    Sequences shorter = {{queries[q].begin(), queries[q].begin() + static_cast<std::ptrdiff_t>(blocks[q].depth)}};
    EXPECT_TRUE(this->places(trie, shorter)[0] == blocks[q]);
  }
}

TYPED_TEST(TrieMatch, GoesOnFromAPlace) {
  const TypeParam space;
  const Sequences stored = test::similar_sequences(60, 300, 4, 3);
  std::vector<TrieSession> sessions = test::sessions_of(stored);
  std::vector<std::vector<std::uint32_t>> surprisals;
  for (const auto& tokens : stored) surprisals.push_back(test::surprisals_of(tokens));
  for (std::size_t i = 0; i < sessions.size(); ++i) sessions[i].surprisals = surprisals[i];
  const Trie trie = value_of(build_session_trie(space, sessions));
  const auto device = value_of(DeviceTrie<TypeParam>::create(space, trie));
  const auto at_once = this->places(trie, stored);
  std::vector<TrieCursor> places(stored.size());
  std::size_t at = 0;
  for (const std::size_t step : {0U, 1U, 2U, 40U, 300U}) {
    std::vector<TokenSpan> pieces;
    for (const auto& tokens : stored) {
      const std::size_t from = std::min(at, tokens.size());
      pieces.push_back(TokenSpan(tokens).subspan(from, std::min(step, tokens.size() - from)));
    }
    ASSERT_OK(match(space, device, pieces, places));
    at += step;
  }
  EXPECT_TRUE(places == at_once);
  EXPECT_GT(places[0].surprisal, 0U);
  EXPECT_TRUE(at_once == this->portable(trie, stored));
}

TYPED_TEST(TrieMatch, RefusesSizesThatDiffer) {
  const TypeParam space;
  const auto device = value_of(DeviceTrie<TypeParam>::create(space, Trie()));
  const std::vector<Token> tokens = {1, 2, 3};
  const std::vector<TokenSpan> queries = {tokens};
  std::vector<TrieCursor> none;
  std::vector<TrieCursor> one(1);
  EXPECT_CODE(match(space, device, queries, none), ErrorCode::invalid_argument);
  EXPECT_CODE(match(space, device, queries, one, 0), ErrorCode::invalid_argument);
  EXPECT_OK(match(space, device, queries, one));
  EXPECT_EQ(one[0].depth, 0U);
}

}  // namespace
}  // namespace seqkv
