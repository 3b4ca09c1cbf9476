// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Text files, plain or compressed (.xz, .zst), and JSON lines.
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "seqkv/result.hpp"

namespace seqkv::io {

/// The whole text, decompressed by suffix. Errors: file_not_found, io, bad_format (a broken archive),
/// limit_exceeded (more than limits::max_text_bytes come out, or an archive whose decoder takes too much memory).
Result<std::string> read_text(const std::filesystem::path& path);

/// `text` for a message: what is not printable ASCII becomes '?', and a long text is cut.
std::string printable(std::string_view text);

/// Byte offset of the first byte that is not UTF-8 (overlong forms, surrogates and numbers above U+10FFFF
/// included), or -1.
std::int64_t find_invalid_utf8(std::string_view text) noexcept;

/// Calls `visit(line number from 1, document)` for every line that is not blank; a member named twice, an error
/// of the parser or of `visit` ends the loop and carries the line; offsets count from the beginning of the text.
Result<void> for_each_json_line(const std::filesystem::path& path,
                                const std::function<Result<void>(std::int64_t, const nlohmann::json&)>& visit);

}  // namespace seqkv::io
