// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Running the model over the chunks of a plan: caches and gradients of the sampled tokens, into files.
#pragma once

#include <filesystem>
#include <memory>

#include "calibrate/plan.hpp"

namespace seqkv::calibration {

/// Chunks whose file is there are left alone; returns how many.
/// Errors: interrupted, io, disk_full, not_finite, out_of_memory, those of Forward.
template <class ExecutionSpace>
Result<std::int64_t> collect(const ExecutionSpace& space, std::shared_ptr<const Model<ExecutionSpace>> model,
                             const Plan& plan, const CalibrateOptions& options, const std::filesystem::path& folder);

}  // namespace seqkv::calibration
