// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Files of sampled tokens, one a chunk of text: for each sub-block (layer, kind) the values of the first token and of
/// the sampled ones in f32, keys turned back to position 0, then the draws of their gradients in bf16.
#pragma once

#include <filesystem>

#include "calibrate/plan.hpp"
#include "calibrate/products.hpp"

namespace seqkv::calibration {

/// Sizes of a chunk's file.
struct SampleLayout {
  std::int64_t width, rows, draws, subblocks;

  explicit SampleLayout(const Plan& plan)
      : width(plan.width()), rows(plan.rows_of_chunk), draws(plan.draws), subblocks(plan.subblocks()) {}
  std::int64_t values() const { return (rows + 1) * width * 4; }       ///< bytes of values of a sub-block
  std::int64_t gradients() const { return draws * rows * width * 2; }  ///< bytes behind them
  std::int64_t subblock() const { return values() + gradients(); }
  std::int64_t file() const { return subblocks * subblock(); }
  std::int64_t pair_subblock() const { return 2 * rows * width * 4; }
  std::int64_t pair_file() const { return subblocks * pair_subblock(); }
};

std::filesystem::path sample_file(const std::filesystem::path& folder, std::int64_t chunk);

/// All rows of one sub-block.
struct Samples {
  Floats values;                  ///< [rows][width]
  std::vector<Floats> gradients;  ///< [draws] of the same
  std::vector<float> first_row;   ///< [width]: what stands at position 0
};

/// The same of pairs: values alone, in both contexts.
std::filesystem::path pair_file(const std::filesystem::path& folder, std::int64_t pair);
struct PairSamples {
  Floats predicted;  ///< [rows][width]
  Floats source;
};
Result<PairSamples> read_pairs(const Plan& plan, const std::filesystem::path& folder, std::int64_t subblock);

/// Errors: file_not_found, io, truncated.
Result<Samples> read_samples(const Plan& plan, const std::filesystem::path& folder, std::int64_t subblock);

}  // namespace seqkv::calibration
