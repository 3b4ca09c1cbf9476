// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/manifest.hpp"

#include <fmt/format.h>

#include <array>
#include <set>

#include "core/try.hpp"
#include "io/text.hpp"

namespace seqkv {
namespace {

using nlohmann::json;

Error bad(const std::string& what) { return Error(ErrorCode::bad_format, what); }

std::filesystem::path resolve(const std::filesystem::path& folder, const std::string& name) {
  const std::filesystem::path path(name);
  if (path.is_absolute()) return path;
  std::error_code problem;
  return std::filesystem::exists(folder / path, problem) ? folder / path : path;
}

Result<ManifestLine> parse_line(const json& object, const std::filesystem::path& folder) {
  static constexpr std::array<const char*, 4> sources = {"text", "text_file", "tokens", "kv"};
  if (!object.is_object()) return bad("a JSON object is expected");
  ManifestLine line;
  int found = 0;
  for (const auto& [key, value] : object.items()) {
    if (key == "session") {
      if (!value.is_string() || value.get_ref<const std::string&>().empty()) return bad("'session' is not a name");
      line.session = value.get<std::string>();
    } else if (key == "tokens") {
      if (!value.is_array()) return bad("'tokens' is not an array");
      for (const json& token : value) {
        if (!token.is_number_unsigned() || token.get<std::uint64_t>() > INT32_MAX) {
          return Error(ErrorCode::token_out_of_range,
                       fmt::format("'tokens': entry {} is not a token id", line.tokens.size()));
        }
        line.tokens.push_back(token.get<Token>());
      }
      if (line.tokens.empty()) return Error(ErrorCode::empty_input, "'tokens' is empty");
      ++found;
    } else if (key == "text" || key == "text_file" || key == "kv") {
      if (!value.is_string()) return bad(fmt::format("'{}' is not a string", key));
      const auto text = value.get<std::string>();
      if (text.empty()) return Error(ErrorCode::empty_input, fmt::format("'{}' is empty", key));
      if (key == "text") line.text = text;
      if (key == "text_file") line.text_file = resolve(folder, text);
      if (key == "kv") line.kv = resolve(folder, text);
      ++found;
    } else {
      return bad(fmt::format("unknown key '{}' (session and one of {} are known)", key, fmt::join(sources, ", ")));
    }
  }
  if (line.session.empty()) return Error(ErrorCode::missing_field, "'session' is missing");
  if (found != 1)
    return bad(fmt::format("session '{}' needs exactly one of {}", line.session, fmt::join(sources, ", ")));
  return line;
}

}  // namespace

Result<std::vector<ManifestLine>> read_manifest(const std::filesystem::path& path) {
  std::vector<ManifestLine> lines;
  std::set<std::string> names;
  SEQKV_TRY(io::for_each_json_line(path, [&](std::int64_t number, const json& object) -> Result<void> {
    SEQKV_ASSIGN(ManifestLine line, parse_line(object, path.parent_path()));
    if (!names.insert(line.session).second) return bad(fmt::format("session '{}' appears twice", line.session));
    line.line = number;
    lines.push_back(std::move(line));
    return {};
  }));
  if (lines.empty()) return Error(ErrorCode::empty_input, "the manifest has no lines").in_file(path.string());
  return lines;
}

}  // namespace seqkv
