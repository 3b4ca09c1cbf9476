// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "model/added_tokens.hpp"

#include <algorithm>

#include "core/try.hpp"
#include "model/utf8.hpp"

namespace seqkv {
namespace {

/// Length of the white space that `text` starts with.
std::size_t leading_space(std::string_view text) {
  std::size_t end = 0;
  for (std::size_t at = 0; at < text.size() && is_white_space(next_code_point(text, at));) end = at;
  return end;
}

/// Length of the white space that `text` ends with.
std::size_t trailing_space(std::string_view text) {
  std::size_t begin = text.size();
  while (begin > 0) {
    const std::string_view last = last_character(text.substr(0, begin));
    std::size_t at = 0;
    if (!is_white_space(next_code_point(last, at))) break;
    begin -= last.size();
  }
  return text.size() - begin;
}

}  // namespace

Result<AddedTokens> AddedTokens::create(std::vector<AddedToken> tokens) {
  // The \w of tokenizers' second engine, which looks at the neighbors of an added token, has the joiners too.
  SEQKV_ASSIGN(Regex word, Regex::compile(R"(\A[\w\x{200c}\x{200d}])"));
  AddedTokens added(std::move(word));
  // Of two of the same content (made equal by a normalizer, say) the later one counts, special ones first in order.
  std::stable_partition(tokens.begin(), tokens.end(), [](const AddedToken& token) { return token.special; });
  for (AddedToken& token : tokens) {
    if (token.content.empty()) continue;
    auto& lengths = added.lengths_[static_cast<unsigned char>(token.content[0])];
    const auto place = std::lower_bound(lengths.begin(), lengths.end(), token.content.size(), std::greater<>());
    if (place == lengths.end() || *place != token.content.size()) lengths.insert(place, token.content.size());
    std::string content = token.content;
    added.tokens_.insert_or_assign(std::move(content), std::move(token));
  }
  return added;
}

const AddedToken* AddedTokens::match_at(std::string_view text, std::size_t at) const {
  for (std::size_t length : lengths_[static_cast<unsigned char>(text[at])]) {
    const auto found = tokens_.find(text.substr(at, length));
    if (found != tokens_.end()) return &found->second;
  }
  return nullptr;
}

bool AddedTokens::is_word(std::string_view character) const {
  std::size_t begin = 0;
  std::size_t end = 0;
  return !character.empty() && word_.search(character, begin, end);
}

void AddedTokens::split(std::string_view text,
                        const std::function<void(std::string_view, const AddedToken*)>& visit) const {
  std::size_t done = 0;
  for (std::size_t at = 0; at < text.size() && !tokens_.empty();) {
    const AddedToken* token = match_at(text, at);
    if (token == nullptr) {
      ++at;
      continue;
    }
    std::size_t begin = at;
    std::size_t end = at + token->content.size();
    at = end;
    if (token->single_word && (is_word(last_character(text.substr(0, begin))) || is_word(text.substr(end)))) continue;
    if (token->lstrip) begin = std::max(begin - trailing_space(text.substr(0, begin)), done);
    if (token->rstrip) end += leading_space(text.substr(end));
    if (begin > done) visit(text.substr(done, begin - done), nullptr);
    // A token of white space may have been taken along, whole, by the one before it.
    if (begin < end) visit(text.substr(begin, end - begin), token);
    done = end;
  }
  if (done < text.size()) visit(text.substr(done), nullptr);
}

}  // namespace seqkv
