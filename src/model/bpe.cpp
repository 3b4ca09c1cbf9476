// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "model/bpe.hpp"

#include <algorithm>
#include <functional>
#include <queue>

#include "model/utf8.hpp"

namespace seqkv {
namespace {

constexpr std::uint32_t no_rank = MergeTable::Merge{}.rank;

}  // namespace

ByteAlphabet::ByteAlphabet() {
  byte_of_.fill(-1);
  std::size_t next = 256;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    byte_of_[printable ? static_cast<std::size_t>(byte) : next++] = static_cast<std::int16_t>(byte);
  }
}

std::optional<std::string> ByteAlphabet::to_bytes(std::string_view entry) const {
  std::string bytes;
  for (std::size_t at = 0; at < entry.size();) {
    const char32_t point = next_code_point(entry, at);
    if (point >= byte_of_.size() || byte_of_[point] < 0) return std::nullopt;
    bytes += static_cast<char>(byte_of_[point]);
  }
  return bytes;
}

std::size_t MergeTable::place(std::uint64_t pair) const {
  std::size_t slot = (pair * 0x9e3779b97f4a7c15ULL) >> shift_;  // Fibonacci hashing: the high bits are mixed best
  while (slots_[slot].merge.rank != no_rank && slots_[slot].pair != pair) slot = (slot + 1) & (slots_.size() - 1);
  return slot;
}

void MergeTable::grow() {
  const std::vector<Slot> old = std::exchange(slots_, std::vector<Slot>(2 * slots_.size()));
  --shift_;
  for (const Slot& slot : old) {
    if (slot.merge.rank != no_rank) slots_[place(slot.pair)] = slot;
  }
}

void MergeTable::set(Token left, Token right, const Merge& merge) {
  if (2 * used_ >= slots_.size()) grow();
  const std::uint64_t pair = std::uint64_t{left} << 32U | right;
  Slot& slot = slots_[place(pair)];
  if (slot.merge.rank == no_rank) ++used_;
  slot = {pair, merge};
}

MergeTable::Merge MergeTable::find(Token left, Token right) const {
  return slots_[place(std::uint64_t{left} << 32U | right)].merge;
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
  merges_.set(static_cast<Token>(a), static_cast<Token>(b), {next_rank_++, static_cast<Token>(result)});
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

void Bpe::encode(std::string_view word, std::vector<Token>& out) const {
  if (ignore_merges_) {
    if (const std::int64_t id = find(word); id >= 0) {
      out.push_back(static_cast<Token>(id));
      return;
    }
  }
  word.size() <= short_word ? encode_short(word, out) : encode_long(word, out);
}

void Bpe::encode_short(std::string_view word, std::vector<Token>& out) const {
  std::array<Token, short_word> tokens;
  std::array<MergeTable::Merge, short_word> merges;  // of token i and the one behind it; none for the last
  std::size_t count = word.size();
  for (std::size_t i = 0; i < count; ++i) tokens[i] = byte_tokens_[static_cast<unsigned char>(word[i])];
  for (std::size_t i = 0; i + 1 < count; ++i) merges[i] = merges_.find(tokens[i], tokens[i + 1]);
  while (count > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < count; ++i) {
      if (merges[i].rank < merges[best].rank) best = i;
    }
    if (merges[best].rank == no_rank) break;
    tokens[best] = merges[best].result;
    --count;
    for (std::size_t i = best + 1; i < count; ++i) tokens[i] = tokens[i + 1];
    for (std::size_t i = best + 1; i + 1 < count; ++i) merges[i] = merges[i + 1];
    if (best + 1 < count) merges[best] = merges_.find(tokens[best], tokens[best + 1]);
    if (best > 0) merges[best - 1] = merges_.find(tokens[best - 1], tokens[best]);
  }
  out.insert(out.end(), tokens.begin(), tokens.begin() + count);
}

void Bpe::encode_long(std::string_view word, std::vector<Token>& out) const {
  // A doubly linked list of symbols and a queue of candidate pairs; a candidate whose symbols have merged with
  // others since is recognized by its rank and passed over.
  struct Symbol {
    Token token;
    std::int64_t previous, next;  // -1 at the ends; `next` is -2 in a symbol that was merged away
  };
  struct Candidate {
    MergeTable::Merge merge;
    std::int64_t left;
    bool operator>(const Candidate& other) const {
      return merge.rank != other.merge.rank ? merge.rank > other.merge.rank : left > other.left;
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
    const MergeTable::Merge merge = merges_.find(symbols[left].token, symbols[symbols[left].next].token);
    if (merge.rank != no_rank) queue.push({merge, left});
  };
  for (std::int64_t i = 0; i < count; ++i) offer(i);
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& left = symbols[best.left];
    if (left.next < 0) continue;
    Symbol& right = symbols[left.next];
    if (merges_.find(left.token, right.token).rank != best.merge.rank) continue;
    left.token = best.merge.result;
    left.next = right.next;
    right.next = -2;
    if (left.next >= 0) symbols[left.next].previous = best.left;
    offer(left.previous);
    offer(best.left);
  }
  for (std::int64_t i = 0; i >= 0 && i < count; i = symbols[i].next) out.push_back(symbols[i].token);
}

}  // namespace seqkv
