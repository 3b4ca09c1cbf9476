// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Residuals without loss: what the kernels know. No Kokkos here. The maths and the format are in lossless.md.
#pragma once

#include "codec/entropy/symbols.hpp"
#include "codec/predict/arguments.hpp"
#include "core/gemm.hpp"

namespace seqkv::codec {

/// A bin is 2^k with 4 * 2^k <= scale < 8 * 2^k. Classes are quarter octaves of scale in bins, or in distances of
/// neighboring numbers where these are larger; the last table is that of the largest class.
inline constexpr int log2_bins_of_scale = 2;
inline constexpr int largest_lossless_class = 4 * (log2_bins_of_scale + 1) - 1;
/// Tables that calibration makes: from 2^-6 on.
inline constexpr int lossless_tables = 24 + largest_lossless_class + 1;
/// Scales are log2 in 1/16.
inline constexpr int most_lossless_scale = 2000;

/// Symbols from here on are one, and the number stands in a list.
inline constexpr unsigned listed_symbol = 255;

/// Layout of a payload: u32 listed numbers, u32 bytes of places, the places, the numbers, symbol block.
inline constexpr std::int64_t lossless_head_bytes = 8;

struct LosslessStep : PredictiveStep {
  const std::int16_t* scales = nullptr;  ///< [width]: log2 of the standard deviation, in 1/16
  kernels::PackedMatrix within{};        ///< [width][width]: of what comes before, zeros elsewhere
  float* residuals = nullptr;            ///< [tokens][ld_residuals]
  float* corrections = nullptr;          ///< [tokens][ld_residuals]: what the residuals say of this sub-block
  std::int64_t ld_residuals = 0;
  bool has_below = false;           ///< corrections from the sub-block below are there
  float* columns = nullptr;         ///< [blocks][width][block_tokens]: residuals again; for decoding
  std::uint8_t* symbols = nullptr;  ///< [blocks][runs * rans::group]
  std::uint8_t* classes = nullptr;  ///< [blocks][runs]
  SymbolBlock* coded = nullptr;     ///< [blocks]
  std::int32_t tables = 0;

  SEQKV_INLINE std::int64_t runs_of(std::int64_t tokens) const {
    return (model.width * tokens + rans::group - 1) / rans::group;
  }
  SEQKV_INLINE std::int64_t runs() const { return runs_of(grid.block_tokens); }
};

}  // namespace seqkv::codec
