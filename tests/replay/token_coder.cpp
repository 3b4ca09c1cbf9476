// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Tokens coded by a model come back whatever the chunk, batch, segments and space, take what the model's surprisal
// says, and what is broken is refused.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "replay/next_token.hpp"
#include "seqkv/hash.hpp"
#include "seqkv/kv_file.hpp"
#include "seqkv/replay.hpp"
#include "seqkv/surprisal.hpp"
#include "support/families.hpp"
#include "support/kernels.hpp"
#include "support/result.hpp"
#include "support/spaces.hpp"

namespace seqkv {
namespace {

using test::value_of;
using Bytes = std::vector<std::byte>;
using Sessions = std::vector<std::vector<Token>>;

std::vector<TokenSpan> spans_of(const Sessions& sessions) { return {sessions.begin(), sessions.end()}; }

/// Pieces of a text, some of them empty or of one token.
Sessions pieces_of(TokenSpan text) {
  Sessions sessions;
  for (const auto& [first, count] :
       {std::pair<std::size_t, std::size_t>{0, 40}, {3, 0}, {5, 1}, {7, 2}, {20, 65}, {1, 17}}) {
    const TokenSpan piece = text.subspan(std::min(first, text.size()));
    sessions.emplace_back(piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(std::min(count, piece.size())));
  }
  return sessions;
}

template <class Space>
class ModelTokenCoderTest : public testing::Test {
 protected:
  using Options = typename ModelTokenCoder<Space>::Options;

  Space space;
  std::shared_ptr<const Model<Space>> model = value_of(Model<Space>::load(space, SEQKV_MODEL));
  KvFile golden = value_of(KvFile::open(SEQKV_TEST_DATA "/docs-7m-golden.safetensors"));
  Sessions sessions = pieces_of(golden.tokens());

