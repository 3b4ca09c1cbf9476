// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The file of a profile (docs/profile.md).
#pragma once

#include <filesystem>

#include "calibrate/fit.hpp"

namespace seqkv::calibration {

/// All of a profile but its curve.
struct Contents {
  Stored tokens;  ///< [vocabulary][token_width]
  std::int64_t vocabulary = 0;
  std::vector<Fitted> subblocks;
  std::vector<codec::Frequencies> tables;
  std::vector<codec::Frequencies> lossless_tables;
};

/// Errors: io, disk_full.
Result<void> write_profile(const std::filesystem::path& path, const Plan& plan, const Digest& model,
                           const Contents& contents, const std::vector<RatePoint>& curve);

}  // namespace seqkv::calibration
