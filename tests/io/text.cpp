// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Text: UTF-8 by its exact ranges, archives whole and broken, and errors that name file, line and byte.
#include "io/text.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <algorithm>

#include <string>
#include <string_view>
#include <vector>

#include "io/file.hpp"
#include "io/json.hpp"
#include "support/files.hpp"
#include "support/result.hpp"

namespace seqkv::io {
namespace {

using seqkv::test::error_of;
using seqkv::test::ScratchFolder;
using seqkv::test::value_of;

// ---- UTF-8 ------------------------------------------------------------------------------------------------

std::string utf8(std::uint32_t point) {
  const auto tail = [point](unsigned shift) { return static_cast<char>(0x80U | (point >> shift & 0x3fU)); };
  if (point < 0x80) return {static_cast<char>(point)};
  if (point < 0x800) return {static_cast<char>(0xc0U | point >> 6U), tail(0)};
  if (point < 0x10000) return {static_cast<char>(0xe0U | point >> 12U), tail(6), tail(0)};
  return {static_cast<char>(0xf0U | point >> 18U), tail(12), tail(6), tail(0)};
}

bool is_utf8(std::string_view text) { return find_invalid_utf8(text) < 0; }

TEST(Utf8, EveryCodePointButSurrogates) {
  for (std::uint32_t point = 0; point <= 0x10ffff; ++point) {
    ASSERT_EQ(is_utf8(utf8(point)), point < 0xd800 || point > 0xdfff) << std::hex << point;
  }
  EXPECT_FALSE(is_utf8(utf8(0x110000)));
  EXPECT_FALSE(is_utf8(utf8(0x13ffff)));
}

/// Whether RFC 3629's table has this sequence of two bytes at its beginning, and how long the whole is.
int length_by_table(unsigned lead, unsigned second) {
  struct Row {
    unsigned lead_low, lead_high, low, high;
    int length;
  };
  constexpr Row table[] = {{0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
                           {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
                           {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
  for (const Row& row : table) {
    if (lead >= row.lead_low && lead <= row.lead_high && second >= row.low && second <= row.high) return row.length;
  }
  return 0;
}

TEST(Utf8, EveryPairOfLeadAndSecondByte) {
  for (unsigned lead = 0x80; lead < 0x100; ++lead) {
    for (unsigned second = 0; second < 0x100; ++second) {
      const int length = length_by_table(lead, second);
      std::string text = {static_cast<char>(lead), static_cast<char>(second)};
      text.append(static_cast<std::size_t>(std::max(length - 2, 0)), '\x80');
      ASSERT_EQ(is_utf8(text), length > 0) << std::hex << lead << ' ' << second;
    }
  }
}

TEST(Utf8, LaterBytesMustContinue) {
  for (unsigned byte = 0; byte < 0x100; ++byte) {
    const char c = static_cast<char>(byte);
    const bool continues = byte >= 0x80 && byte <= 0xbf;
    ASSERT_EQ(is_utf8(std::string("\xe1\x80") + c), continues) << byte;
    ASSERT_EQ(is_utf8(std::string("\xf1\x80") + c + '\x80'), continues) << byte;
    ASSERT_EQ(is_utf8(std::string("\xf1\x80\x80") + c), continues) << byte;
  }
}

TEST(Utf8, TheOffsetIsThatOfTheLeadByte) {
  EXPECT_EQ(find_invalid_utf8(""), -1);
  EXPECT_EQ(find_invalid_utf8("\xff"), 0);
  EXPECT_EQ(find_invalid_utf8("abc\x80"), 3);
  EXPECT_EQ(find_invalid_utf8("a\xc3\xa9\xe2\x82"), 3);  // cut at the end
  EXPECT_EQ(find_invalid_utf8("a\xf0\x9f\x98(ok)"), 1);  // cut in the middle
  EXPECT_EQ(find_invalid_utf8(std::string(100, 'x') + "\xc0\x80"), 100);
  EXPECT_EQ(find_invalid_utf8(std::string_view("\0\0", 2)), -1);
}

TEST(Utf8, WhatIsPrintedIsPrintable) {
  EXPECT_EQ(printable("a\n\xff\xc3\xa9~"), "a????~");
  EXPECT_EQ(printable(std::string(1000, 'a')).size(), 203U);
}

TEST(Utf8, WhatATerminalObeysIsTakenOut) {
  EXPECT_EQ(without_controls("a\x1b[31m\r\n\t\x7f"
                             "b"),
            "a?[31m????b");
  EXPECT_EQ(without_controls(std::string_view("\0", 1)), "?");
  for (std::uint32_t point = 0x80; point <= 0x10ffff; ++point) {
    if (point >= 0xd800 && point <= 0xdfff) continue;
    ASSERT_EQ(without_controls(utf8(point)), point < 0xa0 ? "?" : utf8(point)) << std::hex << point;
  }
  EXPECT_EQ(without_controls("\x9b"
                             "1m\xff\xc3\xa9\xe2\x82"),
            "?1m?\xc3\xa9??");  // no characters, or half ones
  EXPECT_EQ(without_controls("\xc3(\xc1\x9b"), "?(??");
}

TEST(Utf8, ErrorsAreOneLine) {
  const Error error = Error(ErrorCode::io, "no\x1b[2J").at_field("name\nname").in_file("\xc3\xa9\r");
  EXPECT_EQ(error.describe(), "\xc3\xa9?: name?name: no?[2J [io 600]");
}

// ---- archives ---------------------------------------------------------------------------------------------

const std::string text_one = "{\"text\":\"one\"}\n";
const std::string text_two = "{\"text\":\"two\"}\n";

std::string from_hex(std::string_view hex) {
  std::string bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2)
    bytes += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
  return bytes;
}

/// The two texts as the programs xz and zstd pack them.
struct Archive {
  std::string suffix;
  std::string one, two;
};

void PrintTo(const Archive& archive, std::ostream* out) { *out << archive.suffix; }

std::vector<Archive> archives() {
  return {{".xz",
           from_hex("fd377a585a0000016922de36020021010c0000008f98419c01000e7b2274657874223a226f6e65227d0a0000029a7320"
                    "0001230fdbdf900e9042990d010000000001595a"),
           from_hex("fd377a585a0000016922de36020021010c0000008f98419c01000e7b2274657874223a2274776f227d0a0000cd7d2f4b"
                    "0001230fdbdf900e9042990d010000000001595a")},
          {".zst", from_hex("28b52ffd240f7900007b2274657874223a226f6e65227d0aad5403f5"),
           from_hex("28b52ffd240f7900007b2274657874223a2274776f227d0acae72255")}};
}

class ArchiveTest : public testing::TestWithParam<Archive> {
 protected:
  ScratchFolder folder;

  Result<std::string> read(const std::string& packed) {
    return read_text(folder.write("text.jsonl" + GetParam().suffix, packed));
  }
};

INSTANTIATE_TEST_SUITE_P(Formats, ArchiveTest, testing::ValuesIn(archives()),
                         [](const auto& instance) { return instance.param.suffix.substr(1); });

TEST_P(ArchiveTest, IsUnpacked) { EXPECT_EQ(value_of(read(GetParam().one)), text_one); }

TEST_P(ArchiveTest, StreamsBehindEachOtherAreOneText) {
  EXPECT_EQ(value_of(read(GetParam().one + GetParam().two + GetParam().one)), text_one + text_two + text_one);
}

TEST_P(ArchiveTest, EveryTruncationIsRefused) {
  for (std::size_t size = 0; size < GetParam().one.size(); ++size) {
    EXPECT_CODE(read(GetParam().one.substr(0, size)), ErrorCode::bad_format);
  }
}

TEST_P(ArchiveTest, EveryDamagedBitIsFoundOrHarmless) {
  for (std::size_t bit = 0; bit < 8 * GetParam().one.size(); ++bit) {
    std::string damaged = GetParam().one;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    const auto text = read(damaged);
    EXPECT_TRUE(!text || *text == text_one) << bit;  // some bits only say how to unpack
  }
}

TEST_P(ArchiveTest, WhatIsBehindMustBeAStreamToo) {
  const Error error = error_of(read(GetParam().one + "garbage"));
  EXPECT_EQ(error.code, ErrorCode::bad_format);
  EXPECT_EQ(error.file, (folder.path() / ("text.jsonl" + GetParam().suffix)).string());
  EXPECT_GE(error.offset, static_cast<std::int64_t>(GetParam().one.size()));
}

TEST(Archive, ThatWantsTooMuchMemoryIsRefused) {
  const ScratchFolder folder;
  // A zstd frame header that asks for a window of 2^30 bytes, and one last empty block.
  EXPECT_CODE(read_text(folder.write("window.zst", from_hex("28b52ffd00a0010000"))), ErrorCode::limit_exceeded);
  // An xz block whose filter asks for a dictionary of 1 GiB: properties byte 0x24 and the header's CRC-32.
  std::string xz = archives()[0].one;
  xz.replace(12, 12, from_hex("02002101240000005e1fc7f9"));
  const auto text = read_text(folder.write("dictionary.xz", xz));
  EXPECT_CODE(text, ErrorCode::limit_exceeded);
}

TEST(ReadText, OfAPlainFileIsItsBytes) {
  const ScratchFolder folder;
  EXPECT_EQ(value_of(read_text(folder.write("plain.txt", "a\n\xff"))), "a\n\xff");
  EXPECT_EQ(value_of(read_text(folder.write("empty.txt", ""))), "");
  EXPECT_CODE(read_text(folder.path() / "none.txt"), ErrorCode::file_not_found);
  EXPECT_CODE(read_text(folder.path()), ErrorCode::io);
}

// ---- JSON -------------------------------------------------------------------------------------------------

TEST(Json, ErrorsNameTheByte) {
  EXPECT_EQ(error_of(parse_json("[1, x]")).offset, 4);
  EXPECT_EQ(error_of(parse_json("")).offset, 0);
  EXPECT_EQ(error_of(parse_json(std::string_view("[]\0[]", 5))).offset, 2);
}

TEST(Json, NumbersBeyondDoublesAreAnError) {
  EXPECT_CODE(parse_json("[1e999]"), ErrorCode::bad_format);
  EXPECT_CODE(parse_json("-1e999"), ErrorCode::bad_format);
}

TEST(Json, DepthIsLimited) {
  EXPECT_OK(parse_json(std::string(64, '[') + std::string(64, ']')));
  EXPECT_CODE(parse_json(std::string(65, '[') + std::string(65, ']')), ErrorCode::limit_exceeded);
  EXPECT_FALSE(parse_json(std::string(1'000'000, '[')).ok());
}

TEST(Json, DuplicatesAreRefusedOnDemand) {
  const auto strictly = [](const char* text) { return parse_json(text, Duplicates::refused); };
  EXPECT_EQ(value_of(parse_json(R"({"a":1,"a":2})")), value_of(parse_json(R"({"a":2})")));
  EXPECT_OK(strictly(R"([{"a":1,"b":{"a":1}},{"b":{"a":{"a":1}},"a":[{"a":1},{"a":2}]}])"));
  for (const char* bad : {R"({"key":1,"key":1})", R"({"a":1,"b":[{"key":1,"c":{"key":0},"key":[]}]})",
                          R"({"key":{"key":{"x":1}},"key":1})", R"({"key":1,"k\u0065y":1})"}) {
    const Error error = error_of(strictly(bad));
    EXPECT_EQ(error.code, ErrorCode::bad_format) << bad;
    EXPECT_NE(error.message.find("'key'"), std::string::npos) << error.message;
  }
}

TEST(Json, MessagesAreShortAndPrintable) {
  const Error error = error_of(parse_json(std::string("\"").append(100'000, '\xff')));
  EXPECT_LT(error.message.size(), 300U);
  EXPECT_EQ(error.message, printable(error.message));
}

/// Lines and texts that a file's lines have.
Result<std::vector<std::string>> lines_of(const std::filesystem::path& path) {
  std::vector<std::string> seen;
  const auto status =
      for_each_json_line(path, [&seen](std::int64_t line, const nlohmann::json& document) -> Result<void> {
        if (document == "stop") return Error(ErrorCode::missing_field, "stopped here");
        seen.push_back(fmt::format("{}:{}", line, document.dump()));
        return {};
      });
  if (!status) return status.error();
  return seen;
}

TEST(JsonLines, CountBlankLinesButDoNotVisitThem) {
  const ScratchFolder folder;
  const auto path = folder.write("a.jsonl", "1\n\n  \t\r\n[2]\r\n\n\"three\"");  // no line end at the end
  EXPECT_EQ(value_of(lines_of(path)), (std::vector<std::string>{"1:1", "4:[2]", "6:\"three\""}));
  EXPECT_TRUE(value_of(lines_of(folder.write("b.jsonl", ""))).empty());
}

TEST(JsonLines, AreUnpacked) {
  const ScratchFolder folder;
  for (const Archive& archive : archives()) {
    const auto path = folder.write("a.jsonl" + archive.suffix, archive.one + archive.two);
    EXPECT_EQ(value_of(lines_of(path)), (std::vector<std::string>{"1:{\"text\":\"one\"}", "2:{\"text\":\"two\"}"}));
  }
}

TEST(JsonLines, ErrorsNameFileLineAndByte) {
  struct Case {
    const char* content;
    ErrorCode code;
    const char* field;
    std::int64_t offset;
  };
  const ScratchFolder folder;
  for (const Case& bad :
       {Case{"1\n2\n{x}\n", ErrorCode::bad_format, "line 3", 5}, Case{"1\n\n[1", ErrorCode::bad_format, "line 3", 5},
        Case{"1\n\"\xff\"\n", ErrorCode::not_utf8, "line 2", 3}, Case{"1 2\n", ErrorCode::bad_format, "line 1", 2},
        Case{"1\n{\"a\":1,\"a\":1}\n", ErrorCode::bad_format, "line 2", -1},
        Case{"1\n\"stop\"\n", ErrorCode::missing_field, "line 2", -1}}) {
    const auto path = folder.write("bad.jsonl", bad.content);
    const Error error = error_of(lines_of(path));
    EXPECT_EQ(error.code, bad.code) << error.describe();
    EXPECT_EQ(error.field, bad.field) << error.describe();
    EXPECT_EQ(error.offset, bad.offset) << error.describe();
    EXPECT_EQ(error.file, path.string());
  }
}

}  // namespace
}  // namespace seqkv::io
