// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>

#include "core/bytes.hpp"
#include "core/execution_spaces.hpp"
#include "core/try.hpp"
#include "mpi/sharded_trie.hpp"
#include "mpi/trie_files.hpp"

namespace seqkv::mpi {
namespace {

/// Bytes for every rank, one behind the other, filled in any order.
class Outgoing {
 public:
  explicit Outgoing(std::span<const std::int64_t> sizes) : sizes_(sizes.begin(), sizes.end()), at_(sizes.size()) {
    std::exclusive_scan(sizes_.begin(), sizes_.end(), at_.begin(), std::int64_t{0});
    bytes_.resize(static_cast<std::size_t>(std::accumulate(sizes_.begin(), sizes_.end(), std::int64_t{0})));
  }
  void put(int rank, std::span<const std::byte> bytes) {
    if (bytes.empty()) return;
    std::memcpy(bytes_.data() + at_[static_cast<std::size_t>(rank)], bytes.data(), bytes.size());
    at_[static_cast<std::size_t>(rank)] += static_cast<std::int64_t>(bytes.size());
  }
  Result<RankBytes> send(const Communicator& communicator) const { return communicator.all_to_all(bytes_, sizes_); }

 private:
  std::vector<std::int64_t> sizes_;
  std::vector<std::int64_t> at_;
  std::vector<std::byte> bytes_;
};

/// Sessions that came from other ranks.
struct Received {
  std::vector<Token> tokens;
  std::vector<std::uint32_t> surprisals;
  std::vector<TrieSession> sessions;
};

}  // namespace

template <class ExecutionSpace>
ShardedTrie<ExecutionSpace>::ShardedTrie(std::unique_ptr<State> state) : state_(std::move(state)) {}
template <class ExecutionSpace>
ShardedTrie<ExecutionSpace>::ShardedTrie(ShardedTrie&&) noexcept = default;
template <class ExecutionSpace>
ShardedTrie<ExecutionSpace>& ShardedTrie<ExecutionSpace>::operator=(ShardedTrie&&) noexcept = default;
template <class ExecutionSpace>
ShardedTrie<ExecutionSpace>::~ShardedTrie() = default;

template <class ExecutionSpace>
const Trie& ShardedTrie<ExecutionSpace>::local() const noexcept {
  return state_->own;
}
template <class ExecutionSpace>
std::int64_t ShardedTrie<ExecutionSpace>::sessions() const noexcept {
  return state_->total;
}
template <class ExecutionSpace>
std::int64_t ShardedTrie<ExecutionSpace>::hot_prefixes() const noexcept {
  return std::ssize(state_->routes.prefixes()) - 1;
}
template <class ExecutionSpace>
int ShardedTrie<ExecutionSpace>::owner(TokenSpan query) const {
  return state_->routes.route(query).owner;
}

// ---- building ---------------------------------------------------------------------------------------------

namespace {

/// Sessions to their owners.
Result<Received> deal(const Communicator& communicator, const Routes& routes, std::span<const TrieSession> sessions) {
  std::vector<int> owners;
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(communicator.size()), 0);
  const auto size_of = [](const TrieSession& session) {
    return 2 * sizeof(std::uint64_t) + 1 + session.tokens.size_bytes() + session.surprisals.size_bytes();
  };
  for (const TrieSession& session : sessions) {
    owners.push_back(routes.route(session.tokens).owner);
    sizes[static_cast<std::size_t>(owners.back())] += static_cast<std::int64_t>(size_of(session));
  }
  Outgoing out(sizes);
  for (std::size_t i = 0; i < sessions.size(); ++i) {
    const TrieSession& session = sessions[i];
    const std::array<std::uint64_t, 2> head = {session.id, session.tokens.size()};
    const bool surprisals = !session.surprisals.empty();
    out.put(owners[i], std::as_bytes(std::span(head)));
    out.put(owners[i], std::as_bytes(std::span(&surprisals, 1)));
    out.put(owners[i], std::as_bytes(session.tokens));
    out.put(owners[i], std::as_bytes(session.surprisals));
  }
  SEQKV_ASSIGN(const RankBytes all, out.send(communicator));
  Received received;
  received.tokens.reserve(all.bytes.size() / sizeof(Token));  // spans point into these
  received.surprisals.reserve(all.bytes.size() / sizeof(Token));
  for (ByteReader in(all.bytes); in.ok() && in.remaining() > 0;) {
    TrieSession& session = received.sessions.emplace_back();
    session.id = in.get<std::uint64_t>();
    const auto count = in.get<std::uint64_t>();
    const bool surprisals = in.get<bool>();
    const auto take = [&](auto& to) {
      const auto bytes = in.get_bytes(count * sizeof(std::uint32_t));
      const std::size_t first = to.size();
      to.resize(first + bytes.size() / sizeof(std::uint32_t));
      std::memcpy(to.data() + first, bytes.data(), bytes.size());
      return std::span<const std::uint32_t>(to).subspan(first);
    };
    session.tokens = take(received.tokens);
    if (surprisals) session.surprisals = take(received.surprisals);
    if (!in.ok()) return Error(ErrorCode::internal, "sessions of another rank that do not end where they should");
  }
  return received;
}

template <class ExecutionSpace>
Result<Trie> trie_of(const ExecutionSpace& space, std::span<const TrieSession> sessions) {
  if (sessions.empty()) return Trie();
  return build_session_trie(space, sessions);
}

/// Whether sessions are fit for a trie at all: a rank must not find out when the others already wait.
Result<void> check(std::span<const TrieSession> sessions) {
  for (const TrieSession& session : sessions) {
    if (session.tokens.empty())
      return Error(ErrorCode::empty_input, fmt::format("session {} has no tokens", session.id));
  }
  return {};
}

}  // namespace

