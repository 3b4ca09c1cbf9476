// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Text files, plain or compressed (.xz, .zst).
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "seqkv/result.hpp"

namespace seqkv {

/// The whole text. Errors: file_not_found, io, bad_format (a broken archive), limit_exceeded, not_utf8.
Result<std::string> read_text_file(const std::filesystem::path& path);

/// The documents of a file: of .jsonl (with or without .xz, .zst) the "text" of every line, else the file itself.
/// Errors: those of read_text_file; bad_format and missing_field with the line; empty_input.
Result<std::vector<std::string>> read_documents(const std::filesystem::path& path);

/// Writes {"text": ...} lines; the file appears whole or not at all. Bytes that are not UTF-8 become U+FFFD.
Result<void> write_documents(const std::filesystem::path& path, const std::vector<std::string>& documents);

}  // namespace seqkv
