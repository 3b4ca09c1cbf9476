// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Frames of format version 1 (tests/data/frames, which never change): every release reads them, to the same bits, and
// refuses by the same code what is broken.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "seqkv/frame.hpp"
#include "seqkv/hash.hpp"
#include "seqkv/profile.hpp"
#include "seqkv/replay.hpp"
#include "support/files.hpp"
#include "support/result.hpp"
#include "support/spaces.hpp"

namespace seqkv {
namespace {

namespace fs = std::filesystem;
using test::value_of;

const fs::path folder = SEQKV_TEST_DATA "/frames";

std::string sha256(std::span<const std::byte> bytes) { return Sha256().update(bytes).finish().hex(); }

template <class Space>
struct GoldenFrames : testing::Test {
  Space space;
  std::shared_ptr<const Profile> profile = value_of(Profile::load(folder / "profile.safetensors"));
  std::shared_ptr<const Model<Space>> model = value_of(Model<Space>::load(space, SEQKV_TEST_DATA "/families/qwen3"));

  /// With the profile and the model, or without.
  Result<KvCache> decode_file(const fs::path& path, bool with_profile, bool with_model) {
    auto frame = FrameReader::open(path);
    if (!frame) return std::move(frame).error();
    return decode(space, with_model ? model : nullptr, *frame, with_profile ? profile : nullptr);
  }
};
TYPED_TEST_SUITE(GoldenFrames, test::Spaces);

TYPED_TEST(GoldenFrames, AreReadToTheSameBits) {
  const auto rows = nlohmann::json::parse(test::read_all(folder / "golden.json"));
  ASSERT_EQ(rows.size(), 32U);
  for (const auto& row : rows) {
    const auto name = row["frame"].template get<std::string>();
    SCOPED_TRACE(name);
    const fs::path path = folder / (name + ".sqkv");
    const std::string file = test::read_all(path);
    ASSERT_EQ(Sha256().update(file).finish().hex(), row["sha256"].template get<std::string>())
        << "the file has changed";
    const bool with_profile = row["profile"];
    const bool with_model = row["model"];
    const KvCache cache = value_of(this->decode_file(path, with_profile, with_model));
    EXPECT_EQ(sha256(cache.raw()), row["values"].template get<std::string>());
    if (with_profile) {
      EXPECT_FALSE(this->decode_file(path, false, with_model));
    }
    if (with_model) {
      EXPECT_FALSE(this->decode_file(path, with_profile, false));
    } else {
      const auto ids = value_of(value_of(FrameReader::open(path)).tokens());
      EXPECT_EQ(sha256(std::as_bytes(std::span(ids))), row["tokens"].template get<std::string>());
    }
  }
}

TYPED_TEST(GoldenFrames, WhatIsBrokenIsRefusedByItsCode) {
  int files = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    constexpr std::string_view prefix = "refused-";
    if (!name.starts_with(prefix)) continue;
    int code = 0;
    std::from_chars(name.data() + prefix.size(), name.data() + name.size(), code);
    const auto result = this->decode_file(entry.path(), true, false);
    ASSERT_FALSE(result) << name;
    EXPECT_EQ(static_cast<int>(result.error().code), code) << name << ": " << result.error().describe();
    ++files;
  }
  EXPECT_EQ(files, 29);
}

}  // namespace
}  // namespace seqkv
