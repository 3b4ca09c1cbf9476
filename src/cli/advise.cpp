// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/advise.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "cli/documents.hpp"
#include "seqkv/evaluate.hpp"
#include "seqkv/replay.hpp"

namespace seqkv::cli {
namespace {

struct AdviseArguments {
  std::string model;
  std::string profile;
  std::vector<std::string> codecs;
  Documents documents{"", 4, 768, 128};
  std::string dtype = "bf16";
  std::int64_t tokens = 0;
  std::uint64_t bandwidth = 0;
  double compute = 0;
  double kl = 0.01;
};

/// Without wishes of the user: a few of every kind.
std::vector<std::string> usual_codecs(const AdviseArguments& arguments) {
  if (!arguments.codecs.empty()) return arguments.codecs;
  std::vector<std::string> specs = {"raw", "none+lossless", "none+turboquant:4", "replay"};
  if (!arguments.profile.empty()) {
    for (const char* step : {"0.5", "0.707", "1", "1.41", "2"})
      specs.push_back(fmt::format("linear+ecsq:step={}", step));
    specs.push_back("linear+lossless");
  }
  return specs;
}

/// Seconds of a forward pass over the contexts of all documents.
Result<double> time_prefill(const std::shared_ptr<const Model<Space>>& model,
                            const std::vector<std::vector<Token>>& documents, std::int64_t context, DType dtype) {
  auto forward = Forward<Space>::create(Space(), model);
  if (!forward) return std::move(forward).error();
  auto cache = KvCache::create(model->config().kv_shape(dtype), context);
  if (!cache) return std::move(cache).error();
  const double start = now();
  for (const auto& document : documents) {
    auto done =
        regenerate(Space(), *forward, TokenSpan(document).first(static_cast<std::size_t>(context)), cache->view());
    if (!done) return std::move(done).error();
  }
  return now() - start;
}

/// What a codec's row of evaluate says of restoring, for sessions of `tokens` tokens.
RestoreCost cost_of(const EvaluateRow& row, const AdviseArguments& arguments, const ModelConfig& config) {
  const auto components = static_cast<double>(config.kv_shape(DType::bf16).components_per_token());
  RestoreCost cost{row.codec, row.bits_per_token / 8, 2e-9 * components / row.decode_GBps, row.quality.kl_mean};
  if (!Codec::parse(row.codec)->needs_model()) return cost;
  const auto per_token = [&](std::int64_t n) { return prefill_operations(config, n) / static_cast<double>(n); };
  cost.seconds_per_token *= per_token(arguments.tokens) / per_token(arguments.documents.context);
  if (arguments.compute > 0) cost.seconds_per_token = per_token(arguments.tokens) / arguments.compute;
  return cost;
}

Result<std::vector<RestoreCost>> measure(const AdviseArguments& arguments, const Options& options,
                                         const std::shared_ptr<const Model<Space>>& model) {
  auto documents = arguments.documents.read(options, *model);
  if (!documents) return std::move(documents).error();
  auto profile = load_profile(arguments.profile);
  if (!profile) return std::move(profile).error();
  std::vector<Codec> codecs;
  for (const std::string& spec : usual_codecs(arguments)) {
    auto codec = Codec::parse(spec);
    if (!codec) return std::move(codec).error();
    if (auto status = check_profile(*codec, *profile, model->fingerprint().combined()); !status) {
      return std::move(status).error();
    }
    codec = codec->with_profile(*profile);
    if (!codec) return std::move(codec).error();
    codecs.push_back(std::move(*codec));
  }
  EvaluateOptions how;
  how.context = arguments.documents.context;
  how.continuation = arguments.documents.continuation;
  how.dtype = dtype_of(arguments.dtype);
  Progress progress(options, "advise");
  auto report = evaluate(Space(), model, *documents, codecs, how,
                         [&progress](std::int64_t done, std::int64_t all) { progress.update(done, all); });
  if (!report) return std::move(report).error();
  std::vector<RestoreCost> costs;
  for (const EvaluateRow& row : report->rows) costs.push_back(cost_of(row, arguments, model->config()));

  // What an engine does that kept the text: read token ids of 4 bytes, and compute.
  auto seconds = time_prefill(model, *documents, how.context, how.dtype);
  if (!seconds) return std::move(seconds).error();
  const auto tokens = static_cast<double>(std::ssize(*documents) * how.context);
  const double scale = prefill_operations(model->config(), arguments.tokens) * static_cast<double>(how.context) /
                       (prefill_operations(model->config(), how.context) * static_cast<double>(arguments.tokens));
  RestoreCost prefill{"prefill", sizeof(Token), *seconds / tokens * scale, 0};
  if (arguments.compute > 0) {
    prefill.seconds_per_token = prefill_operations(model->config(), arguments.tokens) /
                                static_cast<double>(arguments.tokens) / arguments.compute;
  }
  costs.push_back(prefill);
  return costs;
}

Result<int> run(AdviseArguments& arguments, const Options& options) {
  auto model = load_model(options, Space(), arguments.model);
  if (!model) return std::move(model).error();
  if (arguments.tokens == 0) arguments.tokens = arguments.documents.context;
  auto costs = measure(arguments, options, *model);
  if (!costs) return std::move(costs).error();
  const auto bandwidth = static_cast<double>(arguments.bandwidth);
  std::vector<std::size_t> order(costs->size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return (*costs)[i].seconds(bandwidth); });
  const auto n = static_cast<double>(arguments.tokens);
  std::vector<Report> rows;
  for (const std::size_t i : order) {
    const RestoreCost& cost = (*costs)[i];
    rows.push_back({{"codec", cost.codec},
                    {"bits_per_token", 8 * cost.bytes_per_token},
                    {"kl_mean", cost.kl},
                    {"read_seconds", n * cost.bytes_per_token / bandwidth},
                    {"compute_seconds", n * cost.seconds_per_token},
                    {"restore_seconds", n * cost.seconds(bandwidth)},
                    {"within_kl", cost.kl <= arguments.kl}});
  }
  std::vector<Report> spans;
  for (const FrontierSpan& span : frontier(*costs, arguments.kl)) {
    spans.push_back({{"codec", (*costs)[span.cost].codec},
                     {"from_GBps", 1e-9 * span.from},
                     {"to_GBps", std::isinf(span.to) ? Value(nullptr) : Value(1e-9 * span.to)}});
  }
  const auto best = fastest(*costs, bandwidth, arguments.kl);
  print(options, {{"codec", best ? Value((*costs)[*best].codec) : Value(nullptr)},
                  {"tokens", arguments.tokens},
                  {"bandwidth_GBps", 1e-9 * bandwidth},
                  {"kl", arguments.kl},
                  {"frontier", spans},
                  {"rows", rows}});
  return 0;
}

}  // namespace

