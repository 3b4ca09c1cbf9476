// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/batch.hpp"

#include <fmt/format.h>

#include <cstdlib>

#include "cli/arguments.hpp"
#include "cli/store.hpp"

namespace seqkv::cli {
namespace {

struct Arguments {
  std::string manifest;
  StoreOptions store;
  std::string protection;
  std::string model;
  std::string codec;
  std::string profile;
  std::string dtype = "bf16";
  std::string prefix = "exact";
  std::int64_t block_tokens = 256;
  std::int64_t measure = 0;
  bool restart = false;
};

/// A build without MPI that a launcher has started several times would write the same store several times.
Result<void> refuse_several_ranks() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_NTASKS"}) {
    const char* value = std::getenv(name);
    const bool inside_step = std::string_view(name) != "SLURM_NTASKS" || std::getenv("SLURM_STEP_ID") != nullptr;
    if (value != nullptr && inside_step && std::atoi(value) > 1) {
      return Error(ErrorCode::unsupported,
                   fmt::format("started as {} processes ({}), but this build has no MPI: run one", value, name));
    }
  }
  return {};
}

/// What is asked for; else that of the store, or for a new one with a key, authentic.
Result<Protection> protection_of(const Arguments& arguments, const StoreAccess& access) {
  for (const Protection protection : {Protection::none, Protection::authentic, Protection::encrypted}) {
    if (arguments.protection == to_string(protection)) return protection;
  }
  if (access.key.empty()) return Protection::none;
  if (!Store::exists(arguments.store.folder)) return Protection::authentic;
  auto store = Store::open(arguments.store.folder, access);
  if (!store) return std::move(store).error();
  return store->parameters().protection;
}

Report to_report(const BatchRow& row) {
  const auto measured = [&row](double Quality::*figure) -> Value {
    if (!row.quality) return nullptr;
    return *row.quality.*figure;
  };
  return {{"session", row.session},
          {"tokens", row.tokens},
          {"new_tokens", row.new_tokens},
          {"shared_tokens", row.shared_tokens},
          {"bytes", row.bytes},
          {"new_bytes", row.new_bytes},
          {"reference_bytes", row.reference_bytes},
          {"bits_per_component", row.bits_per_component},
          {"ratio_bf16", 16.0 / row.bits_per_component},
          {"kl_mean", measured(&Quality::kl_mean)},
          {"top1", measured(&Quality::top1)},
          {"seconds", row.seconds},
          {"stored_before", row.stored_before}};
}

Report summarize(const BatchReport& report, const StoreTotals& totals, const KvShape& shape) {
  std::int64_t tokens = 0;
  std::int64_t new_tokens = 0;
  std::int64_t bytes = 0;
  std::int64_t new_bytes = 0;
  std::int64_t reference_bytes = 0;
  double seconds = 0;
  double kl = 0;
  std::int64_t measured = 0;
  std::vector<Report> rows;
  for (const BatchRow& row : report.rows) {
    tokens += row.tokens;
    new_tokens += row.new_tokens;
    bytes += row.bytes;
    new_bytes += row.new_bytes;
    reference_bytes += row.reference_bytes;
    seconds += row.seconds;
    if (row.quality) kl += row.quality->kl_mean;
    measured += row.quality ? 1 : 0;
    rows.push_back(to_report(row));
  }
  const std::int64_t stored = totals.pack_bytes + totals.index_bytes + totals.profile_bytes;
  const std::int64_t bf16 = totals.session_tokens * shape.components_per_token() * 2;
  return {{"sessions", report.rows.size()},
          {"tokens", tokens},
          {"new_tokens", new_tokens},
          {"bytes", Report{{"sessions", bytes},
                           {"exact_prefix", bytes - new_bytes},
                           {"reference", reference_bytes},
                           {"fresh", new_bytes - reference_bytes}}},
          {"kl_mean", measured > 0 ? Value(kl / static_cast<double>(measured)) : Value(nullptr)},
          {"seconds", seconds},
          {"interrupted", report.interrupted},
          {"store", Report{{"sessions", totals.sessions},
                           {"session_tokens", totals.session_tokens},
                           {"stored_tokens", totals.stored_tokens},
                           {"bytes", stored},
                           {"ratio_bf16", static_cast<double>(bf16) / static_cast<double>(stored)}}},
          {"rows", rows}};
}

