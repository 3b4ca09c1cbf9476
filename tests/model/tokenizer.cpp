// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Tokenizers give the ids of PyPI `tokenizers` (golden cases of data/make_tokenizer_cases.py), and give the
// text back.
#include "seqkv/tokenizer.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "support/files.hpp"
#include "support/result.hpp"

namespace seqkv {
namespace {

using nlohmann::json;
using test::error_of;
using test::value_of;

const json& cases() {
  static const json document = json::parse(test::read_all(SEQKV_TEST_DATA "/tokenizer-cases.json"));
  return document;
}

/// A tokenizer of the cases; the small ones share one vocabulary and list of merges.
Tokenizer make(const std::string& name) {
  if (name == "docs-7m") return value_of(Tokenizer::load(SEQKV_MODEL "/tokenizer.json"));
  json document = cases()["tokenizers"][name];
  json model = cases()["model"];
  model.update(document["model"]);
  document["model"] = model;
  return value_of(Tokenizer::parse(document.dump()));
}

// ---- golden cases -----------------------------------------------------------------------------------------

class TokenizerCases : public testing::TestWithParam<std::string> {
 protected:
  Tokenizer tokenizer = make(GetParam());

  void expect_ids(const char* key, SpecialTokens special) {
    const json& expected = cases()["ids"][GetParam()][key];
    for (std::size_t i = 0; i < cases()["texts"].size(); ++i) {
      const auto text = cases()["texts"][i].get<std::string>();
      const auto ids = tokenizer.encode(text, special);
      ASSERT_OK(ids);
      EXPECT_EQ(*ids, expected[i].get<std::vector<Token>>()) << cases()["texts"][i].dump(-1, ' ', true);
    }
  }
};

INSTANTIATE_TEST_SUITE_P(All, TokenizerCases,
                         testing::Values("docs-7m", "gpt2", "prefix_space", "llama3", "qwen2", "possessive", "cased",
                                         "digits", "digits_prefix", "words", "empty_matches", "added", "added_nfc"),
                         [](const auto& instance) {
                           std::string name = instance.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST_P(TokenizerCases, GiveTheIdsOfTheReference) { expect_ids("plain", SpecialTokens::none); }

TEST_P(TokenizerCases, GiveTheIdsOfTheReferenceWithItsTemplate) {
  // Without a template the flag changes nothing.
  expect_ids(cases()["ids"][GetParam()]["special"].is_null() ? "plain" : "special", SpecialTokens::add);
}

TEST(TokenizerCases, AreAllTested) {
  EXPECT_EQ(cases()["ids"].size(), 13U);
  EXPECT_GE(cases()["texts"].size(), 300U);
}

// ---- decoding ---------------------------------------------------------------------------------------------

TEST_P(TokenizerCases, GiveTheTextBack) {
  const std::string name = GetParam();
  // These change or drop characters by design: a space in front, compositions, white space beside a token,
  // gaps.
  const bool lossy = name == "prefix_space" || name == "digits_prefix" || name == "qwen2" || name == "words" ||
                     name == "added" || name == "added_nfc";
  for (const json& entry : cases()["texts"]) {
    const auto text = entry.get<std::string>();
    const auto decoded = tokenizer.decode(value_of(tokenizer.encode(text)));
    ASSERT_OK(decoded);
    if (!lossy) {
      EXPECT_EQ(*decoded, text) << entry.dump(-1, ' ', true);
    }
  }
}

TEST(TokenizerDecode, RandomBytesOfValidTextComeBack) {
  const Tokenizer tokenizer = make("docs-7m");
  std::mt19937_64 random(3);
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (std::uint64_t length = random() % 40; length > 0; --length) {
      const auto point = static_cast<std::uint32_t>(random() % 4 == 0 ? random() % 0xd800 : random() % 0x80);
      if (point >= 0x800) text += static_cast<char>(0xe0U | point >> 12U);
      if (point >= 0x80)
        text += static_cast<char>(point >= 0x800 ? 0x80U | (point >> 6U & 0x3fU) : 0xc0U | point >> 6U);
      text += static_cast<char>(point >= 0x80 ? 0x80U | (point & 0x3fU) : point);
    }
    EXPECT_EQ(value_of(tokenizer.decode(value_of(tokenizer.encode(text)))), text);
  }
}

TEST(TokenizerDecode, AddedTokensAreTheirOwnText) {
  // PyPI tokenizers takes these characters for bytes of the alphabet here, and loses them.
  const Tokenizer tokenizer = make("added");
  const std::string text = "e\xcc\x81\xc3\xa9 \xe6\x97\xa5\xe6\x9c\xac";
  EXPECT_EQ(value_of(tokenizer.decode(value_of(tokenizer.encode(text)))), text);
}

TEST(TokenizerDecode, SpecialTokensAreSkippedOnRequest) {
  const Tokenizer tokenizer = make("llama3");
  const auto ids = value_of(tokenizer.encode("a b", SpecialTokens::add));
  EXPECT_EQ(value_of(tokenizer.decode(ids)), "<|begin|>a b<|end|>");
  EXPECT_EQ(value_of(tokenizer.decode(ids, true)), "a b");
}

TEST(TokenizerDecode, RefusesIdsThatAreNotInTheVocabulary) {
  const Tokenizer tokenizer = make("docs-7m");
  EXPECT_EQ(tokenizer.vocabulary_size(), 4096);
  for (Token id : {Token{4096}, Token{0x7fffffff}, Token{0xffffffff}}) {
    const std::vector<Token> ids = {1, id};
    const Error error = error_of(tokenizer.decode(ids));
    EXPECT_EQ(error.code, ErrorCode::token_out_of_range);
    EXPECT_NE(error.message.find("token 1 is"), std::string::npos);
  }
}

// ---- errors and use ---------------------------------------------------------------------------------------

TEST(Tokenizer, RefusesWhatIsNotUtf8ByItsByte) {
  const Tokenizer tokenizer = make("docs-7m");
  for (const auto& [text, byte] : std::vector<std::pair<std::string, std::int64_t>>{
           {"\xff", 0}, {"ab\xc3", 2}, {"caf\xc3\xa9 \xed\xa0\x80", 6}, {"<|endoftext|>\x80", 13}}) {
    const Error error = error_of(tokenizer.encode(text));
    EXPECT_EQ(error.code, ErrorCode::not_utf8);
    EXPECT_EQ(error.offset, byte) << text;
  }
}

TEST(Tokenizer, EncodesVeryLongWordsAndRuns) {
  const Tokenizer tokenizer = make("llama3");
  for (const char* unit : {" ", "a", "1", "!", "\n", "\t ", "\xcc\x81", "'"}) {
    std::string text;
    while (text.size() < 300'000) text += unit;
    const auto ids = tokenizer.encode(text);
    ASSERT_OK(ids);
    EXPECT_EQ(value_of(tokenizer.decode(*ids)), text) << unit;
  }
}

TEST(Tokenizer, ManyThreadsMayEncode) {
  const Tokenizer tokenizer = make("docs-7m");
  const std::string text = test::read_all(SEQKV_MODEL "/config.json");
  const auto expected = value_of(tokenizer.encode(text));
  std::vector<int> equal(8, 0);
  std::vector<std::thread> threads;
  for (int& count : equal) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) count += value_of(tokenizer.encode(text)) == expected ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(equal, std::vector<int>(8, 50));
}

TEST(Tokenizer, FingerprintsItsText) {
  const std::string text = test::read_all(SEQKV_MODEL "/tokenizer.json");
  EXPECT_EQ(make("docs-7m").fingerprint(), Sha256().update(text).finish());
  EXPECT_NE(value_of(Tokenizer::parse(text + " ")).fingerprint(), make("docs-7m").fingerprint());
}

}  // namespace
}  // namespace seqkv
