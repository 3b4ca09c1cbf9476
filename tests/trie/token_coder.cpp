// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// What is coded comes back, in any blocks and on any threads; intervals tile; counts are those of a slate; what is
// broken is refused.
#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "support/result.hpp"
#include "support/spaces.hpp"
#include "support/tries.hpp"
#include "trie/predictor.hpp"
#include "trie/token_weights.hpp"

namespace seqkv {
namespace {

using test::Sequences;
using test::value_of;
using Bytes = std::vector<std::byte>;

Trie windows(const Sequences& sequences, int depth) {
  return value_of(build_window_trie(Kokkos::Serial(), test::spans_of(sequences), depth));
}

/// Texts to learn from and others of their kind, with tokens that were never seen and sequences of 0 and 1 tokens.
struct Corpus {
  Sequences learned, coded;
};
Corpus corpus(Token vocabulary, unsigned seed) {
  Corpus out{test::similar_sequences(40, 300, vocabulary, seed),
             test::similar_sequences(20, 400, vocabulary, seed + 1)};
  out.learned.push_back({vocabulary - 1});
  out.coded.push_back({});
  out.coded.push_back({vocabulary / 2});
  out.coded.push_back(std::vector<Token>(3000, vocabulary - 1));
  return out;
}

template <class Space>
class TokenCoderTest : public testing::Test {};
TYPED_TEST_SUITE(TokenCoderTest, test::Spaces);

TYPED_TEST(TokenCoderTest, RoundTrips) {
  const TypeParam space;
  unsigned seed = 0;
  for (const Token vocabulary : {1U, 2U, 7U, 4096U, 1U << 20U}) {
    const Corpus texts = corpus(vocabulary, 10 * ++seed);
    for (const int depth : {1, 3, 6}) {
      const Trie plain = windows(texts.learned, depth);
      const auto weights = value_of(train_token_weights(space, test::spans_of(texts.learned), depth));
      for (const Trie& trie : {plain, value_of(with_weights(plain, weights))}) {
        for (const std::uint32_t block : {0U, 1U, 64U, 1000U}) {
          for (const bool adaptive : {true, false}) {
            const TokenCoder coder = value_of(TokenCoder::create(trie, {block, adaptive, 0}));
            const Bytes stream = value_of(coder.encode(space, test::spans_of(texts.coded)));
            ASSERT_TRUE(value_of(coder.decode(space, stream)) == texts.coded) << vocabulary << ' ' << depth;
            // A decoder needs no options.
            const TokenCoder other = value_of(TokenCoder::create(trie));
            ASSERT_TRUE(value_of(other.decode(space, stream)) == texts.coded);
          }
        }
      }
    }
  }
}

TYPED_TEST(TokenCoderTest, ThreadsAndSpacesGiveTheSameBytes) {
  const Corpus texts = corpus(300, 5);
  const auto spans = test::spans_of(texts.learned);
  const auto weights = value_of(train_token_weights(TypeParam(), spans, 4));
  EXPECT_EQ(weights, value_of(train_token_weights(Kokkos::Serial(), spans, 4)));
  const TokenCoder coder =
      value_of(TokenCoder::create(value_of(with_weights(windows(texts.learned, 4), weights)), {50}));
  EXPECT_EQ(value_of(coder.encode(TypeParam(), test::spans_of(texts.coded))),
            value_of(coder.encode(Kokkos::Serial(), test::spans_of(texts.coded))));
}

TYPED_TEST(TokenCoderTest, BlocksDecodeAlone) {
  const Corpus texts = corpus(50, 7);
  const TokenCoder coder = value_of(TokenCoder::create(windows(texts.learned, 5), {64}));
  const Bytes stream = value_of(coder.encode(TypeParam(), test::spans_of(texts.coded)));
  for (std::uint64_t s = 0; s < texts.coded.size(); ++s) {
    const auto& tokens = texts.coded[s];
    const std::uint64_t blocks = (tokens.size() + 63) / 64;
    for (std::uint64_t b = 0; b < blocks; ++b) {
      const auto first = tokens.begin() + static_cast<std::ptrdiff_t>(64 * b);
      const auto last = tokens.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(tokens.size(), 64 * b + 64));
      ASSERT_EQ(value_of(coder.decode_block(stream, s, b)), std::vector<Token>(first, last));
    }
    EXPECT_CODE(coder.decode_block(stream, s, blocks), ErrorCode::invalid_argument);
  }
  EXPECT_CODE(coder.decode_block(stream, texts.coded.size(), 0), ErrorCode::invalid_argument);
}

TYPED_TEST(TokenCoderTest, TakesWhatItsProbabilitiesSay) {
  const Corpus texts = corpus(300, 9);
  const Trie trie = windows(texts.learned, 4);
  for (const bool adaptive : {true, false}) {
    const TokenCoder coder = value_of(TokenCoder::create(trie, {0, adaptive, 0}));
    double bits = 0;
    for (const auto& tokens : texts.coded) {
      const auto surprisals = value_of(coder.surprisals(tokens, adaptive));
      bits += static_cast<double>(std::accumulate(surprisals.begin(), surprisals.end(), std::uint64_t{0})) / 65536.0;
    }
    const auto stream = value_of(coder.encode(TypeParam(), test::spans_of(texts.coded)));
    // Per sequence: a checksum, its lengths, and the last bytes of the range coder.
    const double most = bits / 8 * 1.001 + 16.0 * static_cast<double>(texts.coded.size()) + 32;
    EXPECT_LE(static_cast<double>(stream.size()), most);
    EXPECT_GE(static_cast<double>(stream.size()), bits / 8);
  }
}

TYPED_TEST(TokenCoderTest, WhateverIsBrokenIsRefused) {
  const TypeParam space;
  const Corpus texts = corpus(20, 11);
  const Sequences few = {texts.coded[0], texts.coded[1], {3}};
  const TokenCoder coder = value_of(TokenCoder::create(windows(texts.learned, 3), {100}));
  const Bytes good = value_of(coder.encode(space, test::spans_of(few)));
  for (std::size_t size = 0; size < good.size(); ++size) {
    const Bytes part(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size));
    ASSERT_FALSE(coder.decode(space, part).ok()) << size;
  }
  std::size_t harmless = 0;
  for (std::size_t i = 0; i < good.size(); ++i) {
    for (const unsigned bit : {0U, 3U, 7U}) {
      Bytes bad = good;
      bad[i] ^= static_cast<std::byte>(1U << bit);
      const auto decoded = coder.decode(space, bad, 1U << 20U);
      // The last bits of a block may say nothing: then the tokens are the right ones.
      if (decoded.ok()) {
        ASSERT_TRUE(*decoded == few) << i;
        ++harmless;
      }
    }
  }
  EXPECT_LT(harmless, 8 * few.size());
  Bytes longer = good;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(coder.decode(space, longer).ok());
  const TokenCoder other = value_of(TokenCoder::create(windows(texts.learned, 4)));
  EXPECT_CODE(other.decode(space, good), ErrorCode::wrong_model);
  std::uint64_t tokens = 0;
  for (const auto& sequence : few) tokens += sequence.size();
  EXPECT_OK(coder.decode(space, good, tokens));
  EXPECT_CODE(coder.decode(space, good, tokens - 1), ErrorCode::limit_exceeded);
  std::mt19937 random(3);
  for (int round = 0; round < 2000; ++round) {  // anything at all
    Bytes noise = good;
    for (int n = 0; n < 4; ++n) noise[random() % noise.size()] = static_cast<std::byte>(random());
    const auto decoded = coder.decode(space, noise, 1U << 20U);
    if (decoded.ok()) {
      EXPECT_TRUE(*decoded == few);
    }
  }
}

