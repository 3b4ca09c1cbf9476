// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Predictive coding of a batch of blocks. A device takes many blocks in two parts, on streams of their own: entropy
/// coding, which occupies a small part of it and waits for memory, goes on beside the matrix products of the other
/// part.
#pragma once

#include <Kokkos_Core.hpp>
#include <memory>
#include <span>
#include <vector>

#include "codec/predict/part.hpp"

namespace seqkv::codec {

template <class ExecutionSpace>
class PredictiveCoder {
 public:
  /// Precondition: the codec has a profile of this shape, dtype aside, and is settled. `kernel` is the codec's for
  /// caches as they are.
  PredictiveCoder(const ExecutionSpace& space, const Codec& codec,
                  const typename KernelOwner<ExecutionSpace>::Kernel& kernel);

  /// Room that encode() needs for the payload of one sub-block.
  std::int64_t payload_bytes(std::int64_t block_tokens, DType dtype) const {
    return parts_.front()->payload_bytes(block_tokens, dtype);
  }

  /// Buffers for batches of so many blocks.
  void reserve(std::int64_t block_tokens, std::int64_t blocks);

  /// Begins a batch: consecutive blocks from `first_position` on. `ids` is host memory. Does not fence.
  /// References: none unless the codec uses them; see ReferenceRows::start.
  void start(const BlockGrid& grid, const Token* ids, std::int64_t first_position,
             std::span<const RowReference> references = {});

  /// Codes sub-block `number` of all blocks; in order, from 0 on. `tasks` is one a block, in memory of the space, and
  /// so is what it points to, all written before the space comes to the call for sub-block 0; task.bytes becomes the
  /// size or not_codable. `decoded`, one a block, takes what a decoder will have. What is written is there behind
  /// join().
  void encode(std::int64_t number, Task* tasks, std::byte* const* decoded);

  /// The reverse: task.values are written; task.bytes becomes not_codable where the payload is broken. `refers`, one a
  /// block or none: what the payloads say (SubblockPayload::refers).
  void decode(std::int64_t number, Task* tasks, std::span<const std::uint8_t> refers = {});

  /// What the space does after this comes behind all that has been coded. Waits for other streams than its own.
  void join() const;

  /// Whether a block has a reference that sub-block `number` may be predicted with.
  bool may_refer(std::int64_t number, std::int64_t block) const;

  /// Memory that the buffers have grown to.
  std::int64_t bytes() const;

 private:
  using Part = PredictivePart<ExecutionSpace>;
  static constexpr bool on_device = !is_host_space<ExecutionSpace>;
  static constexpr std::int64_t least_blocks = 64;  ///< of a part

  std::int64_t parts_of(std::int64_t blocks) const { return on_device && blocks >= 2 * least_blocks ? 2 : 1; }
  /// Calls work(part, first block, blocks) for the parts of so many blocks.
  template <class Work>
  void for_each_part(std::int64_t blocks, const Work& work) const;
  void await_tasks(std::int64_t number) const;

  std::vector<ExecutionSpace> spaces_;  ///< one a part, the first of them the caller's
  std::vector<std::unique_ptr<Part>> parts_;
  std::int64_t blocks_ = 0;  ///< of the batch
};

}  // namespace seqkv::codec
