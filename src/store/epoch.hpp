// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// What one of several processes writes to a store between two commits of their job (docs/mpi.md): records in packs of
/// its own, and the rows of these records, which the process that has the lock puts into the index, those of all at
/// once.
#pragma once

#include <map>
#include <span>
#include <vector>

#include "store/pack_writer.hpp"
#include "store/store_state.hpp"

namespace seqkv::store {

/// Set into Store::State, it takes what SessionWriters write; until the index has it, it is found here.
class Epoch {
 public:
  explicit Epoch(const Store::State& state) : pack_(state, PackWriter::Begin::in_new_pack) {}

  PackWriter& pack() noexcept { return pack_; }
  /// The row of a block that has been written or promised, or null. Rows of an epoch have no id.
  const BlockRow* find(const Digest& identity) const;
  /// Whether another process has written the block: it need not be visible here yet.
  bool is_promised(const Digest& identity) const;
  /// Blocks that other processes of the job have written; their tokens have been compared.
  void promise(const BlockRow& row);
  void add(const BlockRow& row, const Digest& parent);
  /// A session whose blocks are all there; `identities` are theirs.
  void add(SessionHead head, std::vector<Digest> identities);

  std::int64_t sessions() const noexcept { return static_cast<std::int64_t>(sessions_.size()); }
  std::int64_t new_bytes() const noexcept { return new_bytes_; }

  /// Writes the records of the sessions, numbered from `sequence` on, and makes everything durable. What commit_epochs
  /// takes; the packs are not touched again by this process, but to append. Errors: io, disk_full.
  Result<std::vector<std::byte>> close(std::int64_t sequence);
  /// The index has it: begins anew, behind it in the same pack.
  void begin_next();

 private:
  struct Block {
    BlockRow row;
    Digest parent;
    bool promised = false;
  };
  struct Session {
    SessionHead head;
    std::vector<Digest> identities;
  };
  PackWriter pack_;
  std::map<Digest, Block> blocks_;
  std::vector<Digest> written_;  ///< in their order
  std::vector<Session> sessions_;
  std::int64_t new_bytes_ = 0;
};

/// What a commit made visible, and what it could not for want of blocks that it builds on.
struct EpochTotals {
  std::int64_t sessions = 0;
  std::int64_t blocks = 0;
  std::int64_t left_out = 0;
};

/// Puts the rows of all processes into the index in one transaction: all of them, or on an error none. Blocks that the
/// index has already, and such as do not follow from one that it has, are left out, and sessions that need those.
/// Errors: corrupt, busy, io, disk_full.
Result<EpochTotals> commit_epochs(Store::State& state, const Codec& codec,
                                  std::span<const std::span<const std::byte>> parts);

/// Removes files of packs that the index does not know: a job that died has left them. Precondition: the caller has the
/// lock, and has not begun to write.
Result<void> remove_unknown_packs(const Store::State& state);

}  // namespace seqkv::store
