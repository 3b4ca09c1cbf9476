// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Which rank runs which sessions of a batch, in which order, and what it hands on. A function of the sessions and the
/// number of ranks alone: every rank makes the same plan for itself. No MPI in here.
///
/// Sessions stand in the order of a walk over the tree of their prefixes; each rank has a piece of that order. So a
/// rank lacks, of what others compute, the beginning of its first session only, and others lack that of its last: it
/// works from the end of its piece to the beginning. What others wait for comes first, what it waits for comes last.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <vector>

namespace seqkv::mpi {

/// A block together with all before it: a part of its identity.
using BlockKey = std::array<std::uint64_t, 2>;

struct PlanSession {
  std::int64_t tokens = 0;
  std::vector<BlockKey> blocks;  ///< the last may be shorter than others; none: it shares with nobody
  bool computed = true;          ///< by the model; else its values are given
};

/// What tokens cost: that of a token at position p is 1 + p * by_position.
struct TokenCost {
  double by_position = 0;
  double of_session = 16;  ///< beside its tokens
  double of_given = 0.05;  ///< of a token whose values are given

  double of(std::int64_t first, std::int64_t last) const;
};

/// Blocks [first_block, last_block) that one rank computes and others go on from.
struct Handover {
  std::int64_t session = 0;  ///< a session that begins with them, in the owner's piece
  std::int64_t first_block = 0;
  std::int64_t last_block = 0;
  int owner = 0;
  std::vector<int> ranks;  ///< the owner, then those that want it, ascending

  static constexpr std::int64_t fan_out = 8;
  /// From whom a rank of `ranks` has it, and to whom it passes it on: each to a few.
  int from(int rank) const;
  std::vector<int> to(int rank) const;

 private:
  std::int64_t place_of(int rank) const;
};

struct Plan {
  std::vector<std::int64_t> order;   ///< sessions
  std::vector<std::int64_t> common;  ///< blocks of order[i] in common with order[i - 1]; 0 for the first
  std::vector<std::int64_t> first;   ///< of each rank's piece in `order`; one more
  std::vector<Handover> handovers;   ///< by owner, then by depth
  double most = 0;                   ///< cost of the rank that has the most to do
  double mean = 0;

  /// Blocks from other ranks that session order[i] of the rank's piece begins with.
  std::vector<std::int64_t> wanted(int rank) const;
};

/// `divisible`: whether what a rank has computed of a prefix may be handed to others; else sessions that share a block
/// stay together, as do those with a session among them whose values are given.
Plan make_plan(const std::vector<PlanSession>& sessions, std::int64_t block_tokens, int ranks, const TokenCost& cost,
               bool divisible);

}  // namespace seqkv::mpi
