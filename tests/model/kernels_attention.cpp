// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// The attention kernels: the same bits from all of them, the numbers of attention in double precision, and no
// influence of keys that a query does not see.
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/bytes.hpp"
#include "support/kernels.hpp"
#include "support/spaces.hpp"

namespace seqkv {
namespace {

using test::Array;
using test::Numbers;

/// {first position, count} of the rows of each sequence.
using Spans = std::vector<std::pair<std::int64_t, std::int64_t>>;

/// Queries of several sequences at once, as a chunk has them.
struct AttentionProblem {
  static constexpr std::int64_t layers = 2;
  static constexpr std::int64_t layer = 1;
  static constexpr std::int64_t capacity = 320;

  kernels::HeadShape heads;
  std::int64_t window;
  std::vector<kernels::RowInfo> rows;
  std::vector<std::vector<float>> keys, values;  ///< by sequence; NaN where there are no tokens
  std::vector<float> queries;

  AttentionProblem(const kernels::HeadShape& shape, std::int64_t seen, const Spans& spans)
      : heads(shape), window(seen) {
    Numbers numbers(static_cast<std::uint32_t>(shape.head_dim + 1000 * shape.query_heads + 100000 * seen));
    for (const auto& [first, count] : spans) {
      const auto sequence = static_cast<std::int64_t>(keys.size());
      for (std::int64_t t = 0; t < count; ++t) rows.push_back({first + t, sequence});
      const std::int64_t runs = layers * heads.kv_heads;
      const float unwritten = std::numeric_limits<float>::quiet_NaN();
      keys.emplace_back(runs * capacity * heads.head_dim, unwritten);
      values.emplace_back(runs * capacity * kernels::padded_value_width(heads.head_dim), unwritten);
      for (std::int64_t kv_head = 0; kv_head < heads.kv_heads; ++kv_head) {
        for (std::int64_t token = 0; token < first + count; ++token) {
          for (std::int64_t i = 0; i < heads.head_dim; ++i) {
            key(sequence, kv_head, token, i) = 2.0F * numbers.next();
            value(sequence, kv_head, token, i) = numbers.next();
          }
        }
      }
    }
    queries = numbers.take(static_cast<std::int64_t>(rows.size()) * heads.query_heads * heads.head_dim);
  }

  kernels::CacheTable table(std::int64_t sequence) {
    return {keys[sequence].data(), values[sequence].data(), capacity};
  }
  float& key(std::int64_t sequence, std::int64_t kv_head, std::int64_t token, std::int64_t i) {
    return kernels::key_tile_at(table(sequence), heads, layer, kv_head, token / 64)[i * 64 + token % 64];
  }
  float& value(std::int64_t sequence, std::int64_t kv_head, std::int64_t token, std::int64_t i) {
    return kernels::value_row_at(table(sequence), heads, layer, kv_head, token)[i];
  }

  template <class Space>
  std::vector<float> operator()(const Space& space, const test::Implementation& by) const {
    std::vector<Array<Space, float>> memory;
    std::vector<kernels::CacheTable> tables;
    for (std::size_t s = 0; s < keys.size(); ++s) {
      memory.emplace_back(keys[s]);
      memory.emplace_back(values[s]);
      tables.push_back({memory[2 * s].data(), memory[2 * s + 1].data(), capacity});
    }
    const Array<Space, kernels::CacheTable> caches(tables);
    const Array<Space, float> q(queries), out(std::vector<float>(queries.size(), -7.0F));
    const std::int64_t ld = heads.query_heads * heads.head_dim;
    const Array<Space, kernels::RowInfo> info(rows);
    test::run_kernel(
        space, by,
        kernels::Attention{static_cast<std::int64_t>(rows.size()), layer, window, heads, info.data(), caches.data(),
                           q.data(), ld, out.data(), ld, static_cast<std::int64_t>(keys.size())});
    return out.read();
  }

