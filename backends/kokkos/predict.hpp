// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Predictive coding beside its matrix products, portable: a thread a row, a head of a slot, or a block. What they do
/// is in src/codec/predict/steps.hpp.
#pragma once

#include <Kokkos_Core.hpp>

#include "codec/predict/steps.hpp"
#include "seqkv/kv.hpp"

namespace seqkv::kokkos {

/// The constant 1 and what the profile knows of a token, in the first columns of its row.
struct StartRow {
  float* features;
  std::int64_t ld_features;
  const Token* tokens;
  const float* table;  ///< [vocabulary][width]
  std::int64_t vocabulary, width;

  KOKKOS_FUNCTION void operator()(const std::int64_t row) const {
    float* out = features + row * ld_features;
    out[0] = 1.0F;
    const bool known = tokens[row] < vocabulary;
    for (std::int64_t i = 0; i < width; ++i) out[1 + i] = known ? table[tokens[row] * width + i] : 0.0F;
  }
};

// Structs, not lambdas: several sources run them (codec/batch.hpp).
struct GradeRow {
  codec::PredictiveStep step;
  KOKKOS_FUNCTION void operator()(const std::int64_t row) const { codec::grade_row(step, row); }
};
struct OrderBlock {
  codec::PredictiveStep step;
  KOKKOS_FUNCTION void operator()(const std::int64_t block) const { codec::order_block(step, block); }
};
struct ResidualHead {
  codec::PredictiveStep step;
  KOKKOS_FUNCTION void operator()(const std::int64_t i) const {
    codec::residual_head(step, i / step.heads, i % step.heads);
  }
};
struct PackBlock {
  codec::PredictiveStep step;
  KOKKOS_FUNCTION void operator()(const std::int64_t block) const { codec::pack_block(step, block); }
};
struct ClosePayload {
  codec::PredictiveStep step;
  KOKKOS_FUNCTION void operator()(const std::int64_t block) const { codec::close_payload(step, block); }
};
struct OpenPayload {
  codec::PredictiveStep step;
  KOKKOS_FUNCTION void operator()(const std::int64_t block) const { codec::open_payload(step, block); }
};
struct UnpackBlock {
  codec::PredictiveStep step;
  KOKKOS_FUNCTION void operator()(const std::int64_t block) const { codec::unpack_block(step, block); }
};
struct RestoreHead {
  codec::PredictiveStep step;
  KOKKOS_FUNCTION void operator()(const std::int64_t i) const {
    codec::restore_head(step, i / step.heads, i % step.heads);
  }
};

}  // namespace seqkv::kokkos
