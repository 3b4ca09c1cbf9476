// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Kernels of matrices and rows: the portable ones on every execution space and those of the CPU give the same bits,
// at sizes around the widths of vectors, panels and register blocks. Attention: tests/model/kernels_attention.cpp.
#include <cmath>

#include "core/bytes.hpp"
#include "core/float16.hpp"
#include "support/kernels.hpp"
#include "support/spaces.hpp"

namespace seqkv {
namespace {

using test::Array;
using test::Numbers;

constexpr std::int64_t widths[] = {1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100};

TEST(CpuKernels, AllAreTestedHere) {
  for (const char* name : {"avx2", "avx512"}) {
    if (cpu::kernels(name) == nullptr) GTEST_SKIP() << "this machine has no " << name << ", its kernels are not tested";
  }
}

template <class Space>
class KernelsTest : public testing::Test {
 protected:
  Space space;
};
TYPED_TEST_SUITE(KernelsTest, test::Spaces);

// ---- matrix product ---------------------------------------------------------------------------------------

struct Product {
  std::int64_t rows, inputs, outputs;
  bool is_bf16;
  std::vector<float> a;
  std::vector<std::uint16_t> weights16;  ///< in panels
  std::vector<float> weights32;

  Product(std::int64_t m, std::int64_t k, std::int64_t n, bool bf16) : rows(m), inputs(k), outputs(n), is_bf16(bf16) {
    Numbers numbers(static_cast<std::uint32_t>(rows * 1000003 + inputs * 1009 + outputs));
    a = numbers.take(rows * inputs);
    weights32 = numbers.take(round_up(outputs, kernels::panel_width) * inputs);
    for (float& weight : weights32) {
      weights16.push_back(float_to_bf16(weight));
      if (is_bf16) weight = bf16_to_float(weights16.back());
    }
  }

  /// What the contract says, one output at a time.
  std::vector<float> by_definition() const {
    std::vector<float> c;
    for (std::int64_t m = 0; m < rows; ++m) {
      for (std::int64_t n = 0; n < outputs; ++n) {
        float sum = 0;
        for (std::int64_t k = 0; k < inputs; ++k) {
          sum = std::fmaf(a[m * inputs + k], weights32[((n / 32) * inputs + k) * 32 + n % 32], sum);
        }
        c.push_back(sum);
      }
    }
    return c;
  }

  template <class Space>
  std::vector<float> operator()(const Space& space, const test::Implementation& by) const {
    const std::int64_t ldc = round_up(outputs, kernels::panel_width);
    const Array<Space, float> left(a), right32(weights32), c(std::vector<float>(rows * ldc, -7.0F));
    const Array<Space, std::uint16_t> right16(weights16);
    const void* right = is_bf16 ? static_cast<const void*>(right16.data()) : right32.data();
    test::run_kernel(space, by,
                     kernels::Gemm{rows, left.data(), inputs, {right, is_bf16, outputs, inputs}, c.data(), ldc});
    // What lies in the panel behind the last output is undefined.
    std::vector<float> out;
    const std::vector<float> all = c.read();
    for (std::int64_t m = 0; m < rows; ++m)
      out.insert(out.end(), all.begin() + m * ldc, all.begin() + m * ldc + outputs);
    return out;
  }
};

TYPED_TEST(KernelsTest, Gemm) {
  const auto check = [this](std::int64_t rows, std::int64_t inputs, std::int64_t outputs) {
    for (bool is_bf16 : {true, false}) {
      SCOPED_TRACE(testing::Message() << rows << " x " << inputs << " x " << outputs << (is_bf16 ? " bf16" : " float"));
      const Product product(rows, inputs, outputs, is_bf16);
      EXPECT_TRUE(test::same_bits(product(this->space, {}), product.by_definition()));
      test::expect_same_bits(this->space, product);
    }
  };
  for (std::int64_t rows : {1, 2, 5, 6, 7, 11, 12, 13, 23, 24, 25, 49, 100}) check(rows, 40, 70);
  for (std::int64_t outputs : widths) check(14, 33, outputs);
  // The inner index goes in pieces of 384.
  for (std::int64_t inputs : {1, 2, 383, 384, 385, 768, 1000}) check(13, inputs, 33);
}

// ---- norm -------------------------------------------------------------------------------------------------

struct NormProblem {
  std::int64_t rows, width;
  bool with_delta, with_bias;
  float scale;

  template <class Space>
  std::vector<float> operator()(const Space& space, const test::Implementation& by) const {
    Numbers numbers(static_cast<std::uint32_t>(width));
    const std::int64_t ld = width + 3;  // rows of an odd distance: nothing is aligned
    const Array<Space, float> x(numbers.take(rows * ld, scale)), delta(numbers.take(rows * ld)),
        bias(numbers.take(width)), weight(numbers.take(width)), y(std::vector<float>(rows * ld, -7.0F));
    kernels::Norm args{rows, width, x.data(), ld, nullptr, ld, nullptr, weight.data(), 1e-5F, y.data(), ld};
    if (with_delta) args.delta = delta.data();
    if (with_bias) args.bias = bias.data();
    test::run_kernel(space, by, args);
    std::vector<float> out = x.read();
    const std::vector<float> normed = y.read();
    out.insert(out.end(), normed.begin(), normed.end());
    return out;
  }
};

TYPED_TEST(KernelsTest, Norm) {
  for (std::int64_t width : widths) {
    for (int residual : {0, 1, 2}) {
      for (float scale : {1.0F, 1e-20F, 1e15F}) {
        SCOPED_TRACE(testing::Message() << "width " << width << ", residual " << residual << ", scale " << scale);
        test::expect_same_bits(this->space, NormProblem{9, width, residual > 0, residual > 1, scale});
      }
    }
  }
}

// ---- activation -------------------------------------------------------------------------------------------

struct ActivationProblem {
  std::int64_t rows, width;
  bool with_bias;

