// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Which rows of a batch have a reference, the same token in another context, and what it says: what the sub-block was
/// decoded to there, keys turned back to position 0.
#pragma once

#include <Kokkos_Core.hpp>
#include <span>
#include <vector>

#include "codec/predict/arguments.hpp"
#include "core/mirrored.hpp"
#include "core/rope_table.hpp"
#include "seqkv/codec.hpp"

namespace seqkv::codec {

/// Rows [first, first + values.tokens) of a batch have these values, which stand at `position` in their own context.
struct RowReference {
  std::int64_t first = 0;
  std::int64_t position = 0;
  ConstKvView values;
};

/// Slots that are predicted in the same way.
struct KindRange {
  std::int64_t first = 0;
  std::int64_t count = 0;
  bool refers = false;
};

template <class ExecutionSpace>
class ReferenceRows {
 public:
  explicit ReferenceRows(const RopeConfig& rope) : frequencies_(inverse_frequencies(rope)) {}

  /// Begins a batch. References are ascending, do not overlap, and none crosses the end of a block; their views must
  /// live until its end. Does not fence.
  void start(const ExecutionSpace& space, const BlockGrid& grid, std::span<const RowReference> references);

  /// Whether any row of a block has one.
  bool has(std::int64_t block) const { return rows_of_block_[static_cast<std::size_t>(block)] > 0; }

  /// For the next sub-block: which blocks use their references. Empty: none. Does not fence on hosts.
  void use(const ExecutionSpace& space, const BlockGrid& grid, std::span<const std::uint8_t> refers);
  const std::vector<KindRange>& slots() const { return slots_; }

  /// What references say of sub-block `number` becomes what is predicted, in blocks that use them.
  void place(const ExecutionSpace& space, const PredictiveStep& step, std::int64_t number);

  const std::uint8_t* referring() const { return references_.empty() ? nullptr : referring_.device(); }
  const BlockKinds* block_kinds() const { return block_kinds_.device(); }

  std::int64_t bytes() const { return values_.bytes() + referring_.bytes() + block_kinds_.bytes(); }

 private:
  void load_row(const RowReference& reference, std::int64_t row, std::int64_t number, float* out) const;

  std::vector<float> frequencies_;
  std::vector<RowReference> references_;
  std::vector<std::int64_t> owners_;  ///< the reference of each row that has one
  std::vector<std::int64_t> owned_;   ///< and that row
  std::vector<float> cosine_, sine_;  ///< [of these][pairs]
  std::vector<std::int64_t> rows_of_block_;
  std::vector<KindRange> slots_;
  bool is_used_ = false;
  Mirrored<ExecutionSpace, std::int32_t> places_;
  Mirrored<ExecutionSpace, float> values_;  ///< [rows that have one][width]
  Mirrored<ExecutionSpace, std::uint8_t> referring_;
  Mirrored<ExecutionSpace, BlockKinds> block_kinds_;
};

}  // namespace seqkv::codec
