// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>
#include <algorithm>

#include "cli/arguments.hpp"
#include "seqkv/forward.hpp"
#include "seqkv/kv_file.hpp"

namespace seqkv::cli {
namespace {

struct PrefillArguments {
  std::string model;
  TokenSource source;
  std::string out;
  std::string dtype = "f32";
  std::int64_t logits = 0;
  std::int64_t chunk = Forward<Space>::default_chunk;
};

using Run = Forward<Space>;

/// The file to write, so that a path that is no good is known before the model runs.
Result<KvFileWriter> create_file(const PrefillArguments& arguments, const Model<Space>& model, TokenSpan tokens) {
  std::vector<TensorSpec> extra;
  if (arguments.logits > 0) extra.push_back({"logits", "F32", {arguments.logits, model.config().vocabulary}});
  return KvFileWriter::create(arguments.out, model.config().kv_shape(dtype_of(arguments.dtype)), tokens,
                              model.fingerprint().combined(), extra);
}

/// Writes the cache of a sequence and the logits of its last rows.
Result<void> write(const PrefillArguments& arguments, const Space& space, const Model<Space>& model,
                   const Sequence<Space>& sequence, const Run::Output& output, KvFileWriter& writer) {
  const KvShape shape = model.config().kv_shape(dtype_of(arguments.dtype));
  constexpr std::int64_t step = 4096;
  for (std::int64_t first = 0; first < sequence.tokens(); first += step) {
    auto part = KvCache::create(shape, std::min(step, sequence.tokens() - first));
    if (!part) return std::move(part).error();
    if (auto read = sequence.read(space, first, part->view()); !read) return read;
    if (auto written = writer.write(part->view(), first); !written) return written;
  }
  if (arguments.logits > 0) {
    const auto host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), output.logits);
    const std::span<const float> values(host.data(), host.size());
    if (auto written = writer.tensors().write("logits", 0, std::as_bytes(values)); !written) return written;
  }
  return writer.commit();
}

Result<int> run(const PrefillArguments& arguments, const Options& options) {
  const Space space;
  auto model = load_model(options, space, arguments.model);
  if (!model) return std::move(model).error();
  auto tokens = arguments.source.read(**model);
  if (!tokens) return std::move(tokens).error();
  const auto count = static_cast<std::int64_t>(tokens->size());
  if (arguments.logits > count) {
    return Error(ErrorCode::invalid_argument, fmt::format("--logits {} of {} tokens", arguments.logits, count));
  }
  auto writer = create_file(arguments, **model, *tokens);
  if (!writer) return std::move(writer).error();
  auto forward = Run::create(space, *model, arguments.chunk);
  if (!forward) return std::move(forward).error();
  Sequence<Space> sequence((*model)->config());
  if (auto reserved = sequence.reserve(space, count); !reserved) return std::move(reserved).error();

  Run::Output output;
  const double start = now();
  Progress progress(options, "prefill");
  constexpr std::int64_t step = 2048;
  for (std::int64_t first = 0; first < count; first += step) {
    // The rows of logits are wanted in one piece: the last step takes them all.
    const bool last = first + step >= count - arguments.logits;
    const std::int64_t size = last ? count - first : step;
    const Run::Item item{&sequence, TokenSpan(*tokens).subspan(first, size), last ? arguments.logits : 0};
    if (auto status = forward->run(space, {&item, 1}, &output); !status) return std::move(status).error();
    progress.update(first + size, count);
    if (last) break;
  }
  const double seconds = now() - start;
  if (auto written = write(arguments, space, **model, sequence, output, *writer); !written)
    return std::move(written).error();
  print(options, {{"tokens", count},
                  {"seconds", seconds},
                  {"tokens_per_second", static_cast<double>(count) / seconds},
                  {"threads", space.concurrency()},
                  {"dtype", arguments.dtype},
                  {"model", (*model)->fingerprint().combined().hex()},
                  {"out", arguments.out}});
  return 0;
}

}  // namespace

Action declare_prefill(CLI::App& app) {
  auto arguments = std::make_shared<PrefillArguments>();
  app.add_option("--model", arguments->model, "Model folder (config.json, *.safetensors, tokenizer.json)")->required();
  arguments->source.declare(app);
  app.add_option("--out", arguments->out, "KV file to write (.safetensors)")->required();
  add_dtype(app, arguments->dtype, "Number type of the cache in the file (default f32)");
  app.add_option("--logits", arguments->logits, "Also write the logits of the last N tokens (tensor 'logits')")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--chunk", arguments->chunk, "Tokens that go through the model together; changes no bit of the result")
      ->check(CLI::Range(1, 65536));
  app.footer("Example:\n  seqkv prefill --model models/docs-7m --text README.md --dtype bf16 --out kv.safetensors");
  return [arguments](const Options& options) { return run(*arguments, options); };
}

}  // namespace seqkv::cli
