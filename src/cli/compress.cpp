// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>

#include "cli/arguments.hpp"
#include "cli/transfer.hpp"
#include "seqkv/replay.hpp"

namespace seqkv::cli {
namespace {

struct CompressArguments {
  std::string in;
  std::string out;
  std::string codec;
  std::string model;
  std::string profile;
  std::int64_t block_tokens = 256;
  std::uint64_t memory = 0;
};

/// Errors: wrong_model, if a model is given and the file names another.
Result<Digest> model_of(const CompressArguments& arguments, const KvFile& file, const Model<Space>* model) {
  if (model == nullptr) return file.model();
  const Digest given = model->fingerprint().combined();
  if (!file.model().is_zero() && file.model() != given) {
    return Error(ErrorCode::wrong_model,
                 fmt::format("the file names model {}, {} is model {}", file.model().hex().substr(0, 16),
                             arguments.model, given.hex().substr(0, 16)))
        .in_file(arguments.in);
  }
  return given;
}

Result<int> run(const CompressArguments& arguments, const Options& options) {
  auto codec = Codec::parse(arguments.codec);
  if (!codec) return std::move(codec).error();
  auto file = KvFile::open(arguments.in);
  if (!file) return std::move(file).error();
  const auto tokens = static_cast<std::int64_t>(file->tokens().size());
  if (tokens == 0) return Error(ErrorCode::empty_input, "the cache has no tokens").in_file(arguments.in);
  auto model = load_model_if_named(options, arguments.model);
  if (!model) return std::move(model).error();
  auto fingerprint = model_of(arguments, *file, model->get());
  if (!fingerprint) return std::move(fingerprint).error();

  auto profile = load_profile(arguments.profile);
  if (!profile) return std::move(profile).error();
  if (auto status = check_profile(*codec, *profile, *fingerprint); !status) return std::move(status).error();

  const double start = now();
  Progress progress(options, "compress");
  TransferOptions how = transfer_options(options, arguments.memory, progress);
  how.profile = *profile;
  codec = settle(Space(), *codec, source_of(*file), arguments.block_tokens, how);
  if (!codec) return std::move(codec).error().in_file(arguments.in);
  if (codec->predictor() == Predictor::linear_ref || codec->predictor() == Predictor::ref)
    say(options, "a frame refers to nothing: " + codec->spec() + " codes as linear");
  auto writer = FrameWriter::create(arguments.out, {file->shape(), tokens, arguments.block_tokens, codec->spec(),
                                                    *fingerprint, codec->profile_fingerprint()});
  if (!writer) return std::move(writer).error();
  auto transfer = compress(Space(), *model, source_of(*file), *writer, how);
  if (!transfer) return std::move(transfer).error().in_file(arguments.in);
  if (auto status = writer->commit(); !status) return std::move(status).error();
  const double seconds = now() - start;
  const std::int64_t components = tokens * file->shape().components_per_token();
  const double bits = 8.0 * static_cast<double>(writer->bytes()) / static_cast<double>(components);
  Report report = {{"codec", codec->spec()},
                   {"tokens", tokens},
                   {"bytes", writer->bytes()},
                   {"bits_per_component", bits},
                   {"ratio_bf16", 16.0 / bits}};
  add_figures(report, *transfer, components, seconds);
  if (codec->needs_model()) report.set("not_given_back", transfer->not_given_back);
  report.set("out", arguments.out);
  print(options, report);
  return 0;
}

}  // namespace

Action declare_compress(CLI::App& app) {
  auto arguments = std::make_shared<CompressArguments>();
  app.add_option("in", arguments->in, "KV file (.safetensors)")->required();
  app.add_option("out", arguments->out, "Frame to write (.sqkv)")->required();
  app.add_option("--codec", arguments->codec, codec_help)->required();
  app.add_option("--model", arguments->model,
                 "Model folder: checks and records which model the cache is of; the codecs of replay need it");
  app.add_option("--block-tokens", arguments->block_tokens, "Tokens of a block, which decodes on its own")
      ->check(CLI::Range(16, 4096));
  add_profile(app, arguments->profile);
  add_memory(app, arguments->memory);
  app.footer(
      "Example:\n  seqkv compress kv.safetensors kv.sqkv --codec none+turboquant:4\n"
      "  seqkv compress kv.safetensors kv.sqkv --codec replay+lossless:engine=eager --model models/docs-7m");
  return [arguments](const Options& options) { return run(*arguments, options); };
}

}  // namespace seqkv::cli
