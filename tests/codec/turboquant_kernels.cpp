// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// TurboQuant on every kind of CPU kernels that this machine has, and on the device of the build, against the portable
// kernel: the same payloads, the same verdicts and values, to the bit.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <optional>

#include "codec/batch.hpp"
#include "codec/kernel.hpp"
#include "support/caches.hpp"
#include "support/kernels.hpp"

namespace seqkv {
namespace {

using test::value_of;
using Bytes = std::vector<std::byte>;
using Alone = Kokkos::Serial;
using Device = Kokkos::DefaultExecutionSpace;
constexpr bool has_device = !is_host_space<Device>;

constexpr std::int64_t dims[] = {4, 8, 16, 20, 48, 64, 80, 96, 112, 128, 144, 192, 256, 496, 512};

enum class Keys { as_they_are, unrotated, half_unrotated };

std::string codec_of(int bits, Keys keys) {
  return "none+turboquant:" + std::to_string(bits) + (keys == Keys::as_they_are ? "" : ",keys=unrotated");
}

/// A codec for one sub-block of keys, on a space.
template <class Space>
struct Owner {
  Space space;
  codec::KernelOwner<Space> kernels;
  codec::Tasks<Space> tasks;

  Owner(const Codec& codec, const KvShape& shape, std::int64_t first_position, std::int64_t tokens)
      : kernels(value_of(codec::KernelOwner<Space>::create(space, codec, shape))) {
    kernels.set_positions(space, first_position, tokens);
    tasks.reserve("seqkv::test::tasks", 1);
  }
  const kokkos::TurboQuant& kernel() const { return std::get<kokkos::TurboQuant>(kernels.kernel()); }
};

/// The same with each implementation.
class Coder {
 public:
  Coder(std::int64_t dim, int bits, DType dtype, Keys keys, std::int64_t tokens)
      : subblock_{heads, tokens, dim, dtype, true, first_token},
        alone_(value_of(Codec::parse(codec_of(bits, keys))), shape_of(dim, dtype, keys), 1000, first_token + tokens) {
    if constexpr (has_device) {
      device_.emplace(value_of(Codec::parse(codec_of(bits, keys))), shape_of(dim, dtype, keys), 1000,
                      first_token + tokens);
    }
  }

  std::int64_t values() const { return subblock_.values(); }
  std::size_t raw_bytes() const { return static_cast<std::size_t>(values()) * size_of(subblock_.dtype); }
  std::size_t payload_bytes() const { return static_cast<std::size_t>(kernel().size(subblock_)); }
  bool fits() const { return subblock_.dim % 16 == 0; }

  /// The payload, with a margin that must not be written; nothing if the values cannot be coded. `cpu` null: portable.
  std::optional<Bytes> encode(const cpu::Kernels* cpu, Bytes values) {
    Bytes coded(payload_bytes() + margin, std::byte{0xee});
    alone_.tasks[0] = {subblock_, number, values.data(), coded.data(), 0, false};
    if (cpu == nullptr) {
      codec::encode_tasks_portably(alone_.space, kernel(), subblock_, alone_.tasks, 1);
    } else {
      EXPECT_TRUE(cpu::encode(*cpu, alone_.space, kernel(), subblock_, alone_.tasks.host(), 1));
    }
    if (alone_.tasks[0].bytes == codec::not_codable) return {};
    EXPECT_EQ(alone_.tasks[0].bytes, static_cast<std::int64_t>(payload_bytes()));
    return coded;
  }

  /// The values, with a margin that must not be written; nothing if the payload is broken.
  std::optional<Bytes> decode(const cpu::Kernels* cpu, Bytes coded, bool raw = false) {
    Bytes values(raw_bytes() + margin, std::byte{0xee});
    alone_.tasks[0] = {subblock_, number, values.data(), coded.data(), static_cast<std::int64_t>(coded.size()), raw};
    if (cpu == nullptr) {
      codec::decode_tasks_portably(alone_.space, kernel(), subblock_, alone_.tasks, 1);
    } else {
      EXPECT_TRUE(cpu::decode(*cpu, alone_.space, kernel(), subblock_, alone_.tasks.host(), 1));
    }
    if (alone_.tasks[0].bytes == codec::not_codable) return {};
    return values;
  }

  /// The same on the device, values to payload or back.
  std::optional<Bytes> encode_on_device(const Bytes& values) {
    return code_on_device<false>(values, payload_bytes(), 0);
  }
  std::optional<Bytes> decode_on_device(const Bytes& coded, bool raw = false) {
    return code_on_device<true>(coded, raw_bytes(), static_cast<std::int64_t>(coded.size()), raw);
  }

