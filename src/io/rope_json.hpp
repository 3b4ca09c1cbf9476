// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Rotary position embedding as a JSON object, as metadata of files have it.
#pragma once

#include <string>

#include "seqkv/kv.hpp"

namespace seqkv::io {

std::string rope_to_json(const RopeConfig& rope);

/// Errors: bad_format, naming `field`.
Result<RopeConfig> rope_from_json(const std::string& text, const std::string& field);

}  // namespace seqkv::io
