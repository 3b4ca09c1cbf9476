// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Predictive coding beside its matrix products on a GPU: a thread some components of a row, or some pairs of
/// components that turn together. The arithmetic is that of src/codec/predict/steps.hpp.
#pragma once

#include <Kokkos_Core.hpp>

#include "backends/kokkos/predict.hpp"
#include "codec/predict/steps.hpp"

namespace seqkv::gpu {

/// i / by and i % by, in 32 bits where they do: a division of 64 takes several times as long.
struct Split {
  std::int64_t quotient, rest;
  KOKKOS_INLINE_FUNCTION Split(std::int64_t i, std::int64_t by) {
    if (i >> 32U == 0) {
      const auto small = static_cast<std::uint32_t>(i);
      const auto divisor = static_cast<std::uint32_t>(by);
      quotient = small / divisor;
      rest = small % divisor;
    } else {
      quotient = i / by;
      rest = i % by;
    }
  }
};

/// kokkos::StartRow, a column at a time.
struct StartColumn : kokkos::StartRow {
  KOKKOS_FUNCTION void operator()(const std::int64_t i) const {
    const auto [row, column] = Split(i, width + 1);
    const bool known = tokens[row] < vocabulary;
    features[row * ld_features + column] = column == 0 ? 1.0F : known ? table[tokens[row] * width + column - 1] : 0.0F;
  }
};

/// Columns [from, from + count) go to `to`; the two do not overlap.
struct CopyColumns {
  float* features;
  std::int64_t ld_features, from, to, count;

  KOKKOS_FUNCTION void operator()(const std::int64_t i) const {
    const auto [row, column] = Split(i, count);
    float* at = features + row * ld_features;
    at[to + column] = at[from + column];
  }
};

/// Pairs of components of a head: those that turn together, or, where none do, halves; and components without another.
struct HeadPairs {
  std::int64_t pairs, items;
  KOKKOS_INLINE_FUNCTION explicit HeadPairs(const codec::PredictiveStep& step) {
    const std::int64_t dim = step.model.width / step.heads;
    pairs = step.rope_pairs > 0 ? step.rope_pairs : dim / 2;
    items = dim - pairs;
  }
};

/// Items of a head that a thread takes: so many times as far apart as there are threads for the head, so that
/// neighbors read and write neighbors.
inline constexpr int items_of_thread = 4;
KOKKOS_INLINE_FUNCTION std::int64_t head_threads(const codec::PredictiveStep& step) {
  return (HeadPairs(step).items + items_of_thread - 1) / items_of_thread;
}

/// A head of a row, for one of its threads.
class HeadPart {
 public:
  KOKKOS_INLINE_FUNCTION HeadPart(const codec::PredictiveStep& step, std::int64_t row, std::int64_t head,
                                  std::int64_t thread)
      : step_(step), of_head_(step), thread_(thread), threads_(head_threads(step)), row_(row) {
    const Split of_block(row, step.grid.block_tokens);
    block_ = of_block.quotient;
    const codec::Task& task = step.tasks[block_];
    values_ = task.values;
    dtype_ = task.subblock.dtype;
    first_ = (head * task.subblock.tokens + of_block.rest) * task.subblock.dim;
    const std::int64_t column = head * (step.model.width / step.heads);
    predicted_ = codec::predicted_row(step, row) + column;
    features_ = step.features + row * step.ld_features + step.column + column;
  }

  /// codec::residual_head.
  KOKKOS_INLINE_FUNCTION void residual(float weight, float* out) const {
    Item items[items_of_thread];
    SEQKV_UNROLL for (int j = 0; j < items_of_thread; ++j) {
      items[j] = item(j);
      if (!items[j].is_there) continue;
      load(items[j]);
      load_predicted(items[j]);
    }
    SEQKV_UNROLL for (int j = 0; j < items_of_thread; ++j) {
      const Item& at = items[j];
      if (!at.is_there) continue;
      out[at.first] = weight * (at.a - at.predicted_a);
      if (at.is_pair) out[at.second] = weight * (at.b - at.predicted_b);
    }
  }
  KOKKOS_INLINE_FUNCTION void clear(float* out) const {
    SEQKV_UNROLL for (int j = 0; j < items_of_thread; ++j) {
      const Item at = item(j);
      if (at.is_there) out[at.first] = 0.0F;
      if (at.is_there && at.is_pair) out[at.second] = 0.0F;
    }
  }

