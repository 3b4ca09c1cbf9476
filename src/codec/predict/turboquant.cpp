// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "codec/predict/turboquant.hpp"

#include "backends/kokkos/predict.hpp"
#include "codec/batch.hpp"
#include "codec/predict/run.hpp"
#include "core/execution_spaces.hpp"

namespace seqkv::codec {

template <class ExecutionSpace>
TurboQuantResiduals<ExecutionSpace>::TurboQuantResiduals(const ExecutionSpace& space,
                                                         const Prediction<ExecutionSpace>& prediction,
                                                         const kokkos::TurboQuant& kernel)
    : space_(space), shape_(prediction.profile().shape), kernel_(kernel) {}

template <class ExecutionSpace>
Subblock TurboQuantResiduals<ExecutionSpace>::largest(std::int64_t block_tokens) const {
  return {shape_.kv_heads, block_tokens, shape_.head_dim, DType::f32, false, 0};
}

template <class ExecutionSpace>
std::int64_t TurboQuantResiduals<ExecutionSpace>::payload_bytes(std::int64_t block_tokens, DType) const {
  return kernel_.size(largest(block_tokens));
}

template <class ExecutionSpace>
void TurboQuantResiduals<ExecutionSpace>::reserve(const BlockGrid& grid) {
  residuals_.reserve(space_, "seqkv::codec::residuals",
                     grid.blocks * grid.block_tokens * shape_.kv_heads * shape_.head_dim);
  tasks_.reserve("seqkv::codec::residual_tasks", grid.blocks);
}

template <class ExecutionSpace>
void TurboQuantResiduals<ExecutionSpace>::encode(const Prediction<ExecutionSpace>&, const PredictiveStep& step,
                                                 std::int64_t number) {
  const std::int64_t blocks = step.grid.blocks;
  for_each("seqkv::codec::residuals", space_, step.grid.tokens * step.heads,
           kokkos::ResidualRow{step, residuals_.data()});
  for_each("seqkv::codec::residual_tasks", space_, blocks,
           kokkos::ResidualTask{step, residuals_.data(), tasks_.device(), static_cast<std::uint64_t>(number)});
  encode_tasks(space_, kernel_, largest(step.grid.block_tokens), tasks_, blocks);
  for_each("seqkv::codec::close", space_, blocks, kokkos::CloseResiduals{step, tasks_.device()});
  decode_tasks(space_, kernel_, largest(step.grid.block_tokens), tasks_, blocks);
  restore(step);
}

template <class ExecutionSpace>
void TurboQuantResiduals<ExecutionSpace>::decode(const Prediction<ExecutionSpace>&, const PredictiveStep& step,
                                                 std::int64_t number) {
  const std::int64_t blocks = step.grid.blocks;
  for_each("seqkv::codec::residual_tasks", space_, blocks,
           kokkos::ResidualTask{step, residuals_.data(), tasks_.device(), static_cast<std::uint64_t>(number)});
  decode_tasks(space_, kernel_, largest(step.grid.block_tokens), tasks_, blocks);
  for_each("seqkv::codec::check", space_, blocks, kokkos::CheckResiduals{step, tasks_.device()});
  restore(step);
}

template <class ExecutionSpace>
void TurboQuantResiduals<ExecutionSpace>::restore(const PredictiveStep& step) const {
  kokkos::RestoreRow functor;
  functor.step = step;
  functor.residuals = residuals_.data();
  for_each("seqkv::codec::restore", space_, step.grid.tokens * step.heads, functor);
}

#define SEQKV_INSTANTIATE(Space) template class TurboQuantResiduals<Space>;
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv::codec
