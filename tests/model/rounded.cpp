// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Steps that round as an engine does: every implementation gives the same bits, and the bits are those of the
// definition.
#include "model/rounded.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "model/rounded_forward.hpp"
#include "support/kernels.hpp"
#include "support/spaces.hpp"

namespace seqkv {
namespace {

using test::Array;
using test::Numbers;

const std::vector<Rounding>& all_roundings() {
  static const std::vector<Rounding> all = [] {
    std::vector<Rounding> out = {Rounding::none()};
    for (const DType dtype : {DType::bf16, DType::f16}) {
      out.push_back(Rounding::transformers_eager(dtype));
      out.push_back(Rounding::transformers_sdpa(dtype));
      out.push_back({dtype});
    }
    return out;
  }();
  return all;
}

template <class Space, class Args>
void run_rows(const Space& space, [[maybe_unused]] const test::Implementation& by,
              void (*cpu::RoundedKernels::*kernel)(const Args&, std::int64_t, std::int64_t), std::int64_t rows,
              const Args& args) {
  if constexpr (is_host_space<Space>) {
    if (by.cpu != nullptr) return (by.cpu->rounded.*kernel)(args, 0, rows);
  }
  kokkos::rounded(space, "seqkv::test::rounded", rows, args);
  space.fence();
}

template <class Space>
class RoundedTest : public testing::Test {};
TYPED_TEST_SUITE(RoundedTest, test::Spaces);

TYPED_TEST(RoundedTest, NormsAgree) {
  for (const Rounding& rounding : all_roundings()) {
    for (const std::int64_t width : {5, 16, 80, 257}) {
      test::expect_same_bits(TypeParam(), [&](const auto& space, const test::Implementation& by) {
        using Space = std::remove_cvref_t<decltype(space)>;
        Numbers numbers(1);
        const Array<Space, float> x(numbers.take(3 * width));
        const Array<Space, float> delta(numbers.take(3 * width));
        const Array<Space, float> bias(numbers.take(width));
        const Array<Space, float> weight(numbers.take(width));
        const Array<Space, float> y(std::vector<float>(static_cast<std::size_t>(3 * width)));
        kernels::Norm norm{3,           width,         x.data(), width,    delta.data(), width,
                           bias.data(), weight.data(), 1e-5F,    y.data(), width};
        run_rows(space, by, &cpu::RoundedKernels::norm, 3, kernels::RoundedNorm{norm, rounding});
        norm.y = nullptr;
        run_rows(space, by, &cpu::RoundedKernels::norm, 3, kernels::RoundedNorm{norm, rounding});
        auto out = x.read();
        const auto normalized = y.read();
        out.insert(out.end(), normalized.begin(), normalized.end());
        return out;
      });
    }
  }
}

TYPED_TEST(RoundedTest, GatesAgree) {
  for (const Rounding& rounding : all_roundings()) {
    for (const std::int64_t width : {3, 16, 130}) {
      test::expect_same_bits(TypeParam(), [&](const auto& space, const test::Implementation& by) {
        using Space = std::remove_cvref_t<decltype(space)>;
        Numbers numbers(2);
        const Array<Space, float> gate_up(numbers.take(2 * 2 * width, 8.0F));
        const Array<Space, float> bias(numbers.take(2 * width));
        const Array<Space, float> act(std::vector<float>(static_cast<std::size_t>(2 * width)));
        run_rows(space, by, &cpu::RoundedKernels::gate, 2,
                 kernels::RoundedGate{{2, width, gate_up.data(), 2 * width, bias.data(), act.data(), width}, rounding});
        return act.read();
      });
    }
  }
}

TYPED_TEST(RoundedTest, SoftmaxAgreesAndSumsToOne) {
  for (const Rounding& rounding : all_roundings()) {
    for (const std::int64_t window : {0, 20}) {
      constexpr std::int64_t rows = 7;
      constexpr std::int64_t ld = 96;
      test::expect_same_bits(TypeParam(), [&](const auto& space, const test::Implementation& by) {
        using Space = std::remove_cvref_t<decltype(space)>;
        Numbers numbers(3);
        std::vector<kernels::RowInfo> positions;
        for (std::int64_t m = 0; m < rows; ++m) positions.push_back({m * 15, 0});
        const Array<Space, kernels::RowInfo> info(positions);
        const Array<Space, float> scores(numbers.take(rows * ld, 40.0F));
        const Array<Space, float> divisor(std::vector<float>(rows, 0.0F));
        run_rows(
            space, by, &cpu::RoundedKernels::softmax, rows,
            kernels::RoundedSoftmax{rows, window, info.data(), scores.data(), ld, 0.125F, divisor.data(), rounding});
        const auto weights = scores.read();
        const auto divisors = divisor.read();
        for (std::int64_t m = 0; m < rows; ++m) {
          double sum = 0;
          for (std::int64_t j = 0; j < ld; ++j) sum += weights[static_cast<std::size_t>(m * ld + j)];
          EXPECT_NEAR(sum / divisors[static_cast<std::size_t>(m)], 1.0, 0.02);
        }
        return weights;
      });
    }
  }
}

TYPED_TEST(RoundedTest, RopeAgrees) {
  const kernels::HeadShape heads{4, 2, 24};
  constexpr std::int64_t rows = 3;
  for (const Rounding& rounding : all_roundings()) {
    for (const bool norms : {false, true}) {
      test::expect_same_bits(TypeParam(), [&](const auto& space, const test::Implementation& by) {
        using Space = std::remove_cvref_t<decltype(space)>;
        Numbers numbers(4);
        const std::int64_t width = (heads.query_heads + 2 * heads.kv_heads) * heads.head_dim;
        const std::int64_t q_width = heads.query_heads * heads.head_dim;
        const Array<Space, kernels::RowInfo> info(std::vector<kernels::RowInfo>{{0, 0}, {5, 0}, {70, 0}});
        const Array<Space, float> keys(std::vector<float>(static_cast<std::size_t>(heads.kv_heads * 128 * 24)));
        const Array<Space, float> values(std::vector<float>(static_cast<std::size_t>(heads.kv_heads * 128 * 32)));
        const Array<Space, kernels::CacheTable> caches(
            std::vector<kernels::CacheTable>{{keys.data(), values.data(), 128}});
        const Array<Space, float> qkv(numbers.take(rows * width));
        const Array<Space, float> bias(numbers.take(width));
        const Array<Space, float> norm(numbers.take(heads.head_dim));
        const Array<Space, float> cosine(numbers.take(71 * heads.head_dim / 2));
        const Array<Space, float> sine(numbers.take(71 * heads.head_dim / 2));
        const Array<Space, float> q(std::vector<float>(static_cast<std::size_t>(rows * q_width)));
        kernels::Rope rope;
        rope.rows = rows;
        rope.heads = heads;
        rope.info = info.data();
        rope.caches = caches.data();
        rope.qkv = qkv.data();
        rope.ld_qkv = width;
        rope.bias = bias.data();
        rope.q_norm = rope.k_norm = norms ? norm.data() : nullptr;
        rope.epsilon = 1e-5F;
        rope.cosine = cosine.data();
        rope.sine = sine.data();
        rope.q = q.data();
        rope.ldq = q_width;
        run_rows(space, by, &cpu::RoundedKernels::rope, rows, kernels::RoundedRope{rope, rounding});
        auto out = q.read();
        for (const auto& more : {keys.read(), values.read()}) out.insert(out.end(), more.begin(), more.end());
        return out;
      });
    }
  }
}

/// A row by hand: in bf16 1 + 2^-9 is 1, 3 / 256 * 3 has more bits than 8.
TEST(Rounded, NormRoundsWhereItSays) {
  float x[2] = {1.0F, 0.01171875F};
  float delta[2] = {0x1p-9F, 0.0F};
  const float weight[2] = {1.0F, 3.0F};
  float y[2] = {};
  kernels::RoundedNorm args{{1, 2, x, 2, delta, 2, nullptr, weight, 0.0F, y, 2},
                            Rounding::transformers_eager(DType::bf16)};
  kernels::rounded_row(args, 0);
  EXPECT_EQ(x[0], 1.0F);
  const float scale = 1.0F / std::sqrt((x[0] * x[0] + x[1] * x[1]) / 2.0F);
  const auto r = [](float value) { return bf16_to_float(float_to_bf16(value)); };
  EXPECT_EQ(y[1], r(3.0F * r(x[1] * scale)));
  args.rounding.norm_scaled = false;
  delta[0] = 0;
  kernels::rounded_row(args, 0);
  EXPECT_EQ(y[1], r(3.0F * (x[1] * scale)));
}

/// Integers in the order of the numbers, one for each bit pattern.
TEST(Rounded, OrderedIntegers) {
  for (const DType dtype : {DType::bf16, DType::f16}) {
    std::vector<bool> seen(65536);
    for (std::uint32_t bits = 0; bits < 65536; ++bits) {
      const std::int32_t ordered = ordered_of(bits, dtype);
      ASSERT_EQ(bits_of(ordered, dtype), bits);
      ASSERT_GE(ordered, -32768);
      ASSERT_LE(ordered, 32767);
      ASSERT_FALSE(seen[static_cast<std::size_t>(ordered + 32768)]);
      seen[static_cast<std::size_t>(ordered + 32768)] = true;
      const float x = float_of(ordered, dtype);
      if (std::isfinite(x) && ordered < 32767 && std::isfinite(float_of(ordered + 1, dtype))) {
        ASSERT_LE(x, float_of(ordered + 1, dtype));
      }
      if (!std::isnan(x)) {
        ASSERT_EQ(ordered_of(x, dtype), ordered);
      }
    }
  }
  EXPECT_EQ(ordered_of(-0.0F, DType::f32), -1);
  EXPECT_EQ(bits_of(ordered_of(0xffc00001U, DType::f32), DType::f32), 0xffc00001U);
}

}  // namespace
}  // namespace seqkv
