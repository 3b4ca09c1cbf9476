// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Gradients with respect to a cache against differences of the forward pass, for every family of models (grouped
// queries, biases, norms of heads, windows) and the embedded one; the same bits everywhere.
#include "seqkv/cache_gradient.hpp"

#include <algorithm>
#include <cmath>

#include "core/random_bits.hpp"
#include "support/caches.hpp"
#include "support/families.hpp"
#include "support/runs.hpp"
#include "support/spaces.hpp"

namespace seqkv {
namespace {

using test::value_of;

constexpr std::uint64_t seed = 11;

/// The cache of a text's beginning, and how the text goes on.
template <class Space>
struct Problem {
  Space space;
  std::shared_ptr<const Model<Space>> model;
  std::vector<Token> continuation;
  KvCache cache;

  Problem(const Space& instance, std::shared_ptr<const Model<Space>> of, TokenSpan text, std::size_t rows)
      : space(instance),
        model(std::move(of)),
        continuation(text.end() - static_cast<std::ptrdiff_t>(rows), text.end()) {
    const TokenSpan context = text.first(text.size() - rows);
    const test::Outcome outcome = test::run_alone(space, model, context, 256, 0);
    cache = value_of(KvCache::create(model->config().kv_shape(DType::f32), static_cast<std::int64_t>(context.size())));
    std::copy(outcome.kv.begin(), outcome.kv.end(), numbers(cache));
  }

  static float* numbers(KvCache& of) { return reinterpret_cast<float*>(of.view().tensors[0]); }
  std::int64_t per_tensor() const { return cache.components() / (2 * model->config().layers); }

  Sequence<Space> sequence_of(const KvCache& of) const {
    Sequence<Space> sequence(model->config());
    value_of(sequence.append(space, of.view()));
    return sequence;
  }

  std::vector<float> gradient_by(CacheGradient<Space>& by, std::uint64_t with = seed) const {
    Sequence<Space> sequence = sequence_of(cache);
    KvCache out = value_of(KvCache::create(cache.shape(), cache.tokens()));
    value_of(by.run(space, sequence, continuation, with, out.view()));
    return {numbers(out), numbers(out) + out.components()};
  }
  std::vector<float> gradient() const {
    auto by = value_of(CacheGradient<Space>::create(space, model));
    return gradient_by(by);
  }

  /// Log-probabilities [rows][vocabulary] of the continuation after a cache.
  std::vector<double> log_probabilities(const KvCache& after) const {
    Sequence<Space> sequence = sequence_of(after);
    const auto rows = static_cast<std::int64_t>(continuation.size());
    const auto logits = test::run_on(space, model, {&sequence}, {continuation}, 256, rows)[0].logits;
    std::vector<double> out(logits.begin(), logits.end());
    const std::int64_t width = model->config().vocabulary;
    for (auto row = out.begin(); row != out.end(); row += width) {
      double sum = 0;
      for (auto x = row; x != row + width; ++x) sum += std::exp(*x);
      for (auto x = row; x != row + width; ++x) *x -= std::log(sum);
    }
    return out;
  }

  std::vector<std::int64_t> draws() const {
    const std::vector<double> log_p = log_probabilities(cache);
    const std::int64_t width = model->config().vocabulary;
    std::vector<std::int64_t> drawn;
    for (std::size_t m = 0; m < continuation.size(); ++m) {
      double rest = std::ldexp(static_cast<double>(random_bits(seed, m) >> 40U), -24);
      std::int64_t v = -1;
      while (rest >= 0) rest -= std::exp(log_p[m * width + ++v]);
      drawn.push_back(v);
    }
    return drawn;
  }

