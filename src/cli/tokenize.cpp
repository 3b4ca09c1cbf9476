// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>

#include <filesystem>

#include "cli/command.hpp"
#include "seqkv/text_file.hpp"
#include "seqkv/token_file.hpp"
#include "seqkv/tokenizer.hpp"

namespace seqkv::cli {
namespace {

struct TokenizeArguments {
  std::string model;
  std::string text;
  std::string tokens;
  std::string out;
  bool decode = false;
  bool template_tokens = false;
};

Result<int> encode_texts(const TokenizeArguments& arguments, const Tokenizer& tokenizer, const Options& options) {
  auto documents = read_documents(arguments.text);
  if (!documents) return std::move(documents).error();
  const double start = now();
  std::vector<std::vector<Token>> sequences;
  std::int64_t tokens = 0;
  std::int64_t bytes = 0;
  Progress progress(options, "tokenize");
  for (const std::string& document : *documents) {
    auto ids = tokenizer.encode(document, arguments.template_tokens ? SpecialTokens::add : SpecialTokens::none);
    if (!ids)
      return std::move(ids).error().at_field(fmt::format("document {}", sequences.size())).in_file(arguments.text);
    tokens += static_cast<std::int64_t>(ids->size());
    bytes += static_cast<std::int64_t>(document.size());
    sequences.push_back(std::move(*ids));
    progress.update(static_cast<std::int64_t>(sequences.size()), static_cast<std::int64_t>(documents->size()));
  }
  const double seconds = now() - start;
  if (auto written = write_token_file(arguments.out, sequences); !written) return std::move(written).error();
  print(options, {{"documents", sequences.size()},
                  {"tokens", tokens},
                  {"bytes", bytes},
                  {"seconds", seconds},
                  {"out", arguments.out}});
  return 0;
}

Result<int> decode_tokens(const TokenizeArguments& arguments, const Tokenizer& tokenizer, const Options& options) {
  auto sequences = read_token_file(arguments.tokens);
  if (!sequences) return std::move(sequences).error();
  std::vector<std::string> documents;
  for (const auto& sequence : *sequences) {
    auto text = tokenizer.decode(sequence);
    if (!text)
      return std::move(text).error().at_field(fmt::format("sequence {}", documents.size())).in_file(arguments.tokens);
    documents.push_back(std::move(*text));
  }
  if (auto written = write_documents(arguments.out, documents); !written) return std::move(written).error();
  print(options, {{"documents", documents.size()}, {"out", arguments.out}});
  return 0;
}

Result<int> run(const TokenizeArguments& arguments, const Options& options) {
  if (arguments.decode ? arguments.tokens.empty() : arguments.text.empty()) {
    return Error(ErrorCode::invalid_argument, arguments.decode ? "--decode needs --tokens" : "--text is needed");
  }
  auto tokenizer = Tokenizer::load(std::filesystem::path(arguments.model) / "tokenizer.json");
  if (!tokenizer) return std::move(tokenizer).error();
  return arguments.decode ? decode_tokens(arguments, *tokenizer, options)
                          : encode_texts(arguments, *tokenizer, options);
}

}  // namespace

Action declare_tokenize(CLI::App& app) {
  auto arguments = std::make_shared<TokenizeArguments>();
  app.add_option("--model", arguments->model, "Model folder with tokenizer.json")->required();
  app.add_option("--text", arguments->text, "Text file; of .jsonl (.xz, .zst) the \"text\" of every line");
  app.add_option("--tokens", arguments->tokens, "Token file to turn back into text");
  app.add_option("--out", arguments->out, "Token file to write (.npy, .json, .jsonl); with --decode a .jsonl of texts")
      ->required();
  app.add_flag("--decode", arguments->decode, "From tokens to text");
  app.add_flag("--template", arguments->template_tokens, "Add the special tokens of the tokenizer's template");
  app.footer("Example:\n  seqkv tokenize --model models/docs-7m --text notes.txt --out notes.npy");
  return [arguments](const Options& options) { return run(*arguments, options); };
}

}  // namespace seqkv::cli
