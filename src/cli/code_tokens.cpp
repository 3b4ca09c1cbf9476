// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// encode-tokens and decode-tokens.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "cli/arguments.hpp"
#include "seqkv/replay.hpp"
#include "seqkv/token_coder.hpp"
#include "seqkv/token_file.hpp"

namespace seqkv::cli {
namespace {

struct CodeTokensArguments {
  std::string trie;
  std::string model;
  std::string in;
  std::string out;
  TokenCoder::Options coder;
  bool fixed = false;
};

/// A coder for tokens up to `largest`, unless a vocabulary is given.
Result<TokenCoder> open_coder(const CodeTokensArguments& arguments, Token largest) {
  auto trie = Trie::open(arguments.trie);
  if (!trie) return std::move(trie).error();
  TokenCoder::Options options = arguments.coder;
  if (options.vocabulary == 0) options.vocabulary = std::max(largest, trie->shape().largest_token) + 1;
  auto coder = TokenCoder::create(std::move(*trie), options);
  if (!coder) return std::move(coder).error().in_file(arguments.trie);
  return coder;
}

/// By a model.
Result<ModelTokenCoder<Space>> open_model_coder(const CodeTokensArguments& arguments, const Options& options) {
  auto model = load_model(options, Space(), arguments.model);
  if (!model) return std::move(model).error();
  ModelTokenCoder<Space>::Options of_coder;
  of_coder.segment_tokens = arguments.coder.block_tokens;
  of_coder.independent = arguments.coder.block_tokens > 0;
  return ModelTokenCoder<Space>::create(Space(), *model, of_coder);
}

Result<std::vector<std::byte>> encode_by_model(const CodeTokensArguments& arguments, const Options& options,
                                               const std::vector<TokenSpan>& sequences) {
  auto coder = open_model_coder(arguments, options);
  if (!coder) return std::move(coder).error();
  return coder->encode(Space(), sequences);
}

Result<std::vector<std::vector<Token>>> decode_by_model(const CodeTokensArguments& arguments, const Options& options,
                                                        std::span<const std::byte> stream) {
  auto coder = open_model_coder(arguments, options);
  if (!coder) return std::move(coder).error();
  ModelTokenCoder<Space>::DecodeOptions how;
  how.stop = &stop_on_signal();
  return coder->decode(Space(), stream, how);
}

Report report(const std::vector<std::vector<Token>>& sequences, std::size_t bytes, double seconds,
              const std::string& out) {
  std::int64_t tokens = 0;
  for (const auto& sequence : sequences) tokens += std::ssize(sequence);
  const auto all = static_cast<double>(tokens);
  return {{"sequences", sequences.size()},
          {"tokens", tokens},
          {"bytes", bytes},
          {"bits_per_token", tokens > 0 ? Value(8.0 * static_cast<double>(bytes) / all) : Value(nullptr)},
          {"seconds", seconds},
          {"tokens_per_second", all / seconds},
          {"out", out}};
}

/// By the counts of a trie, whose vocabulary reaches at least up to the largest token.
Result<std::vector<std::byte>> encode_by_trie(const CodeTokensArguments& arguments,
                                              const std::vector<TokenSpan>& sequences) {
  Token largest = 0;
  for (const TokenSpan sequence : sequences) {
    for (const Token token : sequence) largest = std::max(largest, token);
  }
  auto coder = open_coder(arguments, largest);
  if (!coder) return std::move(coder).error();
  return coder->encode(Space(), sequences);
}

Result<int> encode(CodeTokensArguments arguments, const Options& options) {
  arguments.coder.adaptive = !arguments.fixed;
  auto sequences = read_token_file(arguments.in);
  if (!sequences) return std::move(sequences).error();
  const std::vector<TokenSpan> spans(sequences->begin(), sequences->end());
  const double start = now();
  auto stream = arguments.model.empty() ? encode_by_trie(arguments, spans) : encode_by_model(arguments, options, spans);
  if (!stream) return std::move(stream).error().in_file(arguments.in);
  const double seconds = now() - start;
  if (auto saved = save_token_stream(arguments.out, *stream); !saved) return std::move(saved).error();
  print(options, report(*sequences, stream->size(), seconds, arguments.out));
  return 0;
}

Result<std::vector<std::vector<Token>>> decode_by_trie(const CodeTokensArguments& arguments,
                                                       std::span<const std::byte> stream) {
  auto coder = open_coder(arguments, 0);
  if (!coder) return std::move(coder).error();
  return coder->decode(Space(), stream);
}

Result<int> decode(const CodeTokensArguments& arguments, const Options& options) {
  auto stream = load_token_stream(arguments.in);
  if (!stream) return std::move(stream).error();
  const double start = now();
  auto sequences =
      arguments.model.empty() ? decode_by_trie(arguments, *stream) : decode_by_model(arguments, options, *stream);
  if (!sequences) return std::move(sequences).error().in_file(arguments.in);
  const double seconds = now() - start;
  if (auto written = write_token_file(arguments.out, *sequences); !written) return std::move(written).error();
  print(options, report(*sequences, stream->size(), seconds, arguments.out));
  return 0;
}

/// --trie or --model.
void add_predictor(CLI::App& app, CodeTokensArguments& arguments, const char* of_trie, const char* of_model) {
  auto* by = app.add_option_group("by", "one of");
  by->add_option("--trie", arguments.trie, of_trie);
  by->add_option("--model", arguments.model, of_model);
  by->require_option(1);
}

}  // namespace

Action declare_encode_tokens(CLI::App& app) {
  auto arguments = std::make_shared<CodeTokensArguments>();
  add_predictor(app, *arguments, "Trie file of windows: what the coder knows of the language",
                "Model folder: fewest bits, but decoding runs the model once a token");
  app.add_option("--tokens", arguments->in, "Token file (.npy, .json, .jsonl, or the input_ids of .safetensors)")
      ->required();
  app.add_option("--out", arguments->out, "File to write")->required();
  app.add_option("--block", arguments->coder.block_tokens,
                 "Code blocks of N tokens on their own, for random access (default: whole sequences)");
  app.add_option("--vocabulary", arguments->coder.vocabulary,
                 "Tokens are below N (default: one above the largest of the trie and the sequences)");
  app.add_flag("--static", arguments->fixed, "Do not learn from the tokens coded so far (faster, more bits)");
  app.footer(
      "The same trie file or model decodes. Whole sequences take the fewest bits. --vocabulary and --static are for "
      "tries.\n"
      "Examples:\n  seqkv trie build --tokens corpus.jsonl --windows 6 --out counts.trie\n"
      "  seqkv encode-tokens --trie counts.trie --tokens notes.jsonl --out notes.sqtk\n"
      "  seqkv encode-tokens --model models/docs-7m --tokens notes.jsonl --out notes.sqrt");
  return [arguments](const Options& options) { return encode(*arguments, options); };
}

Action declare_decode_tokens(CLI::App& app) {
  auto arguments = std::make_shared<CodeTokensArguments>();
  add_predictor(app, *arguments, "The trie file that the tokens were coded with",
                "The model that the tokens were coded with");
  app.add_option("in", arguments->in, "Coded tokens")->required();
  app.add_option("--out", arguments->out, "Token file to write (.npy and .json take one sequence, .jsonl any number)")
      ->required();
  app.footer("Example:\n  seqkv decode-tokens --trie counts.trie notes.sqtk --out notes.jsonl");
  return [arguments](const Options& options) { return decode(*arguments, options); };
}

}  // namespace seqkv::cli
