// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// tokenizer.json: what is not implemented is refused by name, what is broken by its field, and the spellings
// of older files are read.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "seqkv/limits.hpp"
#include "seqkv/tokenizer.hpp"
#include "support/files.hpp"
#include "support/result.hpp"

namespace seqkv {
namespace {

using nlohmann::json;
using test::error_of;
using test::value_of;

/// Pairs as arrays: nlohmann takes a list of pairs of texts for an object.
json merges(const std::vector<std::vector<std::string>>& pairs) { return pairs; }

/// A tokenizer of all bytes, whose tokens 256 and 257 are "ab" and "abc".
json good() {
  static const json document = [] {
    const json cases = json::parse(test::read_all(SEQKV_TEST_DATA "/tokenizer-cases.json"));
    json vocabulary;
    for (const auto& [entry, id] : cases["model"]["vocab"].items()) {
      if (id < 256) vocabulary[entry] = id;
    }
    vocabulary["ab"] = 256;
    vocabulary["abc"] = 257;
    json made = cases["tokenizers"]["gpt2"];
    made["model"] = {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", merges({{"a", "b"}, {"ab", "c"}})}};
    return made;
  }();
  return document;
}

json changed(const char* pointer, const json& value) {
  json document = good();
  document[json::json_pointer(pointer)] = value;
  return document;
}

Error refusal(const json& document) { return error_of(Tokenizer::parse(document.dump())); }

std::vector<Token> encode(const json& document, std::string_view text) {
  return value_of(value_of(Tokenizer::parse(document.dump())).encode(text));
}

json added(const std::string& content, int id = 258) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", false}};
}

TEST(TokenizerJson, TheGoodOneIsGood) { EXPECT_EQ(encode(good(), "abcab"), (std::vector<Token>{257, 256})); }

// ---- not implemented --------------------------------------------------------------------------------------

struct Case {
  std::string name;
  json document;
  ErrorCode code;
  std::string field;
  std::string message;
};

void PrintTo(const Case& refused, std::ostream* out) { *out << refused.name; }

class TokenizerRefused : public testing::TestWithParam<Case> {};

TEST_P(TokenizerRefused, ByName) {
  const Error error = refusal(GetParam().document);
  EXPECT_EQ(error.code, GetParam().code) << error.describe();
  EXPECT_EQ(error.field, GetParam().field) << error.describe();
  EXPECT_NE(error.message.find(GetParam().message), std::string::npos) << error.describe();
}

json split(const json& pattern, const std::string& behavior = "Isolated", bool invert = false) {
  return {{"type", "Split"}, {"pattern", pattern}, {"behavior", behavior}, {"invert", invert}};
}

json sequence(const std::vector<json>& parts, const char* name = "pretokenizers") {
  return {{"type", "Sequence"}, {name, parts}};
}

const json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}};

Case unsupported(const std::string& name, const char* pointer, const json& value, const std::string& field,
                 const std::string& message) {
  return {name, changed(pointer, value), ErrorCode::unsupported, field, message};
}

