// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Regular expressions as tokenizers' engine has them: the classes of Unicode 16, empty matches, line ends,
// and refusals of what PCRE2 would read in another way.
#include "model/regex.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/result.hpp"

namespace seqkv {
namespace {

using test::error_of;
using test::value_of;
using Pieces = std::vector<std::string>;

/// The pieces of a text; matches in brackets.
Pieces split(const std::string& pattern, std::string_view text) {
  Pieces pieces;
  EXPECT_OK(value_of(Regex::compile(pattern)).split(text, [&](std::size_t begin, std::size_t end, bool is_match) {
    const std::string piece(text.substr(begin, end - begin));
    pieces.push_back(is_match ? std::string("[").append(piece).append("]") : piece);
  }));
  return pieces;
}

bool matches(const std::string& pattern, std::string_view text) {
  return split(pattern, text) == Pieces{std::string("[").append(text).append("]")};
}

// ---- pieces -----------------------------------------------------------------------------------------------

TEST(Regex, MatchesAndGapsCoverTheText) {
  EXPECT_EQ(split("b+", "abbcb"), (Pieces{"a", "[bb]", "c", "[b]"}));
  EXPECT_EQ(split("x", "abc"), (Pieces{"abc"}));
  EXPECT_EQ(split("x", ""), (Pieces{}));
}

TEST(Regex, EmptyMatchesDivideGaps) {
  EXPECT_EQ(split("x*", "abxxc"), (Pieces{"a", "b", "[xx]", "c"}));
  EXPECT_EQ(split("(?=b)", "aabab"), (Pieces{"aa", "ba", "b"}));
  EXPECT_EQ(split("x*", "\u00e9\u65e5"), (Pieces{"\u00e9", "\u65e5"}));  // never within a character
}

TEST(Regex, LooksAroundWhatItDividedBefore) { EXPECT_EQ(split("(?<=a)b", "abb"), (Pieces{"a", "[b]", "b"})); }

TEST(Regex, LinesEndAtLineFeedsAlone) {
  EXPECT_EQ(split("^.", "ab\ncd\re"), (Pieces{"[a]", "b\n", "[c]", "d\re"}));
  EXPECT_EQ(split(".$", "ab\ncd"), (Pieces{"a", "[b]", "\nc", "[d]"}));
  EXPECT_EQ(split(".+", "a\rb\nc"), (Pieces{"[a\rb]", "\n", "[c]"}));
}

TEST(Regex, BackReferencesAreNotNeededForCaseFolding) {
  EXPECT_EQ(split("(?i:'s)", "'s'S'\u017f's"), (Pieces{"['s]", "['S]", "['\u017f]", "['s]"}));
}

TEST(Regex, FindsTheFirstPlace) {
  const Regex regex = value_of(Regex::compile("b+"));
  std::size_t begin = 0;
  std::size_t end = 0;
  EXPECT_TRUE(regex.search("abbab", begin, end));
  EXPECT_EQ(begin, 1U);
  EXPECT_EQ(end, 3U);
  EXPECT_FALSE(regex.search("aaa", begin, end));
}

TEST(Regex, EscapedTextMatchesItself) {
  const std::string text = R"(a.b*c+d?e(f)[g]{h}|i^j$k\l-m#n 日)";
  EXPECT_TRUE(matches(Regex::escape(text), text));
}

// ---- classes ----------------------------------------------------------------------------------------------

TEST(RegexClasses, WhiteSpaceIsThePropertyWhiteSpace) {
  for (const char* c :
       {"\t", "\v", "\f", " ", "\u0085", "\u00a0", "\u1680", "\u2007", "\u2028", "\u202f", "\u205f", "\u3000"}) {
    EXPECT_TRUE(matches(R"(\s)", c) && matches(R"([\s])", c)) << c;
    EXPECT_FALSE(matches(R"(\S)", c) || matches(R"([\S])", c) || matches(R"([^\s])", c)) << c;
  }
  for (const char* c : {"a", "\u180e", "\u200b", "\ufeff", "\x1c", "\U0010ffff"}) {
    EXPECT_FALSE(matches(R"(\s)", c) || matches(R"([\s])", c)) << c;
    EXPECT_TRUE(matches(R"(\S)", c) && matches(R"([\S])", c) && matches(R"([^\s])", c)) << c;
  }
}

TEST(RegexClasses, LettersMarksAndNumbersOfUnicodeSixteen) {
  // Assigned in 15.0, 15.1 and 16.0, one for each category.
  const std::vector<std::pair<const char*, const char*>> assigned = {
      {"Lu", "\U00010d50"}, {"Ll", "\U00010d70"}, {"Lm", "\U0001e030"}, {"Lo", "\U0002ebf0"},
      {"Mn", "\U0001e08f"}, {"Mc", "\u0cf3"},     {"Nd", "\U0001e4f0"}, {"No", "\U0001d2c0"},
      {"Pd", "\U00010d6e"}, {"Po", "\U00011f43"}, {"Sm", "\U00010d8e"}, {"So", "\U0001fae8"}};
  for (const auto& [category, c] : assigned) {
    for (const std::string& name : {std::string(category), std::string(1, category[0])}) {
      const std::string in = "\\p{" + name + "}";
      const std::string out = "\\P{" + name + "}";
      EXPECT_TRUE(matches(in, c) && matches("[" + in + "]", c) && matches("[!" + in + "-]", c)) << name;
      EXPECT_FALSE(matches(out, c) || matches("[^" + in + "]", c) || matches("\\p{^" + name + "}", c)) << name;
    }
    EXPECT_TRUE(matches(R"(\P{Lt})", c));
  }
}

TEST(RegexClasses, WordsAreOnigurumas) {
  for (const char* c : {"a", "_", "\u00e9", "\u0301", "7", "\u0663", "\u2160", "\u203f", "\u24b6", "\U0001f130"}) {
    EXPECT_TRUE(matches(R"(\w)", c) && matches(R"([\w])", c)) << c;
    EXPECT_FALSE(matches(R"(\W)", c)) << c;
  }
  for (const char* c : {"\u00b2", "\u00bd"}) {  // outside of brackets only
    EXPECT_TRUE(matches(R"(\w)", c)) << c;
    EXPECT_FALSE(matches(R"([\w])", c)) << c;
  }
  for (const char* c : {"-", " ", "\u2070", "\u2460", "\u200d"}) EXPECT_FALSE(matches(R"(\w)", c)) << c;
}

TEST(RegexClasses, DigitsAreDecimal) {
  EXPECT_TRUE(matches(R"(\d)", "\u0663") && matches(R"([\d])", "\U0001e4f0"));
  EXPECT_FALSE(matches(R"(\d)", "\u00b2") || matches(R"(\D)", "3"));
}

TEST(RegexClasses, AHyphenBesideAClassIsItself) {
  for (const char* set : {R"([\s-x])", R"([-\s])", R"([^\S-])", R"([\p{L}-])", R"([\w-9])"}) {
    EXPECT_EQ(matches(set, "-"), std::string_view(set).find('^') == std::string_view::npos) << set;
  }
  EXPECT_TRUE(matches("[a-c]", "b") && matches("[]a]", "]") && matches("[^]a]", "b"));
}

// ---- refused ----------------------------------------------------------------------------------------------

TEST(RegexRefused, WhatTheTwoEnginesReadDifferently) {
  for (const char* pattern : {"[a[bc]]",  "[a&&b]",     "[[:alpha:]]",  R"(\h)",      R"(\v)",
                              R"(\b)",    R"(\R)",      R"(\X)",        R"(\K)",      R"(\G)",
                              R"(\1)",    R"(\u0061)",  "a{1,2}+",      "a{,2}",      "(?m).",
                              "(?s).",    "(?x) a",     "(?<name>a)",   "(?#a)",      "(*FAIL)",
                              R"(\pL)",   R"(\p{Han})", R"(\p{Greek})", R"(\p{lu})",  R"(\p{Alphabetic})",
                              R"(\p{C})", R"(\p{Cn})",  R"(\p{L)",      R"([\P{L}])", R"([\W])",
                              R"([\D])",  R"([!-\s])",  R"(\xff)",      R"(\x{61)",   R"(\x)"}) {
    const Error error = error_of(Regex::compile(pattern));
    EXPECT_EQ(error.code, ErrorCode::unsupported) << pattern;
    EXPECT_NE(error.message.find(pattern), std::string::npos) << error.describe();
  }
}

TEST(RegexRefused, WhatIsNoExpression) {
  for (const char* pattern : {"(", ")", "[a", "a**", "*", "\\", "[b-a]", "(?", "(?i", "a{2,1}", "(?<=a+)b"}) {
    EXPECT_CODE(Regex::compile(pattern), ErrorCode::unsupported);
  }
}

TEST(RegexRefused, WhatIsTooLong) {
  EXPECT_CODE(Regex::compile(std::string(100'000, 'a')), ErrorCode::limit_exceeded);
  EXPECT_FALSE(Regex::compile(std::string(60'000, '(') + std::string(5'000, ')')).ok());
}

TEST(RegexRefused, EndlessBacktrackingEnds) {
  const Regex regex = value_of(Regex::compile("(?:a|aa)+[!?]"));
  const auto status = regex.split(std::string(2000, 'a'), [](std::size_t, std::size_t, bool) {});
  EXPECT_EQ(error_of(status).code, ErrorCode::limit_exceeded);
}

TEST(Regex, ALongRunIsNoBacktrackingTooMuch) {
  const std::string spaces(12'000'000, ' ');
  std::size_t pieces = 0;
  const Regex regex = value_of(Regex::compile(R"(\s*[\r\n]+|\s+(?!\S)|\s+)"));
  EXPECT_OK(regex.split(spaces, [&pieces](std::size_t, std::size_t, bool) { ++pieces; }));
  EXPECT_EQ(pieces, 1U);
}

}  // namespace
}  // namespace seqkv