  /// All implementations encode alike, and decode what the portable one wrote alike.
  void expect_the_same(const Bytes& values) {
    const auto coded = encode(nullptr, values);
    for (const cpu::Kernels* cpu : test::cpu_kernels()) {
      if (fits()) {
        EXPECT_EQ(encode(cpu, values), coded) << cpu->name;
      }
    }
    if constexpr (has_device) {
      EXPECT_EQ(encode_on_device(values), coded) << Device::name();
    }
    if (coded) expect_the_same_values(Bytes(coded->begin(), coded->end() - margin));
  }
  void expect_the_same_values(const Bytes& coded) {
    const auto values = decode(nullptr, coded);
    for (const cpu::Kernels* cpu : test::cpu_kernels()) {
      if (fits()) {
        EXPECT_EQ(decode(cpu, coded), values) << cpu->name;
      }
    }
    if constexpr (has_device) {
      EXPECT_EQ(decode_on_device(coded), values) << Device::name();
    }
  }

 private:
  static constexpr std::int64_t heads = 2;
  static constexpr std::int64_t first_token = 3;
  static constexpr std::uint64_t number = 4;
  static constexpr std::ptrdiff_t margin = 64;

  static KvShape shape_of(std::int64_t dim, DType dtype, Keys keys) {
    KvShape shape = test::shape_of(3, heads, dim, dtype);
    if (keys == Keys::half_unrotated) shape.rope.dim = dim / 2;
    return shape;
  }
  const kokkos::TurboQuant& kernel() const { return alone_.kernel(); }

  template <bool Decodes>
  std::optional<Bytes> code_on_device(const Bytes& input, std::size_t bytes, std::int64_t coded_bytes,
                                      bool raw = false) {
    const Device& space = device_->space;
    const codec::Tasks<Device>& tasks = device_->tasks;
    const test::Array<Device, std::byte> from(input), to(Bytes(bytes + margin, std::byte{0xee}));
    tasks[0] = {subblock_,   number, Decodes ? to.data() : from.data(), Decodes ? from.data() : to.data(),
                coded_bytes, raw};
    tasks.to_device(space, 1);
    if constexpr (Decodes) {
      codec::decode_tasks(space, device_->kernel(), subblock_, tasks, 1);
    } else {
      codec::encode_tasks(space, device_->kernel(), subblock_, tasks, 1);
    }
    tasks.to_host(space, 1);
    space.fence("seqkv::test: the results are read");
    if (tasks[0].bytes == codec::not_codable) return {};
    return to.read();
  }

