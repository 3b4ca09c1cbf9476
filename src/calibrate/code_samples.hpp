// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The sampled tokens coded as the codec will: what it restores, and how often each symbol occurs.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "calibrate/products.hpp"
#include "calibrate/symbol_counts.hpp"

namespace seqkv::calibration {

/// Tables for scales of 2^-5 to 2^7 steps, by quarter octaves.
inline constexpr std::int32_t least_class = -20;
inline constexpr int tables = 49;

/// Coefficients of a sub-block before they are weighted.
struct SampledCoefficients {
  const Floats& values;               ///< [rows][coefficients]
  std::span<const float> log_weight;  ///< log2 g by row
  std::span<const std::int16_t> scales;
  std::int32_t slope;
};

class SampleCoder {
 public:
  /// How much each row counts.
  explicit SampleCoder(std::vector<float> weights) : weights_(std::move(weights)), counts_(tables) {}

  /// Counts symbols at several steps; returns what is restored at a step of 1.
  Floats code(const SampledCoefficients& coefficients);

  /// For the symbols so far.
  std::vector<codec::Frequencies> make_tables() const;

 private:
  void code_row(const SampledCoefficients& coefficients, std::int64_t row, float* restored,
                SymbolCounts::Tables& counts) const;

  std::vector<float> weights_;
  SymbolCounts counts_;
};

}  // namespace seqkv::calibration
