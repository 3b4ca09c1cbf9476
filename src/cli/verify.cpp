// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>

#include "cli/arguments.hpp"
#include "cli/store.hpp"
#include "seqkv/frame.hpp"
#include "seqkv/replay.hpp"

namespace seqkv::cli {
namespace {

struct VerifyArguments {
  std::string frame;
  StoreOptions store;
  std::string profile;
  std::string model;
};

/// Every checksum of a frame, those of the decoded values included.
Result<int> verify_frame(const VerifyArguments& arguments, const Options& options) {
  auto frame = FrameReader::open(arguments.frame);
  if (!frame) return std::move(frame).error();
  if (auto good = frame->inspect({}); !good) return std::move(good).error();
  auto profile = load_profile(arguments.profile);
  if (!profile) return std::move(profile).error();
  auto model = load_model_if_named(options, arguments.model);
  if (!model) return std::move(model).error();
  auto cache = decode(Space(), *model, *frame, *profile);
  if (!cache) return std::move(cache).error().in_file(arguments.frame);
  print(
      options,
      {{"ok", true}, {"blocks", frame->info().blocks()}, {"tokens", frame->info().tokens}, {"bytes", frame->bytes()}});
  return 0;
}

Result<int> verify_store(const VerifyArguments& arguments, const Options& options) {
  auto store = arguments.store.open();
  if (!store) return std::move(store).error();
  Progress progress(options, "verify");
  auto report = store->verify([&progress](std::int64_t done, std::int64_t all) { progress.update(done, all); });
  if (!report) return std::move(report).error();
  const bool ok = report->problems.empty() && report->broken_sessions.empty();
  print(options, {{"ok", ok},
                  {"sessions", report->sessions},
                  {"blocks", report->blocks},
                  {"bytes", report->bytes},
                  {"problems", report->problems},
                  {"broken_sessions", report->broken_sessions}});
  if (ok) return 0;
  say(options, fmt::format("seqkv: {} problems, {} sessions cannot be restored", report->problems.size(),
                           report->broken_sessions.size()));
  return exit_code(ErrorCode::corrupt);
}

}  // namespace

Action declare_verify(CLI::App& app) {
  auto arguments = std::make_shared<VerifyArguments>();
  auto* from = app.add_option_group("what", "one of");
  from->add_option("frame", arguments->frame, "Frame (.sqkv)");
  from->add_option("--store", arguments->store.folder, "Store folder");
  from->require_option(1);
  add_profile(app, arguments->profile);
  add_replay_model(app, arguments->model);
  arguments->store.declare_reading(app, false);
  app.footer("Examples:\n  seqkv verify kv.sqkv\n  seqkv verify --store store");
  return [arguments](const Options& options) {
    return arguments->store.folder.empty() ? verify_frame(*arguments, options) : verify_store(*arguments, options);
  };
}

}  // namespace seqkv::cli
