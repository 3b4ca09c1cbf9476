// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Coding tokens of ../shared/text/eval.jsonl.xz by the n-gram counts of calibration.jsonl.xz, beside zstd -19 and xz
// -9e on the same tokens as 16-bit numbers and on the text. Counters: bits a token, all bytes counted, and tokens a
// second.
#include <benchmark/benchmark.h>
#include <lzma.h>
#include <zstd.h>

#include <Kokkos_Core.hpp>
#include <cstdio>
#include <filesystem>

#include "seqkv/text_file.hpp"
#include "seqkv/token_coder.hpp"
#include "seqkv/tokenizer.hpp"
#include "support/value.hpp"

namespace seqkv::bench {
namespace {

using Space = Kokkos::DefaultExecutionSpace;

const std::filesystem::path& shared() {
  static const std::filesystem::path folder = std::filesystem::path(SEQKV_SOURCE) / ".." / "shared";
  return folder;
}

struct Corpus {
  std::vector<std::vector<Token>> learned, coded;
  std::string text;  ///< of `coded`
  std::int64_t tokens = 0;
};

std::vector<std::vector<Token>> tokenize(const Tokenizer& tokenizer, const char* file, std::string* text) {
  std::vector<std::vector<Token>> sequences;
  for (const std::string& document : value_of(read_documents(shared() / "text" / file))) {
    sequences.push_back(value_of(tokenizer.encode(document, SpecialTokens::none)));
    if (text != nullptr) *text += document;
  }
  return sequences;
}

const Corpus& corpus() {
  static const Corpus texts = [] {
    const Tokenizer tokenizer = value_of(Tokenizer::load(shared() / "model" / "tokenizer.json"));
    Corpus out;
    out.learned = tokenize(tokenizer, "calibration.jsonl.xz", nullptr);
    out.coded = tokenize(tokenizer, "eval.jsonl.xz", &out.text);
    for (const auto& tokens : out.coded) out.tokens += std::ssize(tokens);
    return out;
  }();
  return texts;
}

std::vector<TokenSpan> spans_of(const std::vector<std::vector<Token>>& sequences) {
  return {sequences.begin(), sequences.end()};
}

void report(benchmark::State& state, std::size_t bytes) {
  const auto tokens = static_cast<double>(corpus().tokens);
  state.counters["bits_per_token"] = 8 * static_cast<double>(bytes) / tokens;
  state.counters["tokens_per_s"] = benchmark::Counter(tokens, benchmark::Counter::kIsIterationInvariantRate);
}

TokenCoder coder_of(int depth, std::uint32_t block, bool adaptive) {
  const auto learned = spans_of(corpus().learned);
  const Trie trie = value_of(build_window_trie(Space(), learned, depth));
  const auto weights = value_of(train_token_weights(Space(), learned, depth));
  return value_of(TokenCoder::create(value_of(with_weights(trie, weights)), {block, adaptive, 0}));
}

/// depth, tokens of a block (0: documents), adaptive
void encode(benchmark::State& state) {
  const TokenCoder coder =
      coder_of(static_cast<int>(state.range(0)), static_cast<std::uint32_t>(state.range(1)), state.range(2) != 0);
  const auto coded = spans_of(corpus().coded);
  std::size_t bytes = 0;
  for (auto _ : state) bytes = value_of(coder.encode(Space(), coded)).size();
  report(state, bytes);
}

void decode(benchmark::State& state) {
  const TokenCoder coder =
      coder_of(static_cast<int>(state.range(0)), static_cast<std::uint32_t>(state.range(1)), state.range(2) != 0);
  const auto stream = value_of(coder.encode(Space(), spans_of(corpus().coded)));
  for (auto _ : state) {
    if (value_of(coder.decode(Space(), stream)) != corpus().coded) state.SkipWithError("other tokens came back");
  }
  report(state, stream.size());
}

std::string as_16_bit() {
  std::string bytes;
  for (const auto& tokens : corpus().coded) {
    for (const Token token : tokens) {
      bytes += static_cast<char>(token & 255U);
      bytes += static_cast<char>(token >> 8U);
    }
  }
  return bytes;
}

void zstd(benchmark::State& state, bool text) {
  const std::string from = text ? corpus().text : as_16_bit();
  std::string to(ZSTD_compressBound(from.size()), '\0');
  std::size_t bytes = 0;
  for (auto _ : state) bytes = ZSTD_compress(to.data(), to.size(), from.data(), from.size(), 19);
  report(state, bytes);
}

void xz(benchmark::State& state, bool text) {
  const std::string from = text ? corpus().text : as_16_bit();
  std::vector<std::uint8_t> to(lzma_stream_buffer_bound(from.size()));
  std::size_t bytes = 0;
  for (auto _ : state) {
    bytes = 0;
    if (lzma_easy_buffer_encode(9 | LZMA_PRESET_EXTREME, LZMA_CHECK_NONE, nullptr,
                                reinterpret_cast<const std::uint8_t*>(from.data()), from.size(), to.data(), &bytes,
                                to.size()) != LZMA_OK) {
      state.SkipWithError("xz failed");
    }
  }
  report(state, bytes);
}

void zstd_19_text(benchmark::State& state) { zstd(state, true); }
void zstd_19_tokens(benchmark::State& state) { zstd(state, false); }
void xz_9e_text(benchmark::State& state) { xz(state, true); }
void xz_9e_tokens(benchmark::State& state) { xz(state, false); }

void cases(benchmark::internal::Benchmark* bench) {
  for (const int depth : {4, 6, 8}) bench->Args({depth, 0, 1});
  for (const int block : {4096, 1024, 256}) bench->Args({6, block, 1});
  bench->Args({6, 0, 0});
  bench->Unit(benchmark::kMillisecond)->UseRealTime();
}

bool add() {
  if (!std::filesystem::exists(shared() / "text")) {
    std::fprintf(stderr, "%s is not there: nothing to code\n", (shared() / "text").c_str());
    return false;
  }
  cases(benchmark::RegisterBenchmark("encode", encode));
  cases(benchmark::RegisterBenchmark("decode", decode));
  const auto peer = [](const char* name, void (*function)(benchmark::State&)) {
    benchmark::RegisterBenchmark(name, function)->Unit(benchmark::kMillisecond)->Iterations(1)->UseRealTime();
  };
  peer("zstd_19_text", zstd_19_text);
  peer("zstd_19_tokens", zstd_19_tokens);
  peer("xz_9e_text", xz_9e_text);
  peer("xz_9e_tokens", xz_9e_tokens);
  return true;
}

[[maybe_unused]] const bool added = add();

}  // namespace
}  // namespace seqkv::bench
