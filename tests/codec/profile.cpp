// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Profiles as files: what is read, and what is refused by name.
#include "seqkv/profile.hpp"

#include <gtest/gtest.h>

#include <functional>

#include "support/caches.hpp"
#include "support/files.hpp"
#include "support/profiles.hpp"

namespace seqkv {
namespace {

using test::ProfileParts;
using test::value_of;

const KvShape profile_shape = test::shape_of(3, 2, 10, DType::bf16);

class ProfileFile : public testing::Test {
 protected:
  test::ScratchFolder scratch;
  Result<std::shared_ptr<const Profile>> load(const ProfileParts& parts) {
    return Profile::load(parts.write(scratch.path() / "profile"));
  }
  /// Loading fails with this code and a message that names the field.
  void expect_refused(const std::function<void(ProfileParts&)>& spoil, ErrorCode code, const std::string& field,
                      const test::MadeUp& how = {}) {
    ProfileParts parts = test::made_up_profile(profile_shape, how);
    spoil(parts);
    const auto profile = load(parts);
    ASSERT_FALSE(profile.ok()) << field;
    EXPECT_EQ(profile.error().code, code) << profile.error().describe();
    EXPECT_NE(profile.error().describe().find(field), std::string::npos) << profile.error().describe();
  }
};

TEST_F(ProfileFile, SaysWhatItIsOf) {
  const auto profile = value_of(load(test::made_up_profile(profile_shape)));
  EXPECT_EQ(profile->shape().layers, 3);
  EXPECT_EQ(profile->shape().kv_heads, 2);
  EXPECT_EQ(profile->shape().head_dim, 10);
  EXPECT_EQ(profile->shape().rope, profile_shape.rope);
  EXPECT_EQ(profile->model(), test::test_model());
  EXPECT_GT(profile->bytes(), 0);
  EXPECT_FALSE(profile->fingerprint().is_zero());
  ASSERT_EQ(profile->curve().size(), 2U);
  EXPECT_EQ(profile->curve()[1].step, 1.0);
}

TEST_F(ProfileFile, MetadataThatIsWrongIsNamed) {
  const auto set = [](const char* key, const char* value) {
    return [=](ProfileParts& parts) { parts.metadata[key] = value; };
  };
  expect_refused(set("seqkv.profile", "2"), ErrorCode::unsupported_version, "2");
  expect_refused(set("seqkv.profile", "one"), ErrorCode::bad_format, "seqkv.profile");
  expect_refused(set("seqkv.model", "xyz"), ErrorCode::bad_format, "seqkv.model");
  expect_refused(set("seqkv.layers", "0"), ErrorCode::bad_format, "seqkv.layers");
  expect_refused(set("seqkv.kv_heads", "99999999999"), ErrorCode::bad_format, "seqkv.kv_heads");
  expect_refused(set("seqkv.head_dim", "513"), ErrorCode::bad_format, "seqkv.head_dim");
  expect_refused(set("seqkv.least_class", "5000"), ErrorCode::bad_format, "seqkv.least_class");
  expect_refused(set("seqkv.first_token", "-1"), ErrorCode::bad_format, "seqkv.first_token");
  expect_refused(set("seqkv.rope", "{"), ErrorCode::bad_format, "seqkv.rope");
  expect_refused(set("seqkv.curve", "[[1, 2]]"), ErrorCode::bad_format, "seqkv.curve");
  expect_refused(set("seqkv.curve", "[[1, 2, 3], [2, 2, 3]]"), ErrorCode::bad_format, "seqkv.curve");
  expect_refused(set("seqkv.layers", "4"), ErrorCode::missing_field, "layers.3.key");
  for (const char* key : {"seqkv.profile", "seqkv.model", "seqkv.layers", "seqkv.rope", "seqkv.curve"}) {
    expect_refused([=](ProfileParts& parts) { parts.metadata.erase(key); }, ErrorCode::missing_field, key);
  }
}

TEST_F(ProfileFile, TensorsThatAreWrongAreNamed) {
  const ProfileParts whole = test::made_up_profile(profile_shape);
  for (const auto& entry : whole.tensors) {
    const std::string& name = entry.first;  // clang 14 captures no structured bindings
    const ProfileParts::Tensor& tensor = entry.second;
    if (name != "lossless.tables") {  // without it a profile is of the time before
      expect_refused([&](ProfileParts& parts) { parts.tensors.erase(name); }, ErrorCode::missing_field, name);
    }
    expect_refused(
        [&](ProfileParts& parts) {
          ProfileParts::Tensor& spoilt = parts.tensors[name];
          spoilt.shape.back() += 1;
          std::size_t count = 1;
          for (std::int64_t n : spoilt.shape) count *= static_cast<std::size_t>(n);
          const std::size_t size = spoilt.dtype == "F32" || spoilt.dtype == "I32" ? 4 : 2;
          spoilt.bytes.assign(count * size, std::byte{0});
        },
        ErrorCode::bad_format, name == "tokens" ? "predict" : name);
    if (tensor.dtype != "F32") continue;
    expect_refused(
        [&](ProfileParts& parts) {
          auto& bytes = parts.tensors[name].bytes;
          store_le(bytes.data() + bytes.size() - 4, 0x7fc00000U);  // NaN
        },
        ErrorCode::bad_format, name);
  }
  expect_refused([](ProfileParts& parts) { parts.tensors["tables"].bytes[0] ^= std::byte{1}; }, ErrorCode::bad_format,
                 "tables");
  expect_refused(
      [](ProfileParts& parts) { store_le(parts.tensors["layers.1.key.lossless.within"].bytes.data(), 1.0F); },
      ErrorCode::bad_format, "layers.1.key.lossless.within");
  expect_refused(
      [](ProfileParts& parts) {
        store_le(parts.tensors["layers.1.value.lossless.scales"].bytes.data(), std::int16_t{2001});
      },
      ErrorCode::bad_format, "layers.1.value.lossless.scales");
}

TEST_F(ProfileFile, FactorsAndBlocksThatDoNotFitAreNamed) {
  const test::MadeUp how{.rank = 5, .blocks = 2};
  EXPECT_OK(load(test::made_up_profile(profile_shape, how)));
  const auto refused = [&](const std::function<void(ProfileParts&)>& spoil, ErrorCode code, const std::string& field) {
    expect_refused(spoil, code, field, how);
  };
  const auto floats = [](ProfileParts& parts, const std::string& name, std::vector<std::int64_t> extents) {
    std::int64_t count = 1;
    for (std::int64_t n : extents) count *= n;
    parts.put(name, "F32", std::move(extents), std::vector<float>(static_cast<std::size_t>(count)));
  };
  const std::string key = "layers.1.key.";
  const std::int64_t inputs = 1 + 7 + 2 * 20;
  refused([&](auto& parts) { parts.tensors.erase(key + "expand"); }, ErrorCode::missing_field, key + "expand");
  refused([&](auto& parts) { parts.tensors.erase(key + "squeeze"); }, ErrorCode::missing_field, key + "predict");
  refused([&](auto& parts) { floats(parts, key + "predict", {21, inputs}); }, ErrorCode::bad_format, key + "predict");
  refused([&](auto& parts) { floats(parts, key + "squeeze", {6, inputs}); }, ErrorCode::bad_format, key + "expand");
  refused([&](auto& parts) { floats(parts, key + "squeeze", {5, inputs + 1}); }, ErrorCode::bad_format, "squeeze");
  refused([&](auto& parts) { floats(parts, key + "squeeze", {0, inputs}); }, ErrorCode::bad_format, "squeeze");
  refused([&](auto& parts) { floats(parts, key + "squeeze", {5000, inputs}); }, ErrorCode::bad_format, "squeeze");
  refused([&](auto& parts) { floats(parts, key + "squeeze", {5}); }, ErrorCode::bad_format, "squeeze");
  refused([&](auto& parts) { floats(parts, key + "forward", {4, 4, 5}); }, ErrorCode::bad_format, "forward");
  refused([&](auto& parts) { floats(parts, key + "forward", {0, 12, 10}); }, ErrorCode::bad_format, "forward");
  refused([&](auto& parts) { floats(parts, key + "forward", {2, 13, 10}); }, ErrorCode::bad_format, "forward");
  refused([&](auto& parts) { floats(parts, key + "forward", {2, 16, 10}); }, ErrorCode::bad_format, "forward");
  refused([&](auto& parts) { floats(parts, key + "forward", {1, 2, 12, 10}); }, ErrorCode::bad_format, "forward");
  refused([&](auto& parts) { floats(parts, key + "forward", {24}); }, ErrorCode::bad_format, "forward");
  refused([&](auto& parts) { floats(parts, key + "forward", {20, 20}); }, ErrorCode::bad_format, "inverse");
  refused([&](auto& parts) { floats(parts, key + "inverse", {2, 12, 10}); }, ErrorCode::bad_format, "inverse");
}

TEST_F(ProfileFile, FilesThatAreCutAreRefused) {
  const auto path = test::made_up_profile(test::shape_of(1, 1, 8, DType::bf16)).write(scratch.path() / "profile");
  const auto size = std::filesystem::file_size(path);
  for (std::uintmax_t cut = 0; cut < size; cut += 1 + size / 60) {
    std::filesystem::resize_file(path, cut);
    const auto profile = Profile::load(path);
    ASSERT_FALSE(profile.ok()) << cut;
    test::made_up_profile(test::shape_of(1, 1, 8, DType::bf16)).write(path);
  }
  EXPECT_CODE(Profile::load(scratch.path() / "nothing"), ErrorCode::file_not_found);
}

}  // namespace
}  // namespace seqkv
