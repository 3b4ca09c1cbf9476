// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The predictor "linear": what is expected of the sub-blocks of a batch of blocks, one (layer, kind) after the other,
/// from the tokens and from what has been decoded below. What is done with the residuals is not its business. The maths
/// is in spec.md.
#pragma once

#include <Kokkos_Core.hpp>
#include <memory>

#include "codec/key_angles.hpp"
#include "codec/predict/arguments.hpp"
#include "codec/predict/device_profile.hpp"
#include "codec/predict/reference_rows.hpp"
#include "core/growing_array.hpp"
#include "core/mirrored.hpp"

namespace seqkv::codec {

template <class ExecutionSpace>
class Prediction {
 public:
  using Subblock = typename DeviceProfile<ExecutionSpace>::Subblock;

  /// `device` is the profile in the memory of the space.
  Prediction(const ExecutionSpace& space, std::shared_ptr<const Profile> profile,
             std::shared_ptr<const DeviceProfile<ExecutionSpace>> device);

  void reserve(const BlockGrid& grid);

  /// Begins a batch: consecutive blocks from `first_position` on. `ids` is host memory. Does not fence.
  void start(const BlockGrid& grid, const Token* ids, std::int64_t first_position,
             std::span<const RowReference> references);

  /// Whether a block can be predicted with its references in this sub-block.
  bool may_refer(std::int64_t number, std::int64_t block) const {
    return subblock(number).reference.has_value() && references_.has(block);
  }

  /// Expects sub-block `number` of all blocks, whose tasks these are; in order, from 0 on, features of those below
  /// being there. `refers`, one a block or none: which may_refer() and do. Does not fence.
  PredictiveStep predict(std::int64_t number, Task* tasks, std::span<const std::uint8_t> refers);
  /// Slots that are transformed in the same way.
  const std::vector<KindRange>& slots() const { return references_.slots(); }

  /// To be called when sub-block `number` is in the features. Does not fence.
  void leave(std::int64_t number);

  const BlockGrid& grid() const { return grid_; }
  const Profile::Data& profile() const { return profile_->data(); }
  const DeviceProfile<ExecutionSpace>& device() const { return *device_; }
  const Subblock& subblock(std::int64_t number) const { return device_->subblocks[static_cast<std::size_t>(number)]; }
  std::int64_t bytes() const {
    return references_.bytes() + features_.bytes() + squeezed_.bytes() + predicted_.bytes() + grade_.bytes() +
           status_.bytes();
  }

 private:
  /// Layers that features go on for before they begin at the left again: a device has the memory, and moves less.
  static constexpr std::int64_t spare_layers = is_host_space<ExecutionSpace> ? 0 : 3;

  PredictiveStep make_step(std::int64_t number, Task* tasks) const;
  void move_columns(std::int64_t from, std::int64_t to, std::int64_t count) const;
  /// The first column, which goes to the right as layers are left.
  float* features() const { return features_.data() + shift_; }
  std::int64_t column(std::int64_t subblocks) const {
    return 1 + profile().token_width + subblocks * profile().width();
  }

  ExecutionSpace space_;
  std::shared_ptr<const Profile> profile_;
  std::shared_ptr<const DeviceProfile<ExecutionSpace>> device_;
  std::int64_t ld_features_;
  std::int64_t shift_ = 0;
  std::int64_t ld_predicted_;
  std::int64_t ld_squeezed_ = 0;
  BlockGrid grid_;
  bool has_first_token_ = false;
  KeyAngles<ExecutionSpace> angles_;
  ReferenceRows<ExecutionSpace> references_;
  Mirrored<ExecutionSpace, Token> tokens_;
  GrowingArray<ExecutionSpace, float> features_, squeezed_, predicted_;
  GrowingArray<ExecutionSpace, std::int8_t> grade_;
  GrowingArray<ExecutionSpace, std::uint8_t> status_;
};

}  // namespace seqkv::codec
