// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Batched lookups in a sharded trie: queries sorted by owner, one exchange there, matching, one exchange back.
#include <algorithm>
#include <array>
#include <cstring>

#include "core/bytes.hpp"
#include "core/execution_spaces.hpp"
#include "core/try.hpp"
#include "mpi/sharded_trie.hpp"

namespace seqkv::mpi {
namespace {

/// A query on its way: behind which prefix its tokens go on, and how many there are.
struct QueryHead {
  std::uint32_t hot = 0;
  std::uint32_t tokens = 0;
};

/// The same before it is packed.
struct Asked {
  const Token* tokens;
  QueryHead head;
  std::uint32_t query;
  int owner;
};

/// Queries for one rank: their number, their heads, their tokens, filled up to 8 bytes.
struct Parcel {
  std::int64_t queries = 0;
  std::int64_t tokens = 0;

  std::int64_t bytes(std::int64_t width) const {
    constexpr std::int64_t number = sizeof(std::uint64_t);
    if (queries == 0) return 0;
    return number + queries * static_cast<std::int64_t>(sizeof(QueryHead)) + round_up(tokens * width, number);
  }
};

/// Tokens beyond what 2 bytes hold become one that the trie does not have.
template <class Stored>
std::byte* put_tokens(std::byte* to, const Token* tokens, std::size_t count) {
  constexpr Token none = std::numeric_limits<Stored>::max();
  auto* out = reinterpret_cast<Stored*>(to);
  for (std::size_t i = 0; i < count; ++i) out[i] = static_cast<Stored>(std::min(tokens[i], none));
  return to + count * sizeof(Stored);
}

/// Fills the parcels of all ranks, which lie one behind the other. `order` becomes the queries in the order of the
/// replies.
template <class Stored>
std::vector<std::byte> pack(std::span<const Asked> asked, std::span<const Parcel> parcels,
                            std::span<const std::int64_t> sizes, std::vector<std::uint32_t>& order) {
  std::int64_t all = 0;
  for (const std::int64_t size : sizes) all += size;
  std::vector<std::byte> bytes(static_cast<std::size_t>(all));
  struct Place {
    std::byte* head = nullptr;
    std::byte* tokens = nullptr;
    std::uint32_t reply = 0;
  };
  std::vector<Place> places(parcels.size());
  std::byte* at = bytes.data();
  std::uint32_t reply = 0;
  for (std::size_t r = 0; r < parcels.size(); ++r) {
    if (parcels[r].queries > 0) {
      store_le<std::uint64_t>(at, static_cast<std::uint64_t>(parcels[r].queries));
      places[r].head = at + sizeof(std::uint64_t);
      places[r].tokens = places[r].head + static_cast<std::size_t>(parcels[r].queries) * sizeof(QueryHead);
    }
    places[r].reply = reply;
    reply += static_cast<std::uint32_t>(parcels[r].queries);
    at += sizes[r];
  }
  order.resize(asked.size());
  for (const Asked& one : asked) {
    Place& place = places[static_cast<std::size_t>(one.owner)];
    std::memcpy(place.head, &one.head, sizeof(one.head));
    place.head += sizeof(one.head);
    place.tokens = put_tokens<Stored>(place.tokens, one.tokens, one.head.tokens);
    order[place.reply++] = one.query;
  }
  return bytes;
}

}  // namespace

template <class ExecutionSpace>
Result<void> ShardedTrie<ExecutionSpace>::State::ask(const ExecutionSpace& space, std::span<const TokenSpan> queries,
                                                     std::span<ShardMatch> answers) const {
  // What a hot prefix says is an answer at once where no whole block follows, and stands where its owner knows no more.
  const auto block = static_cast<std::size_t>(options.block_tokens);
  std::vector<Asked> asked;
  asked.reserve(queries.size());
  std::vector<Parcel> parcels(static_cast<std::size_t>(communicator.size()));
  for (std::size_t i = 0; i < queries.size(); ++i) {
    const auto route = routes.route(queries[i]);
    const HotPrefix& hot = routes.prefixes()[route.hot];
    answers[i] = hot.answer;
    if (!route.goes_on) continue;
    const std::size_t first = hot.blocks * block;
    const auto tokens = static_cast<std::uint32_t>((queries[i].size() - first) / block * block);
    asked.push_back({queries[i].data() + first, {route.hot, tokens}, static_cast<std::uint32_t>(i), route.owner});
    Parcel& parcel = parcels[static_cast<std::size_t>(route.owner)];
    ++parcel.queries;
    parcel.tokens += tokens;
  }
  const bool narrow = largest_token < UINT16_MAX;
  std::vector<std::int64_t> sizes;
  for (const Parcel& parcel : parcels) sizes.push_back(parcel.bytes(narrow ? 2 : 4));
  std::vector<std::uint32_t> order;
  const auto bytes =
      narrow ? pack<std::uint16_t>(asked, parcels, sizes, order) : pack<std::uint32_t>(asked, parcels, sizes, order);
  SEQKV_ASSIGN(const RankBytes received, communicator.all_to_all(bytes, sizes));
  SEQKV_ASSIGN(const auto replies, communicator.agree(answer(space, received, narrow)));
  SEQKV_ASSIGN(const RankBytes back, communicator.all_to_all(std::as_bytes(std::span(replies.first)), replies.second));
  for (std::size_t i = 0; i < order.size(); ++i) {
    ShardMatch reply;
    std::memcpy(&reply, back.bytes.data() + i * sizeof(reply), sizeof(reply));
    if (reply.sessions > 0) answers[order[i]] = reply;
  }
  return {};
}

template <class ExecutionSpace>
Result<std::pair<std::vector<ShardMatch>, std::vector<std::int64_t>>> ShardedTrie<ExecutionSpace>::State::answer(
    const ExecutionSpace& space, const RankBytes& received, bool narrow) const {
  std::vector<QueryHead> heads;
  std::vector<Token> tokens(received.bytes.size() / 2);
  std::vector<std::int64_t> sizes;
  Token* next = tokens.data();
  const std::byte* at = received.bytes.data();
  for (const std::int64_t size : received.sizes) {
    const std::size_t count = size == 0 ? 0 : load_le<std::uint64_t>(at);
    const std::size_t before = heads.size();
    heads.resize(before + count);
    std::size_t all = 0;
    if (count > 0) std::memcpy(heads.data() + before, at + sizeof(std::uint64_t), count * sizeof(QueryHead));
    for (std::size_t i = before; i < heads.size(); ++i) all += heads[i].tokens;
    const std::byte* body = at + sizeof(std::uint64_t) + count * sizeof(QueryHead);
    if (narrow) {
      const auto* from = reinterpret_cast<const std::uint16_t*>(body);
      for (std::size_t i = 0; i < all; ++i) next[i] = from[i];
    } else if (all > 0) {
      std::memcpy(next, body, all * sizeof(Token));
    }
    next += all;
    sizes.push_back(static_cast<std::int64_t>(count * sizeof(ShardMatch)));
    at += size;
  }
  std::vector<TokenSpan> queries(heads.size());
  std::vector<TrieCursor> places(heads.size());
  const Token* first = tokens.data();
  for (std::size_t i = 0; i < heads.size(); ++i) {
    const Start& start = starts[heads[i].hot];
    places[i] = start.place;
    if (start.here) queries[i] = {first, heads[i].tokens};
    first += heads[i].tokens;
  }
  SEQKV_TRY(seqkv::match(space, trie, queries, places, options.block_tokens));
  const TrieView& view = trie.host().view();
  std::vector<ShardMatch> replies(heads.size());
  for (std::size_t i = 0; i < heads.size(); ++i) {
    const TrieCursor& place = places[i];
    if (!starts[heads[i].hot].here || place.depth == starts[heads[i].hot].place.depth) continue;
    replies[i] = {place.depth, view.count(place.node), smallest_id[place.node], place.surprisal};
  }
  return std::pair(std::move(replies), std::move(sizes));
}

template <class ExecutionSpace>
Result<std::vector<ShardMatch>> ShardedTrie<ExecutionSpace>::match(const ExecutionSpace& space,
                                                                   std::span<const TokenSpan> queries) const {
  std::array<std::int64_t, 1> most = {std::ssize(queries)};
  SEQKV_TRY(state_->communicator.reduce(most, Reduction::max));
  std::vector<ShardMatch> answers(queries.size());
  for (std::size_t first = 0; first < static_cast<std::size_t>(most[0]); first += State::round_queries) {
    const std::size_t begin = std::min(first, queries.size());
    const std::size_t count = std::min(State::round_queries, queries.size() - begin);
    SEQKV_TRY(state_->ask(space, queries.subspan(begin, count), std::span(answers).subspan(begin, count)));
  }
  return answers;
}

#define SEQKV_INSTANTIATE(Space)                                                                                    \
  template Result<void> ShardedTrie<Space>::State::ask(const Space&, std::span<const TokenSpan>,                    \
                                                       std::span<ShardMatch>) const;                                \
  template Result<std::pair<std::vector<ShardMatch>, std::vector<std::int64_t>>> ShardedTrie<Space>::State::answer( \
      const Space&, const RankBytes&, bool) const;                                                                  \
  template Result<std::vector<ShardMatch>> ShardedTrie<Space>::match(const Space&, std::span<const TokenSpan>) const;
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)

}  // namespace seqkv::mpi
