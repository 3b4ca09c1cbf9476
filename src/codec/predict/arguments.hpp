// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Predictive coding of one sub-block (layer, kind) of several blocks: what the kernels know of the prediction. No
/// Kokkos here. The maths and the format are in spec.md. Rows are tokens, counted over the blocks of a batch.
#pragma once

#include <cstdint>

#include "codec/subblock.hpp"

namespace seqkv::codec {

/// How tokens lie in blocks; all blocks have the same size but the last of a batch.
struct BlockGrid {
  std::int64_t block_tokens = 0;  ///< of all blocks but the last
  std::int64_t tokens = 0;        ///< of all blocks
  std::int64_t blocks = 0;
  std::int64_t extra_groups = 0;  ///< of slots, in each block: 1 where its rows may be of two kinds

  SEQKV_INLINE std::int64_t tokens_of(std::int64_t block) const {
    return block + 1 < blocks ? block_tokens : tokens - block * block_tokens;
  }
};

/// Importance of a token: its residual is multiplied by g = 2^(grade / 8) before it is quantized.
inline constexpr int most_grade = 64;
inline constexpr int grades = 2 * most_grade + 1;
inline constexpr int grades_of_octave = 8;

/// Knots of the dependence on the distance to the end of the block, 2^0, 2^1, ...
inline constexpr int distance_knots = 24;

/// What the profile says of a sub-block, in memory of the kernel; matrices are elsewhere.
struct PredictiveModel {
  std::int64_t width = 0;                ///< kv_heads * head_dim
  std::int64_t coefficients = 0;         ///< a multiple of tile_coefficients
  float knots[distance_knots];           ///< added to log2 of the weight where so many tokens follow in the block
  const std::int16_t* scales = nullptr;  ///< [coefficients]: log2 of the standard deviation, in 1/16
  std::int32_t slope = 0;  ///< how the scale of residuals grows with the grade, in 1/256 of an octave per octave
  const float* first_row = nullptr;  ///< [width]: what stands at position 0 of sequences with the usual first token
};

/// How the slots of a block are divided: groups of tokens that are predicted without a reference come first.
struct BlockKinds {
  std::int32_t groups = 0;        ///< that have tokens
  std::int32_t fresh_groups = 0;  ///< of these, without a reference
  std::int32_t refers = 0;        ///< whether rows that have a reference are predicted with it
};

/// One sub-block of every block of a batch, predicted.
struct PredictiveStep {
  BlockGrid grid;
  PredictiveModel model;
  PredictiveModel reference;                ///< of rows that are predicted with a reference
  const std::uint8_t* referring = nullptr;  ///< [tokens]: rows that have one; null: none of all
  const BlockKinds* block_kinds = nullptr;  ///< [blocks]
  std::int64_t heads = 1;
  Task* tasks = nullptr;                 ///< [blocks]
  std::byte* const* restored = nullptr;  ///< [blocks]: where restored values go; null: where the tasks say
  std::uint8_t* status = nullptr;        ///< [blocks]: block_status
  // Rotary embedding of keys; null for values.
  const float* cosine = nullptr;  ///< [tokens][rope_pairs]
  const float* sine = nullptr;
  std::int64_t rope_pairs = 0;

  float* features = nullptr;  ///< [tokens][ld_features]; what is decoded goes to `column`
  std::int64_t ld_features = 0;
  std::int64_t column = 0;
  float* predicted = nullptr;  ///< [tokens][ld_predicted]: width predictions, then log2 of the weight g
  std::int64_t ld_predicted = 0;
  bool has_first_token = false;  ///< the batch starts with the usual first token at position 0
  std::int8_t* grade = nullptr;  ///< [tokens]

  SEQKV_INLINE std::int64_t block_of(std::int64_t row) const { return row / grid.block_tokens; }
};

namespace block_status {
inline constexpr std::uint8_t good = 0;
inline constexpr std::uint8_t raw = 1;     ///< not codable, or not smaller
inline constexpr std::uint8_t broken = 2;  ///< bytes that no encoder writes
}  // namespace block_status

}  // namespace seqkv::codec
