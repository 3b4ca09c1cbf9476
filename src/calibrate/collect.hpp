// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Running the model over the chunks of a plan: caches and gradients of the sampled tokens, into files.
#pragma once

#include <filesystem>

#include "calibrate/plan.hpp"

namespace seqkv::calibration {

/// Chunks whose file is there are left alone; returns how many.
/// Errors: interrupted, io, disk_full, not_finite, out_of_memory, those of the model.
Result<std::int64_t> collect(CalibrationModel& model, const Plan& plan, const CalibrateOptions& options,
                             const std::filesystem::path& folder);

}  // namespace seqkv::calibration
