// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Text to token ids on one thread. SEQKV_TEXT names the documents (default: sources of this project).
#include "seqkv/tokenizer.hpp"

#include <benchmark/benchmark.h>

#include <cstdlib>

#include "seqkv/text_file.hpp"
#include "support/value.hpp"

namespace seqkv {
namespace {

std::vector<std::string> documents() {
  const char* file = std::getenv("SEQKV_TEXT");
  return bench::value_of(read_documents(file != nullptr ? file : SEQKV_SOURCE "/src/store/store.cpp"));
}

void tokenize(benchmark::State& state) {
  const Tokenizer tokenizer = bench::value_of(Tokenizer::load(SEQKV_SOURCE "/models/docs-7m/tokenizer.json"));
  const std::vector<std::string> texts = documents();
  std::int64_t bytes = 0;
  std::int64_t tokens = 0;
  for (auto _ : state) {
    tokens = bytes = 0;
    for (const std::string& text : texts) {
      tokens += static_cast<std::int64_t>(bench::value_of(tokenizer.encode(text)).size());
      bytes += static_cast<std::int64_t>(text.size());
    }
  }
  state.SetBytesProcessed(state.iterations() * bytes);
  state.counters["tokens"] = static_cast<double>(tokens);
}
BENCHMARK(tokenize)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace seqkv
