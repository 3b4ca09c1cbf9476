// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/tokenizer.hpp"

#include <fmt/format.h>

#include "core/try.hpp"
#include "io/file.hpp"
#include "io/json.hpp"
#include "io/text.hpp"
#include "model/nfc.hpp"
#include "model/tokenizer_json.hpp"
#include "seqkv/limits.hpp"

namespace seqkv {

struct Tokenizer::State {
  State(TokenizerParts tokenizer_parts, AddedTokens before, AddedTokens after, const Digest& digest)
      : parts(std::move(tokenizer_parts)), raw(std::move(before)), normalized(std::move(after)), fingerprint(digest) {}

  TokenizerParts parts;
  AddedTokens raw;         ///< found before the normalizer
  AddedTokens normalized;  ///< found behind it
  Digest fingerprint;

  /// Applies pre-tokenizer `stage` and those behind it, then the merges. `text` is not empty.
  Result<void> encode_stage(std::string_view text, std::size_t stage, std::vector<Token>& out) const {
    if (stage == parts.pre_tokenizers.size()) {
      parts.bpe.encode(text, out);
      return {};
    }
    const PreTokenizer& pre = parts.pre_tokenizers[stage];
    std::string with_space;
    if (pre.add_prefix_space && !text.starts_with(' ')) text = with_space = fmt::format(" {}", text);
    if (!pre.pattern) return encode_stage(text, stage + 1, out);
    Result<void> inner;
    SEQKV_TRY(pre.pattern->split(text, [&](std::size_t begin, std::size_t end, bool is_match) {
      if (inner && (is_match || !pre.matches_only))
        inner = encode_stage(text.substr(begin, end - begin), stage + 1, out);
    }));
    return inner;
  }
};

Tokenizer::Tokenizer(std::unique_ptr<const State> state) : state_(std::move(state)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Result<Tokenizer> Tokenizer::parse(std::string_view text) {
  SEQKV_ASSIGN(const nlohmann::json document, io::parse_json(text));
  SEQKV_ASSIGN(TokenizerParts parts, parse_tokenizer(document));
  std::vector<AddedToken> raw;
  std::vector<AddedToken> normalized;
  for (AddedToken& token : parts.added) {
    if (token.normalized && parts.nfc) {
      SEQKV_ASSIGN(token.content, to_nfc(token.content));
      parts.entries[parts.entry_of[token.id]].bytes = token.content;  // the text that it was found in
    }
    (token.normalized ? normalized : raw).push_back(std::move(token));
  }
  SEQKV_ASSIGN(AddedTokens before, AddedTokens::create(std::move(raw)));
  SEQKV_ASSIGN(AddedTokens after, AddedTokens::create(std::move(normalized)));
  const Digest digest = Sha256().update(text).finish();
  return Tokenizer(std::make_unique<State>(std::move(parts), std::move(before), std::move(after), digest));
}

Result<Tokenizer> Tokenizer::load(const std::filesystem::path& path) {
  SEQKV_ASSIGN(const std::string text, io::read_file(path, limits::max_json_bytes));
  auto tokenizer = parse(text);
  if (!tokenizer) return std::move(tokenizer).error().in_file(path.string());
  return tokenizer;
}

Result<std::vector<Token>> Tokenizer::encode(std::string_view text, SpecialTokens special) const {
  if (const auto bad = io::find_invalid_utf8(text); bad >= 0) {
    return Error(ErrorCode::not_utf8, "the text is not UTF-8").at_byte(bad);
  }
  const bool with_template = special == SpecialTokens::add && state_->parts.post;
  std::vector<Token> tokens;
  if (with_template) tokens = state_->parts.post->before;
  Result<void> status;
  const auto plain = [&](std::string_view piece, const AddedToken* added) {
    if (!status) return;
    if (added != nullptr) {
      tokens.push_back(added->id);
    } else {
      status = state_->encode_stage(piece, 0, tokens);
    }
  };
  state_->raw.split(text, [&](std::string_view piece, const AddedToken* added) {
    if (added != nullptr || !status) return plain(piece, added);
    if (!state_->parts.nfc) return state_->normalized.split(piece, plain);
    const auto composed = to_nfc(piece);
    if (!composed) {
      status = composed.error();
    } else {
      state_->normalized.split(*composed, plain);
    }
  });
  SEQKV_TRY(std::move(status));
  if (with_template) tokens.insert(tokens.end(), state_->parts.post->behind.begin(), state_->parts.post->behind.end());
  return tokens;
}

Result<std::string> Tokenizer::decode(TokenSpan tokens, bool skip_special) const {
  const auto& entry_of = state_->parts.entry_of;
  std::string text;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] >= entry_of.size() || entry_of[tokens[i]] == TokenizerParts::no_entry) {
      return Error(ErrorCode::token_out_of_range,
                   fmt::format("token {} is {}, which is not in the vocabulary of {}", i, tokens[i], entry_of.size()));
    }
    const TokenizerParts::Entry& entry = state_->parts.entries[entry_of[tokens[i]]];
    if (!(skip_special && entry.special)) text += entry.bytes;
  }
  return text;
}

std::int64_t Tokenizer::vocabulary_size() const noexcept {
  return static_cast<std::int64_t>(state_->parts.entry_of.size());
}
const Digest& Tokenizer::fingerprint() const noexcept { return state_->fingerprint; }

}  // namespace seqkv
