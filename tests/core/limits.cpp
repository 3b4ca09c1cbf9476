// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// The bounds of limits.hpp, reached and exceeded: the last size that is taken, and the first that is refused by name
// before memory is taken for it. Those of shapes are in core/kv and model/model_config, max_pack and those of rows of
// an index in store/hostile. Sizes that this machine could not hold are only exceeded.
#include "seqkv/limits.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "codec/block.hpp"
#include "codec/entropy/tables.hpp"
#include "seqkv/model_config.hpp"
#include "seqkv/text_file.hpp"
#include "seqkv/token_coder.hpp"
#include "support/profiles.hpp"
#include "support/stores.hpp"
#include "trie/image.hpp"

namespace seqkv {
namespace {

using test::Space;
using test::value_of;

/// A file of so many bytes that takes no room on a disk.
std::filesystem::path sparse_file(const test::ScratchFolder& scratch, const std::string& name, std::int64_t bytes) {
  const std::filesystem::path path = scratch.write(name, "");
  std::filesystem::resize_file(path, static_cast<std::uintmax_t>(bytes));
  return path;
}

TEST(Limits, TokensOfABlock) {
  const KvShape shape = test::shape_of(1, 1, 2, DType::bf16);
  const std::int64_t tokens = 2 * limits::max_block_tokens;
  const KvCache cache = test::random_cache(shape, tokens, 1);
  const std::vector<Token> ids = test::random_tokens(tokens, 2);
  const Codec codec = value_of(Codec::parse("none+lossless"));
  for (const std::int64_t size : {limits::min_block_tokens, limits::max_block_tokens}) {
    const auto blocks = value_of(encode(Space(), codec, cache.view(), ids, 0, size));
    ASSERT_EQ(std::ssize(blocks), tokens / size);
    KvCache out = value_of(KvCache::create(shape, tokens));
    ASSERT_OK(decode(Space(), codec, std::vector<CodedBlockView>(blocks.begin(), blocks.end()), out.view()));
    EXPECT_TRUE(test::same_bytes(cache, out)) << size;
  }
  for (const std::int64_t size : {std::int64_t{0}, limits::min_block_tokens - 1, limits::max_block_tokens + 1}) {
    EXPECT_CODE(encode(Space(), codec, cache.view(), ids, 0, size), ErrorCode::invalid_argument);
  }
}

TEST(Limits, TokensOfASession) {
  const KvShape shape = test::shape_of(1, 1, 4, DType::bf16);
  const KvCache cache = test::random_cache(shape, 16, 1);
  const std::vector<Token> ids = test::random_tokens(16, 2);
  for (const char* spec : {"raw", "none+lossless", "none+turboquant:3"}) {
    const Codec codec = value_of(Codec::parse(spec));
    const auto last = value_of(encode(Space(), codec, cache.view(), ids, limits::max_tokens - 16, 16));
    EXPECT_OK(check_block(shape, last.front()));
    KvCache out = value_of(KvCache::create(shape, 16));
    EXPECT_OK(decode(Space(), codec, std::vector<CodedBlockView>(last.begin(), last.end()), out.view()));
    EXPECT_CODE(encode(Space(), codec, cache.view(), ids, limits::max_tokens - 15, 16), ErrorCode::invalid_argument);
  }
}

TEST(Limits, BytesOfASubblock) {
  const KvShape shape = test::shape_of(1, limits::max_kv_heads, limits::max_head_dim, DType::f32);
  EXPECT_OK(codec::check_block_size(shape, 1023));
  EXPECT_CODE(codec::check_block_size(shape, 1024), ErrorCode::limit_exceeded);  // 2^31
}

TEST(Limits, CodecStrings) {
  EXPECT_OK(Codec::parse("replay:1024+turboquant:4"));
  EXPECT_CODE(Codec::parse("replay:1025+turboquant:4"), ErrorCode::invalid_codec_spec);
  EXPECT_OK(Codec::parse("ref:recode=2147483648+ecsq:step=1"));
  EXPECT_CODE(Codec::parse("ref:recode=2147483649+ecsq:step=1"), ErrorCode::invalid_codec_spec);
  std::string spec = "linear+ecsq:step=1.";
  spec.resize(static_cast<std::size_t>(limits::max_codec_spec), '0');
  EXPECT_OK(Codec::parse(spec));
  const Error error = test::error_of(Codec::parse(spec + '0'));
  EXPECT_EQ(error.code, ErrorCode::invalid_codec_spec);
  EXPECT_NE(error.message.find("too long"), std::string::npos) << error.message;
}

TEST(Limits, TablesOfAFamily) {
  codec::Frequencies even{};
  even[0] = even[1] = 2048;
  std::vector<codec::Frequencies> tables(static_cast<std::size_t>(limits::max_tables), even);
  EXPECT_EQ(value_of(codec::TableFamily::create(tables)).tables(), limits::max_tables);
  tables.push_back(even);
  EXPECT_CODE(codec::TableFamily::create(tables), ErrorCode::limit_exceeded);
}

TEST(Limits, NumbersOfAProfile) {
  const test::ScratchFolder scratch;
  const auto load = [&](const test::ProfileParts& parts) { return Profile::load(parts.write(scratch.path() / "p")); };
  test::ProfileParts parts = test::made_up_profile(test::shape_of(1, 1, 16, DType::bf16));
  const auto slope = [&](std::int64_t value) {
    parts.put("layers.0.key.slope", "I32", {1}, std::vector{static_cast<std::int32_t>(value)});
  };
  for (const std::int64_t sign : {1, -1}) {
    slope(sign * limits::max_slope);
    EXPECT_OK(load(parts));
    slope(sign * (limits::max_slope + 1));
    EXPECT_CODE(load(parts), ErrorCode::bad_format);
  }
  slope(0);
  parts.metadata["seqkv.kv_heads"] = "32";
  parts.metadata["seqkv.head_dim"] = "512";
  EXPECT_CODE(load(parts), ErrorCode::bad_format);  // wide enough for the limit; the tensors are not
  parts.metadata["seqkv.kv_heads"] = "33";
  EXPECT_CODE(load(parts), ErrorCode::limit_exceeded);
}

TEST(Limits, VocabularyOfATokenCoder) {
  const std::vector<Token> last = {static_cast<Token>(limits::max_coded_vocabulary - 1), 5};
  const std::vector<Token> beyond = {static_cast<Token>(limits::max_coded_vocabulary), 5};
  const auto trie = [](const std::vector<Token>& tokens) {
    return value_of(build_window_trie(Space(), std::vector<TokenSpan>{tokens}, 2));
  };
  const TokenCoder coder = value_of(TokenCoder::create(trie(last)));
  const auto stream = value_of(coder.encode(Space(), std::vector<TokenSpan>{last}));
  EXPECT_EQ(value_of(coder.decode(Space(), stream)).front(), last);
  EXPECT_CODE(TokenCoder::create(trie(beyond)), ErrorCode::limit_exceeded);
}

TEST(Limits, WindowsOfABuild) {
  // The same million tokens again and again: what counts is how many there would be.
  const std::vector<Token> tokens(std::size_t{1} << 20U, 7);
  std::vector<TokenSpan> sequences(static_cast<std::size_t>(limits::max_windows >> 20), tokens);
  sequences.emplace_back(tokens.data(), 1);
  EXPECT_CODE(build_window_trie(Space(), sequences, 1), ErrorCode::limit_exceeded);
}

TEST(Limits, BytesOfATrie) {
  TrieShape shape;
  shape.nodes = 1ULL << 40U;
  EXPECT_OK(trie::check_size(shape));
  for (const std::uint64_t nodes : {1ULL << 46U, ~0ULL}) {
    shape.nodes = nodes;
    EXPECT_CODE(trie::check_size(shape), ErrorCode::limit_exceeded);
  }
}

TEST(Limits, SizesOfTextFiles) {
  const test::ScratchFolder scratch;
  // Zeros are no JSON: the size is taken, what is in it is not.
  EXPECT_CODE(ModelConfig::load(sparse_file(scratch, "json", limits::max_json_bytes)), ErrorCode::bad_format);
  EXPECT_CODE(ModelConfig::load(sparse_file(scratch, "json", limits::max_json_bytes + 1)), ErrorCode::limit_exceeded);
  EXPECT_CODE(read_text_file(sparse_file(scratch, "text", limits::max_text_bytes + 1)), ErrorCode::limit_exceeded);
}

TEST(Limits, HeaderOfSafetensors) {
  const test::ScratchFolder scratch;
  const auto length = static_cast<std::uint64_t>(limits::max_safetensors_header);
  std::string file(8, '\0');
  store_le(reinterpret_cast<std::byte*>(file.data()), length);
  file += "{}";
  file.resize(8 + length, ' ');
  EXPECT_OK(SafetensorsFile::open(scratch.write("largest", file)));
  store_le(reinterpret_cast<std::byte*>(file.data()), length + 1);
  file += ' ';
  EXPECT_CODE(SafetensorsFile::open(scratch.write("larger", file)), ErrorCode::limit_exceeded);
}

using StoreLimits = test::StoreTest;

TEST_F(StoreLimits, NamesOfSessions) {
  Store store = writer();
  const std::string longest(static_cast<std::size_t>(limits::max_session_name), 'n');
  const std::vector<Token> tokens = test::random_tokens(20, 1);
  save(store, longest, tokens);
  expect_restores(store, longest, tokens);
  EXPECT_CODE(store.begin(longest + 'n', tokens, codec), ErrorCode::invalid_argument);
  EXPECT_CODE(store.begin("", tokens, codec), ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace seqkv
