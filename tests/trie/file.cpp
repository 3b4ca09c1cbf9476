// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Trie files: what comes back, what is refused. Whatever the bytes, a file is refused or is a trie that can be walked.
#include <Kokkos_Core.hpp>
#include <algorithm>
#include <cstring>

#include "io/file.hpp"
#include "seqkv/hash.hpp"
#include "support/files.hpp"
#include "support/result.hpp"
#include "support/tries.hpp"
#include "trie/image.hpp"

namespace seqkv {
namespace {

using test::value_of;
using Bytes = std::vector<std::byte>;

constexpr std::size_t header_bytes = 128;

Trie small_trie(bool windows, Token vocabulary = 5) {
  const test::Sequences sequences = test::similar_sequences(12, 20, vocabulary, 1);
  if (windows) return value_of(build_window_trie(Kokkos::DefaultExecutionSpace(), test::spans_of(sequences), 4));
  std::vector<TrieSession> sessions = test::sessions_of(sequences);
  std::vector<std::vector<std::uint32_t>> surprisals;
  for (const auto& tokens : sequences) surprisals.push_back(test::surprisals_of(tokens));
  for (std::size_t i = 0; i < sessions.size(); ++i) sessions[i].surprisals = surprisals[i];
  return value_of(build_session_trie(Kokkos::DefaultExecutionSpace(), sessions));
}

Bytes file_of(const Trie& trie) {
  Bytes bytes = trie::header_of(trie.shape(), trie.image());
  bytes.insert(bytes.end(), trie.image().begin(), trie.image().end());
  return bytes;
}

/// Parses a copy that is aligned as a mapped file is.
Result<trie::Parsed> parse(const Bytes& bytes, std::vector<std::uint64_t>& memory) {
  memory.assign(bytes.size() / 8 + 9, 0);
  auto* start = reinterpret_cast<std::byte*>(memory.data());
  start += (64 - reinterpret_cast<std::uintptr_t>(start) % 64) % 64;
  std::ranges::copy(bytes, start);
  return trie::parse({start, bytes.size()});
}

/// Puts right checksums over what was changed.
void sign(Bytes& bytes) {
  const std::span<const std::byte> all(bytes);
  const std::uint64_t body = xxh3_64(all.subspan(header_bytes));
  std::memcpy(bytes.data() + 64, &body, sizeof(body));
  const std::uint64_t header = xxh3_64(all.first(header_bytes - 8));
  std::memcpy(bytes.data() + header_bytes - 8, &header, sizeof(header));
}

/// Walks every path: what a reader does with a file that was not refused.
std::uint64_t walk(const TrieView& view) {
  std::uint64_t sum = 0;
  for (std::uint64_t node = 0; node < view.nodes; ++node) {
    for (std::uint64_t i = 0; i < view.edge_tokens(node); ++i) sum += view.edge_token(node, i);
    for (std::uint64_t c = view.child[node]; c < view.child[node + 1]; ++c) sum += view.find_child(node, view.token[c]);
    sum += view.ending(node);
  }
  return sum;
}

TEST(TrieFile, ComesBack) {
  const test::ScratchFolder folder;
  const auto path = folder.path() / "a.trie";
  for (const Trie& trie : {small_trie(true), small_trie(false), small_trie(false, 1U << 20U), Trie()}) {
    ASSERT_OK(trie.save(path));
    const Trie back = value_of(Trie::open(path));
    EXPECT_TRUE(back == trie);
    EXPECT_EQ(walk(back.view()), walk(trie.view()));
    EXPECT_EQ(folder.entries(), 1U);
  }
}

TEST(TrieFile, EveryBitCounts) {
  for (const bool windows : {true, false}) {
    const Bytes good = file_of(small_trie(windows));
    std::vector<std::uint64_t> memory;
    ASSERT_OK(parse(good, memory));
    for (std::size_t i = 0; i < good.size(); ++i) {
      for (const unsigned bit : {0U, 7U}) {
        Bytes bad = good;
        bad[i] ^= static_cast<std::byte>(1U << bit);
        EXPECT_FALSE(parse(bad, memory).ok()) << i;
      }
    }
  }
}

TEST(TrieFile, TruncatedAnywhere) {
  const Bytes good = file_of(small_trie(false));
  std::vector<std::uint64_t> memory;
  for (std::size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(parse({good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size)}, memory).ok()) << size;
  }
  Bytes longer = good;
  longer.push_back(std::byte{0});
  EXPECT_CODE(parse(longer, memory), ErrorCode::corrupt);
}

/// With right checksums, as somebody who means harm would write them.
TEST(TrieFile, SignedNonsenseIsRefusedOrHarmless) {
  std::mt19937 random(1);
  for (const bool windows : {true, false}) {
    const Trie trie = small_trie(windows);
    const Bytes good = file_of(trie);
    std::vector<std::uint64_t> memory;
    std::size_t refused = 0;
    for (int round = 0; round < 20'000; ++round) {
      Bytes bad = good;
      for (unsigned changes = 1 + random() % 3; changes > 0; --changes) {
        const std::size_t at = round % 4 == 0 ? random() % 64 : header_bytes + random() % (bad.size() - header_bytes);
        bad[at] = static_cast<std::byte>(random() % 2 == 0 ? random() : random() % 4);
      }
      sign(bad);
      const auto parsed = parse(bad, memory);
      refused += parsed.ok() ? 0 : 1;
      if (parsed) walk(trie::view_of(parsed->shape, parsed->image.data()));
    }
    EXPECT_GT(refused, 10'000U);
  }
}

template <class T>
Bytes with(const Trie& trie, std::uint64_t offset, std::uint64_t index, T value) {
  Bytes bytes = file_of(trie);
  std::memcpy(bytes.data() + header_bytes + offset + index * sizeof(T), &value, sizeof(T));
  sign(bytes);
  return bytes;
}

TEST(TrieFile, ZerosBetweenTheArrays) {
  const Trie trie = small_trie(false);
  const trie::Layout at(trie.shape());
  const std::uint64_t nodes = trie.shape().nodes;
  const std::uint64_t labels = trie.shape().label_tokens;
  const std::array<std::pair<std::uint64_t, std::uint64_t>, 8> gaps = {{
      {at.token + nodes * at.token_bytes, at.label_token},
      {at.label_token + labels * at.token_bytes, at.child},
      {at.child + (nodes + 1) * at.child_bytes, at.label},
      {at.label + (nodes + 1) * at.label_bytes, at.below},
      {at.below + (nodes + 1) * at.below_bytes, at.session},
      {at.session + trie.shape().total * 8, at.token_surprisal},
      {at.token_surprisal + nodes * 4, at.label_surprisal},
      {at.label_surprisal + labels * 4, at.weight},
  }};
  std::vector<std::uint64_t> memory;
  int bytes = 0;
  for (const auto& [end, next] : gaps) {
    for (std::uint64_t i = end; i < next; ++i, ++bytes) {
      EXPECT_CODE(parse(with<std::uint8_t>(trie, i, 0, 1), memory), ErrorCode::corrupt);
    }
  }
  EXPECT_GT(bytes, 100);
}

TEST(TrieFile, RefusesWhatIsNoTrie) {
  const Trie trie = small_trie(false);
  const trie::Layout at(trie.shape());
  ASSERT_EQ(at.token_bytes, 2U);
  ASSERT_GE(trie.view().children(0), 2U);
  std::vector<std::uint64_t> memory;
  const auto code = [&](const Bytes& bytes) {
    const auto parsed = parse(bytes, memory);
    return parsed.ok() ? ErrorCode::internal : parsed.error().code;
  };
  EXPECT_EQ(code(with<std::uint16_t>(trie, at.token, 1, 4)), ErrorCode::corrupt);  // siblings out of order
  const auto second = static_cast<std::uint16_t>(trie.view().token[2]);
  EXPECT_EQ(code(with<std::uint16_t>(trie, at.token, 1, second)), ErrorCode::corrupt);   // or alike
  EXPECT_EQ(code(with<std::uint32_t>(trie, at.child, 1, 0)), ErrorCode::corrupt);        // a cycle
  EXPECT_EQ(code(with<std::uint32_t>(trie, at.child, 1, 1 << 30)), ErrorCode::corrupt);  // beyond the end
  EXPECT_EQ(code(with<std::uint32_t>(trie, at.label, 2, 1 << 30)), ErrorCode::corrupt);
  EXPECT_EQ(code(with<std::uint32_t>(trie, at.below, 1, 0)), ErrorCode::corrupt);
  const std::uint64_t twice = trie.view().session[0];
  EXPECT_OK(parse(with<std::uint64_t>(trie, at.session, 0, twice), memory));
  TrieShape shape = trie.shape();
  shape.nodes = std::uint64_t{1} << 60U;
  Bytes large = trie::header_of(shape, trie.image());
  large.resize(file_of(trie).size());
  EXPECT_EQ(code(large), ErrorCode::limit_exceeded);
  shape = trie.shape();
  shape.depth_limit = 3;
  EXPECT_EQ(code(trie::header_of(shape, trie.image())), ErrorCode::corrupt);
  Bytes version = file_of(trie);
  version[8] = std::byte{9};
  EXPECT_EQ(code(version), ErrorCode::unsupported_version);
  EXPECT_CODE(Trie::open("/nonexistent/a.trie"), ErrorCode::file_not_found);
}

/// tests/data/tries: files of version 1 that open for ever, and refused-CODE-*.trie that never do.
TEST(TrieFile, Goldens) {
  int good = 0;
  int refused = 0;
  for (const auto& entry : std::filesystem::directory_iterator(SEQKV_TEST_DATA "/tries")) {
    const std::string name = entry.path().filename();
    const auto opened = Trie::open(entry.path());
    if (name.starts_with("refused-")) {
      EXPECT_CODE(opened, static_cast<ErrorCode>(std::stoi(name.substr(8, 3))));
      ++refused;
    } else {
      ASSERT_OK(opened);
      walk(opened->view());
      ++good;
    }
  }
  EXPECT_EQ(good, 3);
  EXPECT_EQ(refused, 11);
  // What the good ones hold.
  const test::Sequences sequences = {{1, 2, 3, 4}, {1, 2, 3, 5, 6}, {1, 2}, {9, 9, 9}};
  const Kokkos::DefaultExecutionSpace space;
  const Trie sessions = value_of(build_session_trie(space, test::sessions_of(sequences)));
  EXPECT_TRUE(value_of(Trie::open(SEQKV_TEST_DATA "/tries/sessions.trie")) == sessions);
  const Trie golden = value_of(Trie::open(SEQKV_TEST_DATA "/tries/windows.trie"));
  EXPECT_GT(golden.shape().weights, 0U);
  EXPECT_TRUE(value_of(with_weights(golden, {})) == value_of(build_window_trie(space, test::spans_of(sequences), 3)));
}

/// Two bytes for tokens up to 65535, four from there on.
TEST(TrieFile, TokensAroundTheLimitOfTwoBytes) {
  for (const Token largest : {65535U, 65536U}) {
    const test::Sequences sequences = {{1, largest}, {largest, 2}};
    const Trie trie = value_of(build_session_trie(Kokkos::DefaultExecutionSpace(), test::sessions_of(sequences)));
    EXPECT_EQ(trie::Layout(trie.shape()).token_bytes, largest == 65535U ? 2U : 4U);
    EXPECT_EQ(trie.view().token[2], largest);
    std::vector<std::uint64_t> memory;
    EXPECT_OK(parse(file_of(trie), memory));
  }
}

/// Numbers of 8 bytes, which only very large tries have.
TEST(TrieFile, WideArraysReadAsNarrowOnes) {
  const Trie trie = small_trie(true, 1U << 20U);
  const TrieView& narrow = trie.view();
  std::vector<std::uint64_t> child, label, below;
  for (std::uint64_t i = 0; i <= narrow.nodes; ++i) {
    child.push_back(narrow.child[i]);
    label.push_back(narrow.label[i]);
    below.push_back(narrow.below[i]);
  }
  TrieView wide = narrow;
  wide.child = {nullptr, child.data()};
  wide.label = {nullptr, label.data()};
  wide.below = {nullptr, below.data()};
  EXPECT_EQ(walk(wide), walk(narrow));
  TrieShape shape = trie.shape();
  EXPECT_EQ(trie::Layout(shape).child_bytes, 4U);
  shape.nodes = (std::uint64_t{1} << 32U) + 5;
  shape.label_tokens = std::uint64_t{1} << 33U;
  shape.sum_counts = std::uint64_t{1} << 40U;
  const trie::Layout layout(shape);
  EXPECT_EQ(layout.child_bytes, 8U);
  EXPECT_EQ(layout.label_bytes, 8U);
  EXPECT_EQ(layout.below_bytes, 8U);
  EXPECT_OK(trie::check_size(shape));
}

}  // namespace
}  // namespace seqkv
