// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "codec/predict/reference_rows.hpp"

#include <algorithm>

#include "backends/kokkos/predict.hpp"
#include "backends/kokkos/rope.hpp"
#include "codec/predict/ecsq_arguments.hpp"
#include "codec/predict/run.hpp"
#include "core/bytes.hpp"
#include "core/execution_spaces.hpp"
#include "core/float16.hpp"
#include "core/host_range.hpp"

namespace seqkv::codec {
namespace {

/// Behind the last range, or as a part of it.
void append(std::vector<KindRange>& ranges, std::int64_t count, bool refers) {
  if (count == 0) return;
  if (!ranges.empty() && ranges.back().refers == refers) {
    ranges.back().count += count;
  } else {
    const std::int64_t first = ranges.empty() ? 0 : ranges.back().first + ranges.back().count;
    ranges.push_back({first, count, refers});
  }
}

}  // namespace

template <class ExecutionSpace>
void ReferenceRows<ExecutionSpace>::start(const ExecutionSpace& space, const BlockGrid& grid,
                                          std::span<const RowReference> references) {
  references_.assign(references.begin(), references.end());
  block_kinds_.reserve("seqkv::codec::block_kinds", grid.blocks);
  rows_of_block_.assign(static_cast<std::size_t>(grid.blocks), 0);
  if (references_.empty()) return;
  referring_.reserve("seqkv::codec::referring", grid.tokens);
  std::fill(referring_.host(), referring_.host() + grid.tokens, std::uint8_t{0});
  owners_.clear();
  owned_.clear();
  for (std::size_t i = 0; i < references_.size(); ++i) {
    const RowReference& reference = references_[i];
    for (std::int64_t row = reference.first; row < reference.first + reference.values.tokens; ++row) {
      referring_[row] = 1;
      owners_.push_back(static_cast<std::int64_t>(i));
      owned_.push_back(row);
    }
    rows_of_block_[static_cast<std::size_t>(reference.first / grid.block_tokens)] += reference.values.tokens;
  }
  referring_.to_device(space, grid.tokens);
  const auto count = static_cast<std::int64_t>(owned_.size());
  places_.reserve("seqkv::codec::referring_rows", count);
  std::copy(owned_.begin(), owned_.end(), places_.host());
  places_.to_device(space, count);
  const auto pairs = static_cast<std::int64_t>(frequencies_.size());
  cosine_.resize(static_cast<std::size_t>(count * pairs));
  sine_.resize(cosine_.size());
  Kokkos::parallel_for("seqkv::codec::angles", host_range(space, pairs == 0 ? 0 : count), [&](std::int64_t i) {
    const auto at = static_cast<std::size_t>(i);
    const RowReference& reference = references_[static_cast<std::size_t>(owners_[at])];
    rope_angles(frequencies_, reference.position + owned_[at] - reference.first, cosine_.data() + i * pairs,
                sine_.data() + i * pairs);
  });
}

/// Row `row` of those that have a reference.
template <class ExecutionSpace>
void ReferenceRows<ExecutionSpace>::load_row(const RowReference& reference, std::int64_t row, std::int64_t number,
                                             float* out) const {
  const ConstKvView& kv = reference.values;
  const std::int64_t token = owned_[static_cast<std::size_t>(row)] - reference.first;
  const std::byte* from = kv.tensors[static_cast<std::size_t>(number)];
  const KvStrides& stride = kv.strides[static_cast<std::size_t>(number % 2)];
  const auto pairs = static_cast<std::int64_t>(number % 2 == 0 ? frequencies_.size() : 0);
  for (std::int64_t head = 0; head < kv.shape.kv_heads; ++head, out += kv.shape.head_dim) {
    const std::int64_t at = head * stride.head + token * stride.token;
    for (std::int64_t i = 0; i < kv.shape.head_dim; ++i) {
      out[i] = feature_of(load_as_float(from, kv.shape.dtype, at + i * stride.component));
    }
    for (std::int64_t i = 0; i < pairs; ++i) {
      const auto angle = static_cast<std::size_t>(row * pairs + i);
      kokkos::rotate(out[i], out[i + pairs], cosine_[angle], -sine_[angle]);
    }
  }
}

template <class ExecutionSpace>
void ReferenceRows<ExecutionSpace>::place(const ExecutionSpace& space, const PredictiveStep& step,
                                          std::int64_t number) {
  if (!is_used_) return;
  const std::int64_t width = step.model.width;
  const auto count = static_cast<std::int64_t>(owned_.size());
  values_.reserve("seqkv::codec::reference_values", count * width);
  if constexpr (!is_host_space<ExecutionSpace>) space.fence("seqkv::codec::place: the copy before is on its way");
  Kokkos::parallel_for("seqkv::codec::load_reference", host_range(space, count), [&](std::int64_t i) {
    load_row(references_[static_cast<std::size_t>(owners_[static_cast<std::size_t>(i)])], i, number,
             values_.host() + i * width);
  });
  values_.to_device(space, count * width);
  for_each("seqkv::codec::place_reference", space, count,
           kokkos::PlaceReference{step, places_.device(), values_.device()});
}

template <class ExecutionSpace>
void ReferenceRows<ExecutionSpace>::use(const ExecutionSpace& space, const BlockGrid& grid,
                                        std::span<const std::uint8_t> refers) {
  if constexpr (!is_host_space<ExecutionSpace>) space.fence("seqkv::codec::use: the copy before is on its way");
  slots_.clear();
  is_used_ = false;
  for (std::int64_t block = 0; block < grid.blocks; ++block) {
    const bool uses = !refers.empty() && refers[static_cast<std::size_t>(block)] != 0 && has(block);
    const std::int64_t referring = uses ? rows_of_block_[static_cast<std::size_t>(block)] : 0;
    const std::int64_t fresh_groups = divide_up(grid.tokens_of(block) - referring, tile_slots);
    append(slots_, uses ? fresh_groups * tile_slots : block_slots(grid), false);
    append(slots_, uses ? block_slots(grid) - fresh_groups * tile_slots : 0, true);
    block_kinds_[block] = {static_cast<std::int32_t>(fresh_groups + divide_up(referring, tile_slots)),
                           static_cast<std::int32_t>(fresh_groups), uses ? 1 : 0};
    is_used_ = is_used_ || uses;
  }
  block_kinds_.to_device(space, grid.blocks);
}

#define SEQKV_INSTANTIATE(Space) template class ReferenceRows<Space>;
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv::codec
