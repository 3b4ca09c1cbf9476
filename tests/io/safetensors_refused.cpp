// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Safetensors files that break the format, one for each rule: all of the reference implementation's checks,
// and those on duplicates that it leaves out. Each is refused with the tensor and in words that name the
// rule.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "seqkv/limits.hpp"
#include "seqkv/safetensors.hpp"
#include "support/result.hpp"
#include "support/safetensors.hpp"

namespace seqkv {
namespace {

using test::error_of;
using test::parse_safetensors;
using test::safetensors;
using test::tensor_json;

/// A file that must be refused.
struct Refused {
  std::string name;
  std::string file;
  std::string field;    ///< what the error must name
  std::string message;  ///< and what it must say
};

void PrintTo(const Refused& refused, std::ostream* out) { *out << refused.name; }

class SafetensorsRefused : public testing::TestWithParam<Refused> {};

TEST_P(SafetensorsRefused, ByName) {
  const Error error = error_of(parse_safetensors(GetParam().file));
  EXPECT_EQ(error.code, ErrorCode::bad_format) << error.describe();
  EXPECT_EQ(error.file, "test.safetensors");
  EXPECT_EQ(error.field, GetParam().field) << error.describe();
  EXPECT_NE(error.message.find(GetParam().message), std::string::npos) << error.describe();
}

std::string with_length(std::uint64_t length, std::string_view rest) {
  std::string file(8, '\0');
  std::memcpy(file.data(), &length, 8);
  return file.append(rest);
}

/// {"x": ENTRY} with `size` bytes behind it.
std::string one(const std::string& entry, std::size_t size = 0) { return safetensors(R"({"x":)" + entry + "}", size); }

std::vector<Refused> bad_files() {
  return {
      {"Empty", "", "", "shorter than the 8 bytes"},
      {"ShorterThanALength", "1234567", "", "shorter than the 8 bytes"},
      {"HeaderLongerThanTheFile", with_length(3, "{}"), "", "the file holds 2"},
      {"EmptyHeader", with_length(0, ""), "", "does not start with '{'"},
      {"SpaceBeforeTheHeader", safetensors(" {}"), "", "does not start with '{'"},
      {"AnArray", safetensors("[]"), "", "does not start with '{'"},
  };
}

std::vector<Refused> bad_json() {
  return {
      {"NotJson", safetensors("{]"), "", "not valid JSON"},
      {"CutJson", safetensors(R"({"x":)"), "", "not valid JSON"},
      {"TwoDocuments", safetensors("{}{}"), "", "not valid JSON"},
      {"ZeroPadding", safetensors(std::string_view("{}\0", 3)), "", "not valid JSON"},
      {"NotUtf8", safetensors("{\"\xff\":1}"), "", "not valid JSON"},
      {"HalfASurrogate", safetensors(R"({"\ud800":1})"), "", "not valid JSON"},
      {"NumberBeyondDoubles", one(tensor_json("U8", "[1e999]", "[0,0]")), "", "not valid JSON"},
      {"ControlCharacter", safetensors("{\"\n\":1}"), "", "not valid JSON"},
  };
}

std::vector<Refused> bad_entries() {
  const std::string f32 = tensor_json("F32", "[1]", "[0,4]");
  return {
      {"DuplicateTensor", safetensors(R"({"x":)" + f32 + R"(,"x":)" + f32 + "}", 4), "tensor 'x'", "appears twice"},
      {"DuplicateMetadata", safetensors(R"({"__metadata__":{},"__metadata__":{}})"), "tensor '__metadata__'",
       "appears twice"},
      {"DuplicateMetadataKey", safetensors(R"({"__metadata__":{"k":"1","k":"2"}})"), "tensor '__metadata__'",
       "metadata key 'k' appears twice"},
      {"DuplicateField", one(R"({"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]})"), "tensor 'x'",
       "field 'dtype' appears twice"},
      {"UnknownField", one(R"({"dtype":"U8","shape":[0],"data_offsets":[0,0],"strides":[1]})"), "tensor 'x'",
       "unknown field 'strides'"},
      {"NoDtype", one(R"({"shape":[0],"data_offsets":[0,0]})"), "tensor 'x'", "needs dtype, shape and data_offsets"},
      {"NoShape", one(R"({"dtype":"U8","data_offsets":[0,0]})"), "tensor 'x'", "needs dtype, shape"},
      {"NoOffsets", one(R"({"dtype":"U8","shape":[0]})"), "tensor 'x'", "needs dtype, shape"},
      {"UnknownDtype", one(tensor_json("F31", "[1]", "[0,4]"), 4), "tensor 'x'", "unknown dtype 'F31'"},
      {"LowerCaseDtype", one(tensor_json("f32", "[1]", "[0,4]"), 4), "tensor 'x'", "unknown dtype 'f32'"},
      {"DtypeIsANumber", one(R"({"dtype":4,"shape":[1],"data_offsets":[0,4]})", 4), "tensor 'x'", "a number where"},
      {"DtypeIsAList", one(R"({"dtype":["F32"],"shape":[1],"data_offsets":[0,4]})", 4), "tensor 'x'", "a list where"},
      {"ShapeIsANumber", one(tensor_json("F32", "1", "[0,4]"), 4), "tensor 'x'", "a number where none belongs"},
      {"ShapeIsAText", one(tensor_json("F32", R"("1")", "[0,4]"), 4), "tensor 'x'", "a string where"},
      {"NestedShape", one(tensor_json("F32", "[[1]]", "[0,4]"), 4), "tensor 'x'", "a list where none belongs"},
      {"ObjectInShape", one(tensor_json("F32", "[{}]", "[0,4]"), 4), "tensor 'x'", "an object inside"},
      {"NestedTensor", one(R"({"y":)" + f32 + "}", 4), "tensor 'x'", "unknown field 'y'"},
      {"ObjectAsDtype", one(R"({"dtype":{}})"), "tensor 'x'", "an object inside"},
      {"TensorIsAText", one(R"("F32")"), "tensor 'x'", "a string where a number or object belongs"},
      {"TensorIsANumber", one("5"), "tensor 'x'", "a number where none belongs"},
      {"TensorIsAList", one("[]"), "tensor 'x'", "a list where none belongs"},
      {"TensorIsNull", one("null"), "tensor 'x'", "null"},
      {"TensorIsABoolean", one("true"), "tensor 'x'", "a boolean"},
      {"MetadataIsAText", safetensors(R"({"__metadata__":"text"})"), "tensor '__metadata__'", "a string where"},
      {"MetadataIsANumber", safetensors(R"({"__metadata__":{"k":1}})"), "tensor '__metadata__'", "a number where"},
      {"MetadataIsNull", safetensors(R"({"__metadata__":{"k":null}})"), "tensor '__metadata__'", "null"},
      {"MetadataIsAList", safetensors(R"({"__metadata__":{"k":[]}})"), "tensor '__metadata__'", "a list where"},
      {"MetadataIsNested", safetensors(R"({"__metadata__":{"k":{}}})"), "tensor '__metadata__'", "an object inside"},
  };
}

