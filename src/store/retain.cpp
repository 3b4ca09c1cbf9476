// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Budgets: what is worth least goes, leaf by leaf (docs/retention.md).
#include <fmt/format.h>

#include <algorithm>
#include <queue>
#include <unordered_map>
#include <utility>

#include "core/try.hpp"
#include "store/index.hpp"
#include "store/pack_writer.hpp"
#include "store/uses.hpp"

namespace seqkv {
namespace {

using store::Statement;

/// A block with what retention asks of it.
struct Node {
  std::int64_t id = 0;
  std::int64_t parent = -1;  ///< number of the node before it, or -1
  std::int64_t bytes = 0;
  double rank = 0.0;
  double last_use = 0.0;
  std::int64_t needed_by = 0;         ///< blocks that follow, and such as are predicted from it
  std::vector<std::size_t> sources;   ///< numbers of nodes that it is predicted from
  std::vector<std::size_t> sessions;  ///< that end here
  bool pinned = false;                ///< a pinned session needs it
  bool evicted = false;
};

class Retainer {
 public:
  Retainer(const Store::State& state, const RetentionRule& rule) : state_(state), rule_(rule) {}

  Result<void> load() {
    SEQKV_ASSIGN(Statement blocks,
                 state_.database.prepare("SELECT id, parent, identity, codec, position, tokens, bytes FROM blocks "
                                         "ORDER BY position, id"));
    SEQKV_ASSIGN(Statement uses,
                 state_.database.prepare("SELECT hits, weight, last_use, floor FROM uses WHERE key = ?"));
    for (;;) {
      SEQKV_ASSIGN(const bool there, blocks.step());
      if (!there) break;
      SEQKV_TRY(add(blocks, uses));
    }
    SEQKV_TRY(add_sources());
    SEQKV_ASSIGN(Statement query,
                 state_.database.prepare(fmt::format("{} ORDER BY sessions.id", store::session_query)));
    SEQKV_ASSIGN(sessions_, store::all_rows<SessionRow>(query, store::session_row));
    for (std::size_t i = 0; i < sessions_.size(); ++i) {
      const auto found = numbers_.find(sessions_[i].block);
      if (found == numbers_.end()) return Error(ErrorCode::corrupt, "a session without its last block: see repair");
      nodes_[found->second].sessions.push_back(i);
      if (sessions_[i].head.pinned) pin(found->second);
    }
    kept_sessions_ = static_cast<std::int64_t>(sessions_.size());
    return {};
  }

  /// Evicts until the rule holds, or only what is pinned is left.
  void run() {
    limit_sessions();
    for (std::size_t i = 0; i < nodes_.size(); ++i) offer(i);
    while (rule_.bytes > 0 && bytes_ > rule_.bytes && !leaves_.empty()) {
      const std::size_t number = leaves_.top().number;
      leaves_.pop();
      evict(number);
    }
  }

  const std::vector<std::int64_t>& evicted_blocks() const { return evicted_; }
  const std::vector<SessionRow>& ended_sessions() const { return ended_; }
  std::int64_t bytes() const { return bytes_; }
  double floor() const { return floor_; }

 private:
  /// What a node needs: the one before it, and those that it is predicted from.
  std::vector<std::size_t> needs_of(std::size_t number) const {
    std::vector<std::size_t> needs = nodes_[number].sources;
    if (nodes_[number].parent >= 0) needs.push_back(static_cast<std::size_t>(nodes_[number].parent));
    return needs;
  }

  /// With all that it needs.
  void pin(std::size_t number) {
    std::vector<std::size_t> open = {number};
    while (!open.empty()) {
      const std::size_t at = open.back();
      open.pop_back();
      if (std::exchange(nodes_[at].pinned, true)) continue;
      for (const std::size_t need : needs_of(at)) open.push_back(need);
    }
  }

