// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "trie/match.hpp"

#include <fmt/format.h>

#include <Kokkos_Core.hpp>
#include <algorithm>
#include <atomic>
#include <bit>
#include <new>

#include "backends/cpu/launch.hpp"
#include "backends/cpu/trie_match.hpp"
#include "backends/kokkos/trie_match.hpp"
#include "core/execution_spaces.hpp"
#include "core/guard_memory.hpp"
#include "core/mirrored.hpp"
#include "core/try.hpp"

namespace seqkv {
namespace {

using kokkos::MatchQueries;

template <class ExecutionSpace>
using Range = Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<std::int64_t>, Kokkos::Schedule<Kokkos::Dynamic>>;

bool from_root(const TrieCursor* places, std::int64_t count) {
  return std::all_of(places, places + count, [](const TrieCursor& place) { return place == TrieCursor(); });
}

/// Queries [first, last). Throws std::bad_alloc.
template <bool Sessions, bool Surprisals>
void match_piece(const MatchQueries& args, unsigned token_bits, std::int64_t first, std::int64_t last) {
  constexpr std::size_t ahead = 12;
  const std::vector<std::uint32_t> order = cpu::order_of_queries(args, token_bits, first, last);
  cpu::SortedMatch<Sessions, Surprisals> sorted(args.trie);
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (i + 2 * ahead < order.size()) __builtin_prefetch(&args.queries[first + order[i + 2 * ahead]]);
    if (i + ahead < order.size()) {
      __builtin_prefetch(args.queries[first + order[i + ahead]].tokens);
      __builtin_prefetch(&args.places[first + order[i + ahead]], 1);
    }
    args.places[first + order[i]] = sorted.walk(args.queries[first + order[i]]);
  }
}

template <class ExecutionSpace, bool Sessions, bool Surprisals>
void match_sorted(const ExecutionSpace& space, const MatchQueries& args, unsigned token_bits, std::int64_t count) {
  // One piece a thread: the more queries are sorted together, the more of them share what they read.
  const std::int64_t pieces = space.concurrency();
  std::atomic<bool> memory_is_short{false};
  cpu::for_each_piece("seqkv::trie::match", space, pieces, [=, &args, &memory_is_short](std::int64_t piece) {
    try {
      match_piece<Sessions, Surprisals>(args, token_bits, count * piece / pieces, count * (piece + 1) / pieces);
    } catch (const std::bad_alloc&) {
      memory_is_short = true;
    }
  });
  space.fence("seqkv::trie::match: the queries are the caller's");
  if (memory_is_short) throw std::bad_alloc();
}

/// Queries and places in the memory of the space.
template <class ExecutionSpace>
void run(const ExecutionSpace& space, const MatchQueries& args, Token largest, std::int64_t count, bool portable) {
  if constexpr (is_host_space<ExecutionSpace>) {
    if (!portable && args.block_tokens == 1 && from_root(args.places, count)) {
      const auto bits = static_cast<unsigned>(std::bit_width(largest | 1U));
      if (args.trie.token_surprisal != nullptr)
        return match_sorted<ExecutionSpace, true, true>(space, args, bits, count);
      if (args.trie.session != nullptr) return match_sorted<ExecutionSpace, true, false>(space, args, bits, count);
      return match_sorted<ExecutionSpace, false, false>(space, args, bits, count);
    }
  }
  Kokkos::parallel_for("seqkv::trie::match", Range<ExecutionSpace>(space, 0, count), args);
}

template <class ExecutionSpace>
void match_on_device(const ExecutionSpace& space, const TrieView& trie, std::span<const TokenSpan> queries,
                     std::span<TrieCursor> places, std::uint64_t block_tokens) {
  std::uint64_t tokens = 0;
  for (const TokenSpan query : queries) tokens += query.size();
  const std::int64_t count = std::ssize(queries);
  Mirrored<ExecutionSpace, Token> token;
  Mirrored<ExecutionSpace, TokenRange> query;
  Mirrored<ExecutionSpace, TrieCursor> place;
  token.reserve("seqkv::trie::query_tokens", static_cast<std::int64_t>(tokens));
  query.reserve("seqkv::trie::queries", count);
  place.reserve("seqkv::trie::places", count);
  std::uint64_t next = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    std::ranges::copy(queries[i], token.host() + next);
    query[i] = {token.device() + next, queries[i].size()};
    place[i] = places[i];
    next += queries[i].size();
  }
  token.to_device(space, static_cast<std::int64_t>(tokens));
  query.to_device(space, count);
  place.to_device(space, count);
  run(space, {trie, query.device(), place.device(), block_tokens}, 0, count, true);
  place.to_host(space, count);
  space.fence("seqkv::trie::match: the places are read on the host");
  std::copy_n(place.host(), count, places.begin());
}

