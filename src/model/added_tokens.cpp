// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "model/added_tokens.hpp"

#include <algorithm>

#include "core/try.hpp"

namespace seqkv {

Result<AddedTokens> AddedTokens::create(std::vector<AddedToken> tokens) {
  SEQKV_ASSIGN(Regex word_before, Regex::compile(R"(\w\z)"));
  SEQKV_ASSIGN(Regex word_behind, Regex::compile(R"(\A\w)"));
  SEQKV_ASSIGN(Regex space_before, Regex::compile(R"(\s*\z)"));
  SEQKV_ASSIGN(Regex space_behind, Regex::compile(R"(\A\s*)"));
  AddedTokens added(std::move(word_before), std::move(word_behind), std::move(space_before), std::move(space_behind));
  std::erase_if(tokens, [](const AddedToken& token) { return token.content.empty(); });
  std::stable_sort(tokens.begin(), tokens.end(),
                   [](const AddedToken& a, const AddedToken& b) { return a.content.size() > b.content.size(); });
  added.by_first_byte_.resize(256);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    added.by_first_byte_[static_cast<unsigned char>(tokens[i].content[0])].push_back(i);
  }
  added.tokens_ = std::move(tokens);
  return added;
}

const AddedToken* AddedTokens::match_at(std::string_view text, std::size_t at) const {
  for (std::size_t i : by_first_byte_[static_cast<unsigned char>(text[at])]) {
    if (text.substr(at).starts_with(tokens_[i].content)) return &tokens_[i];
  }
  return nullptr;
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
    std::size_t from = 0;
    std::size_t to = 0;
    if (token->single_word && (word_before_.search(text.substr(0, begin), from, to) ||
                               word_behind_.search(text.substr(end), from, to))) {
      continue;
    }
    if (token->lstrip && space_before_.search(text.substr(0, begin), from, to)) begin = std::max(from, done);
    if (token->rstrip && space_behind_.search(text.substr(end), from, to)) end += to;
    at = end;
    if (begin > done) visit(text.substr(done, begin - done), nullptr);
    visit(text.substr(begin, end - begin), token);
    done = end;
  }
  if (done < text.size()) visit(text.substr(done), nullptr);
}

}  // namespace seqkv