  Result<void> add_sources() {
    SEQKV_ASSIGN(Statement query, state_.database.prepare("SELECT block, source FROM sources ORDER BY block, source"));
    for (;;) {
      SEQKV_ASSIGN(const bool there, query.step());
      if (!there) return {};
      const auto block = numbers_.find(query.integer(0));
      const auto source = numbers_.find(query.integer(1));
      if (block == numbers_.end() || source == numbers_.end()) {
        return Error(
            ErrorCode::corrupt,
            fmt::format("block {} in the index is predicted from one that is not: see repair", query.integer(0)));
      }
      nodes_[block->second].sources.push_back(source->second);
      ++nodes_[source->second].needed_by;
    }
  }

  Result<void> add(const Statement& row, Statement& uses) {
    Node node;
    node.id = row.integer(0);
    node.bytes = row.integer(6);
    const std::int64_t position = row.integer(4);
    const std::int64_t tokens = row.integer(5);
    if (node.bytes < 1 || position < 0 || tokens < 1) {
      return Error(ErrorCode::corrupt, fmt::format("block {} in the index is impossible: see repair", node.id));
    }
    if (!row.is_null(1)) {
      const auto parent = numbers_.find(row.integer(1));
      if (parent == numbers_.end()) {
        return Error(ErrorCode::corrupt, fmt::format("block {} has none before it: see repair", node.id));
      }
      node.parent = static_cast<std::int64_t>(parent->second);
      ++nodes_[parent->second].needed_by;
    }
    SEQKV_ASSIGN(const Digest identity, store::digest_from(row, 2));
    SEQKV_ASSIGN(const bool known, uses.bind(1, store::use_key(identity, row.integer(3))).step());
    RetentionState state{{node.bytes, rule_.cost.of(position, tokens), 0.0}, 1, 1.0, 0.0, 0};
    double floor = 0.0;
    if (known) {
      state.hits = uses.integer(0);
      state.weight = std::max(uses.real(1), 1e-300);
      state.last_use = uses.real(2);
      floor = uses.real(3);
    }
    uses.reset();
    node.last_use = state.last_use;
    node.rank = retention_rank(rule_.policy, state, rule_.half_life, floor);
    bytes_ += node.bytes;
    numbers_.emplace(node.id, nodes_.size());
    nodes_.push_back(std::move(node));
    return {};
  }

  /// Sessions beyond their number end, those with the least last block first; their blocks stay for the bytes' turn,
  /// but for those that nobody else has.
  void limit_sessions() {
    if (rule_.sessions <= 0 || kept_sessions_ <= rule_.sessions) return;
    std::vector<std::size_t> order;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      if (!nodes_[i].sessions.empty()) order.push_back(i);
    }
    std::ranges::sort(order, [this](std::size_t a, std::size_t b) { return before(a, b); });
    for (const std::size_t number : order) {
      std::vector<std::size_t> stay;
      for (const std::size_t session : nodes_[number].sessions) {
        if (kept_sessions_ <= rule_.sessions || sessions_[session].head.pinned) {
          stay.push_back(session);
        } else {
          end_session(session);
        }
      }
      nodes_[number].sessions = std::move(stay);
      drop_unneeded(number);
    }
  }

  void drop_unneeded(std::size_t number) {
    std::vector<std::size_t> open = {number};
    while (!open.empty()) {
      const std::size_t at = open.back();
      open.pop_back();
      const Node& node = nodes_[at];
      if (node.evicted || node.needed_by > 0 || !node.sessions.empty()) continue;
      remove(at);
      for (const std::size_t need : needs_of(at)) open.push_back(need);
    }
  }

  void end_session(std::size_t session) {
    ended_.push_back(sessions_[session]);
    --kept_sessions_;
  }

  void remove(std::size_t number) {
    Node& node = nodes_[number];
    node.evicted = true;
    bytes_ -= node.bytes;
    evicted_.push_back(node.id);
    for (const std::size_t need : needs_of(number)) --nodes_[need].needed_by;
  }

  void evict(std::size_t number) {
    for (const std::size_t session : nodes_[number].sessions) end_session(session);
    floor_ = std::max(floor_, nodes_[number].rank);
    remove(number);
    for (const std::size_t need : needs_of(number)) offer(need);
  }