  /// Softmax of base 2 over the visible keys, in double precision.
  std::vector<double> by_definition() {
    std::vector<double> out;
    const std::int64_t dim = heads.head_dim;
    for (std::size_t r = 0; r < rows.size(); ++r) {
      const auto [position, sequence] = rows[r];
      const std::int64_t begin = window > 0 ? std::max<std::int64_t>(0, position - window + 1) : 0;
      for (std::int64_t head = 0; head < heads.query_heads; ++head) {
        const std::int64_t kv_head = head / (heads.query_heads / heads.kv_heads);
        const float* q = queries.data() + (static_cast<std::int64_t>(r) * heads.query_heads + head) * dim;
        std::vector<double> sums(dim, 0.0);
        double total = 0;
        for (std::int64_t token = begin; token <= position; ++token) {
          double score = 0;
          for (std::int64_t i = 0; i < dim; ++i) score += double{q[i]} * key(sequence, kv_head, token, i);
          total += std::exp2(score);
          for (std::int64_t i = 0; i < dim; ++i) sums[i] += std::exp2(score) * value(sequence, kv_head, token, i);
        }
        for (double sum : sums) out.push_back(sum / total);
      }
    }
    return out;
  }
};

template <class Space>
class AttentionKernelsTest : public testing::Test {
 protected:
  void check(const kernels::HeadShape& heads, std::int64_t window, const Spans& spans) {
    SCOPED_TRACE(testing::Message() << heads.query_heads << " heads of " << heads.head_dim << " on " << heads.kv_heads
                                    << ", window " << window << ", " << spans.size() << " sequences");
    AttentionProblem problem(heads, window, spans);
    test::expect_same_bits(space, problem);
    const std::vector<float> actual = problem(space, {});
    const std::vector<double> expected = problem.by_definition();
    double largest = 0;
    for (std::size_t i = 0; i < actual.size(); ++i) {
      const double difference = std::abs(actual[i] - expected[i]);
      if (!(difference <= largest)) largest = difference;  // keeps a NaN
    }
    EXPECT_LE(largest, 1e-5);
  }

  Space space;
  // Beginnings and ends on, before and behind the edges of tiles; a single token among them.
  const Spans edges = {{0, 5}, {60, 10}, {130, 1}, {127, 3}, {0, 70}};
};
TYPED_TEST_SUITE(AttentionKernelsTest, test::Spaces);

TYPED_TEST(AttentionKernelsTest, HeadDims) {
  for (std::int64_t dim : {2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 80, 96, 128})
    this->check({2, 1, dim}, 0, this->edges);
  this->check({1, 1, 512}, 0, {{62, 4}});
}

TYPED_TEST(AttentionKernelsTest, Groups) {
  // Up to more heads than the CPU kernels take together (24).
  for (std::int64_t group : {1, 2, 3, 4, 8, 24, 25, 48}) this->check({2 * group, 2, 16}, 0, {{60, 9}, {0, 3}});
}

TYPED_TEST(AttentionKernelsTest, Windows) {
  for (std::int64_t window : {1, 2, 15, 16, 17, 63, 64, 65, 128, 200, 1000}) {
    this->check({4, 2, 32}, window, this->edges);
    this->check({8, 1, 80}, window, {{200, 40}});
  }
}

TYPED_TEST(AttentionKernelsTest, ManyRows) {
  for (std::int64_t dim : {64, 128}) {
    for (std::int64_t window : {0, 1, 63, 64, 65, 130}) this->check({4, 2, dim}, window, {{0, 130}, {101, 150}});
  }
}

TYPED_TEST(AttentionKernelsTest, RandomShapes) {
  Numbers numbers(1);
  for (int round = 0; round < 30; ++round) {
    const std::int64_t kv_heads = 1 + numbers.below(3);
    const std::int64_t group = std::int64_t{1} << numbers.below(4);
    constexpr std::int64_t dims[] = {64, 80, 96, 128};
    Spans spans;
    for (std::int64_t s = 1 + numbers.below(3); s > 0; --s)
      spans.push_back({numbers.below(250), 1 + numbers.below(30)});
    this->check({group * kv_heads, kv_heads, dims[numbers.below(4)]}, numbers.below(2) * (1 + numbers.below(150)),
                spans);
  }
}

}  // namespace
}  // namespace seqkv