std::vector<Refused> bad_numbers() {
  const std::string f32 = "F32";
  std::string ones;
  for (int i = 0; i < 64; ++i) ones += "1,";
  return {
      {"NegativeExtent", one(tensor_json(f32, "[-1]", "[0,4]"), 4), "tensor 'x'", "a negative number"},
      {"FloatExtent", one(tensor_json(f32, "[1.0]", "[0,4]"), 4), "tensor 'x'", "not an integer"},
      {"ExponentExtent", one(tensor_json(f32, "[1e0]", "[0,4]"), 4), "tensor 'x'", "not an integer"},
      {"ExtentAboveSigned", one(tensor_json(f32, "[9223372036854775808]", "[0,4]"), 4), "tensor 'x'", "above 2^63 - 1"},
      {"ExtentAboveUnsigned", one(tensor_json(f32, "[18446744073709551616]", "[0,4]"), 4), "tensor 'x'",
       "not an integer"},
      {"NegativeOffset", one(tensor_json(f32, "[1]", "[-4,0]"), 4), "tensor 'x'", "a negative number"},
      {"ShapeOverflows", one(tensor_json("U8", "[4294967296,4294967296]", "[0,0]")), "tensor 'x'", "overflows"},
      {"BitsOverflow", one(tensor_json("U8", "[2305843009213693952]", "[0,0]")), "tensor 'x'", "overflows"},
      {"OverflowHiddenByZero", one(tensor_json("U8", "[4294967296,4294967296,0]", "[0,0]")), "tensor 'x'", "overflows"},
      {"SubByteMisfit", one(tensor_json("F4", "[3]", "[0,2]"), 2), "tensor 'x'", "does not fill whole bytes"},
      {"RankBeyondReason", one(tensor_json("U8", fmt::format("[{}1]", ones), "[0,1]"), 1), "tensor 'x'",
       "a list that is too long"},
      {"OneOffset", one(tensor_json(f32, "[0]", "[0]")), "tensor 'x'", "not a pair"},
      {"ThreeOffsets", one(tensor_json(f32, "[0]", "[0,0,0]")), "tensor 'x'", "not a pair"},
  };
}

