// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Predictive coding beside its matrix products, portable: a thread a row or a head of a row. What they do is in
/// src/codec/predict/steps.hpp.
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

/// Columns [from, from + count) of a row move to `to`, which is before them.
struct MoveColumns {
  float* features;
  std::int64_t ld_features, from, to, count;

  KOKKOS_FUNCTION void operator()(const std::int64_t row) const {
    float* x = features + row * ld_features;
    for (std::int64_t i = 0; i < count; ++i) x[to + i] = x[from + i];
  }
};

/// What references say of rows, in blocks that use them.
struct PlaceReference {
  codec::PredictiveStep step;
  const std::int32_t* rows;
  const float* values;  ///< [rows][width]

  KOKKOS_FUNCTION void operator()(const std::int64_t i) const {
    const std::int64_t row = rows[i];
    if (step.block_kinds[step.block_of(row)].refers == 0) return;
    float* out = step.predicted + row * step.ld_predicted;
    for (std::int64_t k = 0; k < step.model.width; ++k) out[k] = values[i * step.model.width + k];
  }
};

// Structs, not lambdas: several sources run them (codec/batch.hpp).
struct GradeRow {
  codec::PredictiveStep step;
  KOKKOS_FUNCTION void operator()(const std::int64_t row) const { codec::grade_row(step, row); }
};

/// Residuals as they are, as a cache of floats of its own: [block][head][token][component].
struct ResidualRow {
  codec::PredictiveStep step;
  float* residuals;

  KOKKOS_FUNCTION float* at(std::int64_t row, std::int64_t head) const {
    const std::int64_t block = step.block_of(row);
    const codec::Task& task = step.tasks[block];
    return residuals + block * step.grid.block_tokens * step.model.width + codec::head_at(step, task, row, head);
  }
  KOKKOS_FUNCTION void operator()(const std::int64_t i) const {
    const std::int64_t row = i / step.heads;
    const std::int64_t head = i % step.heads;
    codec::residual_head(step, row, head, 1.0F, at(row, head));
  }
};
struct RestoreRow : ResidualRow {
  KOKKOS_FUNCTION void operator()(const std::int64_t i) const {
    const std::int64_t row = i / step.heads;
    const std::int64_t head = i % step.heads;
    codec::restore_head(step, row, head, at(row, head), 1.0F);
  }
};

/// Sizes of payloads, before others take their place.
struct KeepSize {
  const codec::Task* tasks;
  std::int64_t* sizes;
  KOKKOS_FUNCTION void operator()(const std::int64_t block) const { sizes[block] = tasks[block].bytes; }
};

/// Tasks of the residuals that ResidualRow makes, for the kernels of caches.
struct ResidualTask {
  codec::PredictiveStep step;
  float* residuals;
  codec::Task* tasks;  ///< [blocks]
  std::uint64_t number;

  KOKKOS_FUNCTION void operator()(const std::int64_t block) const {
    codec::Task task = step.tasks[block];
    task.subblock.dtype = DType::f32;
    task.subblock.is_key = false;  // they have been turned back
    task.number = number;
    task.values = reinterpret_cast<std::byte*>(residuals + block * step.grid.block_tokens * step.model.width);
    step.status[block] = task.raw ? codec::block_status::raw : codec::block_status::good;
    if (task.raw) {
      codec::copy_raw(step.tasks[block]);
      task.bytes = 0;
    }
    tasks[block] = task;
  }
};

/// What has been coded of residuals becomes what has been coded of the values, or they are stored raw.
struct CloseResiduals {
  codec::PredictiveStep step;
  codec::Task* tasks;

  KOKKOS_FUNCTION void operator()(const std::int64_t block) const {
    codec::Task& residuals = tasks[block];
    codec::Task& values = step.tasks[block];
    const bool codable = residuals.bytes != codec::not_codable && residuals.bytes < codec::raw_bytes_of(values);
    step.status[block] = codable ? codec::block_status::good : codec::block_status::raw;
    values.bytes = codable ? residuals.bytes : codec::not_codable;
    residuals.raw = !codable;
    if (!codable) residuals.bytes = 0;
  }
};

/// Broken payloads are noted; what is above them is not to read memory that nobody has written.
struct CheckResiduals {
  codec::PredictiveStep step;
  codec::Task* tasks;

  KOKKOS_FUNCTION void operator()(const std::int64_t block) const {
    if (tasks[block].bytes != codec::not_codable) return;
    step.status[block] = codec::block_status::broken;
    step.tasks[block].bytes = codec::not_codable;
    auto* residuals = reinterpret_cast<float*>(tasks[block].values);
    for (std::int64_t i = 0; i < tasks[block].subblock.values(); ++i) residuals[i] = 0.0F;
  }
};

}  // namespace seqkv::kokkos