std::vector<Case> unsupported_parts() {
  const json other = {{"type", "Lowercase"}};
  const json yes_text = {{"Sequence", {{"id", "A"}}}};
  const auto templates = [](const std::vector<json>& single) {
    return json{{"type", "TemplateProcessing"}, {"single", single}, {"special_tokens", json::object()}};
  };
  return {
      unsupported("WordPiece", "/model/type", "WordPiece", "model.type", "'WordPiece'"),
      unsupported("Unigram", "/model/type", "Unigram", "model.type", "'Unigram'"),
      unsupported("WordLevel", "/model/type", "WordLevel", "model.type", "'WordLevel'"),
      unsupported("NoModel", "/model", nullptr, "model.type", "''"),
      unsupported("ByteFallback", "/model/byte_fallback", true, "model.byte_fallback", "SentencePiece"),
      unsupported("Dropout", "/model/dropout", 0.1, "model.dropout", "random merges"),
      unsupported("Prefix", "/model/continuing_subword_prefix", "##", "model.continuing_subword_prefix",
                  "not implemented"),
      unsupported("Suffix", "/model/end_of_word_suffix", "</w>", "model.end_of_word_suffix", "not implemented"),
      unsupported("Normalizer", "/normalizer", other, "normalizer", "'Lowercase'"),
      unsupported("NormalizerInSequence", "/normalizer", sequence({{{"type", "NFC"}}, other}, "normalizers"),
                  "normalizer", "'Lowercase'"),
      unsupported("NormalizerNfkc", "/normalizer", {{"type", "NFKC"}}, "normalizer", "'NFKC'"),
      unsupported("PreTokenizer", "/pre_tokenizer", {{"type", "Metaspace"}}, "pre_tokenizer", "'Metaspace'"),
      unsupported("NoPreTokenizer", "/pre_tokenizer", nullptr, "pre_tokenizer", "''"),
      unsupported("NoByteLevel", "/pre_tokenizer", {{"type", "Digits"}}, "pre_tokenizer", "only byte-level"),
      unsupported("BehindByteLevel", "/pre_tokenizer", sequence({byte_level, {{"type", "Digits"}}}), "pre_tokenizer",
                  "'Digits' behind ByteLevel"),
      unsupported("TwoByteLevels", "/pre_tokenizer", sequence({byte_level, byte_level}), "pre_tokenizer",
                  "behind ByteLevel"),
      unsupported("SplitRemoved", "/pre_tokenizer", sequence({split({{"String", " "}}, "Removed"), byte_level}),
                  "pre_tokenizer", "'Removed'"),
      unsupported("SplitMerged", "/pre_tokenizer",
                  sequence({split({{"String", " "}}, "MergedWithPrevious"), byte_level}), "pre_tokenizer",
                  "'MergedWithPrevious'"),
      unsupported("SplitRegex", "/pre_tokenizer", sequence({split({{"Regex", "[a&&b]"}}), byte_level}), "pre_tokenizer",
                  "[a&&b]"),
      unsupported("PostProcessor", "/post_processor", {{"type", "BertProcessing"}}, "post_processor",
                  "'BertProcessing'"),
      unsupported("TemplateWithTextTwice", "/post_processor", templates({yes_text, yes_text}), "post_processor",
                  "twice"),
      unsupported("TemplateWithoutText", "/post_processor", templates({}), "post_processor", "without the text"),
      unsupported("TwoTemplates", "/post_processor",
                  sequence({templates({yes_text}), templates({yes_text})}, "processors"), "post_processor",
                  "two templates"),
      unsupported("Decoder", "/decoder", {{"type", "Metaspace"}}, "decoder", "'Metaspace'"),
  };
}

Case broken(const std::string& name, const char* pointer, const json& value, const std::string& field,
            const std::string& message) {
  return {name, changed(pointer, value), ErrorCode::bad_format, field, message};
}

