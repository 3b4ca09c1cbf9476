// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Token files: every kind numpy and JSON programs write is read, everything else is refused with file and
// place.
#include "seqkv/token_file.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "support/files.hpp"
#include "support/result.hpp"
#include "support/safetensors.hpp"

namespace seqkv {
namespace {

using test::error_of;
using test::value_of;
using Sequences = std::vector<std::vector<Token>>;

/// A .npy file as numpy writes it: magic, version, header length, a Python dict padded to 64 bytes, data.
std::string npy(std::string_view dict, std::string_view data, char version = 1) {
  std::string header(dict);
  const std::size_t prefix = version == 1 ? 10 : 12;
  while ((prefix + header.size() + 1) % 64 != 0) header += ' ';
  header += '\n';
  std::string file = "\x93NUMPY";
  file += version;
  file += '\0';
  for (std::size_t i = 0; i < prefix - 8; ++i) file += static_cast<char>(header.size() >> 8 * i & 0xffU);
  return file.append(header).append(data);
}

std::string dict(std::string_view descr, std::string_view shape, std::string_view fortran = "False") {
  return fmt::format("{{'descr': '{}', 'fortran_order': {}, 'shape': {}, }}", descr, fortran, shape);
}

template <class Number>
std::string raw(const std::vector<Number>& numbers) {
  return {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(Number)};
}

Result<Sequences> read(const test::ScratchFolder& folder, const std::string& name, std::string_view content) {
  return read_token_file(folder.write(name, content));
}

// ---- .npy -------------------------------------------------------------------------------------------------

const std::string three_i4 = raw<std::int32_t>({1, 2, 0x7fffffff});
const Sequences three = {{1, 2, 0x7fffffff}};

TEST(TokenFileNpy, ReadsAllIntegersOfThirtyTwoAndSixtyFourBits) {
  const test::ScratchFolder folder;
  EXPECT_EQ(value_of(read(folder, "a.npy", npy(dict("<i4", "(3,)"), three_i4))), three);
  EXPECT_EQ(value_of(read(folder, "a.npy", npy(dict("<u4", "(3,)"), raw<std::uint32_t>({1, 2, 0x7fffffff})))), three);
  EXPECT_EQ(value_of(read(folder, "a.npy", npy(dict("<i8", "(3,)"), raw<std::int64_t>({1, 2, 0x7fffffff})))), three);
  EXPECT_EQ(value_of(read(folder, "a.npy", npy(dict("<u8", "(3,)"), raw<std::uint64_t>({1, 2, 0x7fffffff})))), three);
}

TEST(TokenFileNpy, ReadsVersionsOneToThree) {
  const test::ScratchFolder folder;
  for (char version : {1, 2, 3}) {
    EXPECT_EQ(value_of(read(folder, "a.npy", npy(dict("<i4", "(3,)"), three_i4, version))), three);
  }
}

TEST(TokenFileNpy, OrderDoesNotMatterInOneDimension) {
  const test::ScratchFolder folder;
  EXPECT_EQ(value_of(read(folder, "a.npy", npy(dict("<i4", "(3,)", "True"), three_i4))), three);
}

TEST(TokenFileNpy, ReadsTheFieldsInAnyOrder) {
  const test::ScratchFolder folder;
  const auto* fields = "{'shape': (3,), 'descr':'<i4', 'fortran_order': False}";
  EXPECT_EQ(value_of(read(folder, "a.npy", npy(fields, three_i4))), three);
}

TEST(TokenFileNpy, RefusesOtherArraysByName) {
  const test::ScratchFolder folder;
  const auto message = [&folder](const std::string& header, std::string_view data = three_i4) {
    const Error error = error_of(read(folder, "bad.npy", npy(header, data)));
    EXPECT_EQ(error.code, ErrorCode::bad_format) << error.describe();
    EXPECT_EQ(error.file, (folder.path() / "bad.npy").string());
    EXPECT_EQ(error.field, ".npy header");
    return error.message;
  };
  const auto says = [](const std::string& text, const char* part) { return text.find(part) != std::string::npos; };
  for (const char* dtype : {">i4", ">u8", "=i4", "<i2", "|u1", "<f4", "|b1", "<i16", "i4"}) {
    EXPECT_TRUE(says(message(dict(dtype, "(3,)")), dtype)) << dtype;
  }
  for (const char* shape : {"(3, 1)", "(1, 3)", "()", "3", "(3)", "(3, 'x')", "[3]"}) {
    EXPECT_TRUE(says(message(dict("<i4", shape)), "one-dimensional")) << shape;
  }
  for (const char* shape :
       {"(2,)", "(4,)", "(-3,)", "(99999999999999999999999,)", "(,)", "(3x,)", "(4611686018427387907,)"}) {
    EXPECT_TRUE(says(message(dict("<i4", shape)), "does not fit")) << shape;
  }
  EXPECT_TRUE(says(message(dict("<i4", "(3,)"), three_i4.substr(1)), "does not fit"));
  EXPECT_TRUE(says(message("{}"), "dtype"));
  EXPECT_TRUE(says(message(dict("\xff\x01", "(3,)")), "dtype '?\?'"));  // in a message, what is printable
}

TEST(TokenFileNpy, RefusesEveryTruncation) {
  const test::ScratchFolder folder;
  const std::string file = npy(dict("<i4", "(3,)"), three_i4);
  for (std::size_t size = 0; size < file.size(); ++size) {
    EXPECT_CODE(read(folder, "cut.npy", file.substr(0, size)), ErrorCode::bad_format);
  }
}

TEST(TokenFileNpy, RefusesOtherMagicAndVersions) {
  const test::ScratchFolder folder;
  std::string file = npy(dict("<i4", "(3,)"), three_i4);
  file[6] = 0;
  EXPECT_CODE(read(folder, "v0.npy", file), ErrorCode::bad_format);
  EXPECT_CODE(read(folder, "v4.npy", npy(dict("<i4", "(3,)"), three_i4, 4)), ErrorCode::bad_format);
  file[6] = 1;
  file[1] = 'n';
  EXPECT_CODE(read(folder, "magic.npy", file), ErrorCode::bad_format);
}

TEST(TokenFileNpy, RefusesIdsOutOfRangeByTheirPlace) {
  const test::ScratchFolder folder;
  const auto entry_one = [&folder](const char* descr, const std::string& data) {
    const Error error = error_of(read(folder, "range.npy", npy(dict(descr, "(2,)"), data)));
    EXPECT_EQ(error.code, ErrorCode::token_out_of_range);
    EXPECT_NE(error.message.find("entry 1 is"), std::string::npos) << error.describe();
  };
  entry_one("<i4", raw<std::int32_t>({0, -1}));
  entry_one("<u4", raw<std::uint32_t>({0, 0x80000000U}));
  entry_one("<i8", raw<std::int64_t>({0, 0x80000000LL}));
  entry_one("<i8", raw<std::int64_t>({0, INT64_MIN}));
  entry_one("<u8", raw<std::uint64_t>({0, UINT64_MAX}));
}

TEST(TokenFileNpy, RefusesNoTokens) {
  const test::ScratchFolder folder;
  EXPECT_CODE(read(folder, "empty.npy", npy(dict("<i4", "(0,)"), "")), ErrorCode::empty_input);
}

// ---- .json and .jsonl -------------------------------------------------------------------------------------

TEST(TokenFileJson, ReadsOneArray) {
  const test::ScratchFolder folder;
  EXPECT_EQ(value_of(read(folder, "a.json", " [1,\n2, 2147483647]\n")), three);
}

TEST(TokenFileJson, RefusesWhatIsNotAnArrayOfIds) {
  struct Case {
    const char* content;
    ErrorCode code;
    const char* message;
  };
  const test::ScratchFolder folder;
  for (const Case& bad :
       {Case{"{}", ErrorCode::bad_format, "expected an array"}, Case{"5", ErrorCode::bad_format, "expected an array"},
        Case{"[1, 2", ErrorCode::bad_format, "parse error"},
        Case{"[1, 1.5]", ErrorCode::bad_format, "entry 1 is not an integer"},
        Case{"[1, 2.0]", ErrorCode::bad_format, "entry 1 is not an integer"},
        Case{"[\"1\"]", ErrorCode::bad_format, "entry 0 is not an integer"},
        Case{"[1, null]", ErrorCode::bad_format, "entry 1 is not an integer"},
        Case{"[[1]]", ErrorCode::bad_format, "entry 0 is not an integer"},
        Case{"[1e999]", ErrorCode::bad_format, "number overflow"},
        Case{"[0, -1]", ErrorCode::token_out_of_range, "entry 1 is -1"},
        Case{"[2147483648]", ErrorCode::token_out_of_range, "entry 0 is 2147483648"},
        Case{"[18446744073709551615]", ErrorCode::token_out_of_range, "18446744073709551615"},
        Case{"[18446744073709551617]", ErrorCode::bad_format, "entry 0 is not an integer"},
        Case{"[]", ErrorCode::empty_input, "no tokens"}}) {
    const Error error = error_of(read(folder, "bad.json", bad.content));
    EXPECT_EQ(error.code, bad.code) << error.describe();
    EXPECT_NE(error.message.find(bad.message), std::string::npos) << error.describe();
    EXPECT_EQ(error.file, (folder.path() / "bad.json").string());
  }
}

TEST(TokenFileJsonLines, ReadsAnArrayALine) {
  const test::ScratchFolder folder;
  EXPECT_EQ(value_of(read(folder, "a.jsonl", "[1]\n\n[2,3]\r\n[4]")), (Sequences{{1}, {2, 3}, {4}}));
}

TEST(TokenFileJsonLines, ABrokenLineNamesItsNumber) {
  const test::ScratchFolder folder;
  for (const char* line : {"[1,", "{}", "[-1]", "[]", "\xff", "[1.5]"}) {
    const Error error = error_of(read(folder, "bad.jsonl", fmt::format("[1]\n\n{}\n[2]\n", line)));
    EXPECT_EQ(error.field, "line 3") << error.describe();
    EXPECT_EQ(error.file, (folder.path() / "bad.jsonl").string());
  }
  EXPECT_CODE(read(folder, "none.jsonl", "\n \n"), ErrorCode::empty_input);
}

// ---- .safetensors -----------------------------------------------------------------------------------------

std::string with_ids(std::string_view dtype, std::string_view shape, const std::string& data,
                     const char* name = "input_ids") {
  const std::string offsets = fmt::format("[0,{}]", data.size());
  return test::safetensors(fmt::format("{{\"{}\":{}}}", name, test::tensor_json(dtype, shape, offsets)), data);
}

TEST(TokenFileSafetensors, ReadsInputIds) {
  const test::ScratchFolder folder;
  EXPECT_EQ(value_of(read(folder, "a.safetensors", with_ids("I32", "[3]", three_i4))), three);
}

TEST(TokenFileSafetensors, RefusesOtherTensors) {
  const test::ScratchFolder folder;
  const auto code = [&folder](const std::string& file) {
    const Error error = error_of(read(folder, "bad.safetensors", file));
    EXPECT_EQ(error.file, (folder.path() / "bad.safetensors").string());
    return error.code;
  };
  EXPECT_EQ(code(with_ids("I32", "[3]", three_i4, "ids")), ErrorCode::missing_field);
  EXPECT_EQ(code(with_ids("F32", "[3]", three_i4)), ErrorCode::shape_mismatch);
  EXPECT_EQ(code(with_ids("I32", "[3,1]", three_i4)), ErrorCode::shape_mismatch);
  EXPECT_EQ(code(with_ids("I32", "[1]", raw<std::int32_t>({-1}))), ErrorCode::token_out_of_range);
  EXPECT_EQ(code(with_ids("I32", "[0]", "")), ErrorCode::empty_input);
  EXPECT_EQ(code("no header"), ErrorCode::limit_exceeded);
}

// ---- suffixes and writing ---------------------------------------------------------------------------------

TEST(TokenFile, OtherSuffixesAreNamed) {
  const test::ScratchFolder folder;
  const Error error = error_of(read(folder, "tokens.txt", "[1]"));
  EXPECT_EQ(error.code, ErrorCode::unsupported);
  EXPECT_NE(error.message.find("'.txt'"), std::string::npos);
  EXPECT_CODE(read_token_file(folder.path() / "none.npy"), ErrorCode::file_not_found);
}

TEST(TokenFile, WhatIsWrittenIsReadBack) {
  const test::ScratchFolder folder;
  for (const char* name : {"a.npy", "a.json", "a.jsonl"}) {
    ASSERT_OK(write_token_file(folder.path() / name, three));
    EXPECT_EQ(value_of(read_token_file(folder.path() / name)), three) << name;
  }
  const Sequences two = {{1, 2}, {3}};
  ASSERT_OK(write_token_file(folder.path() / "b.jsonl", two));
  EXPECT_EQ(value_of(read_token_file(folder.path() / "b.jsonl")), two);
  EXPECT_EQ(test::read_all(folder.path() / "b.jsonl"), "[1,2]\n[3]\n");
}

TEST(TokenFile, NpyHeadersFillSixtyFourBytesAtAnyLength) {
  const test::ScratchFolder folder;
  for (std::size_t count :
       {std::size_t{1}, std::size_t{9}, std::size_t{10}, std::size_t{99'999}, std::size_t{100'000}}) {
    const Sequences sequences = {std::vector<Token>(count, 3)};
    ASSERT_OK(write_token_file(folder.path() / "a.npy", sequences));
    EXPECT_EQ((test::read_all(folder.path() / "a.npy").size() - 4 * count) % 64, 0U) << count;
    EXPECT_EQ(value_of(read_token_file(folder.path() / "a.npy")), sequences) << count;
  }
}

TEST(TokenFile, RefusesToWriteWhatNoReaderTakes) {
  const test::ScratchFolder folder;
  const auto path = [&folder](const char* name) { return folder.path() / name; };
  EXPECT_CODE((write_token_file(path("a.npy"), {{1}, {2}})), ErrorCode::invalid_argument);
  EXPECT_CODE((write_token_file(path("a.json"), {})), ErrorCode::invalid_argument);
  EXPECT_CODE((write_token_file(path("a.txt"), {{1}})), ErrorCode::unsupported);
  EXPECT_CODE((write_token_file(path("a.npy"), {{0x80000000U}})), ErrorCode::token_out_of_range);
  EXPECT_CODE((write_token_file(path("a.jsonl"), {{1}, {0xffffffffU}})), ErrorCode::token_out_of_range);
  EXPECT_EQ(folder.entries(), 0U);
}

}  // namespace
}  // namespace seqkv
