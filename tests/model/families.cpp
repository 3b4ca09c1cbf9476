// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Every family of models that seqkv knows, as tiny random models (tests/data/make_families.py): the numbers of
// transformers, and the same bits for every chunk, batch, history and number of threads.
#include <cmath>
#include <string>

#include "support/families.hpp"
#include "support/runs.hpp"
#include "support/spaces.hpp"

namespace seqkv {
namespace {

using test::load_families;
using test::Outcome;
using test::run_alone;
using test::value_of;

constexpr std::int64_t logit_rows = 4;  // as many as the goldens have

template <class Space>
class FamiliesTest : public testing::Test {
 protected:
  Space space;
  std::vector<test::Family<Space>> families = load_families(space);
};
TYPED_TEST_SUITE(FamiliesTest, test::Spaces);

double largest_difference(std::span<const float> a, const float* b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(double{a[i]} - double{b[i]});
    if (!(difference <= largest)) largest = difference;  // keeps a NaN
  }
  return largest;
}

TYPED_TEST(FamiliesTest, AreAllThere) {
  std::vector<std::string> names;
  for (const auto& family : this->families) names.push_back(family.name);
  EXPECT_EQ(names, (std::vector<std::string>{"llama-f16", "llama-linear", "llama-mqa-80", "llama-shards", "llama3-rope",
                                             "mistral", "qwen2", "qwen3"}));
}

TYPED_TEST(FamiliesTest, AgreeWithTransformers) {
  for (const auto& family : this->families) {
    SCOPED_TRACE(family.name);
    const Outcome outcome = run_alone(this->space, family.model, family.tokens(), 256, logit_rows);
    const auto& tensors = family.golden.view().tensors;
    const std::size_t per_tensor = outcome.kv.size() / tensors.size();
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      EXPECT_LE(largest_difference(std::span(outcome.kv).subspan(i * per_tensor, per_tensor),
                                   reinterpret_cast<const float*>(tensors[i])),
                1e-4)
          << "layer " << i / 2 << (i % 2 == 0 ? " key" : " value");
    }
    const TensorView logits = value_of(family.golden.file().tensor("logits"));
    ASSERT_EQ(logits.shape, (std::vector<std::int64_t>{logit_rows, family.model->config().vocabulary}));
    EXPECT_LE(largest_difference(outcome.logits, reinterpret_cast<const float*>(logits.bytes.data())), 1e-4);
  }
}

TYPED_TEST(FamiliesTest, ChunksDoNotChangeTheBits) {
  for (const auto& family : this->families) {
    SCOPED_TRACE(family.name);
    const Outcome expected = run_alone(this->space, family.model, family.tokens(), 256, logit_rows);
    for (std::int64_t chunk : {1, 7, 64}) {
      EXPECT_TRUE(run_alone(this->space, family.model, family.tokens(), chunk, logit_rows) == expected)
          << "chunk " << chunk;
    }
  }
}

TYPED_TEST(FamiliesTest, BatchesDoNotChangeTheBits) {
  for (const auto& family : this->families) {
    SCOPED_TRACE(family.name);
    std::vector<Token> backwards(family.tokens().rbegin(), family.tokens().rend());
    backwards.resize(37);
    // Different lengths, one text twice, in chunks that end inside of a text or hold several.
    const std::vector<TokenSpan> texts = {family.tokens(), backwards, family.tokens(), family.tokens().first(1)};
    for (std::int64_t chunk : {256, 50}) {
      const std::vector<Outcome> batch = test::run_batch(this->space, family.model, texts, chunk, logit_rows);
      for (std::size_t i = 0; i < texts.size(); ++i) {
        EXPECT_TRUE(batch[i] == run_alone(this->space, family.model, texts[i], 256, logit_rows))
            << "sequence " << i << ", chunk " << chunk;
      }
    }
  }
}

TYPED_TEST(FamiliesTest, GoingOnDoesNotChangeTheBits) {
  for (const auto& family : this->families) {
    SCOPED_TRACE(family.name);
    const TokenSpan tokens = family.tokens();
    const Outcome expected = run_alone(this->space, family.model, tokens, 256, logit_rows);
    // Two sequences that have got to different places, and go on together.
    Sequence<TypeParam> first(family.model->config());
    Sequence<TypeParam> second(family.model->config());
    test::run_on(this->space, family.model, {&first}, {tokens.first(20)}, 256, logit_rows);
    test::run_on(this->space, family.model, {&second}, {tokens.first(3)}, 256, logit_rows);
    const auto rest = test::run_on(this->space, family.model, {&first, &second},
                                   {tokens.subspan(20), tokens.subspan(3)}, 256, logit_rows);
    for (const Outcome& outcome : rest) {
      EXPECT_TRUE(outcome.kv == expected.kv);
      EXPECT_TRUE(outcome.logits == expected.logits);
    }
  }
}

TYPED_TEST(FamiliesTest, WithoutLogitsTheCacheIsTheSame) {
  for (const auto& family : this->families) {
    SCOPED_TRACE(family.name);
    const Outcome expected = run_alone(this->space, family.model, family.tokens(), 256, logit_rows);
    auto forward = value_of(Forward<TypeParam>::create(this->space, family.model, 64));
    Sequence<TypeParam> sequence(family.model->config());
    const typename Forward<TypeParam>::Item item{&sequence, family.tokens(), 0};
    ASSERT_OK(forward.run(this->space, {&item, 1}));
    EXPECT_TRUE(test::read_kv(this->space, sequence, family.model->config()) == expected.kv);
  }
}

#if defined(KOKKOS_ENABLE_OPENMP)
// An instance with a part of the threads is what a process with less of them has; whole processes are compared by
// the test model/same_bits.
TEST(FamiliesThreadsTest, OneThreadGivesTheBitsOfAll) {
  const Kokkos::OpenMP all;
  if (all.concurrency() < 2) GTEST_SKIP() << "this process has one thread only";
  const auto parts = Kokkos::Experimental::partition_space(all, std::vector<int>{1, all.concurrency() - 1});
  ASSERT_EQ(parts[0].concurrency(), 1);
  for (const auto& family : load_families(all)) {
    SCOPED_TRACE(family.name);
    const Outcome expected = run_alone(all, family.model, family.tokens(), 256, logit_rows);
    EXPECT_TRUE(run_alone(parts[0], family.model, family.tokens(), 256, logit_rows) == expected);
  }
}
#endif

}  // namespace
}  // namespace seqkv
