// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Safetensors files: every kind that must be refused is refused by name, damage never leads out of bounds,
// what the writer writes is read back, and shards are taken together.
#include "seqkv/safetensors.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "support/files.hpp"
#include "support/result.hpp"
#include "support/safetensors.hpp"

namespace seqkv {
namespace {

using test::bytes;
using test::error_of;
using test::parse_safetensors;
using test::safetensors;
using test::tensor_json;
using test::value_of;

/// Three tensors, one of them empty, and metadata.
std::string good_file() {
  return safetensors(R"({"__metadata__":{"made by":"hand"},"a":)" + tensor_json("F32", "[2,1]", "[0,8]") + R"(,"b":)" +
                         tensor_json("U8", "[3]", "[8,11]") + R"(,"empty":)" + tensor_json("F16", "[0,7]", "[8,8]") +
                         "}  ",
                     "\1\2\3\4\5\6\7\10\11\12\13");
}

// ---- reading ----------------------------------------------------------------------------------------------

TEST(Safetensors, ReadsTensorsAndMetadata) {
  const std::string raw = good_file();
  const SafetensorsFile file = value_of(parse_safetensors(raw));
  ASSERT_EQ(file.tensors().size(), 3U);
  const TensorView a = value_of(file.tensor("a"));
  EXPECT_EQ(a.dtype, "F32");
  EXPECT_EQ(a.shape, (std::vector<std::int64_t>{2, 1}));
  EXPECT_EQ(a.elements(), 2);
  EXPECT_EQ(a.bytes.size(), 8U);
  EXPECT_EQ(file.find("b")->bytes[0], std::byte{9});
  EXPECT_EQ(file.find("empty")->bytes.size(), 0U);
  EXPECT_EQ(file.metadata().at("made by"), "hand");
}

TEST(Safetensors, ReadsScalarsAndFilesWithoutTensors) {
  const std::string scalar = safetensors(R"({"x":)" + tensor_json("I64", "[]", "[0,8]") + "}", 8);
  EXPECT_EQ(value_of(parse_safetensors(scalar)).find("x")->elements(), 1);
  EXPECT_TRUE(value_of(parse_safetensors(safetensors("{}"))).tensors().empty());
  EXPECT_TRUE(value_of(parse_safetensors(safetensors(R"({"__metadata__":{}})"))).tensors().empty());
}

TEST(Safetensors, ReadsSubByteElementsThatFillBytes) {
  const std::string raw = safetensors(R"({"x":)" + tensor_json("F4", "[4]", "[0,2]") + "}", 2);
  EXPECT_EQ(value_of(parse_safetensors(raw)).find("x")->bytes.size(), 2U);
}

TEST(Safetensors, NamesAMissingTensorAndItsFile) {
  const std::string raw = good_file();
  const Error error = error_of(value_of(parse_safetensors(raw)).tensor("c"));
  EXPECT_EQ(error.code, ErrorCode::missing_field);
  EXPECT_EQ(error.field, "tensor 'c'");
  EXPECT_EQ(error.file, "test.safetensors");
}

// ---- damage -----------------------------------------------------------------------------------------------

TEST(SafetensorsDamage, EveryTruncationIsRefused) {
  const std::string file = good_file();
  ASSERT_OK(parse_safetensors(file));
  for (std::size_t size = 0; size < file.size(); ++size) {
    // A copy of the exact size, so that a sanitizer sees a read behind it.
    const std::vector<char> cut(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_CODE(parse_safetensors({cut.data(), cut.size()}), ErrorCode::bad_format);
  }
}

/// Touches every byte that a file gives out.
std::size_t read_everything(const SafetensorsFile& file) {
  std::size_t sum = 0;
  for (const auto& [name, tensor] : file.tensors()) {
    for (std::byte b : tensor.bytes) sum += std::to_integer<std::size_t>(b);
    sum += static_cast<std::size_t>(tensor.elements());
  }
  return sum;
}

TEST(SafetensorsDamage, RandomDamageStaysInBounds) {
  const std::string good = good_file();
  std::mt19937_64 random(1);
  int accepted = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::vector<char> file(good.begin(), good.end());
    for (std::uint64_t flips = 1 + random() % 4; flips > 0; --flips) {
      // Every other time among the bytes of the header, where all the decisions are.
      const std::size_t at = random() % (round % 2 == 0 ? file.size() : 200);
      file[at] = round % 3 == 0 ? static_cast<char>(random()) : static_cast<char>(file[at] ^ (1 << random() % 8));
    }
    const auto result = parse_safetensors({file.data(), file.size()});
    if (result) accepted += read_everything(*result) > 0 ? 1 : 0;
  }
  EXPECT_GT(accepted, 0);  // damage to names and numbers is no damage to the format
}

// ---- writing ----------------------------------------------------------------------------------------------

TEST(SafetensorsWriter, WritesInAnyOrderAndInPieces) {
  const test::ScratchFolder folder;
  const auto path = folder.path() / "out.safetensors";
  auto writer = value_of(SafetensorsWriter::create(
      path, {{"small", "U8", {3}}, {"wide", "F32", {2}}, {"none", "BF16", {4, 0}}}, {{"key", "va\"l\u00fce"}}));
  ASSERT_OK(writer.write("small", 1, bytes("yz")));
  ASSERT_OK(writer.write("wide", 0, bytes("12345678")));
  ASSERT_OK(writer.write("small", 0, bytes("x")));
  ASSERT_OK(writer.commit());

  const SafetensorsFile file = value_of(SafetensorsFile::open(path));
  EXPECT_EQ(test::read_all(path).substr(test::read_all(path).size() - 11),
            "12345678xyz");  // the wider ones first
  EXPECT_EQ(file.find("none")->shape, (std::vector<std::int64_t>{4, 0}));
  EXPECT_EQ(file.metadata().at("key"), "va\"l\u00fce");
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(file.find("wide")->bytes.data()) % 8, 0U);
}

TEST(SafetensorsWriter, WhatIsNotWrittenIsZero) {
  const test::ScratchFolder folder;
  const auto path = folder.path() / "out.safetensors";
  auto writer = value_of(SafetensorsWriter::create(path, {{"x", "F64", {1000}}}, {}));
  ASSERT_OK(writer.commit());
  const SafetensorsFile file = value_of(SafetensorsFile::open(path));
  ASSERT_EQ(file.find("x")->bytes.size(), 8000U);
  for (std::byte b : file.find("x")->bytes) ASSERT_EQ(b, std::byte{0});
}

TEST(SafetensorsWriter, WithoutCommitNothingIsLeft) {
  const test::ScratchFolder folder;
  folder.write("old.safetensors", "old");
  {
    auto writer = value_of(SafetensorsWriter::create(folder.path() / "old.safetensors", {{"x", "U8", {1}}}, {}));
    ASSERT_OK(writer.write("x", 0, bytes("1")));
    EXPECT_EQ(folder.entries(), 2U);  // the temporary one stands beside
  }
  EXPECT_EQ(folder.entries(), 1U);
  EXPECT_EQ(test::read_all(folder.path() / "old.safetensors"), "old");
}

TEST(SafetensorsWriter, CommitReplacesTheOldFile) {
  const test::ScratchFolder folder;
  const auto path = folder.write("file.safetensors", "old");
  auto writer = value_of(SafetensorsWriter::create(path, {{"x", "U8", {1}}}, {}));
  ASSERT_OK(writer.commit());
  EXPECT_EQ(folder.entries(), 1U);
  EXPECT_OK(SafetensorsFile::open(path));
}

TEST(SafetensorsWriter, RefusesWritesOutsideOfATensor) {
  const test::ScratchFolder folder;
  auto writer = value_of(SafetensorsWriter::create(folder.path() / "out", {{"x", "U8", {4}}}, {}));
  EXPECT_CODE(writer.write("y", 0, bytes("1")), ErrorCode::invalid_argument);
  for (std::int64_t offset : {std::int64_t{-1}, std::int64_t{4}, std::int64_t{5}, INT64_MAX}) {
    EXPECT_CODE(writer.write("x", offset, bytes("1")), ErrorCode::invalid_argument);
  }
  EXPECT_CODE(writer.write("x", 0, bytes("12345")), ErrorCode::invalid_argument);
  EXPECT_OK(writer.write("x", 4, {}));
}

TEST(SafetensorsWriter, RefusesTensorsThatNoFileCanHold) {
  const test::ScratchFolder folder;
  const auto create = [&folder](std::vector<TensorSpec> specs,
                                const std::map<std::string, std::string>& metadata = {}) {
    return SafetensorsWriter::create(folder.path() / "out", std::move(specs), metadata);
  };
  EXPECT_CODE(create({{"x", "F31", {1}}}), ErrorCode::invalid_argument);
  EXPECT_CODE(create({{"x", "U8", {1}}, {"x", "U8", {2}}}), ErrorCode::invalid_argument);
  EXPECT_CODE(create({{"x", "U8", {-1}}}), ErrorCode::invalid_argument);
  EXPECT_CODE(create({{"x", "F4", {3}}}), ErrorCode::invalid_argument);
  EXPECT_CODE(create({{"x", "U8", {1LL << 40, 1LL << 40}}}), ErrorCode::invalid_argument);
  EXPECT_CODE(create({{"x", "U8", {1LL << 59}},
                      {"y", "F32", {1LL << 57}},
                      {"z", "U8", {1LL << 59}},
                      {"w", "U8", {1LL << 59}},
                      {"v", "F64", {1LL << 57}},
                      {"u", "F64", {1LL << 57}},
                      {"t", "F64", {1LL << 57}}}),
              ErrorCode::invalid_argument);
  EXPECT_CODE(create({{"__metadata__", "U8", {1}}}), ErrorCode::invalid_argument);
  EXPECT_CODE(create({{"\xff", "U8", {1}}}), ErrorCode::invalid_argument);
  EXPECT_CODE(create({}, {{"key", "\xff"}}), ErrorCode::invalid_argument);
  EXPECT_EQ(folder.entries(), 0U);
}

TEST(SafetensorsWriter, NamesAFolderThatIsNotThere) {
  const Error error = error_of(SafetensorsWriter::create("/nowhere/at/all.safetensors", {}, {}));
  EXPECT_EQ(error.code, ErrorCode::io);
  EXPECT_EQ(error.file, "/nowhere/at/all.safetensors");
}

// ---- files and shards -------------------------------------------------------------------------------------

constexpr const char* index_name = "model.safetensors.index.json";

/// A file with one byte tensor for each name.
std::string shard(const std::vector<std::string>& names) {
  std::string header = "{";
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i > 0) header += ',';
    header += fmt::format("\"{}\":{}", names[i], tensor_json("U8", "[1]", fmt::format("[{},{}]", i, i + 1)));
  }
  return safetensors(header + "}", names.size());
}