Result<int> run(const Arguments& arguments, const Options& options) {
  const Space space;
  if (auto single = refuse_several_ranks(); !single) return std::move(single).error();
  auto codec = Codec::parse(arguments.codec);
  if (!codec) return std::move(codec).error();
  auto profile = load_profile(arguments.profile);
  if (!profile) return std::move(profile).error();
  if (auto status = check_profile(*codec, *profile, {}); !status) return std::move(status).error();
  codec = codec->with_profile(*profile);
  if (!codec) return std::move(codec).error();
  const bool refers = codec->predictor() == Predictor::linear_ref || codec->predictor() == Predictor::ref;
  if (refers && !codec->uses_references()) {
    say(options, "the profile was calibrated without --references: " + codec->spec() + " codes as linear");
  } else if (codec->predictor() == Predictor::ref) {
    say(options, "values of other contexts are reused as they are: nothing bounds the error, kl_mean measures it");
  }
  if (!codec->is_settled()) {
    return Error(
        ErrorCode::invalid_argument,
        fmt::format("{}: sessions of a store share blocks, which have one step: give it, or a KL", codec->spec()));
  }
  auto manifest = read_manifest(arguments.manifest);
  if (!manifest) return std::move(manifest).error();
  auto model = load_model(options, space, arguments.model);
  if (!model) return std::move(model).error();

  if (auto status = check_profile(*codec, *profile, (*model)->fingerprint().combined()); !status) {
    return std::move(status).error();
  }
  auto access = arguments.store.access();
  if (!access) return std::move(access).error();
  auto protection = protection_of(arguments, *access);
  if (!protection) return std::move(protection).error();
  BatchOptions batch{*codec};
  batch.access = *access;
  batch.protection = *protection;
  batch.dtype = dtype_of(arguments.dtype);
  batch.block_tokens = arguments.block_tokens;
  batch.prefix = arguments.prefix == "restore" ? PrefixPolicy::restore : PrefixPolicy::exact;
  batch.restart = arguments.restart;
  batch.measure = arguments.measure;
  batch.stop = &stop_on_signal();  // the session in hand is finished
  Progress progress(options, "batch");
  auto report =
      run_batch(space, *model, arguments.store.folder, *manifest, batch,
                [&progress](std::int64_t done, std::int64_t all, const BatchRow&) { progress.update(done, all); });
  if (!report) return std::move(report).error();
  auto store = arguments.store.open();
  if (!store) return std::move(store).error();
  auto totals = store->totals();
  if (!totals) return std::move(totals).error();
  print(options, summarize(*report, *totals, store->parameters().shape));
  if (!report->interrupted) return 0;
  say(options, "seqkv: interrupted; what is listed is stored, --restart goes on with the rest");
  return exit_code(ErrorCode::interrupted);
}

}  // namespace

Action declare_batch(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  app.add_option("manifest", arguments->manifest, "Sessions, one JSON object a line")->required();
  arguments->store.declare(app);
  app.add_option("--protection", arguments->protection,
                 "Of a store that is made: none, authentic (default with a key) or encrypted")
      ->check(CLI::IsMember({"none", "authentic", "encrypted"}));
  app.add_option("--model", arguments->model, "Model folder")->required();
  app.add_option("--codec", arguments->codec, codec_help)->required();
  add_profile(app, arguments->profile);
  add_dtype(app, arguments->dtype, "Number type in which sessions are coded (default bf16)");
  app.add_option("--block-tokens", arguments->block_tokens, "Tokens of a block; prefixes are shared in whole blocks")
      ->check(CLI::Range(16, 4096));
  app.add_option(
         "--prefix", arguments->prefix,
         "A prefix that is stored but not in memory: exact (default) computes it again, once a run, unless decoding "
         "gives the same bits; restore decodes it, and what follows sees the codec's error")
      ->check(CLI::IsMember({"exact", "restore"}));
  app.add_option("--measure", arguments->measure,
                 "Measure KL: the last N tokens of each session run on its restored cache")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--restart", arguments->restart,
               "Go on after an interruption: sessions that are stored are passed over");
  app.footer(
      R"(A line of the manifest: {"session": NAME, and one of "text": TEXT, "text_file": PATH, "tokens": [IDS], "kv": PATH}.
With a profile of calibrate --references also linear+ref+ecsq:step=STEP, which predicts from the same tokens in other
sessions, and ref:recode=TOKENS+ecsq:step=STEP, which reuses them as they are and measures what that does.
All lines are checked before work starts. SIGINT or SIGTERM: the session in hand is finished, exit code 8.
Example:
  seqkv batch sessions.jsonl --store store --model models/docs-7m --codec none+turboquant:4 --measure 64)");
  return [arguments](const Options& options) { return run(*arguments, options); };
}

}  // namespace seqkv::cli
