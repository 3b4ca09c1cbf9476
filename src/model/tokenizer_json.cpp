// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "model/tokenizer_json.hpp"

#include <fmt/format.h>
#include <algorithm>

#include <unordered_map>
#include <utility>

#include "core/try.hpp"
#include "seqkv/limits.hpp"

namespace seqkv {
namespace {

using nlohmann::json;

// GPT-2's pattern, which the ByteLevel pre-tokenizer applies unless use_regex is false.
constexpr std::string_view gpt2_pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// Rust's char::is_numeric, which the Digits pre-tokenizer asks, is of Unicode 17.
constexpr std::string_view numeric = R"([\p{N}\x{11de0}-\x{11de9}\x{16ff4}-\x{16ff6}])";

Error refuse(const std::string& field, const std::string& what) {
  return Error(ErrorCode::unsupported, what).at_field(field);
}
Error bad(const std::string& field, const std::string& what) {
  return Error(ErrorCode::bad_format, what).at_field(field);
}

const json& member(const json& object, const std::string& name) {
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
Result<bool> required_flag(const json& object, const char* name, const std::string& field) {
  const json& value = member(object, name);
  if (!value.is_boolean()) return bad(field, fmt::format("'{}' is not true or false", name));
  return value.get<bool>();
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

Result<void> add_split(TokenizerParts& parts, std::string_view pattern, bool matches_only, bool add_prefix_space) {
  auto compiled = Regex::compile(pattern);
  if (!compiled) return std::move(compiled).error().at_field("pre_tokenizer");
  parts.pre_tokenizers.push_back({std::move(*compiled), matches_only, add_prefix_space});
  return {};
}

Result<void> parse_split(const json& split, TokenizerParts& parts) {
  const json& pattern = member(split, "pattern");
  std::string regex = text_of(pattern, "Regex");
  if (regex.empty()) regex = Regex::escape(text_of(pattern, "String"));
  if (regex.empty()) return bad("pre_tokenizer", "Split without a pattern");
  const std::string behavior = text_of(split, "behavior");
  const bool matches_only = behavior == "Removed" && flag_of(split, "invert", false);
  if (behavior != "Isolated" && !matches_only) {
    return refuse("pre_tokenizer", fmt::format("Split with behavior '{}' is not implemented", behavior));
  }
  return add_split(parts, regex, matches_only, false);
}

Result<void> parse_pre_tokenizer(const json& pre, TokenizerParts& parts, bool& byte_level) {
  constexpr std::size_t most = 64;  // far above any tokenizer's; they are applied one inside the other
  if (parts.pre_tokenizers.size() >= most) {
    return Error(ErrorCode::limit_exceeded, fmt::format("more than {} pre-tokenizers", most)).at_field("pre_tokenizer");
  }
  const std::string type = text_of(pre, "type");
  // Behind ByteLevel, text is spelled in its alphabet, and classes of characters mean other bytes.
  if (byte_level) return refuse("pre_tokenizer", fmt::format("'{}' behind ByteLevel is not implemented", type));
  if (type == "ByteLevel") {
    byte_level = true;
    const bool add_prefix_space = flag_of(pre, "add_prefix_space", true);
    if (flag_of(pre, "use_regex", true)) return add_split(parts, gpt2_pattern, false, add_prefix_space);
    parts.pre_tokenizers.push_back({std::nullopt, false, add_prefix_space});
    return {};
  }
  if (type == "Split") return parse_split(pre, parts);
  if (type == "Digits") {
    const std::string all_at_once = fmt::format("{}+", numeric);
    return add_split(parts, flag_of(pre, "individual_digits", false) ? numeric : all_at_once, false, false);
  }
  if (type == "Sequence" && member(pre, "pretokenizers").is_array()) {
    for (const json& inner : member(pre, "pretokenizers")) SEQKV_TRY(parse_pre_tokenizer(inner, parts, byte_level));
    return {};
  }
  return refuse("pre_tokenizer",
                fmt::format("type '{}' is not implemented (ByteLevel, Split, Digits, Sequence are)", type));
}

/// TemplateProcessing's "single": special tokens around one text A.
Result<Template> parse_template(const json& post) {
  Template out;
  bool behind = false;
  if (!member(post, "single").is_array()) return bad("post_processor", "'single' is not an array");
  for (const json& piece : member(post, "single")) {
    if (const json& text = member(piece, "Sequence"); !text.is_null()) {
      if (text_of(text, "id") != "A") return bad("post_processor", "'single' names a text other than A");
      if (std::exchange(behind, true))
        return refuse("post_processor", "a template with the text twice is not implemented");
      continue;
    }
    const std::string name = text_of(member(piece, "SpecialToken"), "id");
    const json& ids = member(member(member(post, "special_tokens"), name), "ids");
    if (!ids.is_array()) return bad("post_processor", fmt::format("special token '{}' has no ids", name));
    for (const json& id : ids) {
      SEQKV_ASSIGN(const Token token, token_of(id, "post_processor"));
      (behind ? out.behind : out.before).push_back(token);
    }
  }
  if (!behind) return refuse("post_processor", "a template without the text is not implemented");
  return out;
}

Result<void> parse_post_processor(const json& post, std::optional<Template>& out) {
  if (post.is_null()) return {};
  const std::string type = text_of(post, "type");
  if (type == "ByteLevel") return {};  // changes offsets only
  if (type == "TemplateProcessing") {
    if (out) return refuse("post_processor", "two templates are not implemented");
    SEQKV_ASSIGN(out, parse_template(post));
    return {};
  }
  if (type == "Sequence" && member(post, "processors").is_array()) {
    for (const json& inner : member(post, "processors")) SEQKV_TRY(parse_post_processor(inner, out));
    return {};
  }
  return refuse("post_processor",
                fmt::format("type '{}' is not implemented (ByteLevel, TemplateProcessing, Sequence are)", type));
}

/// Byte-level vocabularies are spelled in ByteLevel's alphabet; no decoder or that one undoes it.
Result<void> check_decoder(const json& decoder) {
  if (decoder.is_null() || text_of(decoder, "type") == "ByteLevel") return {};
  if (text_of(decoder, "type") == "Sequence" && member(decoder, "decoders").is_array()) {
    for (const json& inner : member(decoder, "decoders")) SEQKV_TRY(check_decoder(inner));
    return {};
  }
  return refuse("decoder",
                fmt::format("type '{}' is not implemented (ByteLevel, Sequence are)", text_of(decoder, "type")));
}

void add_entry(TokenizerParts& parts, Token id, std::string bytes, bool special) {
  if (id >= parts.entry_of.size()) parts.entry_of.resize(id + 1, TokenizerParts::no_entry);
  parts.entry_of[id] = static_cast<std::uint32_t>(parts.entries.size());
  parts.entries.push_back({std::move(bytes), special});
}

/// A merge is ["left", "right"] or, in older files, "left right".
std::optional<std::pair<std::string, std::string>> merge_of(const json& merge) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    return std::pair(merge[0].get<std::string>(), merge[1].get<std::string>());
  }
  if (!merge.is_string()) return std::nullopt;
  const auto text = merge.get<std::string>();
  const auto blank = text.find(' ');
  if (blank == std::string::npos) return std::nullopt;
  return std::pair(text.substr(0, blank), text.substr(blank + 1));
}

Result<void> parse_merges(const json& merges, const json& vocabulary, Bpe& bpe) {
  if (!merges.is_array()) return bad("model.merges", "not an array");
  const ByteAlphabet alphabet;
  for (std::size_t i = 0; i < merges.size(); ++i) {
    if (merges[i].is_string() && merges[i].get_ref<const std::string&>().starts_with("#version")) continue;
    const auto merge = merge_of(merges[i]);
    const auto left = merge ? alphabet.to_bytes(merge->first) : std::nullopt;
    const auto right = merge ? alphabet.to_bytes(merge->second) : std::nullopt;
    // Entries that are not spelled in the alphabet never come up in a text; they only have to exist.
    const bool known = left && right
                           ? bpe.add_merge(*left, *right)
                           : merge && vocabulary.contains(merge->first) && vocabulary.contains(merge->second) &&
                                 vocabulary.contains(merge->first + merge->second);
    if (!known) return bad("model.merges", fmt::format("entry {} is not a pair of tokens whose joint is a token", i));
  }
  return {};
}

Result<void> parse_model(const json& model, TokenizerParts& parts) {
  // Older files do not name the type; a list of merges is BPE's alone.
  const std::string type = text_of(model, "type");
  if (type != "BPE" && !(member(model, "type").is_null() && member(model, "merges").is_array())) {
    return refuse("model.type", fmt::format("'{}' is not implemented (BPE is)", type));
  }
  for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!text_of(model, name).empty()) return refuse(fmt::format("model.{}", name), "is not implemented");
  }
  if (flag_of(model, "byte_fallback", false))
    return refuse("model.byte_fallback", "SentencePiece vocabularies are not implemented");
  const json& dropout = member(model, "dropout");
  if (!dropout.is_null() && dropout != 0.0) return refuse("model.dropout", "random merges are not implemented");

