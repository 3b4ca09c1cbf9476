// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Batched lookups in a sharded trie: queries sorted by owner, one exchange there, matching, one exchange back.
#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <numeric>

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
void pack(std::span<const Asked> asked, std::span<const Parcel> parcels, std::span<const std::int64_t> sizes,
          std::vector<std::byte>& bytes, std::vector<std::uint32_t>& order) {
  bytes.resize(static_cast<std::size_t>(std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0})));
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
}

}  // namespace

template <class ExecutionSpace>
struct ShardedTrie<ExecutionSpace>::State::Round {
  std::vector<Asked> asked;
  std::vector<Parcel> parcels;
  std::vector<std::int64_t> sizes;
  std::vector<std::byte> bytes;
  std::vector<std::uint32_t> order;
  RankBytes received;
  RankBytes back;
  // Of what others ask.
  std::vector<QueryHead> heads;
  std::vector<Token> tokens;
  std::vector<TokenSpan> queries;
  std::vector<TrieCursor> places;
  std::vector<ShardMatch> replies;
  std::vector<std::int64_t> reply_sizes;
};

template <class ExecutionSpace>
Result<void> ShardedTrie<ExecutionSpace>::State::ask(const ExecutionSpace& space, std::span<const TokenSpan> queries,
                                                     std::span<ShardMatch> answers, Round& memory) const {
  // What a hot prefix says is an answer at once where no whole block follows, and stands where its owner knows no more.
  const auto block = static_cast<std::size_t>(options.block_tokens);
  memory.asked.clear();
  memory.parcels.assign(static_cast<std::size_t>(communicator.size()), Parcel());
  for (std::size_t i = 0; i < queries.size(); ++i) {
    const auto route = routes.route(queries[i]);
    const HotPrefix& hot = routes.prefixes()[route.hot];
    answers[i] = hot.answer;
    if (!route.goes_on) continue;
    const std::size_t first = hot.blocks * block;
    const auto tokens = static_cast<std::uint32_t>((queries[i].size() - first) / block * block);
    memory.asked.push_back(
        {queries[i].data() + first, {route.hot, tokens}, static_cast<std::uint32_t>(i), route.owner});
    Parcel& parcel = memory.parcels[static_cast<std::size_t>(route.owner)];
    ++parcel.queries;
    parcel.tokens += tokens;
  }
  const bool narrow = largest_token < UINT16_MAX;
  memory.sizes.clear();
  for (const Parcel& parcel : memory.parcels) memory.sizes.push_back(parcel.bytes(narrow ? 2 : 4));
  if (narrow) {
    pack<std::uint16_t>(memory.asked, memory.parcels, memory.sizes, memory.bytes, memory.order);
  } else {
    pack<std::uint32_t>(memory.asked, memory.parcels, memory.sizes, memory.bytes, memory.order);
  }
  SEQKV_TRY(communicator.all_to_all(memory.bytes, memory.sizes, memory.received));
  const Result<void> answered = answer(space, memory, narrow);
  memory.back.sizes.clear();
  for (const Parcel& parcel : memory.parcels) {
    memory.back.sizes.push_back(parcel.queries * static_cast<std::int64_t>(sizeof(ShardMatch)));
  }
  SEQKV_TRY(communicator.all_to_all(std::as_bytes(std::span(memory.replies)), memory.reply_sizes, memory.back, true,
                                    answered));
  for (std::size_t i = 0; i < memory.order.size(); ++i) {
    ShardMatch reply;
    std::memcpy(&reply, memory.back.bytes.data() + i * sizeof(reply), sizeof(reply));
    if (reply.sessions > 0) answers[memory.order[i]] = reply;
  }
  return {};
}

/// Matching is fastest from the root on and token by token; then what is beyond whole blocks is taken back. A place
/// that is not in the edge where its last whole block ends is looked for once more.
template <class ExecutionSpace>
Result<void> ShardedTrie<ExecutionSpace>::State::match_all(const ExecutionSpace& space, Round& memory) const {
  const TrieView& view = own.view();
  const bool from_root = std::ranges::all_of(memory.heads, [](const QueryHead& head) { return head.hot == 0; });
  if (!from_root || view.token_surprisal != nullptr) {
    return seqkv::match(space, trie, memory.queries, memory.places, options.block_tokens);
  }
  SEQKV_TRY(seqkv::match(space, trie, memory.queries, memory.places, 1));
  const auto block = static_cast<std::uint32_t>(options.block_tokens);
  for (std::size_t i = 0; i < memory.places.size(); ++i) {
    TrieCursor& place = memory.places[i];
    const std::uint32_t beyond = place.depth % block;
    if (beyond == 0) continue;
    if (beyond < place.edge || place.depth < block) {
      place.depth -= beyond;
      place.edge -= std::min(place.edge, beyond);
      continue;
    }
    const TokenSpan tokens = memory.queries[i].first(place.depth - beyond);
    place = TrieCursor();
    for (const Token token : tokens) place.advance(view, token);
  }
  return {};
}

