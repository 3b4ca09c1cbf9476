// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "model/bpe.hpp"

#include <algorithm>
#include <queue>

#include "model/utf8.hpp"

namespace seqkv {

ByteAlphabet::ByteAlphabet() {
  byte_of_.fill(-1);
  std::size_t next = 256;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    byte_of_[printable ? static_cast<std::size_t>(byte) : next++] = static_cast<std::int16_t>(byte);
  }
}

std::string ByteAlphabet::to_bytes(std::string_view entry) const {
  std::string bytes;
  for (std::size_t at = 0; at < entry.size();) {
    const char32_t point = next_code_point(entry, at);
    if (point >= byte_of_.size() || byte_of_[point] < 0) return std::string(entry);
    bytes += static_cast<char>(byte_of_[point]);
  }
  return bytes;
}

void Bpe::add_token(std::string bytes, Token id) { ids_.emplace(std::move(bytes), id); }

std::int64_t Bpe::find(std::string_view bytes) const {
  const auto found = ids_.find(bytes);
  return found == ids_.end() ? -1 : std::int64_t{found->second};
}

bool Bpe::add_merge(const std::string& left, const std::string& right) {
  const std::int64_t a = find(left);
  const std::int64_t b = find(right);
  const std::int64_t result = find(left + right);
  if (a < 0 || b < 0 || result < 0) return false;
  const auto key = static_cast<std::uint64_t>(a) << 32U | static_cast<std::uint64_t>(b);
  merges_.insert_or_assign(key, Merge{next_rank_++, static_cast<Token>(result)});
  return true;
}

bool Bpe::index_bytes() {
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    const std::int64_t id = find({&c, 1});
    if (id < 0) return false;
    byte_tokens_[static_cast<std::size_t>(byte)] = static_cast<Token>(id);
  }
  return true;
}

const Bpe::Merge* Bpe::find_merge(Token left, Token right) const {
  const auto found = merges_.find(static_cast<std::uint64_t>(left) << 32U | right);
  return found == merges_.end() ? nullptr : &found->second;
}

void Bpe::encode(std::string_view word, std::vector<Token>& out) const {
  if (ignore_merges_) {
    if (const std::int64_t id = find(word); id >= 0) {
      out.push_back(static_cast<Token>(id));
      return;
    }
  }
  // A doubly linked list of symbols and a queue of candidate pairs; a candidate whose symbols have merged with
  // others since is recognized by its result and passed over.
  struct Symbol {
    Token token;
    std::int64_t previous, next;  // -1 at the ends; `next` is -2 in a symbol that was merged away
  };
  struct Candidate {
    std::uint32_t rank;
    std::int64_t left;
    Token result;
    bool operator>(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : left > other.left;
    }
  };
  const auto count = static_cast<std::int64_t>(word.size());
  std::vector<Symbol> symbols(word.size());
  for (std::int64_t i = 0; i < count; ++i) {
    symbols[i] = {byte_tokens_[static_cast<unsigned char>(word[i])], i - 1, i + 1 < count ? i + 1 : -1};
  }
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto offer = [&](std::int64_t left) {
    if (left < 0 || symbols[left].next < 0) return;
    const Merge* merge = find_merge(symbols[left].token, symbols[symbols[left].next].token);
    if (merge != nullptr) queue.push({merge->rank, left, merge->result});
  };
  for (std::int64_t i = 0; i < count; ++i) offer(i);
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& left = symbols[best.left];
    if (left.next < 0) continue;
    Symbol& right = symbols[left.next];
    const Merge* merge = find_merge(left.token, right.token);
    if (merge == nullptr || merge->rank != best.rank) continue;
    left.token = best.result;
    left.next = right.next;
    right.next = -2;
    if (left.next >= 0) symbols[left.next].previous = best.left;
    offer(left.previous);
    offer(best.left);
  }
  for (std::int64_t i = 0; i >= 0 && i < count; i = symbols[i].next) out.push_back(symbols[i].token);
}

}  // namespace seqkv