  /// d/dt of the sum of the draws' log-probabilities where tensor `tensor` is moved by t * direction.
  double slope(const std::vector<std::int64_t>& drawn, std::int64_t tensor, const std::vector<float>& direction,
               double step) {
    const std::int64_t width = model->config().vocabulary;
    KvCache moved = value_of(KvCache::create(cache.shape(), cache.tokens()));
    const auto at = [&](double t) {
      std::copy(numbers(cache), numbers(cache) + cache.components(), numbers(moved));
      float* part = numbers(moved) + tensor * per_tensor();
      for (std::size_t i = 0; i < direction.size(); ++i) part[i] = static_cast<float>(part[i] + t * direction[i]);
      const std::vector<double> log_p = log_probabilities(moved);
      double sum = 0;
      for (std::size_t m = 0; m < drawn.size(); ++m) sum += log_p[m * width + drawn[m]];
      return sum;
    };
    return (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * step);
  }
};

double dot(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += double{a[i]} * b[i];
  return sum;
}

/// Along random directions of each tensor, and along its gradient.
template <class Space>
void expect_slopes(Problem<Space>& problem) {
  const std::vector<float> gradient = problem.gradient();
  const auto drawn = problem.draws();
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (std::int64_t tensor = 0; tensor < 2 * problem.model->config().layers; ++tensor) {
    SCOPED_TRACE("tensor " + std::to_string(tensor));
    const auto part = std::span(gradient).subspan(tensor * problem.per_tensor(), problem.per_tensor());
    const double length = std::sqrt(dot(part, part));
    EXPECT_GT(length, 1e-3);
    std::vector<float> direction(part.size());
    for (float& d : direction) d = normal(random);
    EXPECT_NEAR(problem.slope(drawn, tensor, direction, 0.01), dot(part, direction), 0.01 * length);
    // The steepest direction needs small steps: the error of the differences grows with the fourth power of them.
    const auto scale = static_cast<float>(std::sqrt(static_cast<double>(part.size())) / length);
    std::transform(part.begin(), part.end(), direction.begin(), [scale](float g) { return g * scale; });
    EXPECT_NEAR(problem.slope(drawn, tensor, direction, 0.002) / dot(part, direction), 1.0, 0.001);
  }
}

template <class Space>
std::vector<Problem<Space>> family_problems(const Space& space) {
  std::vector<Problem<Space>> problems;
  for (const auto& family : test::load_families(space)) problems.emplace_back(space, family.model, family.tokens(), 20);
  return problems;
}

template <class Space>
class CacheGradientTest : public testing::Test {};
TYPED_TEST_SUITE(CacheGradientTest, test::Spaces);

TYPED_TEST(CacheGradientTest, IsTheSlopeOfTheForwardPass) {
  for (auto& problem : family_problems(TypeParam())) {
    SCOPED_TRACE(problem.cache.shape().describe());
    expect_slopes(problem);
  }
}

TYPED_TEST(CacheGradientTest, IsTheSlopeOfTheEmbeddedModel) {
  const TypeParam space;
  const KvFile golden = value_of(KvFile::open(SEQKV_TEST_DATA "/docs-7m-golden.safetensors"));
  Problem<TypeParam> problem(space, value_of(Model<TypeParam>::load(space, SEQKV_MODEL)), golden.tokens().first(100),
                             33);
  expect_slopes(problem);
}

TYPED_TEST(CacheGradientTest, SameBitsOnEverySpace) {
  const auto problems = family_problems(TypeParam());
  const auto on_serial = family_problems(Kokkos::Serial());
  for (std::size_t i = 0; i < problems.size(); ++i) EXPECT_EQ(problems[i].gradient(), on_serial[i].gradient()) << i;
}

TYPED_TEST(CacheGradientTest, TokensOutsideOfTheWindowDoNotCount) {
  for (const auto& family : test::load_families(TypeParam())) {
    if (family.name != "mistral") continue;
    const Problem<TypeParam> problem(TypeParam(), family.model, family.tokens(), 20);
    const std::vector<float> gradient = problem.gradient();
    const std::int64_t last = problem.cache.tokens() - 1;
    const std::int64_t dim = family.model->config().head_dim;
    const std::int64_t reach = family.model->config().window[0] - 1;  // of the first row, itself not counted
    const auto is_zero = [](float g) { return g == 0.0F; };
    for (std::int64_t token = 0; token <= last; ++token) {
      const auto row = std::span(gradient).subspan(token * dim, dim);
      EXPECT_EQ(std::all_of(row.begin(), row.end(), is_zero), token <= last - reach) << token;
    }
  }
}

TYPED_TEST(CacheGradientTest, ScratchAndSequenceCanBeUsedAgain) {
  const TypeParam space;
  const auto family = std::move(test::load_families(space)[0]);
  const Problem<TypeParam> large(space, family.model, family.tokens(), 40);
  const Problem<TypeParam> small(space, family.model, family.tokens().first(50), 7);
  auto by = value_of(CacheGradient<TypeParam>::create(space, family.model));
  for (const auto* problem : {&small, &large, &small, &large}) EXPECT_EQ(problem->gradient_by(by), problem->gradient());
  EXPECT_NE(small.gradient_by(by, seed + 1), small.gradient());

  Sequence<TypeParam> sequence = small.sequence_of(small.cache);
  KvCache out = value_of(KvCache::create(small.cache.shape(), small.cache.tokens()));
  ASSERT_OK(by.run(space, sequence, small.continuation, seed, out.view()));
  EXPECT_EQ(sequence.tokens(), small.cache.tokens());
  ASSERT_OK(sequence.read(space, 0, out.view()));
  EXPECT_TRUE(test::same_bytes(out, small.cache));
}

TYPED_TEST(CacheGradientTest, WritesAnyStrides) {
  const TypeParam space;
  const auto family = std::move(test::load_families(space)[0]);
  const Problem<TypeParam> problem(space, family.model, family.tokens(), 5);
  const std::vector<float> expected = problem.gradient();
  const KvShape& shape = problem.cache.shape();
  // [tokens][kv_heads][head_dim], as many engines have it.
  std::vector<float> memory(expected.size());
  KvView view{shape, problem.cache.tokens(), {}, {}, MemorySpace::host};
  for (std::int64_t i = 0; i < 2 * shape.layers; ++i) {
    view.tensors.push_back(reinterpret_cast<std::byte*>(memory.data() + i * problem.per_tensor()));
  }
  view.strides.fill({shape.head_dim, shape.kv_heads * shape.head_dim, 1});
  auto by = value_of(CacheGradient<TypeParam>::create(space, family.model));
  Sequence<TypeParam> sequence = problem.sequence_of(problem.cache);
  ASSERT_OK(by.run(space, sequence, problem.continuation, seed, view));
  KvCache contiguous = value_of(KvCache::create(shape, problem.cache.tokens()));
  ASSERT_OK(copy(view, contiguous.view()));
  EXPECT_EQ(std::memcmp(contiguous.raw().data(), expected.data(), contiguous.raw().size()), 0);
}

TYPED_TEST(CacheGradientTest, RefusesWhatDoesNotFit) {
  const TypeParam space;
  const auto families = test::load_families(space);
  const Problem<TypeParam> problem(space, families[0].model, families[0].tokens(), 5);
  auto by = value_of(CacheGradient<TypeParam>::create(space, families[0].model));
  Sequence<TypeParam> sequence = problem.sequence_of(problem.cache);
  const auto run = [&](TokenSpan continuation, const KvView& out) {
    return by.run(space, sequence, continuation, seed, out);
  };
  KvCache out = value_of(KvCache::create(problem.cache.shape(), problem.cache.tokens()));
  EXPECT_CODE(run({}, out.view()), ErrorCode::invalid_argument);
  EXPECT_CODE(run(std::vector<Token>{300}, out.view()), ErrorCode::token_out_of_range);
  EXPECT_CODE(run(std::vector<Token>(128), out.view()), ErrorCode::limit_exceeded);
  EXPECT_CODE(run(problem.continuation, out.view().slice(0, 3)), ErrorCode::shape_mismatch);
  KvView changed = out.view();
  changed.shape.dtype = DType::bf16;
  EXPECT_CODE(run(problem.continuation, changed), ErrorCode::shape_mismatch);
  changed = out.view();
  changed.tensors.pop_back();
  EXPECT_CODE(run(problem.continuation, changed), ErrorCode::invalid_argument);
  changed = out.view();
  changed.memory = MemorySpace::device;
  EXPECT_CODE(run(problem.continuation, changed), ErrorCode::invalid_argument);
  Sequence<TypeParam> of_another(families[2].model->config());
  KvCache none = value_of(KvCache::create(problem.cache.shape(), 0));
  EXPECT_CODE(by.run(space, of_another, problem.continuation, seed, none.view()), ErrorCode::shape_mismatch);
  EXPECT_OK(run(problem.continuation, out.view()));
}

#if defined(KOKKOS_ENABLE_OPENMP)
TEST(CacheGradientThreadsTest, OneThreadGivesTheBitsOfAll) {
  const Kokkos::OpenMP all;
  if (all.concurrency() < 2) GTEST_SKIP() << "this process has one thread only";
  const auto parts = Kokkos::Experimental::partition_space(all, std::vector<int>{1, all.concurrency() - 1});
  const auto problems = family_problems(all);
  const auto on_one = family_problems(parts[0]);
  for (std::size_t i = 0; i < problems.size(); ++i) EXPECT_EQ(problems[i].gradient(), on_one[i].gradient()) << i;
}
#endif

}  // namespace
}  // namespace seqkv
