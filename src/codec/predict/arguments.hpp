// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Predictive coding of one sub-block (layer, kind) of several blocks: what the kernels know. No Kokkos here. The maths
/// and the format are in spec.md.
///
/// Rows are tokens, counted over the blocks of a batch. Slots are rows in the order in which a block codes them, the
/// most important first, each block's rounded up to whole tiles. A tile is 8 slots by 4 coefficients: the run of
/// symbols that one table codes. State k of the entropy coder takes the four numbers of slot k.
#pragma once

#include <cstdint>

#include "codec/entropy/symbols.hpp"
#include "codec/quantize/quantizer.hpp"
#include "codec/subblock.hpp"

namespace seqkv::codec {

inline constexpr std::int64_t tile_slots = rans::lanes;
inline constexpr std::int64_t tile_coefficients = rans::group / rans::lanes;

/// How tokens lie in blocks; all blocks have the same size but the last of a batch.
struct BlockGrid {
  std::int64_t block_tokens = 0;  ///< of all blocks but the last
  std::int64_t tokens = 0;        ///< of all blocks
  std::int64_t blocks = 0;

  SEQKV_INLINE std::int64_t tokens_of(std::int64_t block) const {
    return block + 1 < blocks ? block_tokens : tokens - block * block_tokens;
  }
  /// Groups of slots, and slots, that a block has room for.
  SEQKV_INLINE std::int64_t groups() const { return (block_tokens + tile_slots - 1) / tile_slots; }
  SEQKV_INLINE std::int64_t slots() const { return groups() * tile_slots; }
  SEQKV_INLINE std::int64_t groups_of(std::int64_t block) const {
    return (tokens_of(block) + tile_slots - 1) / tile_slots;
  }
};

/// Importance of a token: its residual is multiplied by g = 2^(grade / 8) before it is quantized.
inline constexpr int most_grade = 64;
inline constexpr int grades = 2 * most_grade + 1;
inline constexpr int grades_of_octave = 8;

/// Knots of the dependence on the distance to the end of the block, 2^0, 2^1, ...
inline constexpr int distance_knots = 24;

/// Coefficients' scales and steps are in this part of an octave; tables are four times as coarse.
inline constexpr int scale_parts = 16;
inline constexpr int scales_of_table = 4;

/// What the profile says of a sub-block, in memory of the kernel; matrices are elsewhere.
struct PredictiveModel {
  std::int64_t width = 0;                ///< kv_heads * head_dim
  std::int64_t coefficients = 0;         ///< a multiple of tile_coefficients
  float knots[distance_knots];           ///< added to log2 of the weight where so many tokens follow in the block
  const std::int16_t* scales = nullptr;  ///< [coefficients]: log2 of the standard deviation, in 1/16
  std::int32_t slope = 0;  ///< how the scale of residuals grows with the grade, in 1/256 of an octave per octave
  const float* first_row = nullptr;  ///< [width]: what stands at position 0 of sequences with the usual first token
};

/// One sub-block of every block of a batch.
struct PredictiveStep {
  BlockGrid grid;
  PredictiveModel model;
  std::int64_t heads = 1;
  Task* tasks = nullptr;                 ///< [blocks]
  std::byte* const* restored = nullptr;  ///< [blocks]: where restored values go; null: where the tasks say
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

  std::int8_t* grade = nullptr;         ///< [tokens]
  std::int32_t* order = nullptr;        ///< [blocks][slots]: the row of a slot, -1 behind the last
  std::int32_t* group_grade = nullptr;  ///< [blocks][groups]: mean grade in 1/16
  float* residuals = nullptr;           ///< [blocks * slots][ld_residuals]
  std::int64_t ld_residuals = 0;
  std::int16_t* numbers = nullptr;  ///< [coefficients][blocks * slots]
  std::uint8_t* symbols = nullptr;  ///< [blocks][coefficients * slots]
  std::uint8_t* classes = nullptr;  ///< [blocks][runs]
  SymbolBlock* coded = nullptr;     ///< [blocks]
  std::uint8_t* status = nullptr;   ///< [blocks]: block_status
  std::int32_t scale_of_step = 0;   ///< log2 of the step, in 1/16
  std::int32_t least_class = 0;     ///< of the first table, in 1/4 octave
  std::int32_t tables = 0;

  SEQKV_INLINE std::int64_t all_slots() const { return grid.blocks * grid.slots(); }
  SEQKV_INLINE std::int64_t quads() const { return model.coefficients / tile_coefficients; }
  SEQKV_INLINE std::int64_t runs() const { return quads() * grid.groups(); }
};

namespace block_status {
inline constexpr std::uint8_t good = 0;
inline constexpr std::uint8_t raw = 1;     ///< not codable, or not smaller
inline constexpr std::uint8_t broken = 2;  ///< bytes that no encoder writes
}  // namespace block_status

/// What a sub-block may choose: tables some finer or coarser than its classes say.
inline constexpr int least_choice = -4;
inline constexpr int choices = 9;

/// Layout of a payload: u16 count of large numbers, u16 for each of them (what is above symbol 255), symbol block.
inline constexpr std::int64_t most_large = 4096;
inline constexpr unsigned large_symbol = 255;

/// 0, -1, 1, -2, 2, ... as 0, 1, 2, 3, 4, ...
SEQKV_INLINE unsigned zigzag(std::int16_t number) {
  return (static_cast<unsigned>(number) << 1U ^ static_cast<unsigned>(number >> 15)) & 0xffffU;
}
SEQKV_INLINE std::int16_t unzigzag(unsigned symbol) {
  return static_cast<std::int16_t>(symbol >> 1U ^ (0U - (symbol & 1U)));
}

/// Table of a tile in the family: for the scale of its numbers, which is that of its coefficients, of its group of
/// slots and of the step. Below 0 nothing of it is coded. Shifts of negative numbers round down.
SEQKV_INLINE int class_of_tile(const PredictiveStep& step, std::int64_t quad, std::int32_t group_grade) {
  const std::int16_t* scales = step.model.scales + quad * tile_coefficients;
  const std::int32_t scale = (scales[0] + scales[1] + scales[2] + scales[3] + 2) >> 2;
  const std::int32_t moved = (step.model.slope * group_grade + 1024) >> 11;
  return ((scale + moved - step.scale_of_step + scales_of_table / 2) >> 2) - step.least_class;
}

}  // namespace seqkv::codec