  template <class Space>
  std::vector<float> operator()(const Space& space, const test::Implementation& by) const {
    Numbers numbers(static_cast<std::uint32_t>(width));
    const std::int64_t ldg = 2 * width + 5;
    const std::int64_t lda = width + 3;
    std::vector<float> values = numbers.take(rows * ldg, 8.0F);
    // Where e^x under- or overflows.
    constexpr float extremes[] = {-87.0F, -88.0F, -104.0F, -1000.0F, -3e38F, 87.5F, 3e38F, 1e-40F, -1e-40F};
    for (std::size_t i = 0; i < values.size(); i += 5) values[i] = extremes[i / 5 % std::size(extremes)];
    const Array<Space, float> gate_up(values), bias(numbers.take(2 * width)),
        act(std::vector<float>(rows * lda, -7.0F));
    test::run_kernel(
        space, by,
        kernels::GatedActivation{rows, width, gate_up.data(), ldg, with_bias ? bias.data() : nullptr, act.data(), lda});
    return act.read();
  }
};

TYPED_TEST(KernelsTest, GatedActivation) {
  for (std::int64_t width : widths) {
    for (bool with_bias : {false, true}) {
      SCOPED_TRACE(testing::Message() << "width " << width << (with_bias ? ", bias" : ""));
      test::expect_same_bits(this->space, ActivationProblem{9, width, with_bias});
    }
  }
}

// ---- heads, norms and rotation ----------------------------------------------------------------------------

struct RopeProblem {
  kernels::HeadShape heads;
  bool with_bias, with_norms;

  template <class Space>
  std::vector<float> operator()(const Space& space, const test::Implementation& by) const {
    Numbers numbers(static_cast<std::uint32_t>(heads.head_dim));
    constexpr std::int64_t rows = 7;
    constexpr std::int64_t layers = 2;
    constexpr std::int64_t capacity = 128;
    constexpr std::int64_t positions = 100;
    const std::int64_t dim = heads.head_dim;
    const std::int64_t width = (heads.query_heads + 2 * heads.kv_heads) * dim;
    const std::int64_t key_size = layers * heads.kv_heads * capacity * dim;
    const std::int64_t value_size = layers * heads.kv_heads * capacity * kernels::padded_value_width(dim);
    // Two sequences, each written where no other row is.
    const Array<Space, kernels::RowInfo> info({{3, 0}, {63, 0}, {64, 0}, {0, 1}, {65, 1}, {66, 1}, {99, 1}});
    const Array<Space, float> keys(std::vector<float>(2 * key_size, -7.0F)),
        values(std::vector<float>(2 * value_size, -7.0F)), qkv(numbers.take(rows * (width + 1), 3.0F)),
        bias(with_bias ? numbers.take(width) : std::vector<float>()),
        q_norm(with_norms ? numbers.take(dim) : std::vector<float>()),
        k_norm(with_norms ? numbers.take(dim) : std::vector<float>()), cosine(numbers.take(positions * (dim / 2))),
        sine(numbers.take(positions * (dim / 2))), q(std::vector<float>(rows * heads.query_heads * dim, -7.0F));
    const Array<Space, kernels::CacheTable> caches(
        {{keys.data(), values.data(), capacity}, {keys.data() + key_size, values.data() + value_size, capacity}});
    test::run_kernel(space, by,
                     kernels::Rope{rows, 1, heads, info.data(), caches.data(), qkv.data(), width + 1, bias.or_null(),
                                   q_norm.or_null(), k_norm.or_null(), 1e-6F, cosine.data(), sine.data(), 0.18F,
                                   q.data(), heads.query_heads * dim});
    std::vector<float> out = q.read();
    for (const auto* part : {&keys, &values}) {
      const std::vector<float> more = part->read();
      out.insert(out.end(), more.begin(), more.end());
    }
    return out;
  }
};

TYPED_TEST(KernelsTest, Rope) {
  for (std::int64_t dim : {2, 16, 24, 30, 32, 34, 64, 80, 96, 128, 512}) {
    for (int parts : {0, 1, 2, 3}) {
      SCOPED_TRACE(testing::Message() << "head_dim " << dim << ", parts " << parts);
      test::expect_same_bits(this->space, RopeProblem{{3, 1, dim}, (parts & 1) != 0, (parts & 2) != 0});
    }
  }
  test::expect_same_bits(this->space, RopeProblem{{4, 4, 64}, true, true});
}

}  // namespace
}  // namespace seqkv
