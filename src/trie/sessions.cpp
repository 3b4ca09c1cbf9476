// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>

#include <Kokkos_Core.hpp>
#include <algorithm>
#include <cstring>
#include <numeric>
#include <unordered_set>

#include "core/execution_spaces.hpp"
#include "core/guard_memory.hpp"
#include "core/mirrored.hpp"
#include "core/try.hpp"
#include "seqkv/trie.hpp"
#include "trie/check_tokens.hpp"
#include "trie/image.hpp"
#include "trie/prefix_hash.hpp"
#include "trie/sessions.hpp"

namespace seqkv {
namespace {

/// A node before nodes have their places: the path of `sequence` from the end of its parent to `depth`.
struct Node {
  std::uint64_t parent = 0;
  std::uint64_t first = 0;  ///< the first of its sequences, in their order
  std::uint64_t last = 0;   ///< one after the last
  std::uint64_t depth = 0;
  std::uint32_t level = 0;
};

/// What the sessions have in common; their nodes are not counted yet.
Result<TrieShape> check_sessions(std::span<const TrieSession> sessions) {
  if (sessions.empty()) return Error(ErrorCode::empty_input, "no session to build a trie of");
  if (std::ssize(sessions) > UINT32_MAX) return Error(ErrorCode::limit_exceeded, "more than 2^32 - 1 sessions at once");
  std::unordered_set<std::uint64_t> ids;
  const bool surprisals = !sessions[0].surprisals.empty();
  TrieShape shape;
  shape.kind = TrieKind::sessions;
  shape.surprisals = surprisals;
  shape.total = sessions.size();
  for (std::size_t i = 0; i < sessions.size(); ++i) {
    SEQKV_ASSIGN(const Token largest, trie::check_tokens(sessions[i].tokens, i));
    shape.largest_token = std::max(shape.largest_token, largest);
    if (!ids.insert(sessions[i].id).second) {
      return Error(ErrorCode::invalid_argument, fmt::format("session {} is given twice", sessions[i].id));
    }
    if (sessions[i].surprisals.size() != (surprisals ? sessions[i].tokens.size() : 0)) {
      return Error(ErrorCode::invalid_argument, "every token of every session has a surprisal, or none has")
          .at_field(fmt::format("sequence {}", i));
    }
  }
  return shape;
}

template <class HostSpace>
class SessionBuilder {
 public:
  SessionBuilder(const HostSpace& space, std::span<const TrieSession> sessions, const TrieShape& shape)
      : space_(space), sessions_(sessions), shape_(shape) {}

  Result<Trie> run(std::uint64_t hash_mask) {
    sort(hash_mask);
    SEQKV_TRY(check_surprisals());
    make_nodes();
    order_nodes();
    return write();
  }

 private:
  using Dynamic = Kokkos::RangePolicy<HostSpace, Kokkos::Schedule<Kokkos::Dynamic>>;

  const TrieSession& session(std::uint64_t rank) const { return sessions_[order_[rank]]; }

  void sort(std::uint64_t hash_mask) {
    order_.resize(sessions_.size());
    common_.resize(sessions_.size());
    std::iota(order_.begin(), order_.end(), std::uint32_t{0});
    const trie::PrefixHashes<HostSpace> hashes(space_, sessions_, hash_mask);
    const auto sort_by = [this](const auto& common) {
      trie::parallel_sort(space_, order_, [&](std::uint32_t a, std::uint32_t b) {
        return a != b && trie::before(sessions_[a], sessions_[b], common(a, b));
      });
    };
    sort_by([&](std::uint32_t a, std::uint32_t b) { return hashes.common(a, b); });
    if (set_common()) return;
    // Hashes of different prefixes agreed somewhere: once more, by the tokens alone.
    sort_by([&](std::uint32_t a, std::uint32_t b) {
      return trie::common_tokens(sessions_[a].tokens, sessions_[b].tokens);
    });
    set_common();
  }

  /// Sets common_, by the tokens; false if they are not in order. Neighbors in order are all in order.
  bool set_common() {
    bool sorted = true;
    Kokkos::parallel_reduce(
        "seqkv::trie::common_prefixes", Dynamic(space_, 1, order_.size()),
        [this](std::size_t i, bool& good) {
          common_[i] = trie::common_tokens(session(i - 1).tokens, session(i).tokens);
          good = good && trie::before(session(i - 1), session(i), common_[i]);
        },
        Kokkos::LAnd<bool>(sorted));
    return sorted;
  }

  Result<void> check_surprisals() const {
    if (!shape_.surprisals) return {};
    for (std::size_t i = 1; i < order_.size(); ++i) {
      const auto a = session(i - 1).surprisals.first(common_[i]);
      if (std::memcmp(a.data(), session(i).surprisals.data(), a.size_bytes()) != 0) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("sessions {} and {} have different surprisals of the same prefix", session(i - 1).id,
                                 session(i).id));
      }
    }
    return {};
  }

  /// The tree of common prefixes, from left to right: the stack holds the path of the last session.
  void make_nodes() {
    nodes_.push_back({0, 0, sessions_.size(), 0, 0});
    std::vector<std::uint64_t> stack = {0};
    for (std::uint64_t rank = 0; rank < sessions_.size(); ++rank) {
      const std::uint64_t common = common_[rank];
      std::uint64_t popped = TrieView::none;
      for (; nodes_[stack.back()].depth > common; stack.pop_back()) {
        popped = stack.back();
        nodes_[popped].last = rank;
      }
      if (nodes_[stack.back()].depth < common) {  // the sessions part inside an edge: a node there
        nodes_.push_back({stack.back(), nodes_[popped].first, 0, common, 0});
        nodes_[popped].parent = nodes_.size() - 1;
        stack.push_back(nodes_.size() - 1);
      }
      if (session(rank).tokens.size() > common) {
        nodes_.push_back({stack.back(), rank, 0, session(rank).tokens.size(), 0});
        stack.push_back(nodes_.size() - 1);
      }
    }
    for (const std::uint64_t node : stack) nodes_[node].last = sessions_.size();
  }

