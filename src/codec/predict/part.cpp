// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "codec/predict/part.hpp"

#include "backends/kokkos/predict.hpp"
#include "codec/predict/run.hpp"
#include "core/execution_spaces.hpp"

namespace seqkv::codec {
namespace {

template <class Residuals, class ExecutionSpace, class Kernel>
Residuals make_residuals(const ExecutionSpace& space, const Codec& codec, const Prediction<ExecutionSpace>& prediction,
                         const Kernel& kernel) {
  if (const auto* ecsq = std::get_if<EcsqSpec>(&codec.quantizer())) {
    return EcsqCoder<ExecutionSpace>(space, prediction, ecsq->step);
  }
  if (std::holds_alternative<LosslessSpec>(codec.quantizer())) {
    return LosslessResiduals<ExecutionSpace>(space, prediction);
  }
  return TurboQuantResiduals<ExecutionSpace>(space, prediction, std::get<kokkos::TurboQuant>(kernel));
}

}  // namespace

template <class ExecutionSpace>
PredictivePart<ExecutionSpace>::PredictivePart(const ExecutionSpace& space, const Codec& codec,
                                               std::shared_ptr<const DeviceProfile<ExecutionSpace>> device,
                                               const typename KernelOwner<ExecutionSpace>::Kernel& kernel)
    : space_(space),
      prediction_(space, codec.profile(), std::move(device)),
      residuals_(make_residuals<Residuals>(space, codec, prediction_, kernel)) {}

template <class ExecutionSpace>
std::int64_t PredictivePart<ExecutionSpace>::payload_bytes(std::int64_t block_tokens, DType dtype) const {
  std::int64_t bytes = 0;
  std::visit([&](const auto& residuals) { bytes = residuals.payload_bytes(block_tokens, dtype); }, residuals_);
  return bytes;
}

template <class ExecutionSpace>
std::int64_t PredictivePart<ExecutionSpace>::bytes() const {
  std::int64_t bytes = prediction_.bytes();
  std::visit([&](const auto& residuals) { bytes += residuals.bytes(); }, residuals_);
  return bytes;
}

template <class ExecutionSpace>
void PredictivePart<ExecutionSpace>::reserve(std::int64_t block_tokens, std::int64_t blocks) {
  const BlockGrid grid{block_tokens, blocks * block_tokens, blocks, 1};
  prediction_.reserve(grid);
  std::visit([&](auto& residuals) { residuals.reserve(grid); }, residuals_);
}

template <class ExecutionSpace>
void PredictivePart<ExecutionSpace>::start(BlockGrid grid, const Token* ids, std::int64_t first_position,
                                           std::span<const RowReference> references) {
  grid.extra_groups = references.empty() ? 0 : 1;
  prediction_.start(grid, ids, first_position, references);
  std::visit([&](auto& residuals) { residuals.reserve(grid); }, residuals_);
}

template <class ExecutionSpace>
void PredictivePart<ExecutionSpace>::encode(std::int64_t number, Task* tasks, std::byte* const* decoded,
                                            std::span<const std::uint8_t> refers) {
  PredictiveStep step = prediction_.predict(number, tasks, refers);
  step.restored = decoded;
  std::visit([&](auto& residuals) { residuals.encode(prediction_, step, number); }, residuals_);
}

/// With references the smaller of both ways, block by block; the last pass is the one that counts.
template <class ExecutionSpace>
void PredictivePart<ExecutionSpace>::encode(std::int64_t number, Task* tasks, std::byte* const* decoded) {
  const std::int64_t blocks = prediction_.grid().blocks;
  refers_.resize(static_cast<std::size_t>(blocks));
  bool any = false;
  for (std::int64_t block = 0; block < blocks; ++block) {
    refers_[static_cast<std::size_t>(block)] = prediction_.may_refer(number, block) ? 1 : 0;
    any = any || prediction_.may_refer(number, block);
  }
  if (any) {
    encode(number, tasks, decoded, {});
    fresh_.reserve("seqkv::codec::fresh_sizes", blocks);
    for_each("seqkv::codec::keep_sizes", space_, blocks, kokkos::KeepSize{tasks, fresh_.device()});
    fresh_.to_host(space_, blocks);
  }
  encode(number, tasks, decoded, refers_);
  if (any) {
    referring_.reserve("seqkv::codec::referring_sizes", blocks);
    for_each("seqkv::codec::keep_sizes", space_, blocks, kokkos::KeepSize{tasks, referring_.device()});
    referring_.to_host(space_, blocks);
    space_.fence("seqkv::codec::encode: sizes are compared on the host");
    bool changed = false;
    for (std::int64_t block = 0; block < blocks; ++block) {
      std::uint8_t& refers = refers_[static_cast<std::size_t>(block)];
      if (refers == 0 || fresh_[block] == not_codable) continue;
      if (referring_[block] != not_codable && referring_[block] <= fresh_[block]) continue;
      refers = 0;
      changed = true;
    }
    if (changed) encode(number, tasks, decoded, refers_);
  }
  prediction_.leave(number);
}

template <class ExecutionSpace>
void PredictivePart<ExecutionSpace>::decode(std::int64_t number, Task* tasks, std::span<const std::uint8_t> refers) {
  const PredictiveStep step = prediction_.predict(number, tasks, refers);
  std::visit([&](auto& residuals) { residuals.decode(prediction_, step, number); }, residuals_);
  prediction_.leave(number);
}

#define SEQKV_INSTANTIATE(Space) template class PredictivePart<Space>;
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv::codec
