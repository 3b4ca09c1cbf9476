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

/// Of two members of one name the last counts, as for most parsers; or they are an error.
enum class Duplicates { last_counts, refused };

/// Errors: bad_format with the byte of the problem, or the name of a duplicate; limit_exceeded (too deep).
Result<nlohmann::json> parse_json(std::string_view text, Duplicates duplicates = Duplicates::last_counts);

/// Errors: those of read_file and parse_json, with the file's name.
Result<nlohmann::json> read_json(const std::filesystem::path& path);

}  // namespace seqkv::io
