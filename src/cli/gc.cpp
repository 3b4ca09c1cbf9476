// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "cli/command.hpp"
#include "cli/store.hpp"

namespace seqkv::cli {
namespace {

struct GcArguments {
  StoreOptions store;
  bool all = false;
  double dead_part = GcOptions().dead_part;
};

Result<int> run(const GcArguments& arguments, const Options& options) {
  auto store = arguments.store.open_for_writing();
  if (!store) return std::move(store).error();
  auto gc = store->gc({arguments.all ? 0.0 : arguments.dead_part});
  if (!gc) return std::move(gc).error();
  Report report = {{"expired", gc->expired}};
  add_fields(report, *gc);
  report.set("bytes_before", gc->bytes_before);
  report.set("bytes_after", gc->bytes_after);
  print(options, report);
  return 0;
}

}  // namespace

Action declare_gc(CLI::App& app) {
  auto arguments = std::make_shared<GcArguments>();
  arguments->store.declare(app);
  auto* part = app.add_option("--dead-part", arguments->dead_part,
                              "Write packs anew of which more than this part is dead (default 0.25)")
                   ->check(CLI::Range(0.0, 1.0));
  app.add_flag("--all", arguments->all, "All packs with anything dead: nothing that was removed stays on the disk")
      ->excludes(part);
  app.footer("Sessions whose time is over are removed first. Readers go on.\nExample:\n  seqkv gc --store store --all");
  return [arguments](const Options& options) { return run(*arguments, options); };
}

}  // namespace seqkv::cli