Action declare_advise(CLI::App& app) {
  auto arguments = std::make_shared<AdviseArguments>();
  constexpr bool thousands = true;  // 1K is 1000
  app.add_option("--model", arguments->model, "Model folder")->required();
  arguments->documents.declare(app);
  app.add_option("--bandwidth", arguments->bandwidth, "Bytes a second at which stored bytes come, e.g. 500M or 10G")
      ->transform(CLI::AsSizeValue(thousands))
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1} << 60U))
      ->required();
  app.add_option("--kl", arguments->kl, "Nats a token that a restore may cost (default 0.01)")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--tokens", arguments->tokens, "Tokens of a session (default: those of --context)")
      ->check(CLI::Range(1, 1 << 30));
  app.add_option("--compute", arguments->compute,
                 "Operations a second of the model's prefill where it will run, e.g. 4e14 (default: as measured here)")
      ->check(CLI::PositiveNumber);
  app.add_option("--codec", arguments->codecs,
                 std::string(codec_help) + "; several may be given (default: a few of all)");
  add_profile(app, arguments->profile);
  add_dtype(app, arguments->dtype, "Number type in which an engine holds the cache (default bf16)");
  app.footer(
      "Measures bits, KL and decoding on text, on this machine; `prefill` computes the cache anew from 4-byte tokens.\n"
      "Example:\n  seqkv advise --model models/docs-7m --profile models/docs-7m/profile.safetensors --text "
      "eval.jsonl.xz "
      "--bandwidth 1G");
  return [arguments](const Options& options) { return run(*arguments, options); };
}

}  // namespace seqkv::cli
