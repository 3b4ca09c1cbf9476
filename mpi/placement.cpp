// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/mpi_placement.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <queue>

#include "core/bytes.hpp"
#include "core/try.hpp"

namespace seqkv::mpi {

std::vector<Placement> place_sessions(std::span<const PlacementRequest> requests, std::span<double> load,
                                      double move_cost) {
  // Entries whose load has grown since are put back with what it is now: loads never fall.
  using Entry = std::pair<double, int>;
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> least;
  for (std::size_t r = 0; r < load.size(); ++r) least.emplace(load[r], static_cast<int>(r));
  const auto load_of = [&load](int rank) -> double& { return load[static_cast<std::size_t>(rank)]; };
  std::vector<Placement> placed;
  placed.reserve(requests.size());
  for (const PlacementRequest& request : requests) {
    while (least.top().first < load_of(least.top().second)) {
      const int rank = least.top().second;
      least.pop();
      least.emplace(load_of(rank), rank);
    }
    const int idle = least.top().second;
    const auto rest = static_cast<double>(request.tokens - request.held_tokens);
    const bool moves = request.held_tokens > 0 && move_cost < 1.0;
    const double prefix = static_cast<double>(request.held_tokens) * std::min(move_cost, 1.0);
    if (request.held_tokens > 0 && load_of(request.holder) <= load_of(idle) + prefix) {
      placed.push_back({request.holder, false});
      load_of(request.holder) += rest;
    } else {
      placed.push_back({idle, moves && idle != request.holder});
      load_of(idle) += rest + (idle == request.holder ? 0.0 : prefix);
    }
  }
  return placed;
}

// ---- evening out ------------------------------------------------------------------------------------------

Result<std::vector<Move>> plan_rebalance(const Communicator& communicator, std::span<const double> costs) {
  const double mine = std::accumulate(costs.begin(), costs.end(), 0.0);
  SEQKV_ASSIGN(const RankBytes all, communicator.all_gather(std::as_bytes(std::span(&mine, 1))));
  std::vector<double> loads;
  for (int r = 0; r < communicator.size(); ++r) loads.push_back(load_le<double>(all.of(r).data()));
  const double mean = std::accumulate(loads.begin(), loads.end(), 0.0) / static_cast<double>(loads.size());

  // What ranks have beyond the mean, one behind the other, fills what the others lack, one behind the other.
  double offset = 0;  // of this rank's surplus
  for (int r = 0; r < communicator.rank(); ++r) offset += std::max(loads[static_cast<std::size_t>(r)] - mean, 0.0);
  double surplus = mine - mean;
  std::vector<std::size_t> largest(costs.size());
  std::iota(largest.begin(), largest.end(), std::size_t{0});
  std::ranges::stable_sort(largest, std::greater<>(), [&costs](std::size_t i) { return costs[i]; });
  std::vector<Move> moves;
  for (const std::size_t session : largest) {
    if (costs[session] > surplus || costs[session] <= 0) continue;
    const double middle = offset + costs[session] / 2;
    double lacking = 0;
    int to = -1;
    for (std::size_t r = 0; r < loads.size() && to < 0; ++r) {
      if (loads[r] >= mean) continue;
      lacking += mean - loads[r];
      if (middle < lacking) to = static_cast<int>(r);
    }
    if (to < 0) break;
    moves.push_back({session, to});
    surplus -= costs[session];
    offset += costs[session];
  }
  return moves;
}

// ---- on the way -------------------------------------------------------------------------------------------

namespace {

void put(ByteWriter& out, std::span<const std::byte> bytes) {
  out.put(static_cast<std::uint64_t>(bytes.size()));
  out.put(bytes);
}
std::span<const std::byte> get(ByteReader& in) { return in.get_bytes(in.get<std::uint64_t>()); }

Result<std::vector<MovedSession>> unpack(const KvShape& shape, std::span<const std::byte> bytes) {
  std::vector<MovedSession> sessions;
  for (ByteReader in(bytes); in.remaining() > 0;) {
    MovedSession& session = sessions.emplace_back();
    session.session = in.get_text();
    session.codec = in.get_text();
    for (auto left = in.get<std::uint64_t>(); left > 0 && in.ok(); --left) {
      const auto block = get(in);
      if (!in.ok()) break;
      if (auto good = check_block(shape, block); !good) {
        return std::move(good).error().at_field(fmt::format("session '{}'", session.session));
      }
      session.blocks.emplace_back(block.begin(), block.end());
    }
    if (!in.ok()) return Error(ErrorCode::corrupt, "sessions of another rank that end too early");
  }
  return sessions;
}

}  // namespace

Result<std::vector<MovedSession>> move_sessions(const Communicator& communicator, const KvShape& shape,
                                                std::span<const MovedSession> sessions, std::span<const int> to) {
  Result<void> good;
  if (sessions.size() != to.size() ||
      !std::ranges::all_of(to, [&](int rank) { return rank >= 0 && rank < communicator.size(); })) {
    good = Error(ErrorCode::invalid_argument, "sessions to be moved to ranks that are not there");
  }
  SEQKV_TRY(communicator.agree(good));
  std::vector<std::size_t> order(sessions.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, {}, [&to](std::size_t i) { return to[i]; });
  ByteWriter out;
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(communicator.size()), 0);
  for (const std::size_t i : order) {
    const auto before = static_cast<std::int64_t>(out.size());
    out.put_text(sessions[i].session);
    out.put_text(sessions[i].codec);
    out.put(static_cast<std::uint64_t>(sessions[i].blocks.size()));
    for (const CodedBlock& block : sessions[i].blocks) put(out, block);
    sizes[static_cast<std::size_t>(to[i])] += static_cast<std::int64_t>(out.size()) - before;
  }
  SEQKV_ASSIGN(const RankBytes all, communicator.all_to_all(std::move(out).take(), sizes));
  return communicator.agree(unpack(shape, all.bytes));
}

}  // namespace seqkv::mpi
