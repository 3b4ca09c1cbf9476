// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/calibrate.hpp"

#include <fmt/format.h>

#include <memory>

#include "cli/arguments.hpp"
#include "seqkv/text_file.hpp"

namespace seqkv::cli {
namespace {

struct CalibrateArguments {
  std::string model;
  std::vector<std::string> texts;
  std::string out;
  std::string work;
  std::string dtype = "bf16";
  std::int64_t docs = 0;  ///< 0: all
  CalibrateOptions options;
};

/// The documents of all files, in order.
Result<std::vector<std::vector<Token>>> read_tokens(const Options& options, const CalibrateArguments& arguments,
                                                    const Model<Space>& model) {
  std::vector<std::vector<Token>> documents;
  for (const std::string& file : arguments.texts) {
    auto texts = read_documents(file);
    if (!texts) return std::move(texts).error();
    for (const std::string& text : *texts) {
      if (arguments.docs > 0 && static_cast<std::int64_t>(documents.size()) == arguments.docs) break;
      auto tokens = model.encode_document(text);
      if (!tokens) return std::move(tokens).error().in_file(file);
      documents.push_back(std::move(*tokens));
    }
  }
  if (static_cast<std::int64_t>(documents.size()) < arguments.docs) {
    say(options, fmt::format("only {} documents ({} were asked for)", documents.size(), arguments.docs));
  }
  return documents;
}

std::vector<Report> curve_of(const Profile& profile) {
  std::vector<Report> rows;
  for (const RatePoint& point : profile.curve()) {
    rows.push_back({{"codec", fmt::format("linear+ecsq:step={}", static_cast<float>(point.step))},
                    {"bits_per_component", point.bits},
                    {"ratio_bf16", 16 / point.bits},
                    {"kl_mean", point.kl}});
  }
  return rows;
}

Result<int> run(CalibrateArguments& arguments, const Options& options) {
  const Space space;
  auto model = load_model(options, space, arguments.model);
  if (!model) return std::move(model).error();
  auto documents = read_tokens(options, arguments, **model);
  if (!documents) return std::move(documents).error();
  arguments.options.dtype = dtype_of(arguments.dtype);
  arguments.options.work = arguments.work;
  arguments.options.stop = &stop_on_signal();
  std::unique_ptr<Progress> bar;
  std::string stage;
  arguments.options.progress = [&](std::string_view now_at, std::int64_t done, std::int64_t all) {
    if (stage != now_at) {
      bar.reset();  // ends the line of the stage before
      bar = std::make_unique<Progress>(options, stage = now_at);
    }
    bar->update(done, all);
  };
  const double start = now();
  auto report = calibrate(space, *model, *documents, arguments.options, arguments.out);
  bar.reset();
  if (!report) return std::move(report).error();
  print(options, {{"out", arguments.out},
                  {"model", (*model)->fingerprint().combined().hex()},
                  {"profile", report->profile->fingerprint().hex()},
                  {"profile_bytes", report->profile->bytes()},
                  {"documents", static_cast<std::int64_t>(documents->size())},
                  {"chunks", report->chunks},
                  {"resumed_chunks", report->resumed},
                  {"sampled_tokens", report->rows},
                  {"pairs", report->pairs},
                  {"held_out", report->held_out},
                  {"collect_seconds", report->collect_seconds},
                  {"fit_seconds", report->fit_seconds},
                  {"measure_seconds", report->measure_seconds},
                  {"seconds", now() - start},
                  {"threads", space.concurrency()},
                  {"rows", curve_of(*report->profile)}});
  return 0;
}

}  // namespace

Action declare_calibrate(CLI::App& app) {
  auto arguments = std::make_shared<CalibrateArguments>();
  app.add_option("--model", arguments->model, "Model folder")->required();
  app.add_option(
         "--text", arguments->texts,
         "Text like that whose caches will be coded (.jsonl with \"text\"; .xz and .zst too); several may be given")
      ->required();
  app.add_option("--out", arguments->out, "Profile to write (.safetensors)")->required();
  app.add_option("--effort", arguments->options.effort,
                 "1 to 9: how much of the text is used (default 5); time and precision grow with it")
      ->check(CLI::Range(1, 9));
  app.add_option("--docs", arguments->docs, "Documents: the first so many (default: all)")->check(CLI::PositiveNumber);
  app.add_option("--context", arguments->options.context, "Tokens whose cache a piece of text gives (default 768)")
      ->check(CLI::Range(16, 1 << 20));
  app.add_option("--continue", arguments->options.continuation,
                 "Tokens behind them that say what matters in the cache (default 128)")
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--profile-size", arguments->options.profile_bytes,
                 "Largest profile, as 500M (default: by effort, a share of the model's weights)")
      ->transform(CLI::AsSizeValue(false));
  app.add_option("--layers-below", arguments->options.layers_below,
                 "Layers from whose restored values one above is predicted (default 2)")
      ->check(CLI::Range(0, 1024));
  app.add_option("--token-width", arguments->options.token_width,
                 "Numbers that the profile knows of a token (default: up to 512, as it has room)")
      ->check(CLI::NonNegativeNumber);
  app.add_flag(
      "--references", arguments->options.references,
      "Learn, too, how the same tokens in another context predict a block, for linear+ref (the profile and the "
      "time to make it grow by about a half)");
  app.add_option("--work", arguments->work,
                 "Folder for samples (default OUT.work); a run that was stopped goes on there. Removed when done");
  add_dtype(app, arguments->dtype, "Number type in which engines hold the cache (default bf16)");
  app.footer(
      "Learns from text how a model's caches are predicted and which of their errors matter, for codecs `linear+...`.\n"
      "Some of the documents are held out: the result's rows are measured on them.\nExample:\n"
      "  seqkv calibrate --model models/docs-7m --text calibration.jsonl.xz --out docs-7m.profile.safetensors");
  return [arguments](const Options& options) { return run(*arguments, options); };
}

}  // namespace seqkv::cli
