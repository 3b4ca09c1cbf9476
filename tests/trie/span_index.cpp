// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Spans of tokens found elsewhere: those that are planted are found, what is found is there, and repetition costs
// no more than other text.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <random>

#include "seqkv/span_index.hpp"
#include "support/result.hpp"
#include "support/spaces.hpp"

namespace seqkv {
namespace {

using test::value_of;
using Tokens = std::vector<Token>;

Tokens random_text(std::size_t count, Token vocabulary, unsigned seed) {
  std::mt19937 engine(seed);
  Tokens out(count);
  for (Token& token : out) token = static_cast<Token>(engine() % vocabulary);
  return out;
}

Tokens part(const Tokens& from, std::int64_t first, std::int64_t count) {
  return {from.begin() + first, from.begin() + first + count};
}

void append(Tokens& to, const Tokens& more) { to.insert(to.end(), more.begin(), more.end()); }

/// What every result must be: ascending, long enough, equal to its source token by token, and maximal to the right.
void check_spans(const Tokens& query, const std::vector<Tokens>& sequences, const std::vector<SharedSpan>& spans,
                 std::int64_t least) {
  std::int64_t end = 0;
  for (const SharedSpan& span : spans) {
    ASSERT_GE(span.first, end);
    ASSERT_GE(span.count, least);
    end = span.first + span.count;
    ASSERT_LE(end, std::ssize(query));
    const Tokens& source = span.sequence < 0 ? query : sequences[static_cast<std::size_t>(span.sequence)];
    ASSERT_GE(span.source, 0);
    ASSERT_LE(span.source + span.count, span.sequence < 0 ? span.first : std::ssize(source));
    EXPECT_EQ(part(query, span.first, span.count), part(source, span.source, span.count));
    if (span.sequence < 0) {
      for (const SharedSpan& other : spans) {
        EXPECT_TRUE(other.first >= span.source + span.count || other.first + other.count <= span.source)
            << "a span that stands for a span";
      }
    } else if (end < std::ssize(query) && span.source + span.count < std::ssize(source)) {
      EXPECT_NE(query[static_cast<std::size_t>(end)], source[static_cast<std::size_t>(span.source + span.count)]);
    }
  }
}

TEST(SpanIndex, FindsWhatIsThereAtAnyOffset) {
  SpanIndex index(7);
  std::vector<Tokens> sequences;
  for (unsigned i = 0; i < 20; ++i) {
    sequences.push_back(random_text(100 + 37 * i, 5000, i));
    EXPECT_EQ(value_of(index.add(sequences.back())), i);
  }
  for (std::int64_t offset = 0; offset < 64; ++offset) {
    for (const std::int64_t count : {63, 64, 65, 200}) {
      Tokens query = random_text(static_cast<std::size_t>(3 + offset), 5000, 100);
      append(query, part(sequences[19], offset + 5, count));
      append(query, random_text(40, 5000, 101));
      append(query, part(sequences[9], 2 * offset, 70));
      const auto spans = index.find(query);
      check_spans(query, sequences, spans, 64);
      std::vector<SharedSpan> expected;
      if (count >= 64) expected.push_back({3 + offset, count, 19, offset + 5});
      expected.push_back({43 + 2 * offset - offset + count, 70, 9, 2 * offset});
      ASSERT_EQ(spans, expected) << offset << " " << count;
    }
  }
}

TEST(SpanIndex, TakesTheLongestOfSeveral) {
  const Tokens text = random_text(500, 1000, 1);
  SpanIndex index;
  for (const std::int64_t count : {100, 300, 200}) ASSERT_OK(index.add(part(text, 0, count)));
  EXPECT_EQ(index.find(text), (std::vector<SharedSpan>{{0, 300, 1, 0}}));
  EXPECT_EQ(index.find(part(text, 0, 63)), std::vector<SharedSpan>());
  EXPECT_EQ(index.find(part(text, 0, 40), 32), (std::vector<SharedSpan>{{0, 40, 0, 0}}));
  EXPECT_TRUE(index.find({}).empty());
}

/// Few kinds of tokens: windows occur often, and spans meet.
TEST(SpanIndex, IsRightForAnyText) {
  for (unsigned seed = 0; seed < 40; ++seed) {
    std::mt19937 engine(seed);
    const Token vocabulary = seed % 3 == 0 ? 1 : seed % 3 == 1 ? 2 : 300;
    const Tokens pool = random_text(400, vocabulary, seed + 1000);
    const auto mixture = [&] {
      Tokens out;
      while (out.size() < 600) {
        const auto first = static_cast<std::int64_t>(engine() % 300);
        append(out, part(pool, first, 1 + static_cast<std::int64_t>(engine() % 100)));
      }
      return out;
    };
    SpanIndex index(seed);
    std::vector<Tokens> sequences;
    for (int i = 0; i < 6; ++i) {
      sequences.push_back(mixture());
      ASSERT_OK(index.add(sequences.back()));
    }
    for (const bool within : {false, true}) {
      const Tokens query = mixture();
      check_spans(query, sequences, index.find(query, 40, within), 40);
      check_spans(query, sequences, SpanIndex(seed).find(query, 64, within), 64);
    }
  }
}

TEST(SpanIndex, FindsWhatTheQueryRepeats) {
  Tokens query = random_text(300, 5000, 1);
  append(query, part(query, 100, 150));
  append(query, part(query, 20, 90));
  EXPECT_TRUE(SpanIndex().find(query).empty());
  EXPECT_EQ(SpanIndex().find(query, 64, true), (std::vector<SharedSpan>{{300, 150, -1, 100}, {450, 90, -1, 20}}));
}

/// One token a million times, and two of them in turn: as fast as other text, in as little memory.
TEST(SpanIndex, RepetitionCostsNothing) {
  Tokens same(1'000'000, 17);
  Tokens turns(1'000'000);
  for (std::size_t i = 0; i < turns.size(); ++i) turns[i] = static_cast<Token>(i % 2);
  Tokens other = random_text(1'000'000, 30'000, 1);
  const auto seconds = [](const auto& work) {
    const auto start = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  SpanIndex index;
  for (Tokens* text : {&same, &turns, &other}) ASSERT_OK(index.add(*text));
  // Slots for the windows of `other`, of which half may be taken, and the copies of the tokens.
  EXPECT_LT(index.bytes(), 2 * index.tokens() * 4 + 4 * (1'000'000 / 32) * 8);
  EXPECT_EQ(index.find(same), (std::vector<SharedSpan>{{0, 1'000'000, 0, 0}}));
  EXPECT_EQ(index.find(turns), (std::vector<SharedSpan>{{0, 1'000'000, 1, 0}}));
  const auto own = SpanIndex().find(same, 64, true);
  check_spans(same, {}, own, 64);
  EXPECT_GT(own.back().first + own.back().count, 999'900);
  // Spans of 63 that are too short, one after the other.
  Tokens traps;
  for (Token i = 0; traps.size() < 1'000'000; ++i) {
    append(traps, Tokens(63, 17));
    traps.push_back(40'000 + i);
  }
  std::vector<SharedSpan> found;
  const double usual = seconds([&] { found = index.find(random_text(1'000'000, 30'000, 2)); });
  EXPECT_TRUE(found.empty());
  EXPECT_LT(seconds([&] { found = index.find(traps); }), 40 * usual + 1);
  EXPECT_TRUE(found.empty());
}

template <class Space>
class FindSpans : public testing::Test {};
TYPED_TEST_SUITE(FindSpans, test::Spaces);

TYPED_TEST(FindSpans, ManyQueriesAtOnce) {
  SpanIndex index;
  const Tokens text = random_text(10'000, 1000, 1);
  ASSERT_OK(index.add(text));
  std::vector<TokenSpan> queries;
  for (std::size_t i = 0; i < 50; ++i) queries.push_back(TokenSpan(text).subspan(100 * i, 64 + i));
  const auto spans = value_of(find_spans(TypeParam(), index, queries));
  ASSERT_EQ(spans.size(), queries.size());
  for (std::size_t i = 0; i < spans.size(); ++i) {
    const auto at = static_cast<std::int64_t>(i);
    EXPECT_EQ(spans[i], (std::vector<SharedSpan>{{0, 64 + at, 0, 100 * at}}));
  }
}

}  // namespace
}  // namespace seqkv
