// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "cli/report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <type_traits>

namespace seqkv::cli {
namespace {

nlohmann::ordered_json to_json(const Report& report);

nlohmann::ordered_json to_json(const Value& value) {
  return std::visit(
      [](const auto& data) -> nlohmann::ordered_json {
        using T = std::decay_t<decltype(data)>;
        if constexpr (std::is_same_v<T, std::monostate>) {
          return nullptr;
        } else if constexpr (std::is_same_v<T, Value::Inner>) {
          return to_json(*data);
        } else if constexpr (std::is_same_v<T, Value::Table>) {
          auto rows = nlohmann::ordered_json::array();
          for (const Report& row : *data) rows.push_back(to_json(row));
          return rows;
        } else {
          return data;
        }
      },
      value.data());
}

nlohmann::ordered_json to_json(const Report& report) {
  auto object = nlohmann::ordered_json::object();
  for (const auto& [name, value] : report.fields()) object[name] = to_json(value);
  return object;
}

std::string print_number(double number) {
  const double magnitude = std::abs(number);
  if (number != 0 && (magnitude < 1e-3 || magnitude >= 1e6)) return fmt::format("{:.3g}", number);
  return fmt::format("{:.4g}", number);
}

std::string cell(const Value& value, Clean clean) {
  return std::visit(
      [clean](const auto& data) -> std::string {
        using T = std::decay_t<decltype(data)>;
        if constexpr (std::is_same_v<T, bool>) {
          return data ? "yes" : "no";
        } else if constexpr (std::is_same_v<T, double>) {
          return print_number(data);
        } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
          return data.empty() ? "-" : clean(fmt::format("{}", fmt::join(data, ", ")));
        } else if constexpr (std::is_same_v<T, std::string>) {
          return clean(data);
        } else if constexpr (std::is_same_v<T, std::int64_t>) {
          return fmt::format("{}", data);
        } else {
          return "-";
        }
      },
      value.data());
}

void print_table(const std::vector<Report>& rows, Clean clean) {
  if (rows.empty()) return;
  std::vector<std::vector<std::string>> lines(1);
  for (const auto& [name, value] : rows[0].fields()) lines[0].push_back(name);
  for (const Report& row : rows) {
    auto& line = lines.emplace_back();
    for (const auto& [name, value] : row.fields()) line.push_back(cell(value, clean));
  }
  std::vector<std::size_t> widths(lines[0].size());
  for (const auto& line : lines) {
    for (std::size_t column = 0; column < line.size(); ++column)
      widths[column] = std::max(widths[column], line[column].size());
  }
  for (const auto& line : lines) {
    std::string text;
    for (std::size_t column = 0; column < line.size(); ++column) {
      const bool is_text = std::holds_alternative<std::string>(rows[0].fields()[column].second.data());
      text += is_text ? fmt::format("{:<{}}  ", line[column], widths[column])
                      : fmt::format("{:>{}}  ", line[column], widths[column]);
    }
    text.erase(text.find_last_not_of(' ') + 1);
    put(stdout, text + "\n");
  }
}

void print_fields(const Report& report, const std::string& prefix, Clean clean) {
  for (const auto& [name, value] : report.fields()) {
    if (std::holds_alternative<Value::Table>(value.data())) continue;
    if (const auto* inner = std::get_if<Value::Inner>(&value.data())) {
      print_fields(**inner, prefix + name + ".", clean);
    } else {
      put(stdout, fmt::format("{:<28} {}\n", prefix + name, cell(value, clean)));
    }
  }
}

}  // namespace

void Report::set(const std::string& name, Value value) {
  const auto found =
      std::find_if(fields_.begin(), fields_.end(), [&name](const Field& field) { return field.first == name; });
  if (found == fields_.end()) {
    fields_.emplace_back(name, std::move(value));
  } else {
    found->second = std::move(value);
  }
}

void print_json(const Report& report) {
  put(stdout, to_json(report).dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

void print_text(const Report& report, Clean clean) {
  for (const auto& [name, value] : report.fields()) {
    if (const auto* rows = std::get_if<Value::Table>(&value.data())) print_table(**rows, clean);
  }
  print_fields(report, "", clean);
}

}  // namespace seqkv::cli