/// What follows from the trie of this rank and those of all.
template <class ExecutionSpace>
Result<void> ShardedTrie<ExecutionSpace>::State::settle(const ExecutionSpace& space, Trie of_this_rank) {
  own = std::move(of_this_rank);
  auto made = DeviceTrie<ExecutionSpace>::create(space, own);
  SEQKV_ASSIGN(trie, communicator.agree(std::move(made)));
  const TrieView& view = own.view();
  std::array<std::int64_t, 2> sums = {static_cast<std::int64_t>(own.shape().total), 0};
  SEQKV_TRY(communicator.reduce(sums, Reduction::sum));
  total = sums[0];
  std::array<std::int64_t, 2> most = {static_cast<std::int64_t>(own.shape().total), own.shape().largest_token};
  SEQKV_TRY(communicator.reduce(most, Reduction::max));
  fullest = most[0];
  largest_token = static_cast<Token>(most[1]);

  // Nodes stand in breadth-first order: children behind their parents.
  smallest_id.assign(view.nodes, UINT64_MAX);
  if (total > 0 && own.shape().total > 0) fill_smallest_ids();
  starts.clear();
  std::vector<std::int64_t> counts;
  std::vector<std::int64_t> ids;
  std::vector<std::int64_t> surprisals;
  for (std::uint32_t h = 0; h < routes.prefixes().size(); ++h) {
    TrieCursor place;
    bool here = own.shape().total > 0;
    for (const Token token : routes.tokens_of(h)) here = here && place.advance(view, token);
    starts.push_back({here, place});
    counts.push_back(here ? static_cast<std::int64_t>(view.count(place.node)) : 0);
    ids.push_back(here ? static_cast<std::int64_t>(smallest_id[place.node] ^ sign) : INT64_MAX);
    surprisals.push_back(here ? static_cast<std::int64_t>(place.surprisal) : 0);
  }
  SEQKV_TRY(communicator.reduce(counts, Reduction::sum));
  SEQKV_TRY(communicator.reduce(ids, Reduction::min));
  SEQKV_TRY(communicator.reduce(surprisals, Reduction::max));
  for (std::size_t h = 0; h < counts.size(); ++h) {
    HotPrefix& prefix = routes.prefixes()[h];
    const auto blocks = static_cast<std::uint64_t>(prefix.blocks);
    prefix.answer = {blocks * static_cast<std::uint64_t>(options.block_tokens), static_cast<std::uint64_t>(counts[h]),
                     counts[h] == 0 ? 0 : static_cast<std::uint64_t>(ids[h]) ^ sign,
                     static_cast<std::uint64_t>(surprisals[h])};
  }
  return {};
}

template <class ExecutionSpace>
void ShardedTrie<ExecutionSpace>::State::fill_smallest_ids() {
  const TrieView& view = own.view();
  std::vector<std::uint64_t> first(view.nodes, 0);  // of each node the place of its first session
  for (std::uint64_t node = 0; node < view.nodes; ++node) {
    const std::uint64_t begin = view.child[node];
    for (std::uint64_t child = begin; child < view.child[node + 1]; ++child) {
      first[child] = first[node] + view.ending(node) + view.below[child] - view.below[begin];
    }
  }
  for (std::uint64_t node = view.nodes; node-- > 0;) {
    for (std::uint64_t i = 0; i < view.ending(node); ++i) {
      smallest_id[node] = std::min(smallest_id[node], view.session[first[node] + i]);
    }
    for (std::uint64_t child = view.child[node]; child < view.child[node + 1]; ++child) {
      smallest_id[node] = std::min(smallest_id[node], smallest_id[child]);
    }
  }
}

