// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// JSON documents of bounded size and depth.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "seqkv/result.hpp"

namespace seqkv::io {

/// Errors: bad_format with the byte of the problem.
Result<nlohmann::json> parse_json(std::string_view text);

/// Errors: those of read_file and parse_json, with the file's name.
Result<nlohmann::json> read_json(const std::filesystem::path& path);

}  // namespace seqkv::io
