// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "io/json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>
#include <vector>

#include "core/try.hpp"
#include "io/file.hpp"
#include "io/text.hpp"
#include "seqkv/limits.hpp"

namespace seqkv::io {

Result<nlohmann::json> parse_json(std::string_view text, Duplicates duplicates) {
  constexpr int max_depth = 64;
  bool too_deep = false;
  std::vector<std::set<std::string>> names(max_depth + 1);  // of the open object at each depth
  std::optional<std::string> twice;
  // The parser takes a zero byte for the end of the text and would not look behind it.
  if (const auto zero = text.find('\0'); zero != std::string_view::npos) {
    return Error(ErrorCode::bad_format, "a zero byte in JSON").at_byte(static_cast<std::int64_t>(zero));
  }
  try {
    using Event = nlohmann::json::parse_event_t;
    auto document = nlohmann::json::parse(text, [&](int depth, Event event, nlohmann::json& parsed) {
      const bool opens = event == Event::array_start || event == Event::object_start;
      too_deep = too_deep || (opens && depth >= max_depth);
      if (too_deep) return false;
      if (duplicates == Duplicates::refused) {
        if (event == Event::object_start) names[static_cast<std::size_t>(depth) + 1].clear();
        if (event == Event::key && !names[static_cast<std::size_t>(depth)].insert(parsed.get<std::string>()).second) {
          twice = parsed.get<std::string>();
        }
      }
      return true;
    });
    if (too_deep) return Error(ErrorCode::limit_exceeded, "JSON nested deeper than 64 levels");
    if (twice) return Error(ErrorCode::bad_format, fmt::format("'{}' appears twice in one object", printable(*twice)));
    return document;
  } catch (const nlohmann::json::parse_error& problem) {
    // Its byte counts those read, so that the last one of them is the problem.
    const auto byte = static_cast<std::int64_t>(problem.byte);
    return Error(ErrorCode::bad_format, printable(problem.what())).at_byte(std::max<std::int64_t>(byte - 1, 0));
  } catch (const nlohmann::json::exception& problem) {
    return Error(ErrorCode::bad_format, printable(problem.what()));  // a number that no double holds
  }
}

Result<nlohmann::json> read_json(const std::filesystem::path& path) {
  SEQKV_ASSIGN(const std::string text, read_file(path, limits::max_json_bytes));
  auto document = parse_json(text);
  if (!document) return std::move(document).error().in_file(path.string());
  return document;
}

}  // namespace seqkv::io
