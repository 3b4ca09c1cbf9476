// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/batch.hpp"

#include <fmt/format.h>

#include "cli/arguments.hpp"
#include "cli/ranks.hpp"
#include "cli/store.hpp"
#if defined(SEQKV_HAVE_MPI)
#include "seqkv/mpi_batch.hpp"
#endif

namespace seqkv::cli {
namespace {

struct BatchArguments {
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
  double epoch_seconds = 60;
};

/// What is read before work starts.
struct Inputs {
  std::vector<ManifestLine> manifest;
  std::shared_ptr<const Model<Space>> model;
  BatchOptions batch;
};

/// What is asked for; else that of the store, or for a new one with a key, authentic.
Result<Protection> protection_of(const BatchArguments& arguments, const StoreAccess& access) {
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

Result<Codec> codec_of(const BatchArguments& arguments, const Options& options,
                       const std::shared_ptr<const Profile>& profile) {
  auto codec = Codec::parse(arguments.codec);
  if (!codec) return codec;
  if (auto status = check_profile(*codec, profile, {}); !status) return std::move(status).error();
  codec = codec->with_profile(profile);
  if (!codec) return codec;
  const bool refers = codec->predictor() == Predictor::linear_ref || codec->predictor() == Predictor::ref;
  if (refers && !codec->uses_references()) {
    say(options, "the profile was calibrated without --references: " + codec->spec() + " codes as linear");
  } else if (refers && options.ranks->communicator() != nullptr) {
    say(options, "ranks do not look for references: " + codec->spec() + " codes as linear");
  } else if (codec->predictor() == Predictor::ref) {
    say(options, "values of other contexts are reused as they are: nothing bounds the error, kl_mean measures it");
  }
  if (codec->is_settled()) return codec;
  return Error(
      ErrorCode::invalid_argument,
      fmt::format("{}: sessions of a store share blocks, which have one step: give it, or a KL", codec->spec()));
}

Result<Inputs> read_inputs(const BatchArguments& arguments, const Options& options, const Space& space) {
  auto profile = load_profile(arguments.profile);
  if (!profile) return std::move(profile).error();
  auto codec = codec_of(arguments, options, *profile);
  if (!codec) return std::move(codec).error();
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
  batch.stop = &stop_on_signal();  // alone, the session in hand is finished
  return Inputs{std::move(*manifest), std::move(*model), std::move(batch)};
}

/// The result, when all is stored.
Result<int> finish(const BatchArguments& arguments, const Options& options, const BatchReport& report,
                   const mpi::BatchReport* ranks) {
  auto store = arguments.store.open();
  if (!store) return std::move(store).error();
  auto totals = store->totals();
  if (!totals) return std::move(totals).error();
  Report summary = summarize(report, *totals, store->parameters().shape);
  if (ranks != nullptr) add_ranks(summary, *ranks);
  print(options, summary);
  if (!report.interrupted) return 0;
  say(options, "seqkv: interrupted; what is listed is stored, --restart goes on with the rest");
  return exit_code(ErrorCode::interrupted);
}

#if defined(SEQKV_HAVE_MPI)
/// What has been done so far, for the log of a job: a line now and then.
class LogLines {
 public:
  explicit LogLines(const Options& options) : options_(options) {}
  void update(std::int64_t done, std::int64_t all) {
    constexpr double seconds_between = 10;
    if (now() - said_ < seconds_between) return;
    said_ = now();
    say(options_, fmt::format("batch: {} of {} sessions", done, all));
  }

 private:
  const Options& options_;
  double said_ = now();
};

/// With all ranks: who cannot go on says so to the others first.
Result<int> run_on_ranks(const BatchArguments& arguments, const Options& options, const Space& space) {
  const mpi::Communicator& ranks = *options.ranks->communicator();
  auto inputs = ranks.agree(read_inputs(arguments, options, space));
  if (!inputs) return std::move(inputs).error();
  Progress progress(options, "batch");
  LogLines lines(options);
  auto report = mpi::run_batch(space, ranks, inputs->model, arguments.store.folder, inputs->manifest, inputs->batch,
                               {arguments.epoch_seconds}, [&](std::int64_t done, std::int64_t all, const BatchRow&) {
                                 progress.update(done, all);
                                 lines.update(done, all);
                               });
  if (!report) return std::move(report).error();
  if (ranks.rank() == 0) return finish(arguments, options, report->batch, &*report);
  return report->batch.interrupted ? exit_code(ErrorCode::interrupted) : 0;
}
#endif

Result<int> run(const BatchArguments& arguments, const Options& options) {
  const Space space;
#if defined(SEQKV_HAVE_MPI)
  if (options.ranks->communicator() != nullptr) return run_on_ranks(arguments, options, space);
#endif
  auto inputs = read_inputs(arguments, options, space);
  if (!inputs) return std::move(inputs).error();
  Progress progress(options, "batch");
  auto report =
      run_batch(space, inputs->model, arguments.store.folder, inputs->manifest, inputs->batch,
                [&progress](std::int64_t done, std::int64_t all, const BatchRow&) { progress.update(done, all); });
  if (!report) return std::move(report).error();
  return finish(arguments, options, *report, nullptr);
}

}  // namespace

Action declare_batch(CLI::App& app) {
  auto arguments = std::make_shared<BatchArguments>();
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
  app.add_option("--epoch-seconds", arguments->epoch_seconds,
                 "Under mpirun: how often what is done becomes durable and visible (default 60)")
      ->check(CLI::Range(0.01, 86400.0));
  app.footer(
      R"(A line of the manifest: {"session": NAME, and one of "text": TEXT, "text_file": PATH, "tokens": [IDS], "kv": PATH}.
With a profile of calibrate --references also linear+ref+ecsq:step=STEP, which predicts from the same tokens in other
sessions, and ref:recode=TOKENS+ecsq:step=STEP, which reuses them as they are and measures what that does.
All lines are checked before work starts. SIGINT, SIGTERM or SIGUSR1: the session in hand is finished (under mpirun dropped),
exit code 8.
Examples:
  seqkv batch sessions.jsonl --store store --model models/docs-7m --codec none+turboquant:4 --measure 64
  mpirun -n 16 seqkv batch sessions.jsonl --store store --model models/docs-7m --codec none+lossless --restart)");
  return [arguments](const Options& options) { return run(*arguments, options); };
}

}  // namespace seqkv::cli
