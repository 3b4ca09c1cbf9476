// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Numbered items through three stages. With oneTBB the stages of several items overlap; without it, or on one core,
/// one item follows the other.
#pragma once

#include <cstdint>
#include <functional>

namespace seqkv::cpu {

/// The stages must not throw. While item i is under way no other item has lane i % lanes: what a stage needs may be
/// kept by the lane.
struct Pipeline {
  std::int64_t items = 0;
  int lanes = 1;            ///< items under way at a time, at most
  int cores = 1;            ///< threads that work, the caller's among them
  bool work_alone = false;  ///< `work`, too, takes one item at a time

  using Stage = std::function<void(std::int64_t item, int lane)>;
  std::function<bool(std::int64_t item, int lane)> read;  ///< one item at a time, in order; false ends the input
  Stage work;                                             ///< several items at a time, in any order
  Stage write;                                            ///< one item at a time, in order
};

/// Whether this build has oneTBB.
bool pipeline_overlaps() noexcept;

/// Returns when all items that were read have been written.
void run(const Pipeline& pipeline);

}  // namespace seqkv::cpu