std::vector<Refused> bad_layouts() {
  const std::string byte0 = tensor_json("U8", "[1]", "[0,1]");
  const std::string huge = "[9223372036854775800,9223372036854775804]";
  return {
      {"TooFewBytes", one(tensor_json("F32", "[2]", "[0,4]"), 4), "tensor 'x'", "needs 8 bytes"},
      {"TooManyBytes", one(tensor_json("F32", "[1]", "[0,8]"), 8), "tensor 'x'", "needs 4 bytes"},
      {"EndBeforeBegin", one(tensor_json("F32", "[1]", "[4,0]"), 4), "tensor 'x'", "needs 4 bytes"},
      {"HoleAtTheStart", one(tensor_json("U8", "[1]", "[1,2]"), 2), "tensor 'x'", "a hole or an overlap"},
      {"Hole", safetensors(R"({"x":)" + byte0 + R"(,"y":)" + tensor_json("U8", "[1]", "[2,3]") + "}", 3), "tensor 'y'",
       "a hole or an overlap"},
      {"Overlap",
       safetensors(
           R"({"x":)" + tensor_json("U8", "[2]", "[0,2]") + R"(,"y":)" + tensor_json("U8", "[2]", "[1,3]") + "}", 3),
       "tensor 'y'", "a hole or an overlap"},
      {"SamePlace", safetensors(R"({"x":)" + byte0 + R"(,"y":)" + byte0 + "}", 1), "tensor 'y'", "an overlap"},
      {"BytesBehindTheLast", one(byte0, 2), "", "end at 1, the file at 2"},
      {"BytesWithoutTensors", safetensors("{}", 1), "", "end at 0, the file at 1"},
      {"FileCutInATensor", one(tensor_json("F32", "[1]", "[0,4]"), 3), "", "end at 4, the file at 3"},
      {"OffsetsOutOfTheFile", one(tensor_json("F32", "[1]", huge), 4), "tensor 'x'", "a hole or an overlap"},
      {"EmptyTensorOutOfTheFile", one(tensor_json("F32", "[0]", "[9,9]"), 4), "tensor 'x'", "a hole or an overlap"},
  };
}

const auto refused_name = [](const testing::TestParamInfo<Refused>& instance) { return instance.param.name; };
INSTANTIATE_TEST_SUITE_P(File, SafetensorsRefused, testing::ValuesIn(bad_files()), refused_name);
INSTANTIATE_TEST_SUITE_P(Json, SafetensorsRefused, testing::ValuesIn(bad_json()), refused_name);
INSTANTIATE_TEST_SUITE_P(Entry, SafetensorsRefused, testing::ValuesIn(bad_entries()), refused_name);
INSTANTIATE_TEST_SUITE_P(Number, SafetensorsRefused, testing::ValuesIn(bad_numbers()), refused_name);
INSTANTIATE_TEST_SUITE_P(Layout, SafetensorsRefused, testing::ValuesIn(bad_layouts()), refused_name);

TEST(SafetensorsLimits, AHeaderAboveTheLimitIsRefusedUnread) {
  for (std::uint64_t length : {std::uint64_t{limits::max_safetensors_header} + 1, ~std::uint64_t{0}}) {
    const Error error = error_of(parse_safetensors(with_length(length, "{}")));
    EXPECT_EQ(error.code, ErrorCode::limit_exceeded);
    EXPECT_EQ(error.offset, 0);
  }
}

TEST(SafetensorsLimits, DeepNestingIsRefusedAtItsSecondLevel) {
  std::string header = R"({"x":)";
  for (int i = 0; i < 1'000'000; ++i) header += R"({"dtype":)";
  EXPECT_CODE(parse_safetensors(safetensors(header)), ErrorCode::bad_format);
}

TEST(SafetensorsLimits, AMessageDoesNotQuoteAWholeFile) {
  const Error error = error_of(parse_safetensors(safetensors("{\"" + std::string(1'000'000, 'a'))));
  EXPECT_LT(error.describe().size(), 1000U);
}

}  // namespace
}  // namespace seqkv
