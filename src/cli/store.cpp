// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "cli/store.hpp"

#include <fmt/chrono.h>

#include <charconv>
#include <ctime>

#include "seqkv/text_file.hpp"

namespace seqkv::cli {
namespace {

constexpr std::int64_t year_10000 = 253402300800;

/// A number at the start of `text`, which it is taken off.
bool take_number(std::string_view& text, std::int64_t& number) {
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (problem != std::errc() || number < 0) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return true;
}

/// "YYYY-MM-DD" or "YYYY-MM-DDTHH:MM:SSZ" in UTC; false for anything else.
bool parse_date(const std::string& text, std::int64_t& seconds) {
  for (const char* format : {"%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"}) {
    std::tm date{};
    const char* end = ::strptime(text.c_str(), format, &date);
    if (end == nullptr || *end != '\0') continue;
    seconds = ::timegm(&date);
    return true;
  }
  return false;
}

}  // namespace

void StoreOptions::declare(CLI::App& app, bool store_too) {
  if (store_too) app.add_option("--store", folder, "Store folder")->required();
  app.add_option("--key-file", key_file, "Key of a store with protection: a file of 32 to 1024 bytes, mode 0600");
  app.add_option("--salt-file", salt_file, "Salt of a tenant: sessions of other salts are neither seen nor shared");
}

void StoreOptions::declare_reading(CLI::App& app, bool store_too) {
  declare(app, store_too);
  app.add_flag("--immutable", immutable, "Nobody writes to the store: read it without locks");
}

Result<StoreAccess> StoreOptions::access() const {
  StoreAccess access;
  access.immutable = immutable;
  if (!key_file.empty()) {
    auto key = read_key_file(key_file);
    if (!key) return std::move(key).error();
    access.key = std::move(*key);
  }
  if (!salt_file.empty()) {
    auto salt = read_text_file(salt_file);
    if (!salt) return std::move(salt).error();
    if (salt->empty()) return Error(ErrorCode::empty_input, "the salt is empty").in_file(salt_file);
    access.salt = std::move(*salt);
  }
  return access;
}

Result<Store> StoreOptions::open() const {
  auto access = this->access();
  if (!access) return std::move(access).error();
  return Store::open(folder, *access);
}

Result<Store> StoreOptions::open_for_writing() const {
  auto access = this->access();
  if (!access) return std::move(access).error();
  return Store::open_for_writing(folder, *access);
}

std::vector<Report> rows_of(const std::vector<SessionLoss>& losses) {
  std::vector<Report> rows;
  for (const SessionLoss& loss : losses) {
    rows.push_back({{"session", loss.name}, {"tokens", loss.tokens}, {"kept_tokens", loss.kept}, {"why", loss.why}});
  }
  return rows;
}

void add_fields(Report& report, const GcReport& gc) {
  report.set("packs_removed", gc.packs_removed);
  report.set("packs_written", gc.packs_written);
  report.set("bytes_moved", gc.bytes_moved);
}

Result<std::int64_t> parse_expiry(const std::string& text) {
  if (text == "never") return 0;
  std::int64_t seconds = 0;
  if (parse_date(text, seconds) && seconds > 0) return seconds;
  std::string_view rest = text;
  std::int64_t unit = rest.empty() ? 0 : 1;
  std::int64_t count = 0;
  if (take_number(rest, count)) {
    if (rest == "m") unit = 60;
    if (rest == "h") unit = 3600;
    if (rest == "d") unit = 86400;
    const bool known = rest.empty() || rest == "s" || unit > 1;
    if (known && count < year_10000 / unit) return static_cast<std::int64_t>(std::time(nullptr)) + count * unit;
  }
  return Error(ErrorCode::invalid_argument,
               fmt::format("'{}' is no time: 3600, 90m, 12h, 30d, 2031-12-31, 2031-12-31T12:00:00Z or never", text));
}

/// Nothing for what is no date of four digits: any number may stand in a damaged store, and fmt::gmtime throws.
Value time_value(std::int64_t seconds) {
  if (seconds <= 0 || seconds >= year_10000) return nullptr;
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(static_cast<std::time_t>(seconds)));
}

}  // namespace seqkv::cli
