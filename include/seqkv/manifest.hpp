// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Manifests: the sessions of a batch, one JSON object a line.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "seqkv/kv.hpp"

namespace seqkv {

/// One line of a manifest: a name, and one source of its tokens.
struct ManifestLine {
  std::int64_t line = 0;  ///< from 1
  std::string session;
  std::optional<std::string> text;
  std::filesystem::path text_file;  ///< empty if none
  std::vector<Token> tokens;
  std::filesystem::path kv;  ///< a KV file of another engine; empty if none
};

/// Reads a JSON-lines manifest (DESIGN 6). Relative paths are taken from the manifest's folder, then from the
/// current one. Errors: file_not_found, bad_format and the like with the line, empty_input.
Result<std::vector<ManifestLine>> read_manifest(const std::filesystem::path& path);

}  // namespace seqkv
