// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Predictive coding beside its matrix products on a GPU: a thread a component of a row, or a pair of components that
/// turn together, so that neighbors read and write neighbors. The arithmetic is that of src/codec/predict/steps.hpp.
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

/// Components of a head that stand for all: the first of each pair that turns, and those that do not.
KOKKOS_INLINE_FUNCTION std::int64_t head_items(const codec::PredictiveStep& step) {
  return step.model.width / step.heads - step.rope_pairs;
}

/// One of them, of a head of a row.
struct HeadItem {
  std::int64_t row, head;
  std::int64_t first;   ///< component
  std::int64_t second;  ///< the other of its pair; -1: none
  float cosine = 0, sine = 0;

  KOKKOS_INLINE_FUNCTION HeadItem(const codec::PredictiveStep& step, std::int64_t of_row, std::int64_t of_head,
                                  std::int64_t item)
      : row(of_row), head(of_head), first(item), second(-1) {
    const std::int64_t pairs = step.rope_pairs;
    if (item >= pairs) {
      first = item + pairs;
      return;
    }
    second = item + pairs;
    cosine = step.cosine[row * pairs + item];
    sine = step.sine[row * pairs + item];
  }

  /// Back to position 0 with direction -1, on with 1.
  KOKKOS_INLINE_FUNCTION void turn(float direction, float& a, float& b) const {
    if (second < 0) return;
    const float s = direction * sine;
    const float x = a;
    a = detmath::fma(x, cosine, -(b * s));
    b = detmath::fma(b, cosine, x * s);
  }

  KOKKOS_INLINE_FUNCTION void load(const codec::PredictiveStep& step, float& a, float& b) const {
    const codec::Task& task = step.tasks[step.block_of(row)];
    const std::int64_t at = codec::head_at(step, task, row, head);
    a = load_as_float(task.values, task.subblock.dtype, at + first);
    b = second < 0 ? 0.0F : load_as_float(task.values, task.subblock.dtype, at + second);
    turn(-1.0F, a, b);
  }

  /// codec::residual_head.
  KOKKOS_INLINE_FUNCTION void residual(const codec::PredictiveStep& step, float weight, float* out) const {
    const float* predicted = codec::predicted_row(step, row) + head * (step.model.width / step.heads);
    float a = 0;
    float b = 0;
    load(step, a, b);
    out[first] = weight * (a - predicted[first]);
    if (second >= 0) out[second] = weight * (b - predicted[second]);
  }

  /// codec::restore_head.
  KOKKOS_INLINE_FUNCTION void restore(const codec::PredictiveStep& step, const float* residual, float inverse) const {
    const std::int64_t block = step.block_of(row);
    const codec::Task& task = step.tasks[block];
    const std::int64_t dim = step.model.width / step.heads;
    const std::int64_t at = codec::head_at(step, task, row, head);
    std::byte* out = step.restored == nullptr ? task.values : step.restored[block];
    float* feature = step.features + row * step.ld_features + step.column + head * dim;
    float a = 0;
    float b = 0;
    const bool is_raw = step.status[block] == codec::block_status::raw;
    if (is_raw) {
      load(step, a, b);
    } else {
      const float* predicted = codec::predicted_row(step, row) + head * dim;
      a = detmath::fma(residual[first], inverse, predicted[first]);
      if (second >= 0) b = detmath::fma(residual[second], inverse, predicted[second]);
    }
    feature[first] = codec::feature_of(a);
    if (second >= 0) feature[second] = codec::feature_of(b);
    if (is_raw) {
      if (out != task.values) copy(task, at, out);
      return;
    }
    turn(1.0F, a, b);
    store_from_float(out, task.subblock.dtype, at + first, a);
    if (second >= 0) store_from_float(out, task.subblock.dtype, at + second, b);
  }

 private:
  KOKKOS_INLINE_FUNCTION void copy(const codec::Task& task, std::int64_t at, std::byte* out) const {
    const auto size = static_cast<std::int64_t>(size_of(task.subblock.dtype));
    for (std::int64_t i = (at + first) * size; i < (at + first + 1) * size; ++i) out[i] = task.values[i];
    if (second < 0) return;
    for (std::int64_t i = (at + second) * size; i < (at + second + 1) * size; ++i) out[i] = task.values[i];
  }
};

}  // namespace seqkv::gpu