std::vector<Case> broken_parts() {
  json no_flag = added("x");
  no_flag.erase("lstrip");
  const json wrong_id = added("x", -1);
  const json unknown_token = {{"type", "TemplateProcessing"},
                              {"single", {{{"SpecialToken", {{"id", "<s>"}}}}, {{"Sequence", {{"id", "A"}}}}}},
                              {"special_tokens", json::object()}};
  return {
      broken("VocabularyIsAList", "/model/vocab", json::array(), "model.vocab", "not an object"),
      broken("IdIsAText", "/model/vocab/ab", "256", "model.vocab 'ab'", "not a token id"),
      broken("IdIsNegative", "/model/vocab/ab", -1, "model.vocab 'ab'", "not a token id"),
      broken("IdIsAFraction", "/model/vocab/ab", 1.5, "model.vocab 'ab'", "not a token id"),
      broken("IdIsTooLarge", "/model/vocab/ab", limits::max_vocabulary, "model.vocab 'ab'", "not a token id"),
      broken("IdIsAboveSigned", "/model/vocab/ab", UINT64_MAX, "model.vocab 'ab'", "not a token id"),
      broken("MergesAreAnObject", "/model/merges", json::object(), "model.merges", "not an array"),
      broken("MergeOfOne", "/model/merges/0", {"a"}, "model.merges", "entry 0"),
      broken("MergeOfThree", "/model/merges/0", {"a", "b", "c"}, "model.merges", "entry 0"),
      broken("MergeOfNumbers", "/model/merges/0", {1, 2}, "model.merges", "entry 0"),
      broken("MergeWithoutSpace", "/model/merges/1", "abc", "model.merges", "entry 1"),
      broken("MergeOfThreeInAText", "/model/merges/1", "a b c", "model.merges", "entry 1"),
      broken("MergeOfUnknown", "/model/merges/1", {"a", "xyz"}, "model.merges", "entry 1"),
      broken("MergeToUnknown", "/model/merges/1", {"b", "c"}, "model.merges", "entry 1"),
      broken("MergeOfForeignUnknown", "/model/merges/1", {"\u65e5", "\u672c"}, "model.merges", "entry 1"),
      broken("SplitWithoutPattern", "/pre_tokenizer", sequence({split(json::object()), byte_level}), "pre_tokenizer",
             "without a pattern"),
      broken("TemplateIsNoList", "/post_processor", {{"type", "TemplateProcessing"}, {"single", "A"}}, "post_processor",
             "'single' is not an array"),
      broken("TemplateOfUnknownToken", "/post_processor", unknown_token, "post_processor", "'<s>' has no ids"),
      broken("AddedTokensAreAnObject", "/added_tokens", json::object(), "added_tokens", "not an array"),
      broken("AddedTokenWithoutFlag", "/added_tokens", {added("y"), no_flag}, "added_tokens[1]", "'lstrip'"),
      broken("AddedTokenWithoutId", "/added_tokens", json::array({wrong_id}), "added_tokens[0]", "not a token id"),
      broken("AddedTokenWithoutText", "/added_tokens", json::array({json{{"id", 1}}}), "added_tokens[0]", "'content'"),
  };
}

const auto case_name = [](const testing::TestParamInfo<Case>& instance) { return instance.param.name; };
INSTANTIATE_TEST_SUITE_P(Unsupported, TokenizerRefused, testing::ValuesIn(unsupported_parts()), case_name);
INSTANTIATE_TEST_SUITE_P(Broken, TokenizerRefused, testing::ValuesIn(broken_parts()), case_name);

TEST(TokenizerJson, AMissingByteIsRefused) {
  json document = good();
  document["model"]["vocab"].erase("!");
  const Error error = refusal(document);
  EXPECT_EQ(error.code, ErrorCode::unsupported);
  EXPECT_EQ(error.field, "model.vocab");
}

