// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Token files: .npy (one-dimensional, 32- or 64-bit integers), .json (one array), .jsonl (an array a line), or
/// the `input_ids` of a .safetensors file.
#pragma once

#include <filesystem>
#include <vector>

#include "seqkv/kv.hpp"

namespace seqkv {

/// All sequences of the file; one for every format but .jsonl.
/// Errors: file_not_found, io, bad_format (with line or byte), unsupported (another suffix), token_out_of_range
/// (negative or above 2^31 - 1), empty_input (no sequence, or an empty one).
Result<std::vector<std::vector<Token>>> read_token_file(const std::filesystem::path& path);

/// Writes .npy (int32), .json or .jsonl by the suffix; .npy and .json take exactly one sequence.
/// Errors: unsupported (another suffix), invalid_argument, token_out_of_range, io, disk_full.
Result<void> write_token_file(const std::filesystem::path& path, const std::vector<std::vector<Token>>& sequences);

}  // namespace seqkv
