// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Surprisals against softmax in double, and the same bits on every space.
#include "seqkv/surprisal.hpp"

#include <cmath>

#include "seqkv/quality.hpp"
#include "support/caches.hpp"
#include "support/result.hpp"
#include "support/spaces.hpp"

namespace seqkv {
namespace {

using test::value_of;

TEST(Surprisal, OfOneRow) {
  const std::vector<float> even(8, 3.5F);
  EXPECT_EQ(surprisal_of(even, 5), 3U * 65536U);
  std::vector<float> sure(100, -1e4F);
  sure[7] = 1e4F;
  EXPECT_EQ(surprisal_of(sure, 7), 0U);
  EXPECT_NEAR(surprisal_of(sure, 8) / 65536.0, 2e4 * std::log2(std::exp(1.0)), 1.0);
  sure.assign(2, -3e38F);
  sure[0] = 3e38F;
  EXPECT_EQ(surprisal_of(sure, 1), UINT32_MAX);
}

template <class Space>
std::vector<std::uint32_t> surprisals_by_model(TokenSpan tokens, std::int64_t chunk) {
  auto model = value_of(Model<Space>::load(Space(), SEQKV_MODEL));
  auto forward = value_of(Forward<Space>::create(Space(), std::move(model), chunk));
  return value_of(token_surprisals(Space(), forward, tokens));
}

template <class Space>
class SurprisalTest : public testing::Test {};
TYPED_TEST_SUITE(SurprisalTest, test::Spaces);

TYPED_TEST(SurprisalTest, SameBitsForAnySpaceAndChunk) {
  const auto tokens = test::random_tokens(300, 4);
  const auto surprisals = surprisals_by_model<TypeParam>(tokens, 256);
  EXPECT_EQ(surprisals, surprisals_by_model<TypeParam>(tokens, 7));
  EXPECT_EQ(surprisals, surprisals_by_model<Kokkos::Serial>(tokens, 64));
  EXPECT_EQ(surprisals[0], 12U * 65536U);
}

TYPED_TEST(SurprisalTest, IsThatOfTheModel) {
  const TypeParam space;
  const auto tokens = test::random_tokens(40, 5);
  auto model = value_of(Model<TypeParam>::load(space, SEQKV_MODEL));
  auto forward = value_of(Forward<TypeParam>::create(space, model));
  const auto surprisals = value_of(token_surprisals(space, forward, tokens));
  Sequence<TypeParam> sequence(model->config());
  typename Forward<TypeParam>::Output output;
  const typename Forward<TypeParam>::Item item{&sequence, tokens, 40};
  ASSERT_OK(forward.run(space, {&item, 1}, &output));
  const auto logits = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), output.logits);
  double bits = 0;
  for (std::size_t i = 1; i < tokens.size(); ++i) bits += surprisals[i] / 65536.0;
  EXPECT_NEAR(bits, surprisal_bits({logits.data(), 39 * logits.extent(1)}, TokenSpan(tokens).subspan(1)), 0.01);
  EXPECT_CODE(token_surprisals(space, forward, {}), ErrorCode::empty_input);
  EXPECT_CODE(token_surprisals(space, forward, std::vector<Token>{5000}), ErrorCode::token_out_of_range);
}

}  // namespace
}  // namespace seqkv
