// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "codec/predict/lossless.hpp"

#include "backends/gemm.hpp"
#include "backends/kokkos/lossless_residuals.hpp"
#include "codec/entropy/symbol_coder.hpp"
#include "codec/predict/run.hpp"
#include "core/bytes.hpp"
#include "core/execution_spaces.hpp"

namespace seqkv::codec {

template <class ExecutionSpace>
LosslessResiduals<ExecutionSpace>::LosslessResiduals(const ExecutionSpace& space,
                                                     const Prediction<ExecutionSpace>& prediction)
    : space_(space), width_(prediction.profile().width()), ld_residuals_(round_up(width_, kernels::panel_width)) {}

template <class ExecutionSpace>
std::int64_t LosslessResiduals<ExecutionSpace>::payload_bytes(std::int64_t block_tokens, DType dtype) const {
  SymbolBlock symbols{};
  symbols.runs = divide_up<std::int64_t>(width_ * block_tokens, rans::group);
  symbols.run_symbols = rans::group;
  const std::int64_t raw = width_ * block_tokens * static_cast<std::int64_t>(size_of(dtype));
  return lossless_head_bytes + 2 * lossless_part_bytes(raw) + symbols.most_bytes();
}

template <class ExecutionSpace>
std::int64_t LosslessResiduals<ExecutionSpace>::bytes() const {
  return residuals_.bytes() + corrections_.bytes() + columns_.bytes() + symbols_.bytes() + classes_.bytes();
}

template <class ExecutionSpace>
void LosslessResiduals<ExecutionSpace>::reserve(const BlockGrid& grid) {
  const std::int64_t runs = grid.blocks * divide_up<std::int64_t>(width_ * grid.block_tokens, rans::group);
  residuals_.reserve(space_, "seqkv::codec::residuals", grid.tokens * ld_residuals_);
  corrections_.reserve(space_, "seqkv::codec::corrections", grid.tokens * ld_residuals_);
  columns_.reserve(space_, "seqkv::codec::columns", grid.blocks * grid.block_tokens * width_);
  symbols_.reserve(space_, "seqkv::codec::symbols", runs * rans::group);
  classes_.reserve(space_, "seqkv::codec::classes", runs);
  coded_.reserve("seqkv::codec::symbol_blocks", grid.blocks);
}

template <class ExecutionSpace>
LosslessStep LosslessResiduals<ExecutionSpace>::make_step(const Prediction<ExecutionSpace>& prediction,
                                                          const PredictiveStep& predicted, std::int64_t number) const {
  LosslessStep step{predicted};
  const auto& subblock = prediction.subblock(number);
  step.scales = subblock.lossless_scales;
  step.within = subblock.within;
  step.residuals = residuals_.data();
  step.corrections = corrections_.data();
  step.ld_residuals = ld_residuals_;
  step.has_below = number > 0;
  step.columns = columns_.data();
  step.symbols = symbols_.data();
  step.classes = classes_.data();
  step.coded = coded_.device();
  step.tables = prediction.device().lossless_tables.tables;
  return step;
}

template <class ExecutionSpace>
void LosslessResiduals<ExecutionSpace>::correct(const LosslessStep& step, const kernels::PackedMatrix& matrix) const {
  gemm(space_,
       kernels::Gemm{step.grid.tokens, step.residuals, step.ld_residuals, matrix, step.corrections, step.ld_residuals});
}

/// What the residuals of the sub-block below say.
template <class ExecutionSpace>
void LosslessResiduals<ExecutionSpace>::settle(const LosslessStep& step, const Prediction<ExecutionSpace>& prediction,
                                               std::int64_t number) const {
  if (step.has_below) correct(step, prediction.subblock(number).below);
  run_step<kokkos::SettleRow>("seqkv::codec::settle", space_, step, step.grid.tokens, 1,
                              &cpu::PredictiveKernels::settle_rows);
}

template <class ExecutionSpace>
void LosslessResiduals<ExecutionSpace>::encode(const Prediction<ExecutionSpace>& prediction,
                                               const PredictiveStep& predicted, std::int64_t number) {
  const LosslessStep step = make_step(prediction, predicted, number);
  settle(step, prediction, number);
  run_step<kokkos::LosslessResidual>("seqkv::codec::residuals", space_, step, step.grid.tokens, step.heads,
                                     &cpu::PredictiveKernels::lossless_residuals);
  correct(step, step.within);
  run_step<kokkos::PackLossless>("seqkv::codec::pack", space_, step, step.grid.blocks, 1,
                                 &cpu::PredictiveKernels::pack_lossless);
  encode_symbols_anywhere(space_, prediction.device().lossless_tables, coded_.device(), step.grid.blocks);
  for_each("seqkv::codec::close", space_, step.grid.blocks, kokkos::CloseLossless{step});
}

template <class ExecutionSpace>
void LosslessResiduals<ExecutionSpace>::decode(const Prediction<ExecutionSpace>& prediction,
                                               const PredictiveStep& predicted, std::int64_t number) {
  const LosslessStep step = make_step(prediction, predicted, number);
  settle(step, prediction, number);
  for_each("seqkv::codec::open", space_, step.grid.blocks, kokkos::OpenLossless{step});
  decode_symbols_anywhere(space_, prediction.device().lossless_tables, coded_.device(), step.grid.blocks);
  run_step<kokkos::UnpackLossless>("seqkv::codec::unpack", space_, step, step.grid.blocks, 1,
                                   &cpu::PredictiveKernels::unpack_lossless);
}

#define SEQKV_INSTANTIATE(Space) template class LosslessResiduals<Space>;
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv::codec
