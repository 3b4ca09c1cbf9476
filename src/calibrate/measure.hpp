// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The curve of a profile: bits and KL at several steps, on documents that the fit has not seen.
#pragma once

#include <vector>

#include "calibrate/plan.hpp"
#include "seqkv/calibration_model.hpp"
#include "seqkv/profile.hpp"

namespace seqkv::calibration {

/// As evaluate measures them (DESIGN 7). `profile` is whole but for its curve.
/// Errors: shape_mismatch (logits), not_finite, those of the model, of encode and of decode.
template <class ExecutionSpace>
Result<std::vector<RatePoint>> measure(const ExecutionSpace& space, CalibrationModel& model, const Plan& plan,
                                       const std::shared_ptr<const Profile>& profile, const CalibrateOptions& options);

}  // namespace seqkv::calibration
