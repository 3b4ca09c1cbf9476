// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// What is alive in some packs, written into new ones.
#pragma once

#include <set>
#include <unordered_set>
#include <vector>

#include "store/index.hpp"
#include "store/pack_writer.hpp"

namespace seqkv::store {

/// copy(), then the writer's sync(), then write_rows() inside one transaction, and when that is committed
/// remove_files(): readers that have the old packs mapped go on, others look up the new places.
class Compaction {
 public:
  Compaction(Store::State& state, PackWriter& writer, std::set<std::int64_t> packs)
      : state_(state), writer_(writer), packs_(std::move(packs)) {}

  /// Blocks and sessions whose ids are in these sets are left behind.
  /// Errors: corrupt, checksum_mismatch, forged (a record that is alive is broken: see repair), io, disk_full.
  Result<void> copy(const std::unordered_set<std::int64_t>& dead_blocks,
                    const std::unordered_set<std::int64_t>& dead_sessions);
  Result<void> write_rows();
  /// Of the packs, and of all that the index does not know.
  Result<std::int64_t> remove_files();
  std::int64_t bytes_moved() const noexcept { return bytes_moved_; }

 private:
  struct Move {
    const char* update = nullptr;  ///< the statement that writes the new place of a row
    std::int64_t id = 0;
    Place place;
  };
  struct MovedRemoval {
    RemovalHead head;
    Place place;
  };
  Result<void> copy_blocks(std::int64_t pack, const std::unordered_set<std::int64_t>& dead);
  Result<void> copy_sessions(std::int64_t pack, const std::unordered_set<std::int64_t>& dead);
  Result<void> copy_removals(std::int64_t pack);

  Store::State& state_;
  PackWriter& writer_;
  std::set<std::int64_t> packs_;
  std::vector<Move> moves_;
  std::vector<MovedRemoval> removals_;
  std::int64_t bytes_moved_ = 0;
};

}  // namespace seqkv::store
