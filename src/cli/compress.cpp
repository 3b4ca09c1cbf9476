// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>

#include "cli/arguments.hpp"
#include "seqkv/frame.hpp"
#include "seqkv/kv_file.hpp"

namespace seqkv::cli {
namespace {

struct Arguments {
  std::string in;
  std::string out;
  std::string codec;
  std::string model;
  std::int64_t block_tokens = 256;
};

/// Errors: wrong_model, if a model is given and the file names another.
Result<Digest> model_of(const Arguments& arguments, const KvFile& file, const Options& options) {
  if (arguments.model.empty()) return file.model();
  auto model = load_model(options, Space(), arguments.model);
  if (!model) return std::move(model).error();
  const Digest given = (*model)->fingerprint().combined();
  if (!file.model().is_zero() && file.model() != given) {
    return Error(ErrorCode::wrong_model,
                 fmt::format("the file names model {}, {} is model {}", file.model().hex().substr(0, 16),
                             arguments.model, given.hex().substr(0, 16)))
        .in_file(arguments.in);
  }
  return given;
}

Result<int> run(const Arguments& arguments, const Options& options) {
  const Space space;
  auto codec = Codec::parse(arguments.codec);
  if (!codec) return std::move(codec).error();
  auto file = KvFile::open(arguments.in);
  if (!file) return std::move(file).error();
  const auto tokens = static_cast<std::int64_t>(file->tokens().size());
  if (tokens == 0) return Error(ErrorCode::empty_input, "the cache has no tokens").in_file(arguments.in);
  auto model = model_of(arguments, *file, options);
  if (!model) return std::move(model).error();

  auto writer =
      FrameWriter::create(arguments.out, {file->shape(), tokens, arguments.block_tokens, codec->spec(), *model, {}});
  if (!writer) return std::move(writer).error();
  const double start = now();
  Progress progress(options, "compress");
  const std::int64_t step = 16 * arguments.block_tokens;
  for (std::int64_t first = 0; first < tokens; first += step) {
    const std::int64_t count = std::min(step, tokens - first);
    auto blocks = encode(space, *codec, file->view().slice(first, count), file->tokens().subspan(first, count), first,
                         arguments.block_tokens);
    if (!blocks) return std::move(blocks).error().in_file(arguments.in);
    for (const CodedBlock& block : *blocks) {
      if (auto status = writer->append(block); !status) return std::move(status).error();
    }
    progress.update(first + count, tokens);
  }
  const std::int64_t bytes = writer->bytes();
  if (auto status = writer->commit(); !status) return std::move(status).error();
  const double seconds = now() - start;
  const auto components = static_cast<double>(tokens * file->shape().components_per_token());
  const double bits = 8.0 * static_cast<double>(bytes) / components;
  print(options, {{"codec", codec->spec()},
                  {"tokens", tokens},
                  {"bytes", bytes},
                  {"bits_per_component", bits},
                  {"ratio_bf16", 16.0 / bits},
                  {"seconds", seconds},
                  {"GBps", 2e-9 * components / seconds},
                  {"out", arguments.out}});
  return 0;
}

}  // namespace

Action declare_compress(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  app.add_option("in", arguments->in, "KV file (.safetensors)")->required();
  app.add_option("out", arguments->out, "Frame to write (.sqkv)")->required();
  app.add_option("--codec", arguments->codec, codec_help)->required();
  app.add_option("--model", arguments->model, "Model folder: checks and records which model the cache is of");
  app.add_option("--block-tokens", arguments->block_tokens, "Tokens of a block, which decodes on its own")
      ->check(CLI::Range(16, 4096));
  app.footer("Example:\n  seqkv compress kv.safetensors kv.sqkv --codec none+turboquant:4");
  return [arguments](const Options& options) { return run(*arguments, options); };
}

}  // namespace seqkv::cli
