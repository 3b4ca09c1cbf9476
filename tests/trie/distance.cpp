// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// The two distances are distances; the paper's is not; information adds up to probabilities.
#include <algorithm>
#include <cmath>

#include "seqkv/trie_distance.hpp"
#include "support/result.hpp"
#include "support/spaces.hpp"
#include "support/tries.hpp"

namespace seqkv {
namespace {

using test::Sequences;
using test::value_of;

template <class Space>
class TrieDistance : public testing::Test {};
TYPED_TEST_SUITE(TrieDistance, test::Spaces);

double bits(std::uint64_t information) { return static_cast<double>(information) / 65536.0; }

TYPED_TEST(TrieDistance, AreDistancesOfRandomTriples) {
  const Sequences stored = test::similar_sequences(400, 60, 5, 1);
  std::vector<std::vector<std::uint32_t>> surprisals;
  std::vector<TrieSession> recorded = test::sessions_of(stored);
  for (const auto& tokens : stored) surprisals.push_back(test::surprisals_of(tokens));
  for (std::size_t i = 0; i < stored.size(); ++i) recorded[i].surprisals = surprisals[i];
  for (const auto& sessions : {test::sessions_of(stored), recorded}) {
    const Trie trie = value_of(build_session_trie(TypeParam(), sessions));
    std::vector<std::vector<std::uint64_t>> information;
    for (const auto& tokens : stored) information.push_back(value_of(prefix_information(trie, tokens)));
    const auto between = [&](std::size_t a, std::size_t b) {
      return sequence_distance(stored[a], information[a], stored[b], information[b]);
    };
    std::mt19937 random(2);
    for (int i = 0; i < 100'000; ++i) {
      const std::size_t x = random() % stored.size();
      const std::size_t y = random() % stored.size();
      const std::size_t z = random() % stored.size();
      const SequenceDistance xy = between(x, y);
      const SequenceDistance yz = between(y, z);
      const SequenceDistance xz = between(x, z);
      ASSERT_LE(xz.path_length, xy.path_length + yz.path_length);
      ASSERT_LE(xz.ultrametric, std::max(xy.ultrametric, yz.ultrametric));
      ASSERT_GE(xz.shared, std::min(xy.shared, yz.shared));
      ASSERT_EQ(between(y, x).path_length, xy.path_length);
      ASSERT_EQ(between(y, x).ultrametric, xy.ultrametric);
      ASSERT_EQ(between(x, x).path_length, 0U);
      ASSERT_EQ(between(x, x).ultrametric, 0.0);
      if (stored[x] != stored[y]) {
        ASSERT_GT(xy.path_length, 0U);
        ASSERT_GT(xy.ultrametric, 0.0);
      }
    }
  }
}

// d_T(s, s') = -log2 P(s ^ s') of arXiv 2604.15356, Definition 2, with two equally likely tokens a and b:
// d_T(a, a) = 1 is neither 0 nor at most max(d_T(a, b), d_T(b, a)) = 0.
TYPED_TEST(TrieDistance, ThePapersIsNoDistance) {
  const std::vector<std::uint32_t> one_bit = {65536};
  const Sequences ab = {{0}, {1}};
  const Trie trie =
      value_of(build_session_trie(TypeParam(), std::vector<TrieSession>{{ab[0], 0, one_bit}, {ab[1], 1, one_bit}}));
  const auto a = value_of(prefix_information(trie, ab[0]));
  const auto b = value_of(prefix_information(trie, ab[1]));
  EXPECT_EQ(sequence_distance(ab[0], a, ab[0], a).shared, 65536U);
  EXPECT_EQ(sequence_distance(ab[0], a, ab[1], b).shared, 0U);
  EXPECT_EQ(sequence_distance(ab[0], a, ab[1], b).path_length, 2 * 65536U);
  EXPECT_EQ(sequence_distance(ab[0], a, ab[1], b).ultrametric, 1.0);
}

TYPED_TEST(TrieDistance, CountsGiveProbabilities) {
  const Sequences stored = test::similar_sequences(200, 8, 6, 4);
  const Trie trie = value_of(build_session_trie(TypeParam(), test::sessions_of(stored)));
  // All continuations of a place, the end of a sequence among them, have the probability 1.
  for (const auto& tokens : stored) {
    TrieCursor at;
    for (std::size_t length = 0; length <= tokens.size(); ++length) {
      const TrieView& view = trie.view();
      std::vector<Token> path(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(length));
      const double before = bits(value_of(prefix_information(trie, path)).back());
      const std::uint64_t ending = at.at_node(view) ? view.ending(at.node) : 0;
      const auto visits = static_cast<double>(view.count(at.node));
      double sum = ending == 0 ? 0 : (2.0 * static_cast<double>(ending) - 1) / (2 * visits);
      for (Token next = 0; next <= trie.shape().largest_token; ++next) {
        path.push_back(next);
        sum += std::exp2(before - bits(value_of(prefix_information(trie, path)).back()));
        path.pop_back();
      }
      ASSERT_LE(sum, 1.001);
      if (view.children(at.node) <= trie.shape().largest_token || !at.at_node(view)) {
        ASSERT_GE(sum, 0.999);
      }
      if (length < tokens.size()) {
        ASSERT_TRUE(at.advance(view, tokens[length]));
      }
    }
  }
}

TYPED_TEST(TrieDistance, NearestSharesMost) {
  const Sequences stored = test::similar_sequences(150, 100, 4, 6);
  const Sequences queries = test::similar_sequences(100, 100, 4, 7);  // no other tokens than the trie's
  const Trie trie = value_of(build_session_trie(TypeParam(), test::sessions_of(stored)));
  for (const auto& query : queries) {
    const NearestSession nearest = value_of(nearest_session(trie, query));
    const auto own = value_of(prefix_information(trie, query));
    std::uint64_t most = 0;
    for (const auto& tokens : stored) {
      const auto other = value_of(prefix_information(trie, tokens));
      most = std::max(most, sequence_distance(query, own, tokens, other).shared);
    }
    const auto& found = stored[nearest.session];
    const auto other = value_of(prefix_information(trie, found));
    EXPECT_EQ(nearest.shared, most);
    EXPECT_EQ(sequence_distance(query, own, found, other).shared, most);
    EXPECT_EQ(sequence_distance(query, own, found, other).common_tokens, nearest.common_tokens);
  }
}

TYPED_TEST(TrieDistance, RefusesWhatItDoesNotKnow) {
  const Sequences stored = {{1, 2, 3}};
  const std::vector<std::uint32_t> surprisals = {10, 20, 30};
  const Trie trie = value_of(build_session_trie(TypeParam(), std::vector<TrieSession>{{stored[0], 0, surprisals}}));
  EXPECT_CODE(prefix_information(trie, std::vector<Token>{1, 3}), ErrorCode::session_not_found);
  EXPECT_CODE(prefix_information(trie, std::vector<Token>{1U << 31U}), ErrorCode::token_out_of_range);
  EXPECT_EQ(value_of(prefix_information(trie, stored[0])), (std::vector<std::uint64_t>{0, 10, 30, 60}));
  EXPECT_CODE(nearest_session(Trie(), stored[0]), ErrorCode::session_not_found);
  const Trie windows = value_of(build_window_trie(TypeParam(), test::spans_of(stored), 2));
  EXPECT_CODE(nearest_session(windows, stored[0]), ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace seqkv
