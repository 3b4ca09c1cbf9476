// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "cli/command.hpp"
#include "cli/store.hpp"

namespace seqkv::cli {
namespace {

struct RmArguments {
  StoreOptions store;
  std::vector<std::string> sessions;
};

Result<int> run(const RmArguments& arguments, const Options& options) {
  auto store = arguments.store.open_for_writing();
  if (!store) return std::move(store).error();
  auto before = store->totals();
  if (!before) return std::move(before).error();
  for (const std::string& session : arguments.sessions) {
    if (auto status = store->remove(session); !status) return std::move(status).error();
  }
  auto after = store->totals();
  if (!after) return std::move(after).error();
  print(options, {{"removed", arguments.sessions},
                  {"blocks_dropped", before->blocks - after->blocks},
                  {"bytes_dropped", before->block_bytes - after->block_bytes}});
  return 0;
}

}  // namespace

Action declare_rm(CLI::App& app) {
  auto arguments = std::make_shared<RmArguments>();
  arguments->store.declare(app);
  app.add_option("--session", arguments->sessions, "Name of the session; may be given several times")->required();
  app.footer("Its bytes leave the disk with gc.\nExample:\n  seqkv rm --store store --session first");
  return [arguments](const Options& options) { return run(*arguments, options); };
}

}  // namespace seqkv::cli