template <class ExecutionSpace>
Result<void> ShardedTrie<ExecutionSpace>::State::answer(const ExecutionSpace& space, Round& memory, bool narrow) const {
  const RankBytes& received = memory.received;
  memory.heads.clear();
  memory.tokens.resize(received.bytes.size() / 2);
  memory.reply_sizes.clear();
  Token* next = memory.tokens.data();
  const std::byte* at = received.bytes.data();
  for (const std::int64_t size : received.sizes) {
    const std::size_t count = size == 0 ? 0 : load_le<std::uint64_t>(at);
    const std::size_t before = memory.heads.size();
    memory.heads.resize(before + count);
    if (count > 0) std::memcpy(memory.heads.data() + before, at + sizeof(std::uint64_t), count * sizeof(QueryHead));
    std::size_t all = 0;
    for (std::size_t i = before; i < memory.heads.size(); ++i) all += memory.heads[i].tokens;
    const std::byte* body = at + sizeof(std::uint64_t) + count * sizeof(QueryHead);
    if (narrow) {
      const auto* from = reinterpret_cast<const std::uint16_t*>(body);
      for (std::size_t i = 0; i < all; ++i) next[i] = from[i];
    } else if (all > 0) {
      std::memcpy(next, body, all * sizeof(Token));
    }
    next += all;
    memory.reply_sizes.push_back(static_cast<std::int64_t>(count * sizeof(ShardMatch)));
    at += size;
  }
  memory.queries.resize(memory.heads.size());
  memory.places.resize(memory.heads.size());
  const Token* first = memory.tokens.data();
  for (std::size_t i = 0; i < memory.heads.size(); ++i) {
    const Start& start = starts[memory.heads[i].hot];
    memory.places[i] = start.place;
    memory.queries[i] = start.here ? TokenSpan(first, memory.heads[i].tokens) : TokenSpan();
    first += memory.heads[i].tokens;
  }
  SEQKV_TRY(match_all(space, memory));
  const TrieView& view = own.view();
  memory.replies.resize(memory.heads.size());
  constexpr std::size_t ahead = 8;
  for (std::size_t i = 0; i < memory.heads.size(); ++i) {
    if (i + ahead < memory.heads.size()) {
      const std::uint64_t node = memory.places[i + ahead].node;
      __builtin_prefetch(&smallest_id[node]);
      __builtin_prefetch(view.below.narrow != nullptr ? static_cast<const void*>(view.below.narrow + node)
                                                      : view.below.wide + node);
    }
    const TrieCursor& place = memory.places[i];
    const Start& start = starts[memory.heads[i].hot];
    memory.replies[i] = {};
    if (!start.here || place.depth == start.place.depth) continue;
    memory.replies[i] = {place.depth, view.count(place.node), smallest_id[place.node], place.surprisal};
  }
  return {};
}

template <class ExecutionSpace>
Result<std::vector<ShardMatch>> ShardedTrie<ExecutionSpace>::match(const ExecutionSpace& space,
                                                                   std::span<const TokenSpan> queries) const {
  std::array<std::int64_t, 1> most = {std::ssize(queries)};
  SEQKV_TRY(state_->communicator.reduce(most, Reduction::max));
  std::vector<ShardMatch> answers(queries.size());
  typename State::Round memory;
  for (std::size_t first = 0; first < static_cast<std::size_t>(most[0]); first += State::round_queries) {
    const std::size_t begin = std::min(first, queries.size());
    const std::size_t count = std::min(State::round_queries, queries.size() - begin);
    SEQKV_TRY(state_->ask(space, queries.subspan(begin, count), std::span(answers).subspan(begin, count), memory));
  }
  return answers;
}

#define SEQKV_INSTANTIATE(Space) \
  template Result<std::vector<ShardMatch>> ShardedTrie<Space>::match(const Space&, std::span<const TokenSpan>) const;
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv::mpi
