// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "codec/predict/prediction.hpp"

#include <algorithm>

#include "backends/gemm.hpp"
#include "backends/gpu/predict.hpp"
#include "backends/kokkos/predict.hpp"
#include "codec/predict/run.hpp"
#include "core/bytes.hpp"
#include "core/execution_spaces.hpp"

namespace seqkv::codec {
namespace {

std::int64_t padded(std::int64_t columns) { return round_up(columns, kernels::panel_width); }

}  // namespace

template <class ExecutionSpace>
Prediction<ExecutionSpace>::Prediction(const ExecutionSpace& space, std::shared_ptr<const Profile> profile,
                                       std::shared_ptr<const DeviceProfile<ExecutionSpace>> device)
    : space_(space),
      profile_(std::move(profile)),
      device_(std::move(device)),
      ld_features_(padded(column(std::min(2 * this->profile().layers_below + 2, 2 * this->profile().shape.layers)) +
                          2 * spare_layers * this->profile().width())),
      ld_predicted_(padded(this->profile().width() + 1)),
      angles_(space, profile_->shape().rope),
      references_(profile_->shape().rope) {
  for (const Subblock& subblock : device_->subblocks) {
    ld_squeezed_ = std::max(ld_squeezed_, padded(subblock.squeeze.outputs));
  }
}

template <class ExecutionSpace>
void Prediction<ExecutionSpace>::reserve(const BlockGrid& grid) {
  const std::int64_t rows = grid.blocks * grid.block_tokens;  // whatever the last block has: it does not grow later
  features_.reserve(space_, "seqkv::codec::features", rows * ld_features_);
  squeezed_.reserve(space_, "seqkv::codec::squeezed", rows * ld_squeezed_);
  predicted_.reserve(space_, "seqkv::codec::predicted", rows * ld_predicted_);
  grade_.reserve(space_, "seqkv::codec::grade", rows);
  status_.reserve(space_, "seqkv::codec::status", grid.blocks);
  tokens_.reserve("seqkv::codec::tokens", rows);
}

template <class ExecutionSpace>
void Prediction<ExecutionSpace>::start(const BlockGrid& grid, const Token* ids, std::int64_t first_position,
                                       std::span<const RowReference> references) {
  grid_ = grid;
  shift_ = 0;
  reserve(grid);
  references_.start(space_, grid, references);
  angles_.set_positions(space_, first_position, grid.tokens);
  std::copy(ids, ids + grid.tokens, tokens_.host());
  tokens_.to_device(space_, grid.tokens);
  has_first_token_ = first_position == 0 && profile().first_token && ids[0] == *profile().first_token;
  const kokkos::StartRow rows{features(),      ld_features_,         tokens_.device(),
                              device_->tokens, profile().vocabulary, profile().token_width};
  if constexpr (is_host_space<ExecutionSpace>) {
    for_each("seqkv::codec::start_rows", space_, grid.tokens, rows);
  } else {
    for_each("seqkv::codec::start_rows", space_, grid.tokens * (rows.width + 1), gpu::StartColumn{rows});
  }
}

template <class ExecutionSpace>
PredictiveStep Prediction<ExecutionSpace>::make_step(std::int64_t number, Task* tasks) const {
  PredictiveStep step;
  step.grid = grid_;
  step.model = subblock(number).model;
  if (subblock(number).reference) step.reference = subblock(number).reference->model;
  step.referring = references_.referring();
  step.block_kinds = references_.block_kinds();
  step.heads = profile().shape.kv_heads;
  step.tasks = tasks;
  step.status = status_.data();
  if (number % 2 == 0 && angles_.pairs() > 0) {
    step.cosine = angles_.cosine();
    step.sine = angles_.sine();
    step.rope_pairs = angles_.pairs();
  }
  step.features = features();
  step.ld_features = ld_features_;
  step.column = column(profile().window(number));
  step.predicted = predicted_.data();
  step.ld_predicted = ld_predicted_;
  step.has_first_token = has_first_token_;
  step.grade = grade_.data();
  return step;
}

/// Of all rows: those with a reference take their weight from it.
template <class ExecutionSpace>
PredictiveStep Prediction<ExecutionSpace>::predict(std::int64_t number, Task* tasks,
                                                   std::span<const std::uint8_t> refers) {
  references_.use(space_, grid_, refers);
  const PredictiveStep step = make_step(number, tasks);
  const Subblock& matrices = subblock(number);
  kernels::Gemm product{grid_.tokens,     step.features,  step.ld_features,
                        matrices.predict, step.predicted, step.ld_predicted};
  if (matrices.squeeze.outputs > 0) {
    gemm(space_, {grid_.tokens, step.features, step.ld_features, matrices.squeeze, squeezed_.data(), ld_squeezed_});
    product.a = squeezed_.data();
    product.lda = ld_squeezed_;
  }
  gemm(space_, product);
  references_.place(space_, step, number);
  run_step<kokkos::GradeRow>("seqkv::codec::grade_rows", space_, step, grid_.tokens, 1,
                             &cpu::PredictiveKernels::grade_rows);
  return step;
}

/// Columns of all rows; the two places do not overlap, but on hosts, where `to` is before `from`.
template <class ExecutionSpace>
void Prediction<ExecutionSpace>::move_columns(std::int64_t from, std::int64_t to, std::int64_t count) const {
  if constexpr (is_host_space<ExecutionSpace>) {
    for_each("seqkv::codec::leave_layer", space_, grid_.tokens,
             kokkos::MoveColumns{features_.data(), ld_features_, from, to, count});
  } else {
    for_each("seqkv::codec::leave_layer", space_, grid_.tokens * count,
             gpu::CopyColumns{features_.data(), ld_features_, from, to, count});
  }
}

/// The next sub-block has no use for the lowest layer of the window: either the tokens' columns go to the right, over
/// it, or, where no room is left there, the window goes to the left.
template <class ExecutionSpace>
void Prediction<ExecutionSpace>::leave(std::int64_t number) {
  const std::int64_t kept = 2 * profile().layers_below;
  if (number % 2 == 0 || number + 1 <= kept || number + 1 == 2 * profile().shape.layers) return;
  const std::int64_t layer = column(2) - column(0);
  if (shift_ + layer <= spare_layers * layer && column(0) <= layer) {
    move_columns(shift_, shift_ + layer, column(0));
    shift_ += layer;
    return;
  }
  if (shift_ > 0) move_columns(shift_, 0, column(0));
  for (std::int64_t i = 0; i < kept; i += 2) move_columns(shift_ + column(i + 2), column(i), layer);
  shift_ = 0;
}

#define SEQKV_INSTANTIATE(Space) template class Prediction<Space>;
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv::codec
