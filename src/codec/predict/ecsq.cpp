// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "codec/predict/ecsq.hpp"

#include <algorithm>
#include <cmath>

#include "backends/gpu/ecsq.hpp"
#include "backends/kokkos/ecsq.hpp"
#include "codec/entropy/symbol_coder.hpp"
#include "codec/predict/run.hpp"
#include "codec/transform/run_transform.hpp"
#include "core/bytes.hpp"
#include "core/execution_spaces.hpp"

namespace seqkv::codec {
namespace {

/// log2 of a step in 1/16, rounded; the same on every machine.
std::int32_t scale_of_step(float step) {
  return static_cast<std::int32_t>(std::floor(scale_parts * detmath::log2(static_cast<double>(step)) + 0.5));
}

}  // namespace

template <class ExecutionSpace>
EcsqCoder<ExecutionSpace>::EcsqCoder(const ExecutionSpace& space, const Prediction<ExecutionSpace>& prediction,
                                     float step)
    : space_(space),
      scale_of_step_(scale_of_step(step)),
      ld_residuals_(round_up(prediction.profile().width(), kernels::panel_width)) {
  for (const auto& subblock : prediction.device().subblocks) {
    coefficients_ = std::max(coefficients_, subblock.model.coefficients);
    if (subblock.reference) coefficients_ = std::max(coefficients_, subblock.reference->model.coefficients);
  }
  quantizers_.reserve("seqkv::codec::quantizers", coefficients_);
  for (std::int64_t c = 0; c < coefficients_; ++c) quantizers_[c] = Quantizer::uniform(step);
  quantizers_.to_device(space_, coefficients_);
}

template <class ExecutionSpace>
std::int64_t EcsqCoder<ExecutionSpace>::payload_bytes(std::int64_t block_tokens, DType) const {
  SymbolBlock largest{};
  largest.runs = coefficients_ / tile_coefficients * slot_groups({block_tokens, block_tokens, 1, 1});
  largest.run_symbols = rans::group;
  return 2 + 2 * most_large + largest.most_bytes();
}

template <class ExecutionSpace>
std::int64_t EcsqCoder<ExecutionSpace>::bytes() const {
  return residuals_.bytes() + order_.bytes() + group_grade_.bytes() + numbers_.bytes() + symbols_.bytes() +
         classes_.bytes();
}

template <class ExecutionSpace>
void EcsqCoder<ExecutionSpace>::reserve(const BlockGrid& grid) {
  const std::int64_t slots = grid.blocks * block_slots(grid);
  const std::int64_t groups = grid.blocks * slot_groups(grid);
  residuals_.reserve(space_, "seqkv::codec::residuals", slots * ld_residuals_);
  order_.reserve(space_, "seqkv::codec::order", slots);
  group_grade_.reserve(space_, "seqkv::codec::group_grade", groups);
  numbers_.reserve(space_, "seqkv::codec::numbers", slots * coefficients_);
  symbols_.reserve(space_, "seqkv::codec::symbols", slots * coefficients_);
  classes_.reserve(space_, "seqkv::codec::classes", groups * coefficients_ / tile_coefficients);
  coded_.reserve("seqkv::codec::symbol_blocks", grid.blocks);
}

template <class ExecutionSpace>
EcsqStep EcsqCoder<ExecutionSpace>::make_step(const Prediction<ExecutionSpace>& prediction,
                                              const PredictiveStep& predicted) const {
  EcsqStep step{predicted};
  step.order = order_.data();
  step.group_grade = group_grade_.data();
  step.residuals = residuals_.data();
  step.ld_residuals = ld_residuals_;
  step.numbers = numbers_.data();
  step.symbols = symbols_.data();
  step.classes = classes_.data();
  step.coded = coded_.device();
  step.scale_of_step = scale_of_step_;
  step.least_class = prediction.profile().least_class;
  step.tables = prediction.device().tables.tables;
  return step;
}

template <class ExecutionSpace>
void EcsqCoder<ExecutionSpace>::encode(const Prediction<ExecutionSpace>& prediction, const PredictiveStep& predicted,
                                       std::int64_t number) {
  const EcsqStep step = make_step(prediction, predicted);
  const auto& matrices = prediction.subblock(number);
  const std::int64_t slots = step.all_slots();
  for_each_block<kokkos::OrderBlock, gpu::OrderBlock<ExecutionSpace>>("seqkv::codec::order_rows", space_, step);
  run_step<kokkos::ResidualSlot, gpu::ResidualPart>("seqkv::codec::residuals", space_, step, slots, step.heads,
                                                    &cpu::PredictiveKernels::residual_slots);
  for (const KindRange& range : prediction.slots()) {
    forward_transform(
        space_, ForwardTransform{range.count, step.residuals + range.first * step.ld_residuals, step.ld_residuals,
                                 range.refers ? matrices.reference->forward : matrices.forward, quantizers_.device(),
                                 step.numbers + range.first, slots});
  }
  run_step<kokkos::PackBlock, gpu::PackBlock<ExecutionSpace>>("seqkv::codec::pack", space_, step, step.grid.blocks, 1,
                                                              &cpu::PredictiveKernels::pack_blocks);
  encode_symbols(space_, prediction.device().tables, coded_.device(), step.grid.blocks);
  for_each("seqkv::codec::close", space_, step.grid.blocks, kokkos::ClosePayload{step});
  restore(step, prediction, number);
}

template <class ExecutionSpace>
void EcsqCoder<ExecutionSpace>::decode(const Prediction<ExecutionSpace>& prediction, const PredictiveStep& predicted,
                                       std::int64_t number) {
  const EcsqStep step = make_step(prediction, predicted);
  for_each_block<kokkos::OrderBlock, gpu::OrderBlock<ExecutionSpace>>("seqkv::codec::order_rows", space_, step);
  for_each_block<kokkos::OpenPayload, gpu::OpenPayload<ExecutionSpace>>("seqkv::codec::open", space_, step);
  decode_symbols(space_, prediction.device().tables, coded_.device(), step.grid.blocks);
  run_step<kokkos::UnpackBlock, gpu::UnpackBlock<ExecutionSpace>>(
      "seqkv::codec::unpack", space_, step, step.grid.blocks, 1, &cpu::PredictiveKernels::unpack_blocks);
  restore(step, prediction, number);
}

/// From numbers to values and to the features of the sub-blocks above.
template <class ExecutionSpace>
void EcsqCoder<ExecutionSpace>::restore(const EcsqStep& step, const Prediction<ExecutionSpace>& prediction,
                                        std::int64_t number) const {
  const auto& matrices = prediction.subblock(number);
  const std::int64_t slots = step.all_slots();
  for (const KindRange& range : prediction.slots()) {
    inverse_transform(space_, InverseTransform{range.count, step.numbers + range.first, slots, quantizers_.device(),
                                               range.refers ? matrices.reference->inverse : matrices.inverse,
                                               step.residuals + range.first * step.ld_residuals, step.ld_residuals});
  }
  run_step<kokkos::RestoreSlot, gpu::RestorePart>("seqkv::codec::restore", space_, step, slots, step.heads,
                                                  &cpu::PredictiveKernels::restore_slots);
}

#define SEQKV_INSTANTIATE(Space) template class EcsqCoder<Space>;
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv::codec