  const json& vocabulary = member(model, "vocab");
  if (!vocabulary.is_object()) return bad("model.vocab", "not an object");
  const ByteAlphabet alphabet;
  for (const auto& [entry, id] : vocabulary.items()) {
    SEQKV_ASSIGN(const Token token, token_of(id, fmt::format("model.vocab '{}'", entry)));
    auto bytes = alphabet.to_bytes(entry);
    if (bytes) parts.bpe.add_token(*bytes, token);
    add_entry(parts, token, bytes ? std::move(*bytes) : entry, false);
  }
  if (!parts.bpe.index_bytes()) return refuse("model.vocab", "not every byte is a token");
  SEQKV_TRY(parse_merges(member(model, "merges"), vocabulary, parts.bpe));
  parts.bpe.set_ignore_merges(flag_of(model, "ignore_merges", false));
  return {};
}

/// Gives added tokens their ids: the entry's in the vocabulary, or else the next one behind all others. What the
/// file says does not count, for `tokenizers` either.
class AddedIds {
 public:
  explicit AddedIds(const json& vocabulary)
      : vocabulary_(vocabulary), next_(static_cast<std::int64_t>(vocabulary.size())) {}

  std::int64_t id_of(const std::string& content) {
    const json& entry = member(vocabulary_, content);
    const auto [place, is_new] = ids_.emplace(content, entry.is_null() ? next_ : entry.get<std::int64_t>());
    next_ = std::max(next_, place->second + 1);
    return place->second;
  }