  codec::Subblock subblock_;
  Owner<Alone> alone_;
  std::optional<Owner<Device>> device_;
};

/// Normal numbers times a scale, among them zeros; some vectors small, some zero, some with one number only.
Bytes values_for(const Coder& coder, std::int64_t dim, DType dtype, float scale, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Bytes values(coder.raw_bytes());
  for (std::int64_t i = 0; i < coder.values(); ++i) {
    float x = normal(random) * scale;
    if (random() % 29 == 0) x = random() % 2 == 0 ? 0.0F : -0.0F;
    const std::int64_t vector = i / dim;
    if (vector % 5 == 1) x *= 1e-5F;
    if (vector % 7 == 2 || (vector % 7 == 3 && i % dim != 3)) x = 0;
    store_from_float(values.data(), dtype, i, x);
  }
  return values;
}

void store16(Bytes& to, std::size_t at, std::uint16_t value) { std::memcpy(&to[at], &value, sizeof(value)); }

class TurboQuantKernels : public testing::TestWithParam<std::int64_t> {};

TEST_P(TurboQuantKernels, EncodeAndDecodeAlike) {
  const std::int64_t dim = GetParam();
  for (int bits = 1; bits <= 5; ++bits) {
    for (DType dtype : {DType::bf16, DType::f16, DType::f32}) {
      for (Keys keys : {Keys::as_they_are, Keys::unrotated, Keys::half_unrotated}) {
        constexpr std::int64_t few_and_many[] = {1, 7, 19};
        const std::int64_t tokens = few_and_many[(bits + static_cast<int>(keys)) % 3];
        Coder coder(dim, bits, dtype, keys, tokens);
        coder.expect_the_same(values_for(coder, dim, dtype, 3, static_cast<unsigned>(tokens)));
        if (testing::Test::HasFailure()) {
          FAIL() << codec_of(bits, keys) << ", " << to_string(dtype) << ", " << tokens << " tokens";
        }
      }
    }
  }
}

TEST_P(TurboQuantKernels, TreatTheEndsOfTheRangeAlike) {
  const std::int64_t dim = GetParam();
  for (DType dtype : {DType::bf16, DType::f16, DType::f32}) {
    for (Keys keys : {Keys::as_they_are, Keys::unrotated}) {
      Coder coder(dim, 3, dtype, keys, 4);
      for (float scale : {0.0F, 1e-45F, 1e-40F, 1e-38F, 1e-30F, 1e-7F, 1e5F, 1e30F, 1e35F, 1e36F, 1e37F, 1e38F}) {
        coder.expect_the_same(values_for(coder, dim, dtype, scale, 5));
        if (testing::Test::HasFailure()) FAIL() << to_string(dtype) << " times " << scale;
      }
    }
  }
}

TEST_P(TurboQuantKernels, RefuseTheSameValues) {
  const std::int64_t dim = GetParam();
  for (DType dtype : {DType::bf16, DType::f16, DType::f32}) {
    Coder coder(dim, 2, dtype, Keys::as_they_are, 5);
    for (float bad : {std::nanf(""), -std::nanf("7"), INFINITY, -INFINITY}) {
      for (std::int64_t at : {std::int64_t{0}, dim + 1, coder.values() - 1}) {
        Bytes values = values_for(coder, dim, dtype, 1, 6);
        store_from_float(values.data(), dtype, at, bad);
        EXPECT_FALSE(coder.encode(nullptr, values).has_value());
        coder.expect_the_same(values);
      }
    }
  }
}

TEST_P(TurboQuantKernels, DecodeAnyBytesAlike) {
  constexpr std::size_t vectors = 2 * 5;
  const std::int64_t dim = GetParam();
  std::mt19937 random(7);
  for (int bits = 1; bits <= 5; ++bits) {
    for (DType dtype : {DType::bf16, DType::f16, DType::f32}) {
      for (Keys keys : {Keys::as_they_are, Keys::unrotated}) {
        Coder coder(dim, bits, dtype, keys, 5);
        Bytes coded(coder.payload_bytes());
        for (int exponent : {-101, -100, -3, 100, 101, 110, 111}) {
          std::generate(coded.begin(), coded.end(), [&] { return static_cast<std::byte>(random()); });
          // Norms of every kind, subnormal ones too.
          for (std::size_t v = 0; v < vectors; ++v)
            store16(coded, 4 + 2 * v, static_cast<std::uint16_t>(random() % 0x7c00));
          store16(coded, 0, static_cast<std::uint16_t>(exponent));
          store16(coded, 2, 0);
          EXPECT_EQ(coder.decode(nullptr, coded).has_value(), exponent >= -100 && exponent <= 110);
          coder.expect_the_same_values(coded);
        }
        store16(coded, 0, 0);
        for (std::uint16_t norm : {0x7c00, 0x7e01, 0x8000, 0xc000, 0xfc00, 0xffff}) {  // infinite, NaN, negative
          Bytes broken = coded;
          store16(broken, 4 + 2 * (random() % vectors), norm);
          EXPECT_FALSE(coder.decode(nullptr, broken).has_value()) << norm;
          coder.expect_the_same_values(broken);
        }
        store16(coded, 2, 256);
        coder.expect_the_same_values(coded);
        for (std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{3}, coded.size() - 1, coded.size() + 1}) {
          EXPECT_FALSE(coder.decode(nullptr, Bytes(bytes)).has_value());
          coder.expect_the_same_values(Bytes(bytes));
        }
        if (testing::Test::HasFailure()) FAIL() << codec_of(bits, keys) << ", " << to_string(dtype);
      }
    }
  }
}

TEST_P(TurboQuantKernels, CopyRawTasks) {
  Coder coder(GetParam(), 3, DType::bf16, Keys::unrotated, 3);
  const Bytes values = values_for(coder, GetParam(), DType::bf16, 1, 8);
  for (const cpu::Kernels* cpu : test::cpu_kernels()) {
    if (!coder.fits()) continue;
    const auto decoded = coder.decode(cpu, values, true);
    ASSERT_TRUE(decoded.has_value());
    EXPECT_TRUE(std::equal(values.begin(), values.end(), decoded->begin())) << cpu->name;
  }
  if constexpr (has_device) {
    const auto decoded = coder.decode_on_device(values, true);
    ASSERT_TRUE(decoded.has_value());
    EXPECT_TRUE(std::equal(values.begin(), values.end(), decoded->begin())) << Device::name();
  }
}

INSTANTIATE_TEST_SUITE_P(Dims, TurboQuantKernels, testing::ValuesIn(dims));

/// Sizes that do not fill vectors are left to the portable kernel.
TEST(TurboQuantShapes, FitWhereTheyFillVectors) {
  const Alone space;
  for (const cpu::Kernels* cpu : test::cpu_kernels()) {
    for (std::int64_t dim = 4; dim <= 512; ++dim) {
      kokkos::TurboQuant kernel;
      kernel.rotation.dim = dim;
      EXPECT_EQ(cpu::encode(*cpu, space, kernel, {}, nullptr, 0), dim % 16 == 0);
      EXPECT_EQ(cpu::decode(*cpu, space, kernel, {}, nullptr, 0), dim % 16 == 0);
    }
  }
}

}  // namespace
}  // namespace seqkv