  ModelTokenCoder<Space> coder(const Options& options = {}) {
    return value_of(ModelTokenCoder<Space>::create(space, model, options));
  }
  Bytes encoded(const Options& options = {}) { return value_of(coder(options).encode(space, spans_of(sessions))); }
};
TYPED_TEST_SUITE(ModelTokenCoderTest, test::Spaces);

TYPED_TEST(ModelTokenCoderTest, RoundTripsWithEveryFamily) {
  using Coder = ModelTokenCoder<TypeParam>;
  for (const auto& family : test::load_families(this->space)) {
    const Sessions texts = pieces_of(family.tokens());
    for (const std::uint32_t segment : {0U, 1U, 16U}) {
      for (const bool independent : {false, true}) {
        auto coder = value_of(Coder::create(this->space, family.model, {segment, independent, 13, 4}));
        const Bytes stream = value_of(coder.encode(this->space, spans_of(texts)));
        ASSERT_TRUE(value_of(coder.decode(this->space, stream)) == texts) << family.name << ' ' << segment;
      }
    }
  }
}

TYPED_TEST(ModelTokenCoderTest, ChunksBatchesAndSpacesDoNotMatter) {
  for (const bool independent : {false, true}) {
    const Bytes stream = this->encoded({16, independent, 256, 16});
    EXPECT_EQ(stream, this->encoded({16, independent, 7, 1}));
    const Kokkos::Serial serial;
    auto other = value_of(ModelTokenCoder<Kokkos::Serial>::create(
        serial, value_of(Model<Kokkos::Serial>::load(serial, SEQKV_MODEL)), {16, independent, 64, 3}));
    EXPECT_EQ(stream, value_of(other.encode(serial, spans_of(this->sessions))));
    EXPECT_TRUE(value_of(other.decode(serial, stream)) == this->sessions);
    // A decoder needs no options but its batch.
    for (const std::int64_t batch : {1, 8}) {
      auto coder = this->coder({0, false, 256, batch});
      EXPECT_TRUE(value_of(coder.decode(this->space, stream)) == this->sessions) << "batch " << batch;
    }
  }
}

/// The bytes are part of the format.
TYPED_TEST(ModelTokenCoderTest, GoldenStreams) {
  EXPECT_EQ(xxh3_64(this->encoded()), 3841247486736227464U);
  EXPECT_EQ(xxh3_64(this->encoded({16, false})), 1270496388330416189U);
  EXPECT_EQ(xxh3_64(this->encoded({16, true})), 17465688735697518470U);
}

TYPED_TEST(ModelTokenCoderTest, TakesWhatTheModelSays) {
  auto forward = value_of(Forward<TypeParam>::create(this->space, this->model));
  double bits = 0;
  for (const auto& tokens : this->sessions) {
    if (tokens.empty()) continue;
    const auto surprisals = value_of(token_surprisals(this->space, forward, tokens));
    bits += static_cast<double>(std::accumulate(surprisals.begin(), surprisals.end(), std::uint64_t{0})) / 65536;
  }
  // Beside: the header, and of a session its length, first token, checksum, size and the last byte.
  const auto bytes = static_cast<double>(this->encoded().size());
  EXPECT_GE(bytes, bits / 8);
  EXPECT_LE(bytes, bits / 8 * 1.0001 + 8.0 * static_cast<double>(this->sessions.size()) + 24);
}

TYPED_TEST(ModelTokenCoderTest, GoesOnFromACheckpoint) {
  for (const bool independent : {false, true}) {
    const Bytes stream = this->encoded({16, independent});
    Sessions known(this->sessions.size());
    std::atomic<bool> stop = false;
    typename ModelTokenCoder<TypeParam>::DecodeOptions options;
    options.stop = &stop;
    int left = 5;
    options.segment = [&](std::uint64_t session, std::uint64_t first, TokenSpan tokens) {
      if (first != known[session].size()) return;  // independent segments need not come in order
      known[session].insert(known[session].end(), tokens.begin(), tokens.end());
      stop = --left <= 0;
    };
    auto coder = this->coder({0, false, 256, 3});
    EXPECT_CODE(coder.decode(this->space, stream, options), ErrorCode::interrupted);
    const auto kept = std::accumulate(known.begin(), known.end(), std::size_t{0},
                                      [](std::size_t sum, const auto& tokens) { return sum + tokens.size(); });
    EXPECT_GT(kept, 0U);

    std::size_t decoded = 0;
    typename ModelTokenCoder<TypeParam>::DecodeOptions rest;
    rest.known = known;
    rest.segment = [&](std::uint64_t, std::uint64_t, TokenSpan tokens) { decoded += tokens.size(); };
    EXPECT_TRUE(value_of(coder.decode(this->space, stream, rest)) == this->sessions);
    EXPECT_EQ(decoded + kept, std::size_t{40 + 0 + 1 + 2 + 65 + 17});

    known[0].resize(17);
    rest.known = known;
    EXPECT_CODE(coder.decode(this->space, stream, rest), ErrorCode::invalid_argument);
    known[0].resize(16);
    known[0][3] ^= 1U;
    rest.known = known;
    EXPECT_CODE(coder.decode(this->space, stream, rest), ErrorCode::invalid_argument);
    known.pop_back();
    rest.known = known;
    EXPECT_CODE(coder.decode(this->space, stream, rest), ErrorCode::invalid_argument);
  }
}

TYPED_TEST(ModelTokenCoderTest, WhateverIsBrokenIsRefused) {
  this->sessions = {{0, 17, 4, 200}, {0, 9}};
  auto coder = this->coder();
  const Bytes stream = this->encoded({2, false});
  for (std::size_t size = 0; size < stream.size(); ++size) {
    const auto result = coder.decode(this->space, std::span(stream).first(size));
    ASSERT_FALSE(result.ok()) << size;
    ASSERT_EQ(result.error().code, ErrorCode::truncated) << size << ' ' << result.error().describe();
  }
  for (std::size_t i = 0; i < stream.size(); ++i) {
    Bytes broken = stream;
    broken[i] ^= std::byte{0x10};
    ASSERT_FALSE(coder.decode(this->space, broken).ok()) << "byte " << i;
  }
  Bytes longer = stream;
  longer.push_back(std::byte{0});
  EXPECT_CODE(coder.decode(this->space, longer), ErrorCode::corrupt);
  typename ModelTokenCoder<TypeParam>::DecodeOptions few;
  few.max_tokens = 5;
  EXPECT_CODE(coder.decode(this->space, stream, few), ErrorCode::limit_exceeded);
}

TYPED_TEST(ModelTokenCoderTest, OtherModelsAndTokensAreRefused) {
  const Bytes stream = this->encoded();
  const auto families = test::load_families(this->space);
  auto other = value_of(ModelTokenCoder<TypeParam>::create(this->space, families[0].model));
  EXPECT_CODE(other.decode(this->space, stream), ErrorCode::wrong_model);
  auto coder = this->coder();
  const std::vector<Token> outside = {0, 4096};
  EXPECT_CODE(coder.encode(this->space, std::vector<TokenSpan>{outside}), ErrorCode::token_out_of_range);
  const std::vector<Token> too_long(static_cast<std::size_t>(this->model->config().max_positions) + 1);
  EXPECT_CODE(coder.encode(this->space, std::vector<TokenSpan>{too_long}), ErrorCode::limit_exceeded);
  using Coder = ModelTokenCoder<TypeParam>;
  EXPECT_CODE(Coder::create(this->space, this->model, {0, false, 256, 0}), ErrorCode::invalid_argument);
  EXPECT_CODE(Coder::create(this->space, this->model, {0, false, 0, 16}), ErrorCode::invalid_argument);
}

/// The kernels: the same numbers from every implementation, and numbers that make a distribution.
template <class Space>
std::vector<std::uint32_t> frequencies_of(const Space& space, const cpu::Kernels* cpu, const std::vector<float>& logits,
                                          std::int64_t rows) {
  const auto vocabulary = static_cast<std::int64_t>(logits.size()) / rows;
  kernels::Frequencies args{rows, vocabulary};
  const test::Array<Space, float> x(logits);
  const test::Array<Space, std::uint32_t> frequency(std::vector<std::uint32_t>(logits.size()));
  const test::Array<Space, std::uint32_t> group(
      std::vector<std::uint32_t>(static_cast<std::size_t>(rows * args.groups())));
  const test::Array<Space, std::uint32_t> total(std::vector<std::uint32_t>(static_cast<std::size_t>(rows)));
  args.logits = x.data();
  args.ld_logits = vocabulary;
  args.frequency = frequency.data();
  args.group = group.data();
  args.total = total.data();
  bool done = false;
  if constexpr (is_host_space<Space>) {
    if (cpu != nullptr) {
      cpu::frequencies(*cpu, space, args);
      done = true;
    }
  }
  if (!done) kokkos::frequencies(space, args);
  space.fence();
  std::vector<std::uint32_t> all = frequency.read();
  const auto groups = group.read();
  const auto totals = total.read();
  for (std::int64_t m = 0; m < rows; ++m) {
    std::uint64_t sum = 0;
    for (std::int64_t i = 0; i < vocabulary; ++i) {
      const std::uint32_t f = all[static_cast<std::size_t>(m * vocabulary + i)];
      EXPECT_GE(f, 1U);
      sum += f;
    }
    EXPECT_EQ(sum, totals[static_cast<std::size_t>(m)]);
    EXPECT_EQ(sum, std::accumulate(groups.begin() + m * args.groups(), groups.begin() + (m + 1) * args.groups(),
                                   std::uint64_t{0}));
  }
  all.insert(all.end(), groups.begin(), groups.end());
  return all;
}

TYPED_TEST(ModelTokenCoderTest, KernelsAgree) {
  test::Numbers numbers(5);
  for (const std::int64_t vocabulary : {1, 15, 16, 256, 1000, 100003}) {
    std::vector<float> logits = numbers.take(4 * vocabulary, 30.0F);
    logits[0] = std::numeric_limits<float>::quiet_NaN();
    logits[static_cast<std::size_t>(vocabulary)] = std::numeric_limits<float>::infinity();
    logits.back() = -std::numeric_limits<float>::infinity();
    const auto expected = frequencies_of(Kokkos::Serial(), nullptr, logits, 4);
    EXPECT_EQ(frequencies_of(this->space, nullptr, logits, 4), expected) << vocabulary;
    if constexpr (is_host_space<TypeParam>) {
      for (const cpu::Kernels* cpu : test::cpu_kernels()) {
        EXPECT_EQ(frequencies_of(this->space, cpu, logits, 4), expected) << cpu->name << ' ' << vocabulary;
      }
    }
  }
}

TYPED_TEST(ModelTokenCoderTest, FrequenciesAreProbabilities) {
  test::Numbers numbers(6);
  constexpr std::int64_t vocabulary = 100000;
  const std::vector<float> logits = numbers.take(vocabulary, 12.0F);
  const auto frequency = frequencies_of(this->space, nullptr, logits, 1);
  double normalizer = 0;
  for (const float x : logits) normalizer += std::exp(double{x});
  double divergence = 0;  // of what is coded by from what the model says, in bits
  const double total = std::accumulate(frequency.begin(), frequency.begin() + vocabulary, 0.0);
  for (std::size_t i = 0; i < vocabulary; ++i) {
    const double p = std::exp(double{logits[i]}) / normalizer;
    divergence += p * std::log2(p * total / frequency[i]);
  }
  EXPECT_LT(divergence, 2e-4);
}

TYPED_TEST(ModelTokenCoderTest, PointsFindTheirTokens) {
  test::Numbers numbers(7);
  constexpr std::int64_t vocabulary = 700;
  Kokkos::View<float**, Kokkos::LayoutRight, Kokkos::HostSpace> host("seqkv::test::logits", 1, vocabulary);
  const std::vector<float> logits = numbers.take(vocabulary, 20.0F);
  std::copy(logits.begin(), logits.end(), host.data());
  const auto device = Kokkos::create_mirror_view_and_copy(typename TypeParam::memory_space(), host);
  replay::NextToken<TypeParam> next;
  next.reserve(1, vocabulary);
  next.prepare(this->space, 1, device);
  std::uint64_t start = 0;
  for (Token token = 0; token < vocabulary; ++token) {
    next[0].token = token;
    next.intervals(this->space);
    const Interval interval = next.interval(0);
    ASSERT_EQ(interval.start, start);
    start += interval.width;
    for (const std::uint64_t point : {interval.start, interval.start + interval.width / 2, start - 1}) {
      next[0].start = static_cast<std::uint32_t>(point);
      next.tokens(this->space);
      ASSERT_EQ(next[0].token, token);
      ASSERT_EQ(next.interval(0).start, interval.start);
      ASSERT_EQ(next.interval(0).width, interval.width);
    }
  }
  EXPECT_EQ(start, next.total(0));
}

}  // namespace
}  // namespace seqkv
