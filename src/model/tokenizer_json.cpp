// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "model/tokenizer_json.hpp"

#include <fmt/format.h>

#include "core/try.hpp"
#include "seqkv/limits.hpp"

namespace seqkv {
namespace {

using nlohmann::json;

// GPT-2's pattern, which the ByteLevel pre-tokenizer applies unless use_regex is false.
constexpr std::string_view gpt2_pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

Error refuse(const std::string& field, const std::string& what) {
  return Error(ErrorCode::unsupported, what).at_field(field);
}
Error bad(const std::string& field, const std::string& what) {
  return Error(ErrorCode::bad_format, what).at_field(field);
}

const json& member(const json& object, const char* name) {
  static const json nothing;
  if (!object.is_object()) return nothing;
  const auto found = object.find(name);
  return found == object.end() ? nothing : *found;
}
std::string text_of(const json& object, const char* name) {
  const json& value = member(object, name);
  return value.is_string() ? value.get<std::string>() : "";
}
bool flag_of(const json& object, const char* name, bool otherwise) {
  const json& value = member(object, name);
  return value.is_boolean() ? value.get<bool>() : otherwise;
}
Result<Token> token_of(const json& value, const std::string& field) {
  if (!value.is_number_integer() || value.get<std::int64_t>() < 0 ||
      value.get<std::int64_t>() >= limits::max_vocabulary) {
    return bad(field, fmt::format("not a token id below {}", limits::max_vocabulary));
  }
  return static_cast<Token>(value.get<std::int64_t>());
}

Result<void> parse_normalizer(const json& normalizer, TokenizerParts& parts) {
  if (normalizer.is_null()) return {};
  const std::string type = text_of(normalizer, "type");
  if (type == "NFC") {
    parts.nfc = true;
    return {};
  }
  if (type == "Sequence" && member(normalizer, "normalizers").is_array()) {
    for (const json& inner : member(normalizer, "normalizers")) SEQKV_TRY(parse_normalizer(inner, parts));
    return {};
  }
  return refuse("normalizer", fmt::format("type '{}' is not implemented (none and NFC are)", type));
}

Result<void> parse_split(const json& split, PreTokenizer& out) {
  const json& pattern = member(split, "pattern");
  std::string regex = text_of(pattern, "Regex");
  if (regex.empty()) regex = Regex::escape(text_of(pattern, "String"));
  const std::string behavior = text_of(split, "behavior");
  const bool invert = flag_of(split, "invert", false);
  const bool matches_only = behavior == "Removed" && invert;
  if (regex.empty() || (behavior != "Isolated" && !matches_only)) {
    return refuse("pre_tokenizer", fmt::format("Split with behavior '{}' is not implemented", behavior));
  }
  SEQKV_ASSIGN(Regex compiled, Regex::compile(regex));
  out.splits.push_back({std::move(compiled), matches_only});
  return {};
}

Result<void> parse_pre_tokenizer(const json& pre, PreTokenizer& out, bool& byte_level) {
  const std::string type = text_of(pre, "type");
  if (type == "ByteLevel") {
    byte_level = true;
    out.add_prefix_space = out.add_prefix_space || flag_of(pre, "add_prefix_space", true);
    if (!flag_of(pre, "use_regex", true)) return {};
    SEQKV_ASSIGN(Regex compiled, Regex::compile(gpt2_pattern));
    out.splits.push_back({std::move(compiled), false});
    return {};
  }
  if (type == "Split") return parse_split(pre, out);
  if (type == "Digits") {
    SEQKV_ASSIGN(Regex compiled, Regex::compile(flag_of(pre, "individual_digits", false) ? R"(\p{N})" : R"(\p{N}+)"));
    out.splits.push_back({std::move(compiled), false});
    return {};
  }
  if (type == "Sequence" && member(pre, "pretokenizers").is_array()) {
    for (const json& inner : member(pre, "pretokenizers")) SEQKV_TRY(parse_pre_tokenizer(inner, out, byte_level));
    return {};
  }
  return refuse("pre_tokenizer", fmt::format("type '{}' is not implemented (ByteLevel, Split, Digits, Sequence are)", type));
}

/// TemplateProcessing's "single": special tokens around one text A.
Result<void> parse_template(const json& post, Template& out) {
  bool behind = false;
  for (const json& piece : member(post, "single")) {
    if (piece.contains("Sequence")) {
      if (std::exchange(behind, true)) return refuse("post_processor", "a template with the text twice");
      continue;
    }
    const std::string name = text_of(member(piece, "SpecialToken"), "id");
    const json& ids = member(member(member(post, "special_tokens"), name.c_str()), "ids");
    if (!ids.is_array()) return bad("post_processor", fmt::format("special token '{}' has no ids", name));
    for (const json& id : ids) {
      SEQKV_ASSIGN(const Token token, token_of(id, "post_processor"));
      (behind ? out.behind : out.before).push_back(token);
    }
  }
  return {};
}

Result<void> parse_post_processor(const json& post, Template& out) {
  if (post.is_null()) return {};
  const std::string type = text_of(post, "type");
  if (type == "ByteLevel") return {};  // changes offsets only
  if (type == "TemplateProcessing") return parse_template(post, out);
  if (type == "Sequence" && member(post, "processors").is_array()) {
    for (const json& inner : member(post, "processors")) SEQKV_TRY(parse_post_processor(inner, out));
    return {};
  }
  return refuse("post_processor", fmt::format("type '{}' is not implemented", type));
}

Result<void> add_entry(TokenizerParts& parts, Token id, std::string bytes, bool special) {
  if (id >= parts.bytes_of.size()) {
    parts.bytes_of.resize(id + 1);
    parts.special.resize(id + 1);
  }
  parts.bytes_of[id] = std::move(bytes);
  parts.special[id] = special;
  return {};
}

Result<void> parse_model(const json& model, TokenizerParts& parts) {
  if (text_of(model, "type") != "BPE") {
    return refuse("model.type", fmt::format("'{}' is not implemented (BPE is)", text_of(model, "type")));
  }
  for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!text_of(model, name).empty()) return refuse(fmt::format("model.{}", name), "is not implemented");
  }
  if (flag_of(model, "byte_fallback", false)) return refuse("model.byte_fallback", "SentencePiece vocabularies are not implemented");
  const json& dropout = member(model, "dropout");
  if (!dropout.is_null() && dropout != 0.0) return refuse("model.dropout", "random merges are not implemented");

