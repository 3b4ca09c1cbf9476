// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The predictor "linear" with the quantizer "ecsq": sub-blocks of a batch of blocks, one (layer, kind) after the
/// other, each predicted from the tokens and from what has been decoded below. The maths and the format are in spec.md.
#pragma once

#include <Kokkos_Core.hpp>
#include <memory>
#include <vector>

#include "backends/cpu/kernels.hpp"
#include "codec/key_angles.hpp"
#include "codec/predict/arguments.hpp"
#include "codec/predict/device_profile.hpp"
#include "core/mirrored.hpp"

namespace seqkv::codec {

template <class ExecutionSpace>
class PredictiveCoder {
 public:
  /// Precondition: the profile is of this shape, dtype aside.
  PredictiveCoder(const ExecutionSpace& space, std::shared_ptr<const Profile> profile, float step);

  /// Room that encode() needs for the payload of one sub-block.
  std::int64_t payload_bytes(std::int64_t block_tokens) const;

  /// Buffers for batches of so many blocks.
  void reserve(std::int64_t block_tokens, std::int64_t blocks);

  /// Begins a batch: consecutive blocks from `first_position` on. `ids` is host memory. Does not fence.
  void start(const BlockGrid& grid, const Token* ids, std::int64_t first_position);

  /// Codes sub-block `number` of all blocks; in order, from 0 on. `tasks` is one a block, in memory of the space, and
  /// so is what it points to; task.bytes becomes the size or not_codable. `decoded`, one a block, takes what a decoder
  /// will have. Does not fence.
  void encode(std::int64_t number, Task* tasks, std::byte* const* decoded);

  /// The reverse: task.values are written; task.bytes becomes not_codable where the payload is broken.
  void decode(std::int64_t number, Task* tasks);

  /// Memory that the buffers have grown to.
  std::int64_t bytes() const { return bytes_; }

 private:
  using Floats = Kokkos::View<float*, typename ExecutionSpace::memory_space>;
  template <class T>
  using Array = Kokkos::View<T*, typename ExecutionSpace::memory_space>;

  PredictiveStep make_step(std::int64_t number, Task* tasks) const;
  void predict(const PredictiveStep& step, std::int64_t number) const;
  void restore(const PredictiveStep& step, std::int64_t number) const;
  void leave_layer(std::int64_t number) const;
  template <class Functor>
  void for_each(const char* label, std::int64_t count, const Functor& functor) const;
  template <class Functor>
  void run(const char* label, const PredictiveStep& step, std::int64_t count, std::int64_t things,
           cpu::PredictiveKernels::Step* cpu::PredictiveKernels::*kernel) const;
  template <class T>
  void make_room(Array<T>& array, const char* label, std::int64_t count);

  std::int64_t window_column(std::int64_t subblocks) const {
    return 1 + profile_->data().token_width + subblocks * profile_->data().width();
  }

  ExecutionSpace space_;
  std::shared_ptr<const Profile> profile_;
  DeviceProfile<ExecutionSpace> device_;
  std::int32_t scale_of_step_;
  std::int64_t coefficients_ = 0;  ///< of the sub-block that has the most
  std::int64_t rank_ = 0;          ///< likewise
  BlockGrid grid_;
  bool has_first_token_ = false;
  std::int64_t bytes_ = 0;
  KeyAngles<ExecutionSpace> angles_;
  Mirrored<ExecutionSpace, Token> tokens_;
  Mirrored<ExecutionSpace, Quantizer> quantizers_;
  Floats features_, squeezed_, predicted_, residuals_;
  Array<std::int8_t> grade_;
  Array<std::int32_t> order_, group_grade_;
  Array<std::int16_t> numbers_;
  Array<std::uint8_t> symbols_, classes_, status_;
  Mirrored<ExecutionSpace, SymbolBlock> coded_;
  Mirrored<ExecutionSpace, std::byte*> values_;
};

/// log2 of a step in 1/16, rounded; the same on every machine.
std::int32_t scale_of_step(float step);

}  // namespace seqkv::codec
