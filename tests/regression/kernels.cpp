// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// The main kernels on data that is always the same, each in a function of its own: what callgrind counts
// (instructions.py). Prints which CPU kernels ran and the compiler, on which counts depend.
#include <fmt/format.h>

#include <Kokkos_Core.hpp>
#include <numeric>

#include "bench/support/value.hpp"
#include "bench/trie/streams.hpp"
#include "seqkv/backends.hpp"
#include "seqkv/codec.hpp"
#include "seqkv/forward.hpp"
#include "seqkv/kv_file.hpp"
#include "seqkv/profile.hpp"
#include "seqkv/trie_match.hpp"

namespace {

using namespace seqkv;
using bench::check;
using bench::value_of;
using Space = Kokkos::DefaultHostExecutionSpace;

struct Data {
  KvCache cache;
  std::vector<Token> tokens;
};

/// The first tokens of the embedded model's cache of 256, in bf16. The file does not say how keys were rotated; the
/// profile does.
Data golden(const KvShape& shape, std::int64_t tokens) {
  const KvFile file = value_of(KvFile::open(SEQKV_TEST_DATA "/docs-7m-golden.safetensors"));
  ConstKvView exact = file.view();
  exact.shape.rope = shape.rope;
  exact.tokens = tokens;
  KvShape rounded = exact.shape;
  rounded.dtype = DType::bf16;
  Data data{value_of(KvCache::create(rounded, exact.tokens)), {file.tokens().begin(), file.tokens().begin() + tokens}};
  check(copy(exact, data.cache.view()));
  return data;
}

// Named so that callgrind finds them: it collects while one of them is on the stack.
#define SEQKV_MEASURED extern "C" [[gnu::noinline]] void

void code(const Codec& codec, const Data& data, std::vector<CodedBlock>& blocks) {
  blocks = value_of(encode(Space(), codec, data.cache.view(), data.tokens, 0, data.cache.tokens()));
}
void restore(const Codec& codec, const std::vector<CodedBlock>& blocks, KvCache& out) {
  const std::vector<CodedBlockView> views(blocks.begin(), blocks.end());
  check(decode(Space(), codec, views, out.view()));
}

SEQKV_MEASURED measured_lossless_encode(const Codec* codec, const Data* data, std::vector<CodedBlock>* blocks) {
  code(*codec, *data, *blocks);
}
SEQKV_MEASURED measured_lossless_decode(const Codec* codec, const std::vector<CodedBlock>* blocks, KvCache* out) {
  restore(*codec, *blocks, *out);
}
SEQKV_MEASURED measured_turboquant_encode(const Codec* codec, const Data* data, std::vector<CodedBlock>* blocks) {
  code(*codec, *data, *blocks);
}
SEQKV_MEASURED measured_turboquant_decode(const Codec* codec, const std::vector<CodedBlock>* blocks, KvCache* out) {
  restore(*codec, *blocks, *out);
}
SEQKV_MEASURED measured_ecsq_encode(const Codec* codec, const Data* data, std::vector<CodedBlock>* blocks) {
  code(*codec, *data, *blocks);
}
SEQKV_MEASURED measured_ecsq_decode(const Codec* codec, const std::vector<CodedBlock>* blocks, KvCache* out) {
  restore(*codec, *blocks, *out);
}
SEQKV_MEASURED measured_prefill(Forward<Space>* forward, Sequence<Space>* sequence, const std::vector<Token>* tokens) {
  const Forward<Space>::Item item{sequence, *tokens, 0};
  check(forward->run(Space(), {&item, 1}));
}
SEQKV_MEASURED measured_trie_build(const std::vector<TokenSpan>* streams, std::optional<Trie>* trie) {
  *trie = value_of(build_window_trie(Space(), *streams, 8));
}
SEQKV_MEASURED measured_trie_match(const DeviceTrie<Space>* trie, const std::vector<TokenSpan>* queries,
                                   std::vector<TrieCursor>* places) {
  check(match(Space(), *trie, *queries, *places));
}

template <class Encode, class Decode>
void measure_codec(const Codec& codec, const Data& data, Encode measured_encode, Decode measured_decode) {
  std::vector<CodedBlock> blocks;
  KvCache restored = value_of(KvCache::create(data.cache.shape(), data.cache.tokens()));
  measured_encode(&codec, &data, &blocks);
  measured_decode(&codec, &blocks, &restored);
}

void measure_codecs() {
  const auto profile = value_of(Profile::load(SEQKV_MODEL "/profile.safetensors"));
  const Data data = golden(profile->shape(), 256);
  measure_codec(value_of(Codec::parse("none+lossless")), data, measured_lossless_encode, measured_lossless_decode);
  measure_codec(value_of(Codec::parse("none+turboquant:3")), data, measured_turboquant_encode,
                measured_turboquant_decode);
  const Codec ecsq = value_of(value_of(Codec::parse("linear+ecsq:step=1")).with_profile(profile));
  // Products of vectors are slow under valgrind, which computes them number by number.
  measure_codec(ecsq, golden(profile->shape(), 32), measured_ecsq_encode, measured_ecsq_decode);
}

/// A small model: loading a larger one takes longer than what is counted.
void measure_prefill() {
  const auto model = value_of(Model<Space>::load(Space(), SEQKV_TEST_DATA "/families/llama-mqa-80"));
  auto forward = value_of(Forward<Space>::create(Space(), model));
  Sequence<Space> sequence(model->config());
  std::vector<Token> tokens(64);
  std::iota(tokens.begin(), tokens.end(), Token{1});
  check(sequence.reserve(Space(), std::ssize(tokens)));
  measured_prefill(&forward, &sequence, &tokens);
}

void measure_trie() {
  const std::vector<Token> stream = bench::markov_stream(20'000, 32'000, 0.95, 1);
  const std::vector<TokenSpan> streams{stream};
  std::optional<Trie> trie;
  measured_trie_build(&streams, &trie);
  const auto device = value_of(DeviceTrie<Space>::create(Space(), *trie));
  std::vector<TokenSpan> queries;
  for (std::size_t i = 0; i + 8 <= stream.size(); ++i) queries.push_back(TokenSpan(stream).subspan(i, 8));
  std::vector<TrieCursor> places(queries.size());
  measured_trie_match(&device, &queries, &places);
}

}  // namespace

int main() {
  Kokkos::InitializationSettings settings;
  settings.set_num_threads(1).set_disable_warnings(true);
  const Kokkos::ScopeGuard kokkos(settings);
  fmt::print("cpu_kernels {}\ncompiler {}\n", cpu_kernels(), __VERSION__);
  measure_codecs();
  measure_prefill();
  measure_trie();
  return 0;
}