  /// codec::restore_head.
  KOKKOS_INLINE_FUNCTION void restore(const float* residual, float inverse) const {
    std::byte* out = step_.restored == nullptr ? values_ : step_.restored[block_];
    if (step_.status[block_] == codec::block_status::raw) return keep_raw(out);
    Item items[items_of_thread];
    SEQKV_UNROLL for (int j = 0; j < items_of_thread; ++j) {
      Item& at = items[j] = item(j);
      if (!at.is_there) continue;
      load_predicted(at);
      load_angle(at);
      at.a = residual[at.first];
      if (at.is_pair) at.b = residual[at.second];
    }
    SEQKV_UNROLL for (int j = 0; j < items_of_thread; ++j) {
      Item& at = items[j];
      if (!at.is_there) continue;
      at.a = detmath::fma(at.a, inverse, at.predicted_a);
      at.b = detmath::fma(at.b, inverse, at.predicted_b);
      keep_features(at);
      if (turns() && at.is_pair) at.turn(1.0F);
      store_from_float(out, dtype_, first_ + at.first, at.a);
      if (at.is_pair) store_from_float(out, dtype_, first_ + at.second, at.b);
    }
  }

 private:
  struct Item {
    bool is_there = false;
    bool is_pair = false;            ///< else the first component alone
    std::int64_t first, second = 0;  ///< components
    float a = 0, b = 0, predicted_a = 0, predicted_b = 0, cosine = 1, sine = 0;

    /// Back to position 0 with direction -1, on with 1.
    KOKKOS_INLINE_FUNCTION void turn(float direction) {
      const float s = direction * sine;
      const float x = a;
      a = detmath::fma(x, cosine, -(b * s));
      b = detmath::fma(b, cosine, x * s);
    }
  };

  KOKKOS_INLINE_FUNCTION bool turns() const { return step_.rope_pairs > 0; }
  KOKKOS_INLINE_FUNCTION Item item(int j) const {
    Item out;
    out.first = thread_ + j * threads_;
    out.is_there = out.first < of_head_.items;
    out.is_pair = out.first < of_head_.pairs;
    if (out.is_pair) {
      out.second = out.first + of_head_.pairs;
    } else {
      out.first += of_head_.pairs;
    }
    return out;
  }
  KOKKOS_INLINE_FUNCTION void load_angle(Item& at) const {
    if (!at.is_pair || !turns()) return;
    at.cosine = step_.cosine[row_ * step_.rope_pairs + at.first];
    at.sine = step_.sine[row_ * step_.rope_pairs + at.first];
  }
  KOKKOS_INLINE_FUNCTION void load(Item& at) const {
    load_angle(at);
    at.a = load_as_float(values_, dtype_, first_ + at.first);
    if (at.is_pair) at.b = load_as_float(values_, dtype_, first_ + at.second);
    if (turns() && at.is_pair) at.turn(-1.0F);
  }
  KOKKOS_INLINE_FUNCTION void load_predicted(Item& at) const {
    at.predicted_a = predicted_[at.first];
    if (at.is_pair) at.predicted_b = predicted_[at.second];
  }
  KOKKOS_INLINE_FUNCTION void keep_features(const Item& at) const {
    features_[at.first] = codec::feature_of(at.a);
    if (at.is_pair) features_[at.second] = codec::feature_of(at.b);
  }
  KOKKOS_INLINE_FUNCTION void keep_raw(std::byte* out) const {
    for (int j = 0; j < items_of_thread; ++j) {
      Item at = item(j);
      if (!at.is_there) continue;
      load(at);
      keep_features(at);
      if (out == values_) continue;
      copy(first_ + at.first, out);
      if (at.is_pair) copy(first_ + at.second, out);
    }
  }
  KOKKOS_INLINE_FUNCTION void copy(std::int64_t element, std::byte* out) const {
    const auto size = static_cast<std::int64_t>(size_of(dtype_));
    for (std::int64_t i = element * size; i < (element + 1) * size; ++i) out[i] = values_[i];
  }

  const codec::PredictiveStep& step_;
  HeadPairs of_head_;
  std::int64_t thread_, threads_;
  std::int64_t row_, block_;
  std::int64_t first_;  ///< element of the task
  std::byte* values_;
  DType dtype_;
  const float* predicted_;
  float* features_;
};

}  // namespace seqkv::gpu
