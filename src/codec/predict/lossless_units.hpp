// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The order in which the components of a row are coded without loss, what is known before each, and what is expected
/// of them. No Kokkos here. The maths is in lossless.md.
#pragma once

#include "codec/predict/lossless_arguments.hpp"
#include "core/detmath.hpp"

namespace seqkv::codec {

/// What is no number, or too large, predicts 0.
SEQKV_INLINE float plain(float x) { return x < 0x1p127F && x > -0x1p127F ? x : 0.0F; }

struct Unit {
  std::int64_t head;
  std::int64_t component[2];  ///< of all heads
  int count;
  std::int64_t place;  ///< in the head: of the component, or of the pair
};

/// Units of a row.
SEQKV_INLINE std::int64_t units_of(const PredictiveStep& step) {
  return step.model.width - step.heads * step.rope_pairs;
}

/// In the order in which they are coded. No callbacks here: what they do must be inlined for the CPU at hand.
SEQKV_INLINE Unit unit_at(const PredictiveStep& step, std::int64_t number) {
  const std::int64_t dim = step.model.width / step.heads;
  const std::int64_t of_head = dim - step.rope_pairs;
  const std::int64_t head = number / of_head;
  const std::int64_t place = number % of_head;
  const std::int64_t first = head * dim + place;
  if (place < step.rope_pairs) return {head, {first, first + step.rope_pairs}, 2, place};
  const std::int64_t single = first + step.rope_pairs;
  return {head, {single, single}, 1, place + step.rope_pairs};
}

/// What is known before a unit, by rising component: those of heads before and of its own up to its place, and the
/// second ones of pairs before.
struct Known {
  std::int64_t end;     ///< components [0, end)
  std::int64_t second;  ///< and [second, second_end)
  std::int64_t second_end;

  SEQKV_INLINE bool has(std::int64_t component) const {
    return component < end || (component >= second && component < second_end);
  }
};

SEQKV_INLINE Known known_before(const PredictiveStep& step, const Unit& unit) {
  const std::int64_t first = unit.head * (step.model.width / step.heads);
  const std::int64_t second = first + step.rope_pairs;
  return {first + unit.place, second, unit.count == 2 ? second + unit.place : second};
}

SEQKV_INLINE void turn_unit(const PredictiveStep& step, std::int64_t row, const Unit& unit, float direction, float* x) {
  if (unit.count == 1) return;
  const float cosine = step.cosine[row * step.rope_pairs + unit.place];
  const float sine = direction * step.sine[row * step.rope_pairs + unit.place];
  const float a = x[0];
  const float b = x[1];
  x[0] = detmath::fma(a, cosine, -(b * sine));
  x[1] = detmath::fma(b, cosine, a * sine);
}

/// What the tables know: expected values, before corrections from the same row.
SEQKV_INLINE void expect_unit(const LosslessStep& step, std::int64_t row, const Unit& unit, float* x) {
  const float* predicted = step.predicted + row * step.ld_predicted;
  for (int m = 0; m < unit.count; ++m) x[m] = predicted[unit.component[m]];
  turn_unit(step, row, unit, 1.0F, x);
}

/// And after them, where the token stands. A zero is a positive one, whichever way it has been computed.
SEQKV_INLINE void refine_unit(const LosslessStep& step, std::int64_t row, const Unit& unit, const float* correction,
                              float* x) {
  const float* predicted = step.predicted + row * step.ld_predicted;
  for (int m = 0; m < unit.count; ++m) x[m] = plain(predicted[unit.component[m]] + correction[m]);
  turn_unit(step, row, unit, 1.0F, x);
  for (int m = 0; m < unit.count; ++m) x[m] += 0.0F;
}

}  // namespace seqkv::codec
