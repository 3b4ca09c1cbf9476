// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "cli/documents.hpp"

#include <fmt/format.h>

#include "seqkv/text_file.hpp"

namespace seqkv::cli {

void Documents::declare(CLI::App& app) {
  app.add_option("--text", text, "Documents (.jsonl with \"text\"; .xz and .zst too)")->required();
  app.add_option("--context", context, fmt::format("Tokens whose cache is coded (default {})", context))
      ->check(CLI::Range(2, 1 << 24));
  app.add_option("--continue", continuation, fmt::format("Tokens run on the restored cache (default {})", continuation))
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--docs", count, fmt::format("Documents: the first that are long enough (default {})", count))
      ->check(CLI::PositiveNumber);
}

Result<std::vector<std::vector<Token>>> Documents::read(const Options& options, const Model<Space>& model) const {
  auto texts = read_documents(text);
  if (!texts) return std::move(texts).error();
  const auto needed = static_cast<std::size_t>(context + continuation);
  std::vector<std::vector<Token>> documents;
  for (const std::string& one : *texts) {
    if (std::ssize(documents) == count) break;
    auto tokens = model.encode_document(one);
    if (!tokens) return std::move(tokens).error().in_file(text);
    if (tokens->size() < needed) continue;
    tokens->resize(needed);
    documents.push_back(std::move(*tokens));
  }
  if (documents.empty()) {
    return Error(ErrorCode::empty_input, fmt::format("none of {} documents has {} tokens", texts->size(), needed))
        .in_file(text);
  }
  if (std::ssize(documents) < count) {
    say(options, fmt::format("only {} documents are long enough ({} were asked for)", documents.size(), count));
  }
  return documents;
}

}  // namespace seqkv::cli