TEST(SafetensorsShards, AreTakenTogether) {
  const test::ScratchFolder folder;
  folder.write("one.safetensors", shard({"a", "b"}));
  folder.write("two.safetensors", shard({"c"}));
  folder.write(index_name,
               R"({"metadata":{},"weight_map":{"a":"one.safetensors","b":"one.safetensors","c":"two.safetensors"}})");
  const SafetensorsFile model = value_of(SafetensorsFile::open_model(folder.path()));
  EXPECT_EQ(model.tensors().size(), 3U);
  EXPECT_EQ(model.find("c")->file, (folder.path() / "two.safetensors").string());
}

TEST(SafetensorsShards, OneFileGoesBeforeAnIndex) {
  const test::ScratchFolder folder;
  folder.write("model.safetensors", shard({"a"}));
  folder.write(index_name, "not even JSON");
  EXPECT_EQ(value_of(SafetensorsFile::open_model(folder.path())).tensors().size(), 1U);
}

TEST(SafetensorsShards, NoPathLeadsOutOfTheFolder) {
  const test::ScratchFolder folder;
  std::filesystem::create_directory(folder.path() / "model");
  folder.write("x", shard({"a"}));
  for (const char* name :
       {R"("../x")", R"("/etc/passwd")", R"("sub/x")", R"("..")", R"(".")", R"("")", "\"x\\u0000\"", "5", "null"}) {
    folder.write(std::string("model/") + index_name, std::string(R"({"weight_map":{"a":)") + name + "}}");
    const Error error = error_of(SafetensorsFile::open_model(folder.path() / "model"));
    EXPECT_EQ(error.code, ErrorCode::bad_format) << name;
    EXPECT_EQ(error.field, "weight_map 'a'") << name;
    EXPECT_EQ(error.file, (folder.path() / "model" / index_name).string()) << name;
  }
}