  const json& vocabulary = member(model, "vocab");
  const json& merges = member(model, "merges");
  if (!vocabulary.is_object()) return bad("model.vocab", "not an object");
  if (!merges.is_array()) return bad("model.merges", "not an array");
  const ByteAlphabet alphabet;
  for (const auto& [entry, id] : vocabulary.items()) {
    SEQKV_ASSIGN(const Token token, token_of(id, fmt::format("model.vocab '{}'", entry)));
    std::string bytes = alphabet.to_bytes(entry);
    parts.bpe.add_token(bytes, token);
    SEQKV_TRY(add_entry(parts, token, std::move(bytes), false));
  }
  for (std::size_t i = 0; i < merges.size(); ++i) {
    std::string left;
    std::string right;
    if (merges[i].is_array() && merges[i].size() == 2 && merges[i][0].is_string() && merges[i][1].is_string()) {
      left = merges[i][0].get<std::string>();
      right = merges[i][1].get<std::string>();
    } else if (merges[i].is_string()) {
      const auto pair = merges[i].get<std::string>();
      const auto space = pair.find(' ');
      left = pair.substr(0, space);
      right = space == std::string::npos ? "" : pair.substr(space + 1);
    }
    if (left.empty() || !parts.bpe.add_merge(alphabet.to_bytes(left), alphabet.to_bytes(right))) {
      return bad("model.merges", fmt::format("entry {} is not a pair of tokens whose joint is a token", i));
    }
  }
  parts.bpe.set_ignore_merges(flag_of(model, "ignore_merges", false));
  if (!parts.bpe.index_bytes()) return refuse("model.vocab", "not every byte is a token");
  return {};
}

Result<void> parse_added_tokens(const json& list, TokenizerParts& parts) {
  if (list.is_null()) return {};
  if (!list.is_array()) return bad("added_tokens", "not an array");
  const ByteAlphabet alphabet;
  for (const json& entry : list) {
    AddedToken token;
    SEQKV_ASSIGN(token.id, token_of(member(entry, "id"), "added_tokens"));
    token.content = text_of(entry, "content");
    token.special = flag_of(entry, "special", false);
    token.normalized = flag_of(entry, "normalized", !token.special);
    token.single_word = flag_of(entry, "single_word", false);
    token.lstrip = flag_of(entry, "lstrip", false);
    token.rstrip = flag_of(entry, "rstrip", false);
    SEQKV_TRY(add_entry(parts, token.id, alphabet.to_bytes(token.content), token.special));
    parts.added.push_back(std::move(token));
  }
  return {};
}

}  // namespace

Result<TokenizerParts> parse_tokenizer(const json& document) {
  if (!document.is_object()) return bad("tokenizer", "not a JSON object");
  TokenizerParts parts;
  bool byte_level = false;
  SEQKV_TRY(parse_normalizer(member(document, "normalizer"), parts));
  SEQKV_TRY(parse_pre_tokenizer(member(document, "pre_tokenizer"), parts.pre_tokenizer, byte_level));
  if (!byte_level) return refuse("pre_tokenizer", "only byte-level vocabularies are implemented, there is no ByteLevel here");
  SEQKV_TRY(parse_post_processor(member(document, "post_processor"), parts.post));
  SEQKV_TRY(parse_model(member(document, "model"), parts));
  SEQKV_TRY(parse_added_tokens(member(document, "added_tokens"), parts));
  return parts;
}

}  // namespace seqkv
