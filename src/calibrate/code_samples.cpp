// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "calibrate/code_samples.hpp"

#include <algorithm>
#include <cmath>

#include "codec/predict/arguments.hpp"
#include "core/detmath.hpp"

namespace seqkv::calibration {
namespace {

/// Steps for which symbols are counted, as the fit is used for them.
struct CountedStep {
  float step;
  std::int32_t scale;  ///< log2 of it in 1/16
};
constexpr CountedStep counted_steps[] = {{0.25F, -32}, {0.5F, -16}, {1.0F, 0}, {2.0F, 16}};

}  // namespace

/// The coefficients of a token as they are restored, and its symbols.
void SampleCoder::code_row(const SampledCoefficients& coefficients, std::int64_t row, float* restored,
                           SymbolCounts::Tables& counts) const {
  const auto at = static_cast<std::size_t>(row);
  const float log_weight = coefficients.log_weight[at];
  const float weight = detmath::exp2(log_weight);
  const float* z = coefficients.values.row(row);
  const auto moved =
      static_cast<std::int32_t>(std::floor(coefficients.slope / 256.0 * codec::scale_parts * log_weight + 0.5));
  for (std::int64_t c = 0; c < coefficients.values.columns; ++c) {
    const std::int16_t* scales = &coefficients.scales[static_cast<std::size_t>(c - c % codec::tile_coefficients)];
    const std::int32_t scale = ((scales[0] + scales[1] + scales[2] + scales[3] + 2) >> 2) + moved;
    restored[c] = 0;
    for (const CountedStep& step : counted_steps) {
      const std::int32_t table = ((scale - step.scale + codec::scales_of_table / 2) >> 2) - least_class;
      if (table < 0) continue;
      constexpr float largest = 32767;
      const float number = std::nearbyint(std::clamp(z[c] * weight / step.step, -largest, largest));
      const auto symbol = std::min(codec::zigzag(static_cast<std::int16_t>(number)), codec::large_symbol);
      counts[static_cast<std::size_t>(std::min(table, tables - 1))][symbol] += weights_[at];
      if (step.scale == 0) restored[c] = number / weight;
    }
  }
}

Floats SampleCoder::code(const SampledCoefficients& coefficients) {
  Floats restored(coefficients.values.rows, coefficients.values.columns);
  counts_.add(restored.rows, [&](std::int64_t first, std::int64_t last, SymbolCounts::Tables& counts) {
    for (std::int64_t r = first; r < last; ++r) code_row(coefficients, r, restored.row(r), counts);
  });
  return restored;
}

std::vector<codec::Frequencies> SampleCoder::make_tables() const {
  return counts_.make_tables(codec::TableFamily::of_scales(tables, detmath::exp2(least_class / 4.0),
                                                           detmath::exp2((least_class + tables - 1) / 4.0)));
}

}  // namespace seqkv::calibration
