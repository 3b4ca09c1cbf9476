// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "cli/command.hpp"

namespace seqkv::cli {
namespace {

std::string cell(const Json& value) {
  if (value.is_null()) return "-";
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_number_float()) {
    const auto number = value.get<double>();
    const double magnitude = std::abs(number);
    if (number != 0 && (magnitude < 1e-3 || magnitude >= 1e6)) return fmt::format("{:.3g}", number);
    return fmt::format("{:.4g}", number);
  }
  return value.dump();
}

void print_table(const Json& rows) {
  if (rows.empty()) return;
  std::vector<std::string> names;
  for (const auto& [name, value] : rows[0].items()) names.push_back(name);
  std::vector<std::vector<std::string>> lines = {names};
  for (const auto& row : rows) {
    auto& line = lines.emplace_back();
    for (const auto& name : names) line.push_back(row.contains(name) ? cell(row[name]) : "-");
  }
  for (const auto& line : lines) {
    std::string text;
    for (std::size_t column = 0; column < names.size(); ++column) {
      std::size_t width = 0;
      for (const auto& other : lines) width = std::max(width, other[column].size());
      const bool left = rows[0][names[column]].is_string();
      text += left ? fmt::format("{:<{}}  ", line[column], width) : fmt::format("{:>{}}  ", line[column], width);
    }
    text.erase(text.find_last_not_of(' ') + 1);
    fmt::print("{}\n", text);
  }
}

void print_fields(const Json& object, const std::string& prefix) {
  for (const auto& [name, value] : object.items()) {
    if (name == "rows") continue;
    if (value.is_object()) {
      print_fields(value, prefix + name + ".");
    } else {
      fmt::print("{:<28} {}\n", prefix + name, cell(value));
    }
  }
}

}  // namespace

void print(const Options& options, const Json& result) {
  if (options.json) {
    fmt::print("{}\n", result.dump(2, ' ', false, Json::error_handler_t::replace));
    return;
  }
  if (result.contains("rows")) print_table(result["rows"]);
  print_fields(result, "");
}

void say(const Options& options, const std::string& line) {
  if (!options.quiet) fmt::print(stderr, "{}\n", line);
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

Progress::Progress(const Options& options, std::string label)
    : visible_(!options.quiet && ::isatty(STDERR_FILENO) == 1), label_(std::move(label)), started_(now()) {}

Progress::~Progress() {
  if (visible_ && drawn_ > 0) fmt::print(stderr, "\r\033[K");
}

void Progress::update(std::int64_t done, std::int64_t all) {
  constexpr double interval = 0.1;
  if (!visible_ || (now() - drawn_ < interval && done < all)) return;
  draw(done, all);
  drawn_ = now();
}

void Progress::draw(std::int64_t done, std::int64_t all) {
  constexpr int width = 30;
  const double part = all > 0 ? static_cast<double>(done) / static_cast<double>(all) : 1.0;
  const int filled = static_cast<int>(part * width);
  const double elapsed = now() - started_;
  const double left = part > 0 ? elapsed / part - elapsed : 0;
  fmt::print(stderr, "\r\033[K{} [{}{}] {}/{}  {:.0f} s, {:.0f} s left", label_, std::string(filled, '#'),
             std::string(width - filled, ' '), done, all, elapsed, left);
  std::fflush(stderr);
}

}  // namespace seqkv::cli
