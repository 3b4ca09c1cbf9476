// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>

#include <algorithm>

#include "core/detmath.hpp"
#include "core/guard_memory.hpp"
#include "core/log2.hpp"
#include "core/try.hpp"
#include "seqkv/trie_distance.hpp"
#include "trie/check_tokens.hpp"

namespace seqkv {
namespace {

/// Log2 of a / b in 2^-16, a >= b >= 1: rounded down, never negative.
std::uint64_t log2_ratio(std::uint64_t a, std::uint64_t b) {
  const std::uint32_t high = log2_q16(a);
  const std::uint32_t low = log2_q16(b);
  return high > low ? high - low : 0;
}

/// By counts, one token after another.
class CountedInformation {
 public:
  explicit CountedInformation(const Trie& trie) : trie_(trie.view()), largest_(trie.shape().largest_token) {}

  std::uint64_t next(Token token) {
    if (outside_) return unseen(0);
    const std::uint64_t visits = trie_.count(at_.node);
    const bool at_node = at_.at_node(trie_);
    const std::uint64_t ways = at_node ? trie_.children(at_.node) + (trie_.ending(at_.node) > 0 ? 1 : 0) : 1;
    const std::uint64_t tokens = at_node ? trie_.children(at_.node) : 1;
    if (at_.advance(trie_, token)) return log2_ratio(2 * visits, 2 * trie_.count(at_.node) - 1);
    outside_ = true;
    return (visits == 0 ? 0 : log2_ratio(2 * visits, ways)) + unseen(tokens);
  }

 private:
  /// One of the tokens that do not follow, of which there is at least this one.
  std::uint64_t unseen(std::uint64_t following) const { return log2_q16(std::uint64_t{largest_} + 1 - following); }

  TrieView trie_;
  Token largest_;
  TrieCursor at_;
  bool outside_ = false;
};

Result<std::vector<std::uint64_t>> information(const Trie& trie, TokenSpan tokens) {
  std::vector<std::uint64_t> sums(tokens.size() + 1);
  if (tokens.empty()) return sums;
  SEQKV_TRY(trie::check_tokens(tokens, 0));
  if (!trie.shape().surprisals) {
    if (const Token largest = std::ranges::max(tokens); largest > trie.shape().largest_token) {
      return Error(ErrorCode::token_out_of_range,
                   fmt::format("token {}, but those of the trie end at {}", largest, trie.shape().largest_token));
    }
    CountedInformation counted(trie);
    for (std::size_t i = 0; i < tokens.size(); ++i) sums[i + 1] = sums[i] + counted.next(tokens[i]);
    return sums;
  }
  TrieCursor at;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (!at.advance(trie.view(), tokens[i])) {
      return Error(ErrorCode::session_not_found, fmt::format("no session has these tokens beyond the first {}", i));
    }
    sums[i + 1] = at.surprisal;
  }
  return sums;
}

}  // namespace

Result<std::vector<std::uint64_t>> prefix_information(const Trie& trie, TokenSpan tokens) {
  return guard_memory("for the information of prefixes", [&] { return information(trie, tokens); });
}

SequenceDistance sequence_distance(TokenSpan a, std::span<const std::uint64_t> information_a, TokenSpan b,
                                   std::span<const std::uint64_t> information_b) {
  SequenceDistance out;
  out.common_tokens = static_cast<std::uint64_t>(std::ranges::mismatch(a, b).in1 - a.begin());
  out.shared = information_a[out.common_tokens];
  out.path_length = (information_a.back() - out.shared) + (information_b.back() - out.shared);
  const bool equal = out.common_tokens == a.size() && out.common_tokens == b.size();
  const double bits = static_cast<double>(out.shared) / static_cast<double>(surprisal_one);
  out.ultrametric = equal || bits > 1000 ? 0 : detmath::exp2(-bits);
  return out;
}

Result<NearestSession> nearest_session(const Trie& trie, TokenSpan tokens) {
  if (trie.shape().kind != TrieKind::sessions) {
    return Error(ErrorCode::invalid_argument, "only tries of sessions know sessions");
  }
  if (trie.shape().total == 0) return Error(ErrorCode::session_not_found, "the trie has no session");
  TrieCursor at;
  CountedInformation counted(trie);
  std::uint64_t shared = 0;
  for (const Token token : tokens) {
    if (!at.advance(trie.view(), token)) break;
    shared += trie.shape().surprisals ? 0 : counted.next(token);
  }
  return NearestSession{trie.view().session[at.rank], at.depth, trie.shape().surprisals ? at.surprisal : shared};
}

}  // namespace seqkv
