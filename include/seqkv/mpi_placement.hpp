// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Which rank gets a session, and sessions on their way from one to another (docs/mpi.md).
#pragma once

#include <span>
#include <string>
#include <vector>

#include "seqkv/codec.hpp"
#include "seqkv/mpi.hpp"

namespace seqkv::mpi {

/// A session to come: what a lookup says of its longest prefix.
struct PlacementRequest {
  std::int64_t tokens = 0;
  std::int64_t held_tokens = 0;  ///< of its prefix, at `holder`
  int holder = 0;
};

struct Placement {
  int rank = 0;
  bool moves = false;  ///< its prefix is to be moved there, coded
};

/// Each session in turn to the rank that would be done with it first: where its prefix is, only the rest is computed;
/// on the rank that has least to do the prefix comes on top, moved, at `move_cost` a token by what computing it costs,
/// or computed again, whichever is less. `load` is what ranks have to do already, in tokens, and grows. Time O(log
/// ranks) a session. Precondition: holders are ranks of `load`.
std::vector<Placement> place_sessions(std::span<const PlacementRequest> requests, std::span<double> load,
                                      double move_cost = 0.05);

/// A session of this rank that another one would have.
struct Move {
  std::size_t session = 0;  ///< index into the costs given
  int to = 0;
};

/// Collective: which of its sessions each rank gives to whom, so that all have about as much: nobody gives more than it
/// has beyond the mean, and who has less gets it. Ranks that have just joined have nothing. Errors: communication.
Result<std::vector<Move>> plan_rebalance(const Communicator& communicator, std::span<const double> costs);

/// A session's cache as coded blocks: those of a store, or of encode().
struct MovedSession {
  std::string session;
  std::string codec;
  std::vector<CodedBlock> blocks;

  friend bool operator==(const MovedSession&, const MovedSession&) = default;
};

/// Collective: sessions[i] goes to rank to[i]; what came from others, and from oneself, in the order of ranks. Blocks
/// are checked against `shape` on arrival. Errors: invalid_argument (no such rank), corrupt, checksum_mismatch,
/// communication.
Result<std::vector<MovedSession>> move_sessions(const Communicator& communicator, const KvShape& shape,
                                                std::span<const MovedSession> sessions, std::span<const int> to);

}  // namespace seqkv::mpi
