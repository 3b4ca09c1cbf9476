// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "cli/command.hpp"
#include "cli/store.hpp"

namespace seqkv::cli {
namespace {

struct ForkArguments {
  StoreOptions store;
  std::string from;
  std::string to;
  std::int64_t tokens = 0;
};

Result<int> run(const ForkArguments& arguments, const Options& options) {
  auto store = arguments.store.open_for_writing();
  if (!store) return std::move(store).error();
  auto base = store->session(arguments.from);
  if (!base) return std::move(base).error();
  const std::int64_t tokens = arguments.tokens > 0 ? arguments.tokens : base->tokens;
  if (auto status = store->fork(arguments.from, arguments.to, tokens); !status) return std::move(status).error();
  print(options, {{"session", arguments.to}, {"from", arguments.from}, {"tokens", tokens}, {"codec", base->codec}});
  return 0;
}

}  // namespace

Action declare_fork(CLI::App& app) {
  auto arguments = std::make_shared<ForkArguments>();
  arguments->store.declare(app);
  app.add_option("--session", arguments->from, "Name of the session to branch off")->required();
  app.add_option("--as", arguments->to, "Name of the new session")->required();
  app.add_option("--tokens", arguments->tokens, "It has the first N tokens (default: all)")->check(CLI::PositiveNumber);
  app.footer("Nothing is copied.\nExample:\n  seqkv fork --store store --session first --as branch --tokens 1000");
  return [arguments](const Options& options) { return run(*arguments, options); };
}

}  // namespace seqkv::cli
