// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "cli/command.hpp"
#include "cli/store.hpp"

namespace seqkv::cli {
namespace {

Result<int> run(const StoreOptions& from, const Options& options) {
  auto store = from.open();
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
                  {"created", time_value(session.created)},
                  {"expires", time_value(session.expires)},
                  {"pinned", session.pinned}};
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
  auto store = std::make_shared<StoreOptions>();
  store->declare_reading(app);
  app.footer("own_bytes: what removing the session alone would free.\nExample:\n  seqkv ls --store store");
  return [store](const Options& options) { return run(*store, options); };
}

}  // namespace seqkv::cli
