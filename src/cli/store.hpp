// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Options that all commands on stores have in common.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "cli/report.hpp"
#include "seqkv/store.hpp"

namespace seqkv::cli {

/// --store DIR, --key-file FILE, --salt-file FILE
struct StoreOptions {
  std::string folder;
  std::string key_file;
  std::string salt_file;

  /// `store_too`: whether --store is declared, and required, as well.
  void declare(CLI::App& app, bool store_too = true);
  Result<StoreAccess> access() const;
  /// For commands that read: with --immutable.
  void declare_reading(CLI::App& app, bool store_too = true);
  bool immutable = false;

  Result<Store> open() const;
  Result<Store> open_for_writing() const;
};

/// Rows of what sessions lost.
std::vector<Report> rows_of(const std::vector<SessionLoss>& losses);

/// What gc did, as fields.
void add_fields(Report& report, const GcReport& gc);

/// Seconds since 1970 of "3600" (from now on), "90m", "12h", "30d", "2031-12-31", "2031-12-31T12:00:00Z" or "never"
/// (0). Errors: invalid_argument.
Result<std::int64_t> parse_expiry(const std::string& text);
/// The reverse, null for never and for what is no date.
Value time_value(std::int64_t seconds);

}  // namespace seqkv::cli
