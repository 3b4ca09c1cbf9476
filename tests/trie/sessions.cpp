// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// build_session_trie against one node a token; with hashes that lie; long shared prefixes; what it refuses.
#include <algorithm>
#include <numeric>

#include "support/result.hpp"
#include "support/spaces.hpp"
#include "support/tries.hpp"
#include "trie/image.hpp"
#include "trie/sessions.hpp"

namespace seqkv {
namespace {

using test::Sequences;
using test::value_of;

template <class Space>
class SessionTrie : public testing::Test {};
TYPED_TEST_SUITE(SessionTrie, test::Spaces);

TYPED_TEST(SessionTrie, IsTheTrieOfItsSessions) {
  for (unsigned seed = 0; seed < 60; ++seed) {
    const Sequences sequences = test::similar_sequences(1 + 4 * seed, 300, seed % 2 == 0 ? 4 : 1U << 20U, seed);
    const Trie trie = value_of(build_session_trie(TypeParam(), test::sessions_of(sequences)));
    ASSERT_TRUE(test::same_trie(trie, test::plain_sessions(sequences))) << seed;
    ASSERT_OK(trie::check_arrays(trie.shape(), trie.image().data()));
    // The session at each rank is the one whose tokens lead there.
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      TrieCursor at;
      for (const Token token : sequences[i]) ASSERT_TRUE(at.advance(trie.view(), token));
      ASSERT_TRUE(at.at_node(trie.view()));
      const std::uint64_t* first = trie.view().session + at.rank;
      ASSERT_NE(std::find(first, first + trie.view().ending(at.node), i), first + trie.view().ending(at.node));
    }
  }
}

TYPED_TEST(SessionTrie, WeakHashesAndOrderChangeNothing) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    const Sequences sequences = test::similar_sequences(100, 2000, 5, seed);
    std::vector<TrieSession> sessions = test::sessions_of(sequences);
    const Trie trie = value_of(build_session_trie(TypeParam(), sessions));
    EXPECT_TRUE(test::same_trie(trie, test::plain_sessions(sequences)));
    for (const std::uint64_t mask : {0U, 1U, 3U, 15U}) {
      EXPECT_TRUE(trie == value_of(trie::build_session_trie_hashed(TypeParam(), sessions, mask))) << mask;
    }
    std::shuffle(sessions.begin(), sessions.end(), std::mt19937(seed));
    EXPECT_TRUE(trie == value_of(build_session_trie(TypeParam(), sessions)));
  }
}

TYPED_TEST(SessionTrie, LongPrefixesAndChains) {
  // Each a prefix of the next, and all with 10^5 tokens before them.
  std::vector<Token> longest(101'000);
  std::iota(longest.begin(), longest.end(), 0);
  std::vector<TrieSession> sessions;
  for (std::size_t i = 0; i < 1000; ++i) sessions.push_back({TokenSpan(longest).first(100'001 + i), i, {}});
  const Trie trie = value_of(build_session_trie(TypeParam(), sessions));
  EXPECT_EQ(trie.shape().nodes, 1001U);
  EXPECT_EQ(trie.shape().label_tokens, 100'000U);
  ASSERT_OK(trie::check_arrays(trie.shape(), trie.image().data()));
  EXPECT_EQ(trie.view().count(1), 1000U);
  EXPECT_EQ(trie.view().count(1000), 1U);
}

TYPED_TEST(SessionTrie, RecordsSurprisals) {
  const Sequences sequences = test::similar_sequences(50, 400, 6, 3);
  std::vector<std::vector<std::uint32_t>> surprisals;
  std::vector<TrieSession> sessions = test::sessions_of(sequences);
  for (TrieSession& session : sessions) {
    auto& own = surprisals.emplace_back(test::surprisals_of(session.tokens));
    session.surprisals = own;
  }
  const Trie trie = value_of(build_session_trie(TypeParam(), sessions));
  ASSERT_OK(trie::check_arrays(trie.shape(), trie.image().data()));
  for (const TrieSession& session : sessions) {
    TrieCursor at;
    for (const Token token : session.tokens) ASSERT_TRUE(at.advance(trie.view(), token));
    EXPECT_EQ(at.surprisal, std::accumulate(session.surprisals.begin(), session.surprisals.end(), std::uint64_t{0}));
  }
  surprisals[0][0] ^= 1U;  // other sessions begin with the same token
  EXPECT_CODE(build_session_trie(TypeParam(), sessions), ErrorCode::invalid_argument);
}

TYPED_TEST(SessionTrie, RefusesWhatItCannotBuild) {
  const TypeParam space;
  const std::vector<Token> tokens = {1, 2};
  const std::vector<Token> negative = {1, static_cast<Token>(-1)};
  const std::vector<std::uint32_t> surprisals = {1, 2};
  using Sessions = std::vector<TrieSession>;
  EXPECT_CODE(build_session_trie(space, Sessions{}), ErrorCode::empty_input);
  EXPECT_CODE(build_session_trie(space, Sessions{{tokens, 0, {}}, {{}, 1, {}}}), ErrorCode::empty_input);
  EXPECT_CODE(build_session_trie(space, Sessions{{negative, 0, {}}}), ErrorCode::token_out_of_range);
  EXPECT_CODE(build_session_trie(space, Sessions{{tokens, 7, {}}, {tokens, 7, {}}}), ErrorCode::invalid_argument);
  EXPECT_CODE(build_session_trie(space, Sessions{{tokens, 0, surprisals}, {tokens, 1, {}}}),
              ErrorCode::invalid_argument);
  EXPECT_OK(build_session_trie(space, Sessions{{tokens, 7, {}}, {tokens, 8, {}}}));
}

}  // namespace
}  // namespace seqkv
