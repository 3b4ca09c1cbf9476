// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// The forward pass against the golden caches of transformers, and against itself: the same bits for every
// thread count, chunk, batch, kernel and execution space.
#include "seqkv/forward.hpp"

#include <gtest/gtest.h>
#include <algorithm>

#include <cmath>
#include <cstring>

#include "backends/cpu/kernels.hpp"
#include "seqkv/kv_file.hpp"
#include "support/result.hpp"
#include "support/spaces.hpp"

namespace seqkv {
namespace {

using test::value_of;

/// What a run produced, on the host.
struct KvAndLogits {
  std::vector<float> kv;  ///< [layers][K|V][kv_heads][tokens][head_dim]
  std::vector<float> logits;

  friend bool operator==(const KvAndLogits& a, const KvAndLogits& b) {
    const auto same = [](const std::vector<float>& x, const std::vector<float>& y) {
      return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) == 0;
    };
    return same(a.kv, b.kv) && same(a.logits, b.logits);
  }
};

template <class Space>
KvAndLogits collect(const Space& space, const Sequence<Space>& sequence, const ModelConfig& config) {
  KvCache cache = value_of(KvCache::create(config.kv_shape(DType::f32), sequence.tokens()));
  EXPECT_TRUE(sequence.read(space, 0, cache.view()).ok());
  const auto* values = reinterpret_cast<const float*>(cache.raw().data());
  return {{values, values + cache.components()}, {}};
}

template <class Space>
std::vector<float> rows(const Matrix<Space>& matrix, std::int64_t first, std::int64_t count) {
  const auto host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), matrix);
  const auto width = static_cast<std::int64_t>(host.extent(1));
  return {host.data() + first * width, host.data() + (first + count) * width};
}

template <class Space>
class ForwardTest : public testing::Test {
 protected:
  static constexpr std::int64_t logit_rows = 8;

  Space space;
  std::shared_ptr<const Model<Space>> model = value_of(Model<Space>::load(space, SEQKV_MODEL));
  KvFile golden = value_of(KvFile::open(SEQKV_TEST_DATA "/docs-7m-golden.safetensors"));

  /// The golden tokens through the layers, `chunk` at a time.
  KvAndLogits run(std::int64_t chunk) {
    auto forward = value_of(Forward<Space>::create(space, model, chunk));
    Sequence<Space> sequence(model->config());
    typename Forward<Space>::Output output;
    const typename Forward<Space>::Item item{&sequence, golden.tokens(), logit_rows};
    const auto status = forward.run(space, {&item, 1}, &output);
    EXPECT_TRUE(status.ok());
    KvAndLogits outcome = collect(space, sequence, model->config());
    outcome.logits = rows<Space>(output.logits, 0, logit_rows);
    return outcome;
  }
};
TYPED_TEST_SUITE(ForwardTest, test::Spaces);

double largest_difference(const std::vector<float>& a, const float* b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(double{a[i]} - double{b[i]}));
  return largest;
}

TYPED_TEST(ForwardTest, AgreesWithTransformers) {
  const KvAndLogits outcome = this->run(256);
  const KvShape& shape = this->golden.shape();
  const std::size_t per_tensor = shape.kv_heads * this->golden.tokens().size() * shape.head_dim;
  for (std::size_t i = 0; i < this->golden.view().tensors.size(); ++i) {
    const std::vector<float> tensor(outcome.kv.begin() + i * per_tensor, outcome.kv.begin() + (i + 1) * per_tensor);
    EXPECT_LE(largest_difference(tensor, reinterpret_cast<const float*>(this->golden.view().tensors[i])), 1e-4)
        << "layer " << i / 2 << (i % 2 == 0 ? " key" : " value");
  }
  const TensorView logits = value_of(this->golden.file().tensor("logits"));
  EXPECT_LE(largest_difference(outcome.logits, reinterpret_cast<const float*>(logits.bytes.data())), 2e-4);
}

TYPED_TEST(ForwardTest, ChunksDoNotChangeTheBits) {
  const KvAndLogits expected = this->run(256);
  for (std::int64_t chunk : {1, 7, 64}) EXPECT_TRUE(this->run(chunk) == expected) << "chunk " << chunk;
}

}  // namespace
}  // namespace seqkv