TEST(SafetensorsShards, MissingShardsAndTensorsAreNamed) {
  const test::ScratchFolder folder;
  folder.write(index_name, R"({"weight_map":{"a":"one.safetensors"}})");
  EXPECT_EQ(error_of(SafetensorsFile::open_model(folder.path())).file, (folder.path() / "one.safetensors").string());

  folder.write("one.safetensors", shard({"b"}));
  const Error error = error_of(SafetensorsFile::open_model(folder.path()));
  EXPECT_EQ(error.code, ErrorCode::missing_field);
  EXPECT_NE(error.message.find("'a'"), std::string::npos);
}

TEST(SafetensorsShards, ATensorInTwoShardsIsRefused) {
  const test::ScratchFolder folder;
  folder.write("one.safetensors", shard({"a"}));
  folder.write("two.safetensors", shard({"a", "b"}));
  folder.write(index_name, R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})");
  const Error error = error_of(SafetensorsFile::open_model(folder.path()));
  EXPECT_EQ(error.code, ErrorCode::bad_format);
  EXPECT_EQ(error.file, (folder.path() / "two.safetensors").string());
}

TEST(SafetensorsShards, AnIndexMustHaveAMap) {
  const test::ScratchFolder folder;
  for (const char* index : {"{}", "[]", R"({"weight_map":[]})", R"({"weight_map":null})"}) {
    folder.write(index_name, index);
    EXPECT_CODE(SafetensorsFile::open_model(folder.path()), ErrorCode::missing_field);
  }
  folder.write(index_name, "{");
  EXPECT_CODE(SafetensorsFile::open_model(folder.path()), ErrorCode::bad_format);
}

TEST(SafetensorsFiles, NotThereAndNotAFile) {
  const test::ScratchFolder folder;
  EXPECT_CODE(SafetensorsFile::open(folder.path() / "none"), ErrorCode::file_not_found);
  EXPECT_CODE(SafetensorsFile::open(folder.path()), ErrorCode::io);
  EXPECT_CODE(SafetensorsFile::open("/dev/null"), ErrorCode::io);
  EXPECT_CODE(SafetensorsFile::open_model(folder.path()), ErrorCode::file_not_found);
  EXPECT_CODE(SafetensorsFile::open(folder.write("empty", "")), ErrorCode::bad_format);
}

}  // namespace
}  // namespace seqkv