 private:
  const json& vocabulary_;
  std::unordered_map<std::string, std::int64_t> ids_;
  std::int64_t next_;
};

Result<void> parse_added_tokens(const json& list, const json& vocabulary, TokenizerParts& parts) {
  if (list.is_null()) return {};
  if (!list.is_array()) return bad("added_tokens", "not an array");
  AddedIds ids(vocabulary);
  for (std::size_t i = 0; i < list.size(); ++i) {
    const std::string field = fmt::format("added_tokens[{}]", i);
    SEQKV_ASSIGN([[maybe_unused]] const Token written, token_of(member(list[i], "id"), field));
    if (!member(list[i], "content").is_string()) return bad(field, "'content' is not a text");
    AddedToken token;
    token.content = text_of(list[i], "content");
    SEQKV_ASSIGN(token.special, required_flag(list[i], "special", field));
    SEQKV_ASSIGN(token.normalized, required_flag(list[i], "normalized", field));
    SEQKV_ASSIGN(token.single_word, required_flag(list[i], "single_word", field));
    SEQKV_ASSIGN(token.lstrip, required_flag(list[i], "lstrip", field));
    SEQKV_ASSIGN(token.rstrip, required_flag(list[i], "rstrip", field));
    if (token.content.empty()) continue;
    const std::int64_t id = ids.id_of(token.content);
    if (id >= limits::max_vocabulary) {
      return Error(ErrorCode::limit_exceeded, fmt::format("more than {} tokens", limits::max_vocabulary))
          .at_field(field);
    }
    token.id = static_cast<Token>(id);
    add_entry(parts, token.id, token.content, token.special);
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
  SEQKV_TRY(parse_pre_tokenizer(member(document, "pre_tokenizer"), parts, byte_level));
  if (!byte_level)
    return refuse("pre_tokenizer", "only byte-level vocabularies are implemented, there is no ByteLevel here");
  SEQKV_TRY(parse_post_processor(member(document, "post_processor"), parts.post));
  SEQKV_TRY(check_decoder(member(document, "decoder")));
  SEQKV_TRY(parse_model(member(document, "model"), parts));
  const json& vocabulary = member(member(document, "model"), "vocab");
  SEQKV_TRY(parse_added_tokens(member(document, "added_tokens"), vocabulary, parts));
  return parts;
}

}  // namespace seqkv
