// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "codec/predict/coder.hpp"

#include "core/execution_spaces.hpp"

namespace seqkv::codec {
namespace {

template <class Residuals, class ExecutionSpace, class Kernel>
Residuals make_residuals(const ExecutionSpace& space, const Codec& codec, const Prediction<ExecutionSpace>& prediction,
                         const Kernel& kernel) {
  if (const auto* ecsq = std::get_if<EcsqSpec>(&codec.quantizer())) {
    return EcsqCoder<ExecutionSpace>(space, prediction, ecsq->step);
  }
  return TurboQuantResiduals<ExecutionSpace>(space, prediction, std::get<kokkos::TurboQuant>(kernel));
}

}  // namespace

template <class ExecutionSpace>
PredictiveCoder<ExecutionSpace>::PredictiveCoder(const ExecutionSpace& space, const Codec& codec,
                                                 const typename KernelOwner<ExecutionSpace>::Kernel& kernel)
    : prediction_(space, codec.profile()), residuals_(make_residuals<Residuals>(space, codec, prediction_, kernel)) {}

template <class ExecutionSpace>
std::int64_t PredictiveCoder<ExecutionSpace>::payload_bytes(std::int64_t block_tokens) const {
  std::int64_t bytes = 0;
  std::visit([&](const auto& residuals) { bytes = residuals.payload_bytes(block_tokens); }, residuals_);
  return bytes;
}

template <class ExecutionSpace>
std::int64_t PredictiveCoder<ExecutionSpace>::bytes() const {
  std::int64_t bytes = prediction_.bytes();
  std::visit([&](const auto& residuals) { bytes += residuals.bytes(); }, residuals_);
  return bytes;
}

template <class ExecutionSpace>
void PredictiveCoder<ExecutionSpace>::reserve(std::int64_t block_tokens, std::int64_t blocks) {
  const BlockGrid grid{block_tokens, blocks * block_tokens, blocks};
  prediction_.reserve(grid);
  std::visit([&](auto& residuals) { residuals.reserve(grid); }, residuals_);
}

template <class ExecutionSpace>
void PredictiveCoder<ExecutionSpace>::start(const BlockGrid& grid, const Token* ids, std::int64_t first_position) {
  prediction_.start(grid, ids, first_position);
  std::visit([&](auto& residuals) { residuals.reserve(grid); }, residuals_);
}

template <class ExecutionSpace>
void PredictiveCoder<ExecutionSpace>::encode(std::int64_t number, Task* tasks, std::byte* const* decoded) {
  PredictiveStep step = prediction_.predict(number, tasks);
  step.restored = decoded;
  std::visit([&](auto& residuals) { residuals.encode(prediction_, step, number); }, residuals_);
  prediction_.leave(number);
}

template <class ExecutionSpace>
void PredictiveCoder<ExecutionSpace>::decode(std::int64_t number, Task* tasks) {
  const PredictiveStep step = prediction_.predict(number, tasks);
  std::visit([&](auto& residuals) { residuals.decode(prediction_, step, number); }, residuals_);
  prediction_.leave(number);
}

#define SEQKV_INSTANTIATE(Space) template class PredictiveCoder<Space>;
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)

}  // namespace seqkv::codec