TEST(TokenizerJson, ChainsOfPreTokenizersAreBounded) {
  const json dot = split({{"Regex", "."}});
  std::vector<json> chain(63, dot);
  chain.push_back(byte_level);
  EXPECT_EQ(encode(changed("/pre_tokenizer", sequence(chain)), "ab"), (std::vector<Token>{97, 98}));
  chain.insert(chain.begin(), 100'000, dot);
  EXPECT_EQ(refusal(changed("/pre_tokenizer", sequence(chain))).code, ErrorCode::limit_exceeded);
}

TEST(TokenizerJson, NamesTheFile) {
  const test::ScratchFolder folder;
  const auto path = folder.write("tokenizer.json", changed("/model/type", "Unigram").dump());
  EXPECT_EQ(error_of(Tokenizer::load(path)).file, path.string());
  EXPECT_CODE(Tokenizer::load(folder.path() / "none.json"), ErrorCode::file_not_found);
  EXPECT_CODE(Tokenizer::parse("[]"), ErrorCode::bad_format);
  EXPECT_CODE(Tokenizer::parse("{"), ErrorCode::bad_format);
}

// ---- what else is read ------------------------------------------------------------------------------------

TEST(TokenizerJson, ReadsOlderFiles) {
  json old = changed("/model/merges", {"#version: 0.2", "a b", "ab c"});
  old["model"].erase("type");
  EXPECT_EQ(encode(old, "abc"), (std::vector<Token>{257}));
}

TEST(TokenizerJson, ReadsNullsAndEmptySettings) {
  json document = good();
  for (const char* name : {"normalizer", "post_processor", "decoder", "truncation", "padding", "added_tokens"}) {
    document[name] = nullptr;
  }
  for (const char* name : {"dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"}) {
    document["model"][name] = nullptr;
  }
  EXPECT_EQ(encode(document, "abc"), (std::vector<Token>{257}));
  document["model"]["dropout"] = 0.0;
  document["model"]["end_of_word_suffix"] = "";
  EXPECT_EQ(encode(document, "abc"), (std::vector<Token>{257}));
}

TEST(TokenizerJson, ALaterMergeOfTheSamePairCounts) {
  json document = changed("/model/vocab/bc", 258);
  document["model"]["merges"] = merges({{"a", "b"}, {"b", "c"}, {"a", "b"}});
  EXPECT_EQ(encode(document, "abc"), (std::vector<Token>{97, 258}));
}

TEST(TokenizerJson, EntriesOutsideOfTheAlphabetAreDecodedButNeverMade) {
  json document = changed("/model/vocab/\u65e5", 258);
  document["model"]["ignore_merges"] = true;
  EXPECT_EQ(encode(document, "\u65e5"), (std::vector<Token>{0xe6, 0x97, 0xa5}));
  const std::vector<Token> ids = {258};
  EXPECT_EQ(value_of(value_of(Tokenizer::parse(document.dump())).decode(ids)), "\u65e5");
}

TEST(TokenizerJson, AddedTokensAreNumberedBehindTheVocabulary) {
  // The ids in the file do not count: tokenizers gives them anew.
  EXPECT_EQ(encode(changed("/added_tokens", {added("<x>", 300), added("<y>", 5)}), "<y><x>"),
            (std::vector<Token>{259, 258}));
  EXPECT_EQ(encode(changed("/added_tokens", json::array({added("ab", 300)})), "ab"), (std::vector<Token>{256}));
  EXPECT_EQ(encode(changed("/added_tokens", {added("", 258), added("<y>", 259)}), "<y>"), (std::vector<Token>{258}));
}

TEST(TokenizerJson, IdsWithoutAnEntryAreNotDecoded) {
  const Tokenizer tokenizer = value_of(Tokenizer::parse(changed("/model/vocab/ab", 5000).dump()));
  EXPECT_EQ(tokenizer.vocabulary_size(), 5001);
  const std::vector<Token> hole = {256};
  EXPECT_CODE(tokenizer.decode(hole), ErrorCode::token_out_of_range);
}

TEST(TokenizerJson, RandomDamageNeverCrashes) {
  json small = good();
  small["added_tokens"] = json::array({added("<x>")});
  const std::string text = small.dump();
  std::uint32_t state = 1;
#if defined(__SANITIZE_ADDRESS__)
  constexpr int rounds = 600;  // each takes a hundred times as long
#else
  constexpr int rounds = 3000;
#endif
  for (int round = 0; round < rounds; ++round) {
    std::string damaged = text;
    for (int flips = 0; flips < 3; ++flips) {
      state = state * 1664525U + 1013904223U;
      // Half of the damage behind the vocabulary and half anywhere.
      damaged[(state >> 8U) % damaged.size()] = static_cast<char>(state >> 3U & 0x7fU);
    }
    if (const auto tokenizer = Tokenizer::parse(damaged)) {
      EXPECT_OK(tokenizer->encode("abc <x> 12"));
    }
  }
}

}  // namespace
}  // namespace seqkv
