// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// build_window_trie against one node a token, and against itself: portable, threaded, in another order.
#include <algorithm>

#include "support/result.hpp"
#include "support/spaces.hpp"
#include "support/tries.hpp"
#include "trie/image.hpp"
#include "trie/windows.hpp"

namespace seqkv {
namespace {

using test::Sequences;
using test::value_of;

template <class Space>
class WindowTrie : public testing::Test {
 protected:
  Trie build(const Sequences& sequences, int depth) {
    return value_of(build_window_trie(Space(), test::spans_of(sequences), depth));
  }
};
TYPED_TEST_SUITE(WindowTrie, test::Spaces);

TYPED_TEST(WindowTrie, IsTheTrieOfItsWindows) {
  for (unsigned seed = 0; seed < 60; ++seed) {
    const Token vocabulary = seed % 3 == 0 ? 5 : seed % 3 == 1 ? 4000 : 1U << 30U;
    const int depth = 1 + static_cast<int>(seed % 10);
    const Sequences sequences = test::similar_sequences(1 + seed, 200, vocabulary, seed);
    const Trie trie = this->build(sequences, depth);
    ASSERT_TRUE(test::same_trie(trie, test::plain_windows(sequences, static_cast<std::size_t>(depth)))) << seed;
    ASSERT_OK(trie::check_arrays(trie.shape(), trie.image().data()));
    ASSERT_TRUE(trie == value_of(trie::build_window_trie_by_tiles(TypeParam(), test::spans_of(sequences), depth)));
  }
}

TYPED_TEST(WindowTrie, OracleAndOrderGiveTheSameBytes) {
  for (unsigned seed = 0; seed < 10; ++seed) {
    Sequences sequences = test::similar_sequences(300, 700, 1U << (2 * seed), seed);
    const Trie trie = this->build(sequences, 8);
    EXPECT_TRUE(trie == value_of(trie::build_window_trie_portable(TypeParam(), test::spans_of(sequences), 8)));
    EXPECT_TRUE(trie == value_of(trie::build_window_trie_by_tiles(TypeParam(), test::spans_of(sequences), 8)));
    EXPECT_TRUE(trie == value_of(trie::build_window_trie_portable(Kokkos::Serial(), test::spans_of(sequences), 8)));
    std::shuffle(sequences.begin(), sequences.end(), std::mt19937(seed));
    EXPECT_TRUE(trie == this->build(sequences, 8));
  }
}

TYPED_TEST(WindowTrie, DeepAndRepetitive) {
  const Sequences sequences = {std::vector<Token>(5000, 7), std::vector<Token>(31, 7), {7}};
  for (const int depth : {1, 2, 30, 31}) {
    const Trie trie = this->build(sequences, depth);
    ASSERT_TRUE(test::same_trie(trie, test::plain_windows(sequences, static_cast<std::size_t>(depth)))) << depth;
    ASSERT_TRUE(trie == value_of(trie::build_window_trie_by_tiles(TypeParam(), test::spans_of(sequences), depth)));
  }
}

TYPED_TEST(WindowTrie, RefusesWhatItCannotBuild) {
  const TypeParam space;
  const std::vector<Token> good = {1, 2};
  const std::vector<Token> negative = {1, static_cast<Token>(-1)};
  const std::vector<Token> large = {INT32_MAX};
  EXPECT_CODE(build_window_trie(space, {}, 8), ErrorCode::empty_input);
  EXPECT_CODE(build_window_trie(space, std::vector<TokenSpan>{good, {}}, 8), ErrorCode::empty_input);
  EXPECT_CODE(build_window_trie(space, std::vector<TokenSpan>{negative}, 8), ErrorCode::token_out_of_range);
  EXPECT_CODE(build_window_trie(space, std::vector<TokenSpan>{good}, 0), ErrorCode::invalid_argument);
  EXPECT_CODE(build_window_trie(space, std::vector<TokenSpan>{good}, 32), ErrorCode::limit_exceeded);
  EXPECT_CODE(build_window_trie(space, std::vector<TokenSpan>{large}, 17), ErrorCode::limit_exceeded);
  EXPECT_OK(build_window_trie(space, std::vector<TokenSpan>{large}, 16));
}

}  // namespace
}  // namespace seqkv
