// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Predictive coding beside its matrix products and whatever codes residuals, a row at a time: what the portable
/// kernels (backends/kokkos) and those for CPUs (backends/cpu) run. No Kokkos here. The maths is in spec.md.
#pragma once

#include "codec/predict/arguments.hpp"
#include "core/detmath.hpp"
#include "core/float16.hpp"

namespace seqkv::codec {

inline constexpr std::int64_t most_head_dim = 512;

/// 2^(grade / 8).
SEQKV_INLINE float weight_of(int grade) {
  constexpr float eighths[8] = {0x1p0F,        0x1.172b84p0F, 0x1.306fep0F,  0x1.4bfdaep0F,
                                0x1.6a09e6p0F, 0x1.8ace54p0F, 0x1.ae89fap0F, 0x1.d5818ep0F};
  const int shifted = grade + 8 * 16;
  return eighths[shifted % 8] * detmath::from_bits(static_cast<std::uint32_t>(shifted / 8 - 16 + 127) << 23U);
}

/// The knots' curve at `behind` + 1 tokens: linear between powers of two.
SEQKV_INLINE float knots_at(const float* knots, std::int64_t behind) {
  int octave = 0;
  const std::int64_t distance = behind + 1;
  while (octave + 2 < distance_knots && std::int64_t{2} << octave <= distance) ++octave;
  const float part = static_cast<float>(distance - (std::int64_t{1} << octave)) *
                     detmath::from_bits(static_cast<std::uint32_t>(127 - octave) << 23U);
  return detmath::fma(part < 1.0F ? part : 1.0F, knots[octave + 1] - knots[octave], knots[octave]);
}

/// The grade of a row from the weight that has been predicted.
SEQKV_INLINE void grade_row(const PredictiveStep& step, std::int64_t row) {
  const std::int64_t block = step.block_of(row);
  const std::int64_t behind = step.grid.tokens_of(block) - 1 - (row - block * step.grid.block_tokens);
  const float* predicted = step.predicted + row * step.ld_predicted;
  const float weight = (predicted[step.model.width] + knots_at(step.model.knots, behind)) * grades_of_octave;
  constexpr auto most = static_cast<float>(most_grade);
  const float bounded = weight < -most ? -most : weight > most ? most : weight == weight ? weight : 0.0F;
  step.grade[row] = static_cast<std::int8_t>(static_cast<int>(bounded + (most + 0.5F)) - most_grade);
}

/// Each pair (i, i + pairs) by an angle: back to position 0 with direction -1, on with 1.
SEQKV_INLINE void turn_head(const PredictiveStep& step, std::int64_t row, float direction, float* x) {
  const std::int64_t pairs = step.rope_pairs;
  const float* cosine = step.cosine + row * pairs;
  const float* sine = step.sine + row * pairs;
  for (std::int64_t i = 0; i < pairs; ++i) {
    const float a = x[i];
    const float b = x[i + pairs];
    const float s = direction * sine[i];
    x[i] = detmath::fma(a, cosine[i], -(b * s));
    x[i + pairs] = detmath::fma(b, cosine[i], a * s);
  }
}

/// Where a head of a row stands in its task, in elements.
SEQKV_INLINE std::int64_t head_at(const PredictiveStep& step, const Task& task, std::int64_t row, std::int64_t head) {
  return (head * task.subblock.tokens + row % step.grid.block_tokens) * task.subblock.dim;
}

/// One head of a token: values, keys turned back to position 0.
SEQKV_INLINE void load_head(const PredictiveStep& step, std::int64_t row, std::int64_t head, float* x) {
  const Task& task = step.tasks[step.block_of(row)];
  const std::int64_t dim = task.subblock.dim;
  const std::int64_t at = head_at(step, task, row, head);
  if (task.subblock.dtype == DType::bf16) {
    const auto* from = reinterpret_cast<const std::uint16_t*>(task.values) + at;
    for (std::int64_t i = 0; i < dim; ++i) x[i] = bf16_to_float(from[i]);
  } else {
    for (std::int64_t i = 0; i < dim; ++i) x[i] = load_as_float(task.values, task.subblock.dtype, at + i);
  }
  turn_head(step, row, -1.0F, x);
}

/// What is predicted of a row.
SEQKV_INLINE const float* predicted_row(const PredictiveStep& step, std::int64_t row) {
  return row == 0 && step.has_first_token ? step.model.first_row : step.predicted + row * step.ld_predicted;
}

/// Residuals of one head of a row, times `weight`.
SEQKV_INLINE void residual_head(const PredictiveStep& step, std::int64_t row, std::int64_t head, float weight,
                                float* out) {
  const std::int64_t dim = step.model.width / step.heads;
  float x[most_head_dim];
  load_head(step, row, head, x);
  const float* predicted = predicted_row(step, row) + head * dim;
  for (std::int64_t i = 0; i < dim; ++i) out[i] = weight * (x[i] - predicted[i]);
}

/// Sub-blocks above must not be spoilt by what is no number, or too large to be the sum of anything.
SEQKV_INLINE float feature_of(float x) {
  constexpr float most = 0x1p60F;
  return x < most && x > -most ? x : 0.0F;
}
SEQKV_INLINE void keep_features(const PredictiveStep& step, std::int64_t row, std::int64_t head, const float* x,
                                std::int64_t dim) {
  float* feature = step.features + row * step.ld_features + step.column + head * dim;
  for (std::int64_t i = 0; i < dim; ++i) feature[i] = feature_of(x[i]);
}

/// One head of a token as a decoder has it, from its residual and the factor that turns the weight back: into the
/// features of the sub-blocks above and, in the cache's own type, to `step.restored`.
SEQKV_INLINE void restore_head(const PredictiveStep& step, std::int64_t row, std::int64_t head, const float* residual,
                               float inverse) {
  const std::int64_t block = step.block_of(row);
  const Task& task = step.tasks[block];
  const std::int64_t dim = task.subblock.dim;
  const std::int64_t first = head_at(step, task, row, head);
  const DType dtype = task.subblock.dtype;
  std::byte* out = step.restored == nullptr ? task.values : step.restored[block];
  float x[most_head_dim];
  if (step.status[block] == block_status::raw) {
    load_head(step, row, head, x);
    const auto size = static_cast<std::int64_t>(size_of(dtype));
    for (std::int64_t i = first * size; out != task.values && i < (first + dim) * size; ++i) out[i] = task.values[i];
    keep_features(step, row, head, x, dim);
    return;
  }
  const float* predicted = predicted_row(step, row) + head * dim;
  for (std::int64_t i = 0; i < dim; ++i) x[i] = detmath::fma(residual[i], inverse, predicted[i]);
  keep_features(step, row, head, x, dim);
  turn_head(step, row, 1.0F, x);
  if (dtype == DType::bf16) {
    auto* to = reinterpret_cast<std::uint16_t*>(out) + first;
    for (std::int64_t i = 0; i < dim; ++i) to[i] = float_to_bf16(x[i]);
  } else {
    for (std::int64_t i = 0; i < dim; ++i) store_from_float(out, dtype, first + i, x[i]);
  }
}

/// A raw payload becomes the task's values.
SEQKV_INLINE void copy_raw(const Task& task) {
  for (std::int64_t i = 0; i < task.bytes; ++i) task.values[i] = task.coded[i];
}

SEQKV_INLINE std::int64_t raw_bytes_of(const Task& task) {
  return task.subblock.values() * static_cast<std::int64_t>(size_of(task.subblock.dtype));
}

}  // namespace seqkv::codec
