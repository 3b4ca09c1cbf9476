// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/chrono.h>

#include <ctime>

#include "cli/command.hpp"
#include "seqkv/store.hpp"

namespace seqkv::cli {
namespace {

/// Nothing for what is no date of four digits: any number may stand in a damaged store, and fmt::gmtime throws.
Value time_value(std::int64_t seconds) {
  constexpr std::int64_t year_10000 = 253402300800;
  if (seconds < 0 || seconds >= year_10000) return nullptr;
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(static_cast<std::time_t>(seconds)));
}

Result<int> run(const std::string& folder, const Options& options) {
  auto store = Store::open(folder);
  if (!store) return std::move(store).error();
  auto sessions = store->sessions();
  if (!sessions) return std::move(sessions).error();
  auto totals = store->totals();
  if (!totals) return std::move(totals).error();
  std::vector<Report> rows;
  for (const SessionInfo& session : *sessions) {
    Report row = {{"session", session.name},
                  {"tokens", session.tokens},
                  {"bytes", session.bytes},
                  {"own_bytes", session.own_bytes},
                  {"blocks", session.blocks},
                  {"codec", session.codec},
                  {"created", time_value(session.created)}};
    if (options.json && !session.profile.is_zero()) row.set("profile", session.profile.hex());
    rows.push_back(std::move(row));
  }
  print(options, {{"sessions", totals->sessions},
                  {"session_tokens", totals->session_tokens},
                  {"stored_tokens", totals->stored_tokens},
                  {"bytes", totals->pack_bytes + totals->index_bytes + totals->profile_bytes},
                  {"rows", rows}});
  return 0;
}

}  // namespace

Action declare_ls(CLI::App& app) {
  auto folder = std::make_shared<std::string>();
  app.add_option("--store", *folder, "Store folder")->required();
  app.footer("own_bytes: what removing the session alone would free.\nExample:\n  seqkv ls --store store");
  return [folder](const Options& options) { return run(*folder, options); };
}

}  // namespace seqkv::cli