TYPED_TEST(TokenCoderTest, RefusesWhatItCannotCode) {
  const TypeParam space;
  const Sequences texts = {{1, 2, 3, 4}, {5, 6}};
  const Trie trie = windows(texts, 2);
  EXPECT_CODE(TokenCoder::create(trie, {0, true, 6}), ErrorCode::invalid_argument);
  EXPECT_CODE(TokenCoder::create(value_of(build_session_trie(space, test::sessions_of(texts)))),
              ErrorCode::invalid_argument);
  EXPECT_CODE(TokenCoder::create(trie, {0, true, 1U << 30U}), ErrorCode::limit_exceeded);
  const TokenCoder coder = value_of(TokenCoder::create(trie));
  const std::vector<Token> unknown = {1, 7};
  EXPECT_CODE(coder.encode(space, std::vector<TokenSpan>{unknown}), ErrorCode::token_out_of_range);
  EXPECT_CODE(coder.surprisals(unknown), ErrorCode::token_out_of_range);
  EXPECT_CODE(train_token_weights(space, test::spans_of(texts), 0), ErrorCode::invalid_argument);
  EXPECT_CODE(train_token_weights(space, test::spans_of(texts), 2, {1}), ErrorCode::invalid_argument);
  EXPECT_CODE(with_weights(trie, std::vector<std::uint16_t>(3)), ErrorCode::invalid_argument);
  EXPECT_CODE(with_weights(trie, std::vector<std::uint16_t>(token_weight_count(2), 5)), ErrorCode::invalid_argument);
  const auto weights = trie::default_token_weights(2);
  const Trie weighted = value_of(with_weights(trie, weights));
  EXPECT_FALSE(weighted == trie);
  EXPECT_TRUE(value_of(with_weights(weighted, {})) == trie);
  EXPECT_EQ(value_of(merge(weighted, windows(texts, 2))).shape().weights, 0U);
}

