// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The predictor "linear" with a coder of its residuals, for blocks that go together on one instance of a space:
/// sub-blocks one (layer, kind) after the other, each predicted from the tokens and from what has been decoded below.
#pragma once

#include <Kokkos_Core.hpp>
#include <memory>
#include <span>
#include <variant>
#include <vector>

#include "codec/kernel.hpp"
#include "codec/predict/ecsq.hpp"
#include "codec/predict/lossless.hpp"
#include "codec/predict/prediction.hpp"
#include "codec/predict/turboquant.hpp"

namespace seqkv::codec {

template <class ExecutionSpace>
class PredictivePart {
 public:
  /// Precondition: the codec has a profile of this shape, dtype aside, and is settled. `device` is that profile,
  /// `kernel` the codec's for caches as they are.
  PredictivePart(const ExecutionSpace& space, const Codec& codec,
                 std::shared_ptr<const DeviceProfile<ExecutionSpace>> device,
                 const typename KernelOwner<ExecutionSpace>::Kernel& kernel);

  /// Room that encode() needs for the payload of one sub-block.
  std::int64_t payload_bytes(std::int64_t block_tokens, DType dtype) const;

  /// Buffers for batches of so many blocks.
  void reserve(std::int64_t block_tokens, std::int64_t blocks);

  /// Begins a batch: consecutive blocks from `first_position` on. `ids` is host memory. Does not fence.
  /// References: none unless the codec uses them; see ReferenceRows::start.
  void start(BlockGrid grid, const Token* ids, std::int64_t first_position,
             std::span<const RowReference> references = {});

  /// Codes sub-block `number` of all blocks; in order, from 0 on. `tasks` is one a block, in memory of the space, and
  /// so is what it points to; task.bytes becomes the size or not_codable. `decoded`, one a block, takes what a decoder
  /// will have. Does not fence, but to choose where there are references.
  void encode(std::int64_t number, Task* tasks, std::byte* const* decoded);

  /// The reverse: task.values are written; task.bytes becomes not_codable where the payload is broken. `refers`, one a
  /// block or none: what the payloads say (SubblockPayload::refers).
  void decode(std::int64_t number, Task* tasks, std::span<const std::uint8_t> refers = {});
  /// Whether a block has a reference that sub-block `number` may be predicted with.
  bool may_refer(std::int64_t number, std::int64_t block) const { return prediction_.may_refer(number, block); }

  /// Memory that the buffers have grown to.
  std::int64_t bytes() const;

 private:
  using Residuals =
      std::variant<EcsqCoder<ExecutionSpace>, TurboQuantResiduals<ExecutionSpace>, LosslessResiduals<ExecutionSpace>>;

  void encode(std::int64_t number, Task* tasks, std::byte* const* decoded, std::span<const std::uint8_t> refers);

  ExecutionSpace space_;
  Prediction<ExecutionSpace> prediction_;
  Residuals residuals_;
  std::vector<std::uint8_t> refers_;                          ///< [blocks], of the sub-block that is coded
  Mirrored<ExecutionSpace, std::int64_t> fresh_, referring_;  ///< [blocks]: sizes of both ways to code it
};

}  // namespace seqkv::codec
