// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/evaluate.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "cli/documents.hpp"
#include "cli/peer.hpp"

namespace seqkv::cli {
namespace {

struct EvaluateArguments {
  std::string model;
  std::string profile;
  std::vector<std::string> codecs;
  std::vector<std::string> peers;
  Documents documents;
  bool only = false;
  std::string dtype = "bf16";
  EvaluateOptions options;
};

/// In every run beside what is asked for: the noise of rounding to bf16, and TurboQuant.
constexpr const char* baselines[] = {"raw", "none+turboquant:2", "none+turboquant:3", "none+turboquant:4"};

Result<std::vector<Codec>> parse_codecs(const EvaluateArguments& arguments) {
  std::vector<std::string> specs = arguments.codecs;
  if (!arguments.only) specs.insert(specs.begin(), std::begin(baselines), std::end(baselines));
  auto profile = load_profile(arguments.profile);
  if (!profile) return std::move(profile).error();
  std::vector<Codec> codecs;
  for (const std::string& spec : specs) {
    auto codec = Codec::parse(spec);
    if (!codec) return std::move(codec).error();
    auto ready = codec->with_profile(*profile);
    if (!ready) return std::move(ready).error();
    if (std::find(codecs.begin(), codecs.end(), *ready) == codecs.end()) codecs.push_back(std::move(*ready));
  }
  return codecs;
}

Report to_report(const EvaluateRow& row) {
  return {{"codec", row.codec},
          {"bits_per_component", row.bits_per_component},
          {"bits_per_token", row.bits_per_token},
          {"ratio_bf16", row.ratio_bf16},
          {"kl_mean", row.quality.kl_mean},
          {"kl_p99", row.quality.kl_p99},
          {"top1", row.quality.top1},
          {"delta_nll", row.quality.delta_nll},
          {"attn_out_err", row.attn_out_err},
          {"encode_GBps", row.encode_GBps},
          {"decode_GBps", row.decode_GBps},
          {"profile_bytes", row.profile_bytes}};
}

Result<int> run(EvaluateArguments& arguments, const Options& options) {
  const Space space;
  auto codecs = parse_codecs(arguments);
  if (!codecs) return std::move(codecs).error();
  arguments.options.dtype = dtype_of(arguments.dtype);
  auto model = load_model(options, space, arguments.model);
  if (!model) return std::move(model).error();
  const Digest fingerprint = (*model)->fingerprint().combined();
  for (const Codec& codec : *codecs) {
    if (auto status = check_profile(codec, codec.profile(), fingerprint); !status) return std::move(status).error();
    if (codec.predictor() == Predictor::linear_ref || codec.predictor() == Predictor::ref)
      say(options,
          "a frame refers to nothing: " + codec.spec() + " codes as linear; batch --measure has other contexts");
  }
  for (const std::string& text : arguments.peers) {
    auto peer = parse_peer(text, fingerprint);
    if (!peer) return std::move(peer).error();
    arguments.options.peers.push_back(std::move(*peer));
  }
  auto documents = arguments.documents.read(options, **model);
  if (!documents) return std::move(documents).error();
  arguments.options.context = arguments.documents.context;
  arguments.options.continuation = arguments.documents.continuation;
  Progress progress(options, "evaluate");
  auto report = evaluate(space, *model, *documents, *codecs, arguments.options,
                         [&progress](std::int64_t done, std::int64_t all) { progress.update(done, all); });
  if (!report) return std::move(report).error();
  std::vector<Report> rows;
  for (const EvaluateRow& row : report->rows) {
    rows.push_back(to_report(row));
    if (options.json) rows.back().set("surprisal_bits_per_token", report->surprisal_bits_per_token);
  }
  print(options, {{"model", arguments.model},
                  {"text", arguments.documents.text},
                  {"documents", report->documents},
                  {"context", arguments.options.context},
                  {"continuation", arguments.options.continuation},
                  {"dtype", arguments.dtype},
                  {"threads", space.concurrency()},
                  {"surprisal_bits_per_token", report->surprisal_bits_per_token},
                  {"rows", rows}});
  return 0;
}

}  // namespace

Action declare_evaluate(CLI::App& app) {
  auto arguments = std::make_shared<EvaluateArguments>();
  app.add_option("--model", arguments->model, "Model folder")->required();
  arguments->documents.declare(app);
  app.add_option("--codec", arguments->codecs, std::string(codec_help) + "; several may be given");
  add_profile(app, arguments->profile);
  app.add_option("--peer", arguments->peers,
                 "NAME=COMMAND: another codec; `COMMAND IN OUT` recodes a KV file and prints {\"bytes\": N}");
  app.add_flag("--only", arguments->only, "Without the baselines raw and none+turboquant:2, 3, 4")->needs("--codec");
  add_dtype(app, arguments->dtype, "Number type in which an engine holds the cache (default bf16)");
  app.footer(
      "The exact cache is fp32; `raw` shows what rounding to --dtype alone does.\nExample:\n"
      "  seqkv evaluate --model models/docs-7m --text eval.jsonl.xz --codec none+lossless --json");
  return [arguments](const Options& options) { return run(*arguments, options); };
}

}  // namespace seqkv::cli