  /// Puts a node among those that can go.
  void offer(std::size_t number) {
    const Node& node = nodes_[number];
    if (!node.evicted && !node.pinned && node.needed_by == 0) leaves_.push({this, number});
  }

  bool before(std::size_t a, std::size_t b) const {
    const Node& x = nodes_[a];
    const Node& y = nodes_[b];
    if (x.rank != y.rank) return x.rank < y.rank;
    if (x.last_use != y.last_use) return x.last_use < y.last_use;
    return x.id > y.id;  // of what was stored together, what comes last
  }

  struct Leaf {
    const Retainer* of = nullptr;
    std::size_t number = 0;
    bool operator<(const Leaf& other) const { return of->before(other.number, number); }
  };

  const Store::State& state_;
  RetentionRule rule_;
  std::vector<Node> nodes_;
  std::unordered_map<std::int64_t, std::size_t> numbers_;  ///< of nodes, by id
  std::vector<SessionRow> sessions_;
  std::priority_queue<Leaf> leaves_;
  std::vector<std::int64_t> evicted_;  ///< ids, before those that they need
  std::vector<SessionRow> ended_;
  std::int64_t kept_sessions_ = 0;
  std::int64_t bytes_ = 0;
  double floor_ = 0.0;
};

/// Takes what was chosen out of the index, with records of the sessions that end.
Result<void> evict(Store::State& state, const Retainer& chosen, double half_life) {
  store::PackWriter writer(state);
  SEQKV_ASSIGN(const std::int64_t sequence, store::next_sequence(state));
  std::vector<store::Place> places;
  const auto number = [&](std::size_t i) { return sequence + static_cast<std::int64_t>(i); };
  for (const SessionRow& row : chosen.ended_sessions()) {
    SEQKV_ASSIGN(const store::RecordBytes record,
                 store::removal_record(state.seal, {row.head.tenant, row.head.name, number(places.size())}));
    SEQKV_ASSIGN(places.emplace_back(), writer.append(record));
  }
  SEQKV_TRY(writer.sync());
  store::Database& database = state.database;
  SEQKV_ASSIGN(store::Transaction transaction, store::Transaction::begin(database));
  SEQKV_TRY(writer.write_rows(database));
  for (std::size_t i = 0; i < places.size(); ++i) {
    SEQKV_TRY(store::drop_session(database, chosen.ended_sessions()[i], number(i), places[i]));
  }
  SEQKV_ASSIGN(Statement drop, database.prepare("DELETE FROM blocks WHERE id = ?"));
  for (const std::int64_t block : chosen.evicted_blocks()) SEQKV_TRY(drop.bind(1, block).run());
  SEQKV_ASSIGN(Statement counters, database.prepare("UPDATE state SET floor = max(floor, ?), half_life = ?"));
  SEQKV_TRY(counters.bind(1, chosen.floor()).bind(2, half_life).run());
  SEQKV_TRY(transaction.commit());
  writer.keep();
  return {};
}

}  // namespace

Result<RetainReport> Store::retain(const RetentionRule& rule) {
  SEQKV_TRY(state_->check_writable());
  if (rule.bytes < 0 || rule.sessions < 0 || !(rule.half_life > 0.0) || !(rule.cost.of(0, 1) > 0.0)) {
    return Error(ErrorCode::invalid_argument, "budgets are 0 or more, half-life and cost above 0");
  }
  RetainReport report;
  SEQKV_ASSIGN(report.expired, state_->remove_expired());
  Retainer retainer(*state_, rule);
  SEQKV_TRY(retainer.load());
  const std::int64_t before = retainer.bytes();
  retainer.run();
  SEQKV_TRY(evict(*state_, retainer, rule.half_life));
  for (const SessionRow& row : retainer.ended_sessions()) report.evicted.push_back(row.head.name);
  report.blocks_evicted = static_cast<std::int64_t>(retainer.evicted_blocks().size());
  report.bytes = retainer.bytes();
  report.bytes_evicted = before - retainer.bytes();
  return report;
}

}  // namespace seqkv
