// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Sharded tries give the answers of one trie of all sessions.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "core/bytes.hpp"
#include "seqkv/mpi_trie.hpp"
#include "support/files.hpp"
#include "support/ranks.hpp"

namespace seqkv::mpi {
namespace {

using test::value_of;
using test::world;
using Space = Kokkos::DefaultExecutionSpace;

/// Sessions that all ranks know, of which each gives some.
struct Sessions {
  std::vector<std::vector<Token>> tokens;
  std::vector<std::vector<std::uint32_t>> surprisals;
  std::vector<TrieSession> all;

  /// Of a few tokens, so that prefixes are shared; `preamble` tokens are shared by all.
  Sessions(std::mt19937& random, std::size_t count, Token vocabulary, std::size_t preamble, bool with_surprisals,
           std::uint64_t first_id = 0) {
    std::vector<Token> shared(preamble);
    for (Token& token : shared) token = random() % vocabulary;
    std::map<std::vector<Token>, std::uint32_t> known;  // a prefix has one surprisal
    for (std::size_t i = 0; i < count; ++i) {
      auto& session = tokens.emplace_back(shared);
      if (!tokens.empty() && random() % 2 == 0) {
        session = tokens[random() % tokens.size()];
        session.resize(std::max(preamble, session.size() == 0 ? 0 : random() % (session.size() + 1)));
      }
      for (std::size_t more = 1 + random() % 20; more > 0; --more) session.push_back(random() % vocabulary);
      auto& bits = surprisals.emplace_back();
      if (!with_surprisals) continue;
      std::vector<Token> prefix;
      for (const Token token : session) {
        prefix.push_back(token);
        bits.push_back(known.try_emplace(prefix, random() % 100000).first->second);
      }
    }
    // Ids in no order.
    std::vector<std::uint64_t> ids(count);
    for (std::size_t i = 0; i < count; ++i) ids[i] = first_id + (i * 7919) % count + (i % 3 == 0 ? 1ULL << 63U : 0);
    for (std::size_t i = 0; i < count; ++i) all.push_back({tokens[i], ids[i], surprisals[i]});
  }

  std::vector<TrieSession> of_rank(const Communicator& comm, std::size_t begin = 0, std::size_t end = SIZE_MAX) const {
    std::vector<TrieSession> mine;
    for (std::size_t i = begin; i < std::min(end, all.size()); ++i) {
      if (static_cast<int>(i * i % 7 % static_cast<std::size_t>(comm.size())) == comm.rank()) mine.push_back(all[i]);
    }
    return mine;
  }
};

class ShardedTrieTest : public testing::Test {
 protected:
  const Communicator& comm = world().get();
  Space space;

  std::vector<std::vector<Token>> queries(std::mt19937& random, const Sessions& sessions, Token vocabulary) const {
    std::vector<std::vector<Token>> out;
    for (int i = 0; i < 60; ++i) {
      auto query = sessions.tokens[random() % sessions.tokens.size()];
      query.resize(random() % (query.size() + 1));
      for (std::size_t more = random() % 12; more > 0; --more) query.push_back(random() % (vocabulary + 2));
      if (i % 20 == 0) query = {vocabulary, 70000, 3};
      out.push_back(std::move(query));
    }
    return out;
  }

  void expect_same(const ShardedTrie<Space>& sharded, std::span<const TrieSession> sessions,
                   const std::vector<std::vector<Token>>& queries, std::int64_t block) const {
    const Trie one = value_of(build_session_trie(space, sessions));
    const auto device = value_of(DeviceTrie<Space>::create(space, one));
    const std::vector<TokenSpan> spans(queries.begin(), queries.end());
    std::vector<TrieCursor> places(spans.size());
    EXPECT_OK(seqkv::match(space, device, spans, places, block));
    const auto answers = value_of(sharded.match(space, spans));
    EXPECT_EQ(sharded.sessions(), std::ssize(sessions));
    for (std::size_t i = 0; i < spans.size(); ++i) {
      const auto ids = sessions_at(one.view(), places[i]);
      const ShardMatch expected{places[i].depth, one.view().count(places[i].node), *std::ranges::min_element(ids),
                                places[i].surprisal};
      EXPECT_EQ(answers[i].tokens, expected.tokens) << i;
      EXPECT_EQ(answers[i].sessions, expected.sessions) << i;
      EXPECT_EQ(answers[i].session, expected.session) << i;
      EXPECT_EQ(answers[i].surprisal, expected.surprisal) << i;
    }
  }
};

TEST_F(ShardedTrieTest, AnswersAsOneTrieDoes) {
  std::mt19937 shared(1);  // the same on all ranks
  for (int round = 0; round < 40; ++round) {
    const Token vocabulary = round % 4 == 3 ? 80000 : 2 + round % 3;
    const std::int64_t block = std::array{1, 2, 4, 7}[static_cast<std::size_t>(round) % 4];
    const Sessions sessions(shared, 1 + shared() % 120, vocabulary, round % 5 == 0 ? 9 : 0, round % 2 == 0);
    const auto trie = value_of(ShardedTrie<Space>::build(space, comm, sessions.of_rank(comm), {block, 1.0 / 4}));
    std::mt19937 own(static_cast<std::uint32_t>(100 * round + comm.rank()));
    expect_same(trie, sessions.all, queries(own, sessions, vocabulary), block);
  }
}

TEST_F(ShardedTrieTest, SessionsComeInPortions) {
  std::mt19937 shared(2);
  const Sessions sessions(shared, 300, 3, 0, true);
  auto trie = value_of(ShardedTrie<Space>::build(space, comm, {}, {2}));
  EXPECT_EQ(trie.sessions(), 0);
  const std::vector<Token> query = {1, 2};
  const TokenSpan span = query;
  EXPECT_EQ(value_of(trie.match(space, {&span, 1}))[0], ShardMatch{});
  std::size_t done = 0;
  for (const std::size_t upto : {1UL, 40UL, 41UL, 300UL}) {
    ASSERT_OK(trie.insert(space, sessions.of_rank(comm, done, upto)));
    done = upto;
    std::mt19937 own(static_cast<std::uint32_t>(upto) + static_cast<std::uint32_t>(comm.rank()));
    expect_same(trie, std::span(sessions.all).first(upto), queries(own, sessions, 3), 2);
  }
}

TEST_F(ShardedTrieTest, APreambleThatAllShareIsNoBottleneck) {
  std::mt19937 shared(3);
  const Sessions sessions(shared, 4000, 1000, 64, false);
  const auto trie = value_of(ShardedTrie<Space>::build(space, comm, sessions.of_rank(comm), {16}));
  std::array<std::int64_t, 1> most = {static_cast<std::int64_t>(trie.local().shape().total)};
  ASSERT_OK(comm.reduce(most, Reduction::max));
  EXPECT_LE(static_cast<double>(most[0]), 1.5 * 4000 / comm.size());
  if (comm.size() > 1) {
    EXPECT_GE(trie.hot_prefixes(), 4);
  }
  std::mt19937 own(static_cast<std::uint32_t>(comm.rank()));
  expect_same(trie, sessions.all, queries(own, sessions, 1000), 16);
}

TEST_F(ShardedTrieTest, IsSavedAndLoadedOnAnyNumberOfRanks) {
  std::mt19937 shared(4);
  const Sessions sessions(shared, 200, 4, 8, true);
  std::vector<std::byte> path;
  std::optional<test::ScratchFolder> scratch;
  if (comm.rank() == 0) {
    scratch.emplace();
    const auto bytes = as_bytes(scratch->path().native());
    path.assign(bytes.begin(), bytes.end());
  }
  ASSERT_OK(comm.broadcast(path, 0));
  const std::filesystem::path folder = std::string(reinterpret_cast<const char*>(path.data()), path.size());
  const Communicator alone = value_of(Communicator::duplicate(Program::self()));
  const std::filesystem::path of_one = folder / "one";
  const std::filesystem::path of_all = folder / "all";
  const auto trie = value_of(ShardedTrie<Space>::build(space, comm, sessions.of_rank(comm), {4}));
  ASSERT_OK(trie.save(of_all));
  ASSERT_OK(trie.save(of_all));  // in the place of the first
  if (comm.rank() == 0) {
    const auto single = value_of(ShardedTrie<Space>::build(space, alone, sessions.all, {4}));
    ASSERT_OK(single.save(of_one));
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(of_all), {}), comm.size() + 1);
  }
  ASSERT_OK(comm.barrier());
  std::mt19937 own(static_cast<std::uint32_t>(comm.rank()));
  const auto asked = queries(own, sessions, 4);
  expect_same(value_of(ShardedTrie<Space>::load(space, comm, of_one, {4})), sessions.all, asked, 4);
  expect_same(value_of(ShardedTrie<Space>::load(space, alone, of_all, {4})), sessions.all, asked, 4);
  EXPECT_CODE(ShardedTrie<Space>::load(space, comm, folder / "none", {4}), ErrorCode::file_not_found);
  ASSERT_OK(comm.barrier());
}

TEST_F(ShardedTrieTest, WhatOneRankGivesWrongStopsAll) {
  const std::vector<Token> tokens = {1, 2, 3};
  const TrieSession good{tokens, static_cast<std::uint64_t>(comm.rank()), {}};
  const TrieSession empty{{}, static_cast<std::uint64_t>(comm.rank()), {}};
  const bool last = comm.rank() == comm.size() - 1;
  EXPECT_CODE(ShardedTrie<Space>::build(space, comm, {last ? &empty : &good, 1}), ErrorCode::empty_input);
  const std::vector<TrieSession> twice = {{tokens, 7, {}}, {tokens, 7, {}}};
  EXPECT_CODE(ShardedTrie<Space>::build(space, comm, last ? std::span(twice) : std::span<const TrieSession>()),
              ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace seqkv::mpi
