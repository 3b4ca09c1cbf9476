// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>

#include "cli/command.hpp"
#include "cli/store.hpp"

namespace seqkv::cli {
namespace {

struct RepairArguments {
  StoreOptions store;
  bool rebuild_index = false;
};

/// Lost sessions are a result, and an exit code that cannot be overlooked.
Result<int> finish(const Options& options, const Report& report, std::size_t lost) {
  print(options, report);
  if (lost == 0) return 0;
  say(options, fmt::format("seqkv: {} sessions are no longer what they were", lost));
  return exit_code(ErrorCode::corrupt);
}

Result<int> rebuild(const RepairArguments& arguments, const Options& options) {
  auto access = arguments.store.access();
  if (!access) return std::move(access).error();
  auto done = Store::rebuild_index(arguments.store.folder, *access);
  if (!done) return std::move(done).error();
  return finish(options,
                {{"sessions", done->sessions},
                 {"blocks", done->blocks},
                 {"removed", done->removed},
                 {"problems", done->problems},
                 {"rows", rows_of(done->lost)}},
                done->lost.size());
}

Result<int> repair(const RepairArguments& arguments, const Options& options) {
  auto store = arguments.store.open_for_writing();
  if (!store) return std::move(store).error();
  auto done = store->repair();
  if (!done) return std::move(done).error();
  Report report = {{"blocks_dropped", done->blocks_dropped}};
  add_fields(report, done->gc);
  report.set("problems", done->problems);
  report.set("rows", rows_of(done->lost));
  return finish(options, report, done->lost.size());
}

}  // namespace

Action declare_repair(CLI::App& app) {
  auto arguments = std::make_shared<RepairArguments>();
  arguments->store.declare(app);
  app.add_flag("--rebuild-index", arguments->rebuild_index, "Make the index anew from the packs alone");
  app.footer(
      "Sessions are cut to the blocks before the damage, or removed; each is named with what is left of it.\n"
      "Exit code 5 if any lost something. A copy of the folder before is a good idea.\n"
      "Examples:\n  seqkv repair --store store\n  seqkv repair --store store --rebuild-index");
  return [arguments](const Options& options) {
    return arguments->rebuild_index ? rebuild(*arguments, options) : repair(*arguments, options);
  };
}

}  // namespace seqkv::cli