/// Finds the hot prefixes of all sessions and deals them out.
template <class ExecutionSpace>
Result<void> ShardedTrie<ExecutionSpace>::State::build(const ExecutionSpace& space,
                                                       std::span<const TrieSession> sessions) {
  SEQKV_TRY(communicator.agree(check(sessions)));
  std::array<std::int64_t, 1> all = {std::ssize(sessions)};
  SEQKV_TRY(communicator.reduce(all, Reduction::sum));
  routes = Routes(options.block_tokens, communicator.size());
  if (communicator.size() > 1) {
    const double share = options.hot_share * static_cast<double>(all[0]) / communicator.size();
    SEQKV_TRY(routes.find_hot(communicator, sessions, std::max<std::int64_t>(static_cast<std::int64_t>(share), 1)));
  }
  SEQKV_ASSIGN(const Received received, communicator.agree(deal(communicator, routes, sessions)));
  SEQKV_ASSIGN(Trie local, communicator.agree(trie_of(space, std::span(received.sessions))));
  return settle(space, std::move(local));
}

template <class ExecutionSpace>
Result<ShardedTrie<ExecutionSpace>> ShardedTrie<ExecutionSpace>::build(const ExecutionSpace& space,
                                                                       const Communicator& communicator,
                                                                       std::span<const TrieSession> sessions,
                                                                       const ShardedTrieOptions& options) {
  if (options.block_tokens < 1 || !(options.hot_share > 0)) {
    return Error(ErrorCode::invalid_argument, "blocks have at least one token, and a hot share is above 0");
  }
  auto state = std::make_unique<State>(communicator, options);
  SEQKV_TRY(state->build(space, sessions));
  return ShardedTrie(std::move(state));
}

template <class ExecutionSpace>
Result<void> ShardedTrie<ExecutionSpace>::insert(const ExecutionSpace& space, std::span<const TrieSession> sessions) {
  State& state = *state_;
  const Communicator& communicator = state.communicator;
  SEQKV_TRY(communicator.agree(check(sessions)));
  SEQKV_ASSIGN(const Received received, communicator.agree(deal(communicator, state.routes, sessions)));
  const auto merged = [&]() -> Result<Trie> {
    if (received.sessions.empty()) return local();
    SEQKV_ASSIGN(const Trie more, trie_of(space, std::span(received.sessions)));
    if (local().shape().total == 0) return more;
    return merge(local(), more);
  };
  SEQKV_ASSIGN(Trie trie, communicator.agree(merged()));
  SEQKV_TRY(state.settle(space, std::move(trie)));
  constexpr double uneven = 1.5;
  const double even = static_cast<double>(state.total) / communicator.size();
  if (communicator.size() == 1 || static_cast<double>(state.fullest) <= uneven * even + 64) return {};
  const ListedSessions mine = list_sessions(local());
  return state.build(space, mine.views());
}

// ---- files ------------------------------------------------------------------------------------------------

template <class ExecutionSpace>
Result<void> ShardedTrie<ExecutionSpace>::save(const std::filesystem::path& folder) const {
  return save_shard(state_->communicator, local(), folder);
}

template <class ExecutionSpace>
Result<ShardedTrie<ExecutionSpace>> ShardedTrie<ExecutionSpace>::load(const ExecutionSpace& space,
                                                                      const Communicator& communicator,
                                                                      const std::filesystem::path& folder,
                                                                      const ShardedTrieOptions& options) {
  SEQKV_ASSIGN(const std::vector<Trie> tries, load_shards(communicator, folder));
  std::vector<ListedSessions> lists;
  std::vector<TrieSession> sessions;
  lists.reserve(tries.size());
  for (const Trie& trie : tries) {
    const auto views = lists.emplace_back(list_sessions(trie)).views();
    sessions.insert(sessions.end(), views.begin(), views.end());
  }
  return build(space, communicator, sessions, options);
}

#define SEQKV_INSTANTIATE(Space) template class ShardedTrie<Space>;
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv::mpi
