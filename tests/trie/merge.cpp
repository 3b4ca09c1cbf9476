// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Growing and shrinking: whatever the way, the trie is the one built at once from what is left.
#include <algorithm>
#include <numeric>

#include "support/result.hpp"
#include "support/spaces.hpp"
#include "support/tries.hpp"
#include "trie/image.hpp"

namespace seqkv {
namespace {

using test::Sequences;
using test::value_of;

template <class Space>
class TrieMerge : public testing::Test {
 protected:
  static Trie windows(const Sequences& sequences, int depth) {
    return value_of(build_window_trie(Space(), test::spans_of(sequences), depth));
  }
  static Trie sessions(const std::vector<TrieSession>& sessions) {
    return value_of(build_session_trie(Space(), sessions));
  }
};
TYPED_TEST_SUITE(TrieMerge, test::Spaces);

TYPED_TEST(TrieMerge, OfWindowsIsTheTrieOfAll) {
  for (unsigned seed = 0; seed < 30; ++seed) {
    const int depth = 1 + static_cast<int>(seed % 9);
    const Sequences sequences = test::similar_sequences(20, 100, seed % 2 == 0 ? 6 : 100'000, seed);
    const Sequences first(sequences.begin(), sequences.begin() + 7);
    const Sequences second(sequences.begin() + 7, sequences.end());
    const Trie all = this->windows(sequences, depth);
    EXPECT_TRUE(value_of(merge(this->windows(first, depth), this->windows(second, depth))) == all) << seed;
    EXPECT_TRUE(value_of(merge(this->windows(second, depth), this->windows(first, depth))) == all) << seed;
    EXPECT_TRUE(value_of(subtract_windows(all, this->windows(second, depth))) == this->windows(first, depth)) << seed;
  }
}

TYPED_TEST(TrieMerge, OfSessionsIsTheTrieOfAll) {
  for (unsigned seed = 0; seed < 30; ++seed) {
    const Sequences sequences = test::similar_sequences(60, 300, seed % 2 == 0 ? 4 : 70'000, seed);
    std::vector<std::vector<std::uint32_t>> surprisals;
    std::vector<TrieSession> all = test::sessions_of(sequences, 1000);
    if (seed % 3 == 0) {
      for (const auto& tokens : sequences) surprisals.push_back(test::surprisals_of(tokens));
      for (std::size_t i = 0; i < all.size(); ++i) all[i].surprisals = surprisals[i];
    }
    std::shuffle(all.begin(), all.end(), std::mt19937(seed));
    const std::vector<TrieSession> first(all.begin(), all.begin() + 25);
    const std::vector<TrieSession> second(all.begin() + 25, all.end());
    const Trie whole = this->sessions(all);
    EXPECT_TRUE(value_of(merge(this->sessions(first), this->sessions(second))) == whole) << seed;
    EXPECT_TRUE(value_of(merge(this->sessions(second), this->sessions(first))) == whole) << seed;
    std::vector<std::uint64_t> ids;
    for (const TrieSession& session : second) ids.push_back(session.id);
    EXPECT_TRUE(value_of(remove_sessions(whole, ids)) == this->sessions(first)) << seed;
  }
}

TYPED_TEST(TrieMerge, OneByOne) {
  const Sequences sequences = test::similar_sequences(40, 120, 3, 5);
  const std::vector<TrieSession> all = test::sessions_of(sequences);
  Trie trie;
  for (const TrieSession& session : all) trie = value_of(merge(trie, this->sessions({session})));
  EXPECT_TRUE(trie == this->sessions(all));
  for (const TrieSession& session : all) {
    ASSERT_OK(trie::check_arrays(trie.shape(), trie.image().data()));
    trie = value_of(remove_sessions(trie, std::vector<std::uint64_t>{session.id}));
  }
  EXPECT_TRUE(trie == Trie());
}

TYPED_TEST(TrieMerge, RefusesWhatDoesNotFit) {
  const Sequences sequences = {{1, 2, 3, 4, 5}, {1, 2, 9}, {7, 7, 7}};
  const Trie sessions = this->sessions(test::sessions_of(sequences));
  const Trie windows = this->windows(sequences, 3);
  EXPECT_CODE(merge(sessions, windows), ErrorCode::invalid_argument);
  EXPECT_CODE(merge(this->windows(sequences, 2), windows), ErrorCode::invalid_argument);
  EXPECT_CODE(merge(sessions, sessions), ErrorCode::invalid_argument);  // the ids
  EXPECT_CODE(remove_sessions(windows, std::vector<std::uint64_t>{0}), ErrorCode::invalid_argument);
  EXPECT_CODE(remove_sessions(sessions, std::vector<std::uint64_t>{3}), ErrorCode::session_not_found);
  EXPECT_CODE(remove_sessions(sessions, std::vector<std::uint64_t>{1, 1}), ErrorCode::invalid_argument);
  EXPECT_CODE(subtract_windows(windows, this->windows({{1, 2, 8}}, 3)), ErrorCode::invalid_argument);
  EXPECT_CODE(subtract_windows(windows, this->windows({{1, 2, 3}}, 3)), ErrorCode::invalid_argument);  // ends early
  EXPECT_CODE(subtract_windows(windows, windows), ErrorCode::invalid_argument);
  EXPECT_CODE(subtract_windows(sessions, windows), ErrorCode::invalid_argument);
  std::vector<std::uint32_t> surprisals = test::surprisals_of(sequences[0]);
  const Trie recorded = this->sessions({{sequences[0], 5, surprisals}});
  EXPECT_CODE(merge(sessions, recorded), ErrorCode::invalid_argument);
  surprisals[4] ^= 1U;
  EXPECT_CODE(merge(recorded, this->sessions({{sequences[0], 6, surprisals}})), ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace seqkv
