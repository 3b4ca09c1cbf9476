// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Results of commands: named values in order, with tables.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace seqkv::cli {

class Report;

/// A number, a text, yes or no, nothing, a list of texts, a report within the report, or the rows of a table.
class Value {
 public:
  Value(std::nullptr_t) {}
  Value(bool flag) : data_(flag) {}
  template <std::integral T>
  Value(T number) : data_(static_cast<std::int64_t>(number)) {}
  Value(double number) : data_(number) {}
  Value(const char* text) : data_(std::string(text)) {}
  Value(std::string_view text) : data_(std::string(text)) {}
  Value(std::string text) : data_(std::move(text)) {}
  Value(std::vector<std::string> list) : data_(std::move(list)) {}
  Value(Report report);
  Value(std::vector<Report> rows);

  /// A report within, or the rows of a table, shared because reports hold values in turn.
  using Inner = std::shared_ptr<const Report>;
  using Table = std::shared_ptr<const std::vector<Report>>;
  using Data =
      std::variant<std::monostate, bool, std::int64_t, double, std::string, std::vector<std::string>, Inner, Table>;
  const Data& data() const { return data_; }

 private:
  Data data_;
};

class Report {
 public:
  using Field = std::pair<std::string, Value>;

  Report() = default;
  Report(std::initializer_list<Field> fields) : fields_(fields) {}
  /// Adds a field, or replaces the one of this name.
  void set(const std::string& name, Value value);
  const std::vector<Field>& fields() const { return fields_; }

 private:
  std::vector<Field> fields_;
};

inline Value::Value(Report report) : data_(std::make_shared<const Report>(std::move(report))) {}
inline Value::Value(std::vector<Report> rows) : data_(std::make_shared<const std::vector<Report>>(std::move(rows))) {}

/// Writes without throwing, as fmt::print would; std::ferror tells whether it could.
inline void put(std::FILE* stream, std::string_view text) { std::fwrite(text.data(), 1, text.size(), stream); }

/// As one JSON object on stdout.
void print_json(const Report& report);
/// What a text of a report goes through on its way to a terminal.
using Clean = std::string (*)(std::string_view);
/// Tables first, then the other fields one a line, on stdout.
void print_text(const Report& report, Clean clean);

}  // namespace seqkv::cli