/// F rises by one or more from token to token, from 0 to M, and token_at is its inverse.
TYPED_TEST(TokenCoderTest, IntervalsTile) {
  for (const Token wanted : {1U, 2U, 5U, 60U, 300U}) {
    const Corpus texts = corpus(wanted, 20 + wanted);
    const Trie trie = windows(texts.learned, 4);
    const Token vocabulary = trie.shape().largest_token + 1;
    const auto counts = value_of(trie::WindowCounts::derive(trie));
    const auto weights = trie::default_token_weights(4);
    for (const bool adaptive : {true, false}) {
      trie::Predictor predictor(counts, weights, vocabulary, adaptive);
      predictor.restart();
      const auto& tokens = texts.coded[0];
      for (std::size_t i = 0; i < std::min<std::size_t>(tokens.size(), 60); ++i) {
        std::uint64_t next = 0;
        for (Token token = 0; token < vocabulary; ++token) {
          const Interval interval = predictor.interval_of(token);
          ASSERT_EQ(interval.start, next);
          ASSERT_GE(interval.width, 1U);
          next += interval.width;
          for (const std::uint64_t point : {interval.start, next - 1}) {
            Interval found;
            ASSERT_EQ(predictor.token_at(point, found), token);
            ASSERT_EQ(found.start, interval.start);
            ASSERT_EQ(found.width, interval.width);
          }
        }
        ASSERT_EQ(next, trie::interval_one);
        predictor.interval_of(tokens[i]);
        predictor.advance(tokens[i]);
      }
    }
  }
}

/// Continuation counts, from the windows themselves.
TYPED_TEST(TokenCoderTest, CountsAreThoseOfASlate) {
  constexpr std::size_t depth = 4;
  for (unsigned seed = 0; seed < 10; ++seed) {
    const Sequences texts = test::similar_sequences(15, 80, seed % 2 == 0 ? 4 : 200, seed);
    std::map<std::vector<Token>, std::uint64_t> expected;
    std::map<std::vector<Token>, std::set<Token>> left;
    for (const auto& tokens : texts) {
      for (std::size_t i = 0; i < tokens.size(); ++i) {
        for (std::size_t n = 1; n <= std::min(depth, tokens.size() - i); ++n) {
          const std::vector<Token> window(tokens.begin() + static_cast<std::ptrdiff_t>(i),
                                          tokens.begin() + static_cast<std::ptrdiff_t>(i + n));
          if (n == depth) ++expected[window];
          if (n < depth && i > 0) left[window].insert(tokens[i - 1]);
        }
      }
    }
    for (const auto& [window, tokens] : left) expected[window] = tokens.size();
    const Trie trie = windows(texts, depth);
    const auto counts = value_of(trie::WindowCounts::derive(trie));
    const TrieView& view = trie.view();
    std::vector<std::vector<Token>> path(view.nodes);
    for (std::uint64_t node = 0; node < view.nodes; ++node) {
      for (std::uint64_t child = view.child[node]; child < view.child[node + 1]; ++child) {
        path[child] = path[node];
        path[child].push_back(view.token[child]);
        const std::uint64_t u = expected[path[child]];
        ASSERT_EQ(counts.before(child + 1) - counts.before(child), u == 0 ? 0 : 2 * u - 1);
        for (std::uint64_t i = 1; i < view.edge_tokens(child); ++i) path[child].push_back(view.edge_token(child, i));
      }
    }
  }
}

}  // namespace
}  // namespace seqkv
