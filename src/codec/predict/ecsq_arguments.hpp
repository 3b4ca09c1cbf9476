// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Residuals by transform, uniform quantizer and entropy coder: what the kernels know. No Kokkos here. The maths and
/// the format are in spec.md.
///
/// Slots are rows in the order in which a block codes them, the most important first, each block's rounded up to whole
/// tiles. A tile is 8 slots by 4 coefficients: the run of symbols that one table codes. State k of the entropy coder
/// takes the four numbers of slot k.
#pragma once

#include "codec/entropy/symbols.hpp"
#include "codec/predict/arguments.hpp"
#include "codec/quantize/quantizer.hpp"

namespace seqkv::codec {

inline constexpr std::int64_t tile_slots = rans::lanes;
inline constexpr std::int64_t tile_coefficients = rans::group / rans::lanes;

/// Groups of slots, and slots, that a block has room for.
SEQKV_INLINE std::int64_t slot_groups(const BlockGrid& grid) {
  return (grid.block_tokens + tile_slots - 1) / tile_slots + grid.extra_groups;
}
SEQKV_INLINE std::int64_t block_slots(const BlockGrid& grid) { return slot_groups(grid) * tile_slots; }

/// Coefficients' scales and steps are in this part of an octave; tables are four times as coarse.
inline constexpr int scale_parts = 16;
inline constexpr int scales_of_table = 4;

struct EcsqStep : PredictiveStep {
  std::int32_t* order = nullptr;        ///< [blocks][slots]: the row of a slot, -1 behind the last
  std::int32_t* group_grade = nullptr;  ///< [blocks][groups]: mean grade in 1/16
  float* residuals = nullptr;           ///< [blocks * slots][ld_residuals]
  std::int64_t ld_residuals = 0;
  std::int16_t* numbers = nullptr;  ///< [coefficients][blocks * slots]
  std::uint8_t* symbols = nullptr;  ///< [blocks][coefficients * slots]
  std::uint8_t* classes = nullptr;  ///< [blocks][runs]
  SymbolBlock* coded = nullptr;     ///< [blocks]
  std::int32_t scale_of_step = 0;   ///< log2 of the step, in 1/16
  std::int32_t least_class = 0;     ///< of the first table, in 1/4 octave
  std::int32_t tables = 0;

  SEQKV_INLINE std::int64_t groups() const { return slot_groups(grid); }
  SEQKV_INLINE std::int64_t groups_of(std::int64_t block) const { return block_kinds[block].groups; }
  /// Of a group of slots; those behind the last are of the kind of the last.
  SEQKV_INLINE const PredictiveModel& model_of(std::int64_t block, std::int64_t group) const {
    return block_kinds[block].refers != 0 && group >= block_kinds[block].fresh_groups ? reference : model;
  }
  SEQKV_INLINE std::int64_t slots() const { return block_slots(grid); }
  SEQKV_INLINE std::int64_t all_slots() const { return grid.blocks * slots(); }
  SEQKV_INLINE std::int64_t quads() const {
    const std::int64_t most = model.coefficients > reference.coefficients ? model.coefficients : reference.coefficients;
    return most / tile_coefficients;
  }
  SEQKV_INLINE std::int64_t runs() const { return quads() * groups(); }
};

/// What a sub-block may choose: tables some finer or coarser than its classes say.
inline constexpr int least_choice = -4;
inline constexpr int choices = 9;

/// Layout of a payload: u16 count of large numbers and a flag, u16 for each of them (what is above symbol 255), symbol
/// block.
inline constexpr std::int64_t most_large = 4096;
inline constexpr unsigned large_symbol = 255;
inline constexpr std::uint32_t referring_flag = 1U << 15U;  ///< in the count: the sub-block's rows use their reference

/// 0, -1, 1, -2, 2, ... as 0, 1, 2, 3, 4, ...
SEQKV_INLINE unsigned zigzag(std::int16_t number) {
  return (static_cast<unsigned>(number) << 1U ^ static_cast<unsigned>(number >> 15)) & 0xffffU;
}
SEQKV_INLINE std::int16_t unzigzag(unsigned symbol) {
  return static_cast<std::int16_t>(symbol >> 1U ^ (0U - (symbol & 1U)));
}

/// Table of a tile in the family: for the scale of its numbers, which is that of its coefficients, of its group of
/// slots and of the step. Below 0 nothing of it is coded. Shifts of negative numbers round down.
SEQKV_INLINE int class_of_tile(const EcsqStep& step, const PredictiveModel& model, std::int64_t quad,
                               std::int32_t group_grade) {
  const std::int16_t* scales = model.scales + quad * tile_coefficients;
  const std::int32_t scale = (scales[0] + scales[1] + scales[2] + scales[3] + 2) >> 2;
  const std::int32_t moved = (model.slope * group_grade + 1024) >> 11;
  return ((scale + moved - step.scale_of_step + scales_of_table / 2) >> 2) - step.least_class;
}

}  // namespace seqkv::codec