Result<void> check(std::size_t queries, std::size_t places, std::int64_t block_tokens) {
  if (queries != places) {
    return Error(ErrorCode::invalid_argument, fmt::format("{} queries and {} places", queries, places));
  }
  if (queries > UINT32_MAX) return Error(ErrorCode::limit_exceeded, "more than 2^32 - 1 queries at once");
  if (block_tokens >= 1) return {};
  return Error(ErrorCode::invalid_argument, fmt::format("blocks of {} tokens", block_tokens));
}

template <class ExecutionSpace>
Result<void> match_checked(const ExecutionSpace& space, const DeviceTrie<ExecutionSpace>& trie,
                           std::span<const TokenSpan> queries, std::span<TrieCursor> places, std::int64_t block_tokens,
                           bool portable) {
  SEQKV_TRY(check(queries.size(), places.size(), block_tokens));
  if constexpr (is_host_space<ExecutionSpace>) {
    static_assert(sizeof(TokenRange) == sizeof(TokenSpan));
    std::vector<TokenRange> list(queries.size());
    for (std::size_t i = 0; i < queries.size(); ++i) list[i] = {queries[i].data(), queries[i].size()};
    run(space, {trie.view(), list.data(), places.data(), static_cast<std::uint64_t>(block_tokens)},
        trie.shape().largest_token, std::ssize(queries), portable);
    space.fence("seqkv::trie::match: the queries are the caller's");
  } else {
    match_on_device(space, trie.view(), queries, places, static_cast<std::uint64_t>(block_tokens));
  }
  return {};
}

}  // namespace

template <class ExecutionSpace>
Result<void> match(const ExecutionSpace& space, const DeviceTrie<ExecutionSpace>& trie,
                   std::span<const TokenSpan> queries, std::span<TrieCursor> places, std::int64_t block_tokens) {
  return guard_memory("to match queries",
                      [&] { return match_checked(space, trie, queries, places, block_tokens, false); });
}

template <class ExecutionSpace>
Result<void> match(
    const ExecutionSpace& space, const DeviceTrie<ExecutionSpace>& trie,
    Kokkos::View<const TokenRange*, typename ExecutionSpace::memory_space, Kokkos::MemoryUnmanaged> queries,
    Kokkos::View<TrieCursor*, typename ExecutionSpace::memory_space, Kokkos::MemoryUnmanaged> places,
    std::int64_t block_tokens) {
  SEQKV_TRY(check(queries.size(), places.size(), block_tokens));
  return guard_memory("to match queries", [&]() -> Result<void> {
    run(space, {trie.view(), queries.data(), places.data(), static_cast<std::uint64_t>(block_tokens)},
        trie.shape().largest_token, static_cast<std::int64_t>(queries.size()), false);
    return {};
  });
}

template <class ExecutionSpace>
Result<void> trie::match_portable(const ExecutionSpace& space, const DeviceTrie<ExecutionSpace>& trie,
                                  std::span<const TokenSpan> queries, std::span<TrieCursor> places,
                                  std::int64_t block_tokens) {
  return guard_memory("to match queries",
                      [&] { return match_checked(space, trie, queries, places, block_tokens, true); });
}

#define SEQKV_INSTANTIATE(Space)                                                                                    \
  template Result<void> match<Space>(const Space&, const DeviceTrie<Space>&, std::span<const TokenSpan>,            \
                                     std::span<TrieCursor>, std::int64_t);                                          \
  template Result<void> match<Space>(const Space&, const DeviceTrie<Space>&,                                        \
                                     Kokkos::View<const TokenRange*, Space::memory_space, Kokkos::MemoryUnmanaged>, \
                                     Kokkos::View<TrieCursor*, Space::memory_space, Kokkos::MemoryUnmanaged>,       \
                                     std::int64_t);                                                                 \
  template Result<void> trie::match_portable<Space>(const Space&, const DeviceTrie<Space>&,                         \
                                                    std::span<const TokenSpan>, std::span<TrieCursor>, std::int64_t);
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv
