// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Tries built and matched in the memory of a space against those that come from the host.
#include "seqkv/device_trie.hpp"

#include "support/result.hpp"
#include "support/spaces.hpp"
#include "support/tries.hpp"
#include "trie/image.hpp"
#include "trie/match.hpp"
#include "trie/windows.hpp"

namespace seqkv {
namespace {

using test::Sequences;
using test::value_of;

template <class Space>
class DeviceTries : public testing::Test {
 protected:
  using Memory = typename Space::memory_space;

  template <class T>
  static Kokkos::View<T*, Memory> to_space(const std::vector<T>& values) {
    Kokkos::View<T*, Memory> there("seqkv::test::values", values.size());
    Kokkos::deep_copy(there, Kokkos::View<const T*, Kokkos::HostSpace>(values.data(), values.size()));
    return there;
  }
  template <class T>
  static std::vector<T> to_host(const Kokkos::View<T*, Memory>& there) {
    std::vector<T> values(there.size());
    Kokkos::deep_copy(Kokkos::View<T*, Kokkos::HostSpace>(values.data(), values.size()), there);
    return values;
  }

  /// Sequences in the memory of the space.
  struct Text {
    Kokkos::View<Token*, Memory> tokens;
    Kokkos::View<std::uint64_t*, Memory> offsets;
    TokenBatch<Memory> batch() const { return {tokens, offsets}; }
  };
  static Text text_of(const Sequences& sequences) {
    std::vector<Token> tokens;
    std::vector<std::uint64_t> offsets = {0};
    for (const auto& sequence : sequences) {
      tokens.insert(tokens.end(), sequence.begin(), sequence.end());
      offsets.push_back(tokens.size());
    }
    return {to_space(tokens), to_space(offsets)};
  }
  static auto build(const std::vector<Token>& tokens, const std::vector<std::uint64_t>& offsets, int depth) {
    const Text text{to_space(tokens), to_space(offsets)};
    return DeviceTrie<Space>::build_windows(Space(), text.batch(), depth);
  }
};
TYPED_TEST_SUITE(DeviceTries, test::Spaces);

TYPED_TEST(DeviceTries, AreThoseOfTheHost) {
  for (unsigned seed = 0; seed < 24; ++seed) {
    const Token vocabulary = seed % 3 == 0 ? 5 : seed % 3 == 1 ? 4000 : 1U << 30U;
    const int depth = 1 + static_cast<int>(seed % 12);
    const Sequences sequences = test::similar_sequences(1 + 20 * seed, 300, vocabulary, seed);
    const auto text = this->text_of(sequences);
    const auto built = value_of(DeviceTrie<TypeParam>::build_windows(TypeParam(), text.batch(), depth));
    const Trie host = value_of(trie::build_window_trie_portable(Kokkos::Serial(), test::spans_of(sequences), depth));
    EXPECT_EQ(built.shape(), host.shape());
    ASSERT_TRUE(value_of(built.to_host(TypeParam())) == host) << seed;
    const auto copied = value_of(DeviceTrie<TypeParam>::create(TypeParam(), host));
    EXPECT_TRUE(value_of(copied.to_host(TypeParam())) == host);
  }
}

TYPED_TEST(DeviceTries, OutliveWhatTheyWereBuiltOf) {
  const Sequences sequences = test::similar_sequences(50, 300, 4000, 3);
  auto built = [&] {
    const auto text = this->text_of(sequences);
    return value_of(DeviceTrie<TypeParam>::build_windows(TypeParam(), text.batch(), 8));
  }();
  const DeviceTrie<TypeParam> copy = built;
  built = {};
  EXPECT_TRUE(value_of(copy.to_host(TypeParam())) ==
              value_of(build_window_trie(Kokkos::Serial(), test::spans_of(sequences), 8)));
  EXPECT_TRUE(value_of(built.to_host(TypeParam())) == Trie());
}

TYPED_TEST(DeviceTries, MatchQueriesInTheirMemory) {
  const TypeParam space;
  const Sequences stored = test::similar_sequences(80, 300, 300, 5);
  const Sequences asked = test::similar_sequences(700, 20, 300, 6);
  const auto trie = value_of(DeviceTrie<TypeParam>::build_windows(space, this->text_of(stored).batch(), 8));
  const auto text = this->text_of(asked);
  std::vector<TokenRange> ranges;
  for (const Token* at = text.tokens.data(); const auto& query : asked) {
    ranges.push_back({at, query.size()});
    at += query.size();
  }
  const auto queries = this->to_space(ranges);
  for (const std::int64_t block : {1, 2, 5}) {
    std::vector<TrieCursor> expected(asked.size());
    ASSERT_OK(trie::match_portable(space, trie, test::spans_of(asked), expected, block));
    const auto places = this->to_space(std::vector<TrieCursor>(asked.size()));
    ASSERT_OK(match(space, trie, queries, places, block));
    space.fence();
    EXPECT_TRUE(this->to_host(places) == expected) << block;
    // Again from where they are: queries go on.
    ASSERT_OK(trie::match_portable(space, trie, test::spans_of(asked), expected, block));
    ASSERT_OK(match(space, trie, queries, places, block));
    space.fence();
    EXPECT_TRUE(this->to_host(places) == expected) << block;
  }
  const auto fewer = this->to_space(std::vector<TrieCursor>(3));
  EXPECT_CODE(match(space, trie, queries, fewer), ErrorCode::invalid_argument);
  EXPECT_CODE(match(space, trie, queries, this->to_space(std::vector<TrieCursor>(asked.size())), 0),
              ErrorCode::invalid_argument);
}

TYPED_TEST(DeviceTries, RefuseWhatTheyCannotBuild) {
  using Tokens = std::vector<Token>;
  EXPECT_CODE(this->build({1, 2}, {}, 8), ErrorCode::empty_input);
  EXPECT_CODE(this->build({1, 2}, {0}, 8), ErrorCode::empty_input);
  EXPECT_CODE(this->build({1, 2}, {0, 2, 2}, 8), ErrorCode::empty_input);
  EXPECT_CODE(this->build({1, 2, 3}, {0, 2, 1, 3}, 8), ErrorCode::invalid_argument);
  EXPECT_CODE(this->build({1, 2, 3}, {0, 2}, 8), ErrorCode::invalid_argument);
  EXPECT_CODE(this->build({1, 2, 3}, {1, 3}, 8), ErrorCode::invalid_argument);
  EXPECT_CODE(this->build({1, 2, 3}, {0, 9}, 8), ErrorCode::invalid_argument);
  EXPECT_CODE(this->build({1, static_cast<Token>(-1)}, {0, 2}, 8), ErrorCode::token_out_of_range);
  EXPECT_CODE(this->build({1, 2}, {0, 2}, 0), ErrorCode::invalid_argument);
  EXPECT_CODE(this->build({1, 2}, {0, 2}, 32), ErrorCode::limit_exceeded);
  EXPECT_CODE(this->build({INT32_MAX}, {0, 1}, 17), ErrorCode::limit_exceeded);
  EXPECT_OK(this->build({INT32_MAX}, {0, 1}, 16));
  EXPECT_OK(this->build(Tokens(5000, 7), {0, 4000, 4999, 5000}, 31));
}

}  // namespace
}  // namespace seqkv
