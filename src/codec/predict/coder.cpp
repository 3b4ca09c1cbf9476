// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "codec/predict/coder.hpp"

#include <algorithm>
#include <cmath>

#include "backends/gemm.hpp"
#include "backends/kokkos/predict.hpp"
#include "codec/entropy/symbol_coder.hpp"
#include "codec/transform/run_transform.hpp"
#include "core/bytes.hpp"
#include "core/execution_spaces.hpp"

namespace seqkv::codec {
namespace {

std::int64_t padded(std::int64_t columns) { return round_up(columns, kernels::panel_width); }

/// Columns [from, from + count) of a row move to `to`, which is before them.
struct MoveColumns {
  float* features;
  std::int64_t ld, from, to, count;

  KOKKOS_FUNCTION void operator()(const std::int64_t row) const {
    float* x = features + row * ld;
    for (std::int64_t i = 0; i < count; ++i) x[to + i] = x[from + i];
  }
};

}  // namespace

std::int32_t scale_of_step(float step) {
  return static_cast<std::int32_t>(std::floor(scale_parts * detmath::log2(static_cast<double>(step)) + 0.5));
}

template <class ExecutionSpace>
PredictiveCoder<ExecutionSpace>::PredictiveCoder(const ExecutionSpace& space, std::shared_ptr<const Profile> profile,
                                                 float step)
    : space_(space),
      profile_(std::move(profile)),
      device_(space, profile_->data()),
      scale_of_step_(codec::scale_of_step(step)),
      angles_(profile_->shape().rope) {
  for (const auto& subblock : device_.subblocks) {
    coefficients_ = std::max(coefficients_, subblock.model.coefficients);
    rank_ = std::max(rank_, subblock.squeeze.outputs);
  }
  quantizers_.reserve("seqkv::codec::quantizers", coefficients_);
  for (std::int64_t c = 0; c < coefficients_; ++c) quantizers_[c] = Quantizer::uniform(step);
  quantizers_.to_device(space_, coefficients_);
}

template <class ExecutionSpace>
std::int64_t PredictiveCoder<ExecutionSpace>::payload_bytes(std::int64_t block_tokens) const {
  const BlockGrid grid{block_tokens, block_tokens, 1};
  SymbolBlock largest{};
  largest.runs = coefficients_ / tile_coefficients * grid.groups();
  largest.run_symbols = rans::group;
  return 2 + 2 * most_large + largest.most_bytes();
}

template <class ExecutionSpace>
template <class T>
void PredictiveCoder<ExecutionSpace>::make_room(Array<T>& array, const char* label, std::int64_t count) {
  if (static_cast<std::int64_t>(array.size()) >= count) return;
  bytes_ += (count - static_cast<std::int64_t>(array.size())) * static_cast<std::int64_t>(sizeof(T));
  array = {};
  array = Array<T>(Kokkos::view_alloc(space_, Kokkos::WithoutInitializing, std::string("seqkv::codec::") + label),
                   static_cast<std::size_t>(count));
}

template <class ExecutionSpace>
void PredictiveCoder<ExecutionSpace>::reserve(std::int64_t block_tokens, std::int64_t blocks) {
  const BlockGrid grid{block_tokens, blocks * block_tokens, blocks};
  const Profile::Data& profile = profile_->data();
  const std::int64_t slots = blocks * grid.slots();
  const std::int64_t most = std::min(2 * profile.layers_below + 2, 2 * profile.shape.layers);
  make_room(features_, "features", grid.tokens * padded(window_column(most)));
  make_room(squeezed_, "squeezed", grid.tokens * padded(rank_));
  make_room(predicted_, "predicted", grid.tokens * padded(profile.width() + 1));
  make_room(residuals_, "residuals", slots * padded(profile.width()));
  make_room(grade_, "grade", grid.tokens);
  make_room(order_, "order", slots);
  make_room(group_grade_, "group_grade", blocks * grid.groups());
  make_room(numbers_, "numbers", slots * coefficients_);
  make_room(symbols_, "symbols", slots * coefficients_);
  make_room(classes_, "classes", blocks * grid.groups() * coefficients_ / tile_coefficients);
  make_room(status_, "status", blocks);
  tokens_.reserve("seqkv::codec::tokens", grid.tokens);
  coded_.reserve("seqkv::codec::symbol_blocks", blocks);
  values_.reserve("seqkv::codec::value_pointers", blocks);
}

template <class ExecutionSpace>
template <class Functor>
void PredictiveCoder<ExecutionSpace>::for_each(const char* label, std::int64_t count, const Functor& functor) const {
  using Policy = Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<std::int64_t>>;
  Kokkos::parallel_for(label, Policy(space_, 0, count), functor);
}

/// `each` thing portably, or ranges of `count` by the kernel of this CPU: for a step of several things (`heads` of a
/// slot) the portable one is called for each.
template <class ExecutionSpace>
template <class Functor>
void PredictiveCoder<ExecutionSpace>::run(const char* label, const PredictiveStep& step, std::int64_t count,
                                          std::int64_t things,
                                          cpu::PredictiveKernels::Step* cpu::PredictiveKernels::*kernel) const {
  if constexpr (is_host_space<ExecutionSpace>) {
    if (const cpu::Kernels* best = cpu::kernels()) {
      cpu::PredictiveKernels::Step* const work = best->predict.*kernel;
      cpu::for_each_row_range(label, space_, count,
                              [=, &step](std::int64_t first, std::int64_t last) { work(step, first, last); });
      space_.fence("seqkv::codec::predict: the step is local");
      return;
    }
  }
  for_each(label, count * things, Functor{step});
}

template <class ExecutionSpace>
void PredictiveCoder<ExecutionSpace>::start(const BlockGrid& grid, const Token* ids, std::int64_t first_position) {
  const Profile::Data& profile = profile_->data();
  grid_ = grid;
  reserve(grid.block_tokens, grid.blocks);
  angles_.set_positions(space_, first_position, grid.tokens);
  std::copy(ids, ids + grid.tokens, tokens_.host());
  tokens_.to_device(space_, grid.tokens);
  has_first_token_ = first_position == 0 && profile.first_token && ids[0] == *profile.first_token;
  const std::int64_t most = std::min(2 * profile.layers_below + 2, 2 * profile.shape.layers);
  for_each("seqkv::codec::start_rows", grid.tokens,
           kokkos::StartRow{features_.data(), padded(window_column(most)), tokens_.device(), device_.tokens,
                            profile.vocabulary, profile.token_width});
}

template <class ExecutionSpace>
PredictiveStep PredictiveCoder<ExecutionSpace>::make_step(std::int64_t number, Task* tasks) const {
  const Profile::Data& profile = profile_->data();
  const std::int64_t most = std::min(2 * profile.layers_below + 2, 2 * profile.shape.layers);
  PredictiveStep step;
  step.grid = grid_;
  step.model = device_.subblocks[static_cast<std::size_t>(number)].model;
  step.heads = profile.shape.kv_heads;
  step.tasks = tasks;
  if (number % 2 == 0 && angles_.pairs() > 0) {
    step.cosine = angles_.cosine();
    step.sine = angles_.sine();
    step.rope_pairs = angles_.pairs();
  }
  step.features = features_.data();
  step.ld_features = padded(window_column(most));
  step.column = window_column(profile.window(number));
  step.predicted = predicted_.data();
  step.ld_predicted = padded(profile.width() + 1);
  step.has_first_token = has_first_token_;
  step.grade = grade_.data();
  step.order = order_.data();
  step.group_grade = group_grade_.data();
  step.residuals = residuals_.data();
  step.ld_residuals = padded(profile.width());
  step.numbers = numbers_.data();
  step.symbols = symbols_.data();
  step.classes = classes_.data();
  step.coded = coded_.device();
  step.status = status_.data();
  step.scale_of_step = scale_of_step_;
  step.least_class = profile.least_class;
  step.tables = profile.tables->tables();
  return step;
}

/// What is expected of the sub-block, how much each token matters, and their order.
template <class ExecutionSpace>
void PredictiveCoder<ExecutionSpace>::predict(const PredictiveStep& step, std::int64_t number) const {
  const auto& matrices = device_.subblocks[static_cast<std::size_t>(number)];
  const float* inputs = step.features;
  std::int64_t ld_inputs = step.ld_features;
  if (matrices.squeeze.outputs > 0) {
    gemm(space_, {grid_.tokens, inputs, ld_inputs, matrices.squeeze, squeezed_.data(), padded(rank_)});
    inputs = squeezed_.data();
    ld_inputs = padded(rank_);
  }
  gemm(space_, {grid_.tokens, inputs, ld_inputs, matrices.predict, step.predicted, step.ld_predicted});
  run<kokkos::GradeRow>("seqkv::codec::grade_rows", step, grid_.tokens, 1, &cpu::PredictiveKernels::grade_rows);
  for_each("seqkv::codec::order_rows", grid_.blocks, kokkos::OrderBlock{step});
}

template <class ExecutionSpace>
void PredictiveCoder<ExecutionSpace>::encode(std::int64_t number, Task* tasks, std::byte* const* decoded) {
  PredictiveStep step = make_step(number, tasks);
  step.restored = decoded;
  const auto& matrices = device_.subblocks[static_cast<std::size_t>(number)];
  predict(step, number);
  run<kokkos::ResidualHead>("seqkv::codec::residuals", step, step.all_slots(), step.heads,
                            &cpu::PredictiveKernels::residual_slots);
  forward_transform(space_, ForwardTransform{step.all_slots(), step.residuals, step.ld_residuals, matrices.forward,
                                             quantizers_.device(), step.numbers, step.all_slots()});
  run<kokkos::PackBlock>("seqkv::codec::pack", step, grid_.blocks, 1, &cpu::PredictiveKernels::pack_blocks);
  encode_symbols(space_, device_.tables, coded_.device(), grid_.blocks);
  for_each("seqkv::codec::close", grid_.blocks, kokkos::ClosePayload{step});
  restore(step, number);
}

template <class ExecutionSpace>
void PredictiveCoder<ExecutionSpace>::decode(std::int64_t number, Task* tasks) {
  const PredictiveStep step = make_step(number, tasks);
  predict(step, number);
  for_each("seqkv::codec::open", grid_.blocks, kokkos::OpenPayload{step});
  decode_symbols(space_, device_.tables, coded_.device(), grid_.blocks);
  run<kokkos::UnpackBlock>("seqkv::codec::unpack", step, grid_.blocks, 1, &cpu::PredictiveKernels::unpack_blocks);
  restore(step, number);
}

/// From numbers to values and to the features of the sub-blocks above.
template <class ExecutionSpace>
void PredictiveCoder<ExecutionSpace>::restore(const PredictiveStep& step, std::int64_t number) const {
  inverse_transform(space_, InverseTransform{step.all_slots(), step.numbers, step.all_slots(), quantizers_.device(),
                                             device_.subblocks[static_cast<std::size_t>(number)].inverse,
                                             step.residuals, step.ld_residuals});
  run<kokkos::RestoreHead>("seqkv::codec::restore", step, step.all_slots(), step.heads,
                           &cpu::PredictiveKernels::restore_slots);
  if (number % 2 == 1) leave_layer(number);
}

/// The lowest layer of the window goes where the next one has no use for it.
template <class ExecutionSpace>
void PredictiveCoder<ExecutionSpace>::leave_layer(std::int64_t number) const {
  const Profile::Data& profile = profile_->data();
  const std::int64_t kept = 2 * profile.layers_below;
  if (number + 1 <= kept || number + 1 == 2 * profile.shape.layers) return;
  const std::int64_t most = std::min(kept + 2, 2 * profile.shape.layers);
  for_each("seqkv::codec::leave_layer", grid_.tokens,
           MoveColumns{features_.data(), padded(window_column(most)), window_column(2), window_column(0),
                       kept * profile.width()});
}

#define SEQKV_INSTANTIATE(Space) template class PredictiveCoder<Space>;
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)

}  // namespace seqkv::codec
