// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "cli/command.hpp"
#include "cli/store.hpp"

namespace seqkv::cli {
namespace {

struct KeepArguments {
  StoreOptions store;
  std::string session;
  std::string until;
  bool pin = false;
  bool unpin = false;
  bool used = false;
};

Result<int> run(const KeepArguments& arguments, const Options& options) {
  auto expires = parse_expiry(arguments.until.empty() ? "never" : arguments.until);
  if (!expires) return std::move(expires).error().at_field("--until");
  auto store = arguments.store.open_for_writing();
  if (!store) return std::move(store).error();
  Result<void> status;
  if (!arguments.until.empty()) status = store->set_expiry(arguments.session, *expires);
  if (status && (arguments.pin || arguments.unpin)) status = store->set_pinned(arguments.session, arguments.pin);
  if (status && arguments.used) status = store->touch(arguments.session);
  if (!status) return std::move(status).error();
  auto session = store->session(arguments.session);
  if (!session) return std::move(session).error();
  print(options, {{"session", session->name}, {"expires", time_value(session->expires)}, {"pinned", session->pinned}});
  return 0;
}

}  // namespace

Action declare_keep(CLI::App& app) {
  auto arguments = std::make_shared<KeepArguments>();
  arguments->store.declare(app);
  app.add_option("--session", arguments->session, "Name of the session")->required();
  auto* what = app.add_option_group("what", "at least one of");
  what->add_option("--until", arguments->until,
                   "When its time is over: 3600 (seconds from now), 90m, 12h, 30d, 2031-12-31, never");
  auto* pin = what->add_flag("--pin", arguments->pin, "No budget removes it");
  what->add_flag("--unpin", arguments->unpin, "A budget may")->excludes(pin);
  what->add_flag("--used", arguments->used, "Count a use of it, for retain");
  what->require_option(1, 0);
  app.footer(
      "gc and retain remove sessions whose time is over.\nExample:\n"
      "  seqkv keep --store store --session first --until 30d");
  return [arguments](const Options& options) { return run(*arguments, options); };
}

}  // namespace seqkv::cli