  /// Breadth first: by level, then by the first session. Sets place_ (in `nodes_`, by rank of the order).
  void order_nodes() {
    place_.resize(nodes_.size());
    std::iota(place_.begin(), place_.end(), std::uint64_t{0});
    // Ancestors come first here, so that levels can be counted on.
    std::ranges::sort(place_, [this](std::uint64_t a, std::uint64_t b) {
      return nodes_[a].first != nodes_[b].first ? nodes_[a].first < nodes_[b].first : nodes_[a].depth < nodes_[b].depth;
    });
    for (const std::uint64_t i : place_) {
      if (i != 0) nodes_[i].level = nodes_[nodes_[i].parent].level + 1;
    }
    std::ranges::stable_sort(place_, {}, [this](std::uint64_t i) { return nodes_[i].level; });
  }

  Result<Trie> write() {
    std::vector<std::uint64_t> children(nodes_.size());
    for (const Node& node : nodes_) {
      shape_.sum_counts += node.last - node.first;
      if (node.depth == 0) continue;
      shape_.label_tokens += node.depth - nodes_[node.parent].depth - 1;
      ++children[node.parent];
    }
    shape_.nodes = nodes_.size();
    SEQKV_ASSIGN(trie::Image image, trie::Image::allocate(shape_));
    const trie::MutableView out = image.arrays();
    out.token.set(0, 0);
    if (shape_.surprisals) out.token_surprisal[0] = 0;
    std::uint64_t child = 1;
    std::uint64_t label = 0;
    std::uint64_t below = 0;
    std::vector<std::uint64_t> labels(nodes_.size());
    for (std::uint64_t i = 0; i < nodes_.size(); ++i) {
      const Node& node = nodes_[place_[i]];
      out.child.set(i, child);
      out.label.set(i, label);
      out.below.set(i, below);
      labels[i] = label;
      child += children[place_[i]];
      if (i > 0) label += node.depth - nodes_[node.parent].depth - 1;
      below += node.last - node.first;
    }
    out.child.set(nodes_.size(), child);
    out.label.set(nodes_.size(), label);
    out.below.set(nodes_.size(), below);
    Kokkos::parallel_for("seqkv::trie::write_edges", Dynamic(space_, 1, nodes_.size()),
                         [&](std::uint64_t i) { write_edge(out, i, labels[i]); });
    space_.fence("seqkv::trie::write_edges: the trie is complete");
    for (std::uint64_t rank = 0; rank < sessions_.size(); ++rank) out.session[rank] = session(rank).id;
    return std::move(image).finish();
  }

  void write_edge(const trie::MutableView& out, std::uint64_t i, std::uint64_t label) const {
    const Node& node = nodes_[place_[i]];
    const TrieSession& source = session(node.first);
    const std::uint64_t from = nodes_[node.parent].depth;
    out.token.set(i, source.tokens[from]);
    trie::set_tokens(out.label_token, label, source.tokens.subspan(from + 1, node.depth - from - 1));
    if (!shape_.surprisals) return;
    out.token_surprisal[i] = source.surprisals[from];
    std::ranges::copy(source.surprisals.subspan(from + 1, node.depth - from - 1), out.label_surprisal + label);
  }

  HostSpace space_;
  std::span<const TrieSession> sessions_;
  TrieShape shape_;
  std::vector<std::uint32_t> order_;   ///< of the sessions, by their tokens and then their ids
  std::vector<std::uint64_t> common_;  ///< tokens that a session has in common with the one before it
  std::vector<Node> nodes_;            ///< as they are found; the root is the first
  std::vector<std::uint64_t> place_;   ///< in nodes_, of each node of the trie
};

}  // namespace

namespace trie {

template <class ExecutionSpace>
Result<Trie> build_session_trie_hashed(const ExecutionSpace& space, std::span<const TrieSession> sessions,
                                       std::uint64_t hash_mask) {
  return guard_memory("to build a trie of sessions", [&]() -> Result<Trie> {
    SEQKV_ASSIGN(const TrieShape shape, check_sessions(sessions));
    if constexpr (is_host_space<ExecutionSpace>) {
      return SessionBuilder<ExecutionSpace>(space, sessions, shape).run(hash_mask);
    } else {
      const Kokkos::DefaultHostExecutionSpace host;
      return SessionBuilder<Kokkos::DefaultHostExecutionSpace>(host, sessions, shape).run(hash_mask);
    }
  });
}

}  // namespace trie

template <class ExecutionSpace>
Result<Trie> build_session_trie(const ExecutionSpace& space, std::span<const TrieSession> sessions) {
  return trie::build_session_trie_hashed(space, sessions, ~std::uint64_t{0});
}

#define SEQKV_INSTANTIATE(Space)                                                                           \
  template Result<Trie> build_session_trie<Space>(const Space&, std::span<const TrieSession>);             \
  template Result<Trie> trie::build_session_trie_hashed<Space>(const Space&, std::span<const TrieSession>, \
                                                               std::uint64_t);
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv
