// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Tokens coded by a model: the first 24 documents of ../shared/text/eval.jsonl.xz that have 896 tokens, cut there.
// SEQKV_MODEL or the embedded model; OMP_NUM_THREADS threads. Counters: bytes, the model's surprisal in bytes, what is
// above 1.005 of it for a session (at most 8 wanted), and tokens a second.
#include <benchmark/benchmark.h>
#include <lzma.h>
#include <zstd.h>

#include <cstdio>
#include <filesystem>
#include <numeric>

#include "seqkv/replay.hpp"
#include "seqkv/surprisal.hpp"
#include "seqkv/text_file.hpp"
#include "seqkv/token_coder.hpp"
#include "support/model.hpp"

namespace seqkv::bench {
namespace {

constexpr std::size_t documents = 24;
constexpr std::size_t length = 896;
using Coder = ModelTokenCoder<Space>;

std::filesystem::path text(const char* file) {
  return std::filesystem::path(SEQKV_SOURCE) / ".." / "shared" / "text" / file;
}

struct Corpus {
  std::vector<std::vector<Token>> sessions;
  std::vector<TokenSpan> spans;
  double surprisal_bytes = 0;
};

const Corpus& corpus() {
  static const Corpus made = [] {
    Corpus out;
    for (const std::string& document : value_of(read_documents(text("eval.jsonl.xz")))) {
      auto tokens = value_of(model()->encode_document(document));
      if (tokens.size() < length || out.sessions.size() == documents) continue;
      tokens.resize(length);
      out.sessions.push_back(std::move(tokens));
    }
    out.spans.assign(out.sessions.begin(), out.sessions.end());
    auto forward = value_of(Forward<Space>::create(Space(), model()));
    for (const TokenSpan session : out.spans) {
      const auto surprisals = value_of(token_surprisals(Space(), forward, session));
      out.surprisal_bytes +=
          static_cast<double>(std::accumulate(surprisals.begin(), surprisals.end(), std::uint64_t{0})) / 65536 / 8;
    }
    return out;
  }();
  return made;
}

void report(benchmark::State& state, std::size_t bytes) {
  const auto sessions = static_cast<double>(corpus().sessions.size());
  const double tokens = sessions * static_cast<double>(length);
  state.counters["bytes"] = static_cast<double>(bytes);
  state.counters["surprisal_bytes"] = corpus().surprisal_bytes;
  state.counters["bits_per_token"] = 8 * static_cast<double>(bytes) / tokens;
  state.counters["over_a_session"] = (static_cast<double>(bytes) - 1.005 * corpus().surprisal_bytes) / sessions;
  state.counters["tokens_per_s"] = benchmark::Counter(tokens, benchmark::Counter::kIsIterationInvariantRate);
}

/// Tokens of a segment (0: whole sessions), independent segments.
void encode(benchmark::State& state) {
  auto coder = value_of(
      Coder::create(Space(), model(), {static_cast<std::uint32_t>(state.range(0)), state.range(1) != 0, 256, 16}));
  const auto& spans = corpus().spans;
  std::size_t bytes = 0;
  for (auto _ : state) bytes = value_of(coder.encode(Space(), spans)).size();
  report(state, bytes);
}

/// The same and the batch.
void decode(benchmark::State& state) {
  auto coder = value_of(Coder::create(
      Space(), model(), {static_cast<std::uint32_t>(state.range(0)), state.range(1) != 0, 256, state.range(2)}));
  const auto stream = value_of(coder.encode(Space(), corpus().spans));
  for (auto _ : state) {
    if (value_of(coder.decode(Space(), stream)) != corpus().sessions) state.SkipWithError("other tokens came back");
  }
  report(state, stream.size());
}

/// What all threads encode in chunks of 256, one thread decodes; the batch.
void decode_on_one_thread(benchmark::State& state) {
  const Kokkos::Serial serial;
  auto coder = value_of(Coder::create(Space(), model()));
  const auto stream = value_of(coder.encode(Space(), corpus().spans));
  const char* folder = std::getenv("SEQKV_MODEL");
  auto other = value_of(ModelTokenCoder<Kokkos::Serial>::create(
      serial,
      value_of(Model<Kokkos::Serial>::load(serial, folder != nullptr ? folder : SEQKV_SOURCE "/models/docs-7m")),
      {0, false, 256, state.range(0)}));
  for (auto _ : state) {
    if (value_of(other.decode(serial, stream)) != corpus().sessions) state.SkipWithError("other tokens came back");
  }
  report(state, stream.size());
}

std::vector<std::uint16_t> as_16_bit() {
  std::vector<std::uint16_t> all;
  for (const auto& session : corpus().sessions) all.insert(all.end(), session.begin(), session.end());
  return all;
}

void zstd_19(benchmark::State& state) {
  const auto from = as_16_bit();
  std::string to(ZSTD_compressBound(2 * from.size()), '\0');
  std::size_t bytes = 0;
  for (auto _ : state) bytes = ZSTD_compress(to.data(), to.size(), from.data(), 2 * from.size(), 19);
  report(state, bytes);
}

void xz_9e(benchmark::State& state) {
  const auto from = as_16_bit();
  std::vector<std::uint8_t> to(lzma_stream_buffer_bound(2 * from.size()));
  std::size_t bytes = 0;
  for (auto _ : state) {
    bytes = 0;
    if (lzma_easy_buffer_encode(9 | LZMA_PRESET_EXTREME, LZMA_CHECK_NONE, nullptr,
                                reinterpret_cast<const std::uint8_t*>(from.data()), 2 * from.size(), to.data(), &bytes,
                                to.size()) != LZMA_OK) {
      state.SkipWithError("xz failed");
    }
  }
  report(state, bytes);
}

/// The n-gram counts of calibration.jsonl.xz.
void trie_coder(benchmark::State& state) {
  std::vector<std::vector<Token>> learned;
  for (const std::string& document : value_of(read_documents(text("calibration.jsonl.xz")))) {
    learned.push_back(value_of(model()->encode_document(document)));
  }
  const std::vector<TokenSpan> spans(learned.begin(), learned.end());
  const Trie trie = value_of(build_window_trie(Space(), spans, 6));
  const auto weights = value_of(train_token_weights(Space(), spans, 6));
  const auto coder = value_of(TokenCoder::create(value_of(with_weights(trie, weights)),
                                                 {0, true, static_cast<std::uint32_t>(model()->config().vocabulary)}));
  std::size_t bytes = 0;
  for (auto _ : state) bytes = value_of(coder.encode(Space(), corpus().spans)).size();
  report(state, bytes);
}

bool add() {
  if (!std::filesystem::exists(text("eval.jsonl.xz"))) {
    std::fprintf(stderr, "%s is not there: nothing to code\n", text("eval.jsonl.xz").c_str());
    return false;
  }
  const auto once = [](const char* name, void (*function)(benchmark::State&)) {
    return benchmark::RegisterBenchmark(name, function)->Unit(benchmark::kMillisecond)->Iterations(1)->UseRealTime();
  };
  auto* coded = once("encode", encode);
  for (const int segment : {0, 448, 256, 128, 64}) coded->Args({segment, 0})->Args({segment, 1});
  auto* decoded = once("decode", decode);
  for (const int batch : {1, 8, 16, 24}) decoded->Args({0, 0, batch});
  for (const int segment : {256, 64}) decoded->Args({segment, 1, 16})->Args({segment, 1, 64});
  once("decode_on_one_thread", decode_on_one_thread)->Arg(1)->Arg(8);
  once("zstd_19", zstd_19);
  once("xz_9e", xz_9e);
  once("trie_coder", trie_coder);
  return true;
}

[[maybe_unused]] const bool added = add();

}  // namespace
}  // namespace seqkv::bench
