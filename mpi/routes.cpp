// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "mpi/routes.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "core/bytes.hpp"
#include "core/try.hpp"

namespace seqkv::mpi {

Routes::Routes(std::int64_t block_tokens, int ranks)
    : block_tokens_(block_tokens), ranks_(ranks), blocks_(static_cast<std::size_t>(block_tokens)) {
  prefixes_.push_back({0, 0, root_hash, {}});
}

void Routes::add(std::uint32_t parent, TokenSpan block) {
  const HotPrefix& before = prefixes_[parent];
  const HotPrefix prefix{parent, before.blocks + 1, xxh3_64(std::as_bytes(block), before.hash), {}};
  // Another prefix of the same hash stays what it is: this one's sessions are found without it.
  if (!table_.try_emplace(prefix.hash, static_cast<std::uint32_t>(prefixes_.size())).second) return;
  prefixes_.push_back(prefix);
  blocks_.insert(blocks_.end(), block.begin(), block.end());
}

std::vector<Token> Routes::tokens_of(std::uint32_t prefix) const {
  std::vector<Token> tokens(prefixes_[prefix].blocks * static_cast<std::size_t>(block_tokens_));
  for (; prefix != 0; prefix = prefixes_[prefix].parent) {
    std::ranges::copy(block_of(prefix), tokens.begin() + (prefixes_[prefix].blocks - 1) * block_tokens_);
  }
  return tokens;
}

Result<void> Routes::find_hot(const Communicator& communicator, std::span<const TrieSession> sessions,
                              std::int64_t most) {
  std::vector<std::uint32_t> at(sessions.size(), 0);
  for (bool more = true; more;) {
    SEQKV_ASSIGN(more, find_level(communicator, sessions, at, most));
  }
  return {};
}

/// The prefixes one block longer than those of `at`, the hot prefix of each session so far. A prefix that is hot has on
/// some rank at least that rank's even part of `most`, so few need to be counted by all.
Result<bool> Routes::find_level(const Communicator& communicator, std::span<const TrieSession> sessions,
                                std::vector<std::uint32_t>& at, std::int64_t most) {
  using Key = std::pair<std::uint32_t, std::vector<Token>>;  // the prefix before, and the block
  const auto block_behind = [&](std::size_t session) {
    const auto first = prefixes_[at[session]].blocks * static_cast<std::size_t>(block_tokens_);
    const TokenSpan tokens = sessions[session].tokens;
    return first + static_cast<std::size_t>(block_tokens_) <= tokens.size()
               ? tokens.subspan(first, static_cast<std::size_t>(block_tokens_))
               : TokenSpan();
  };
  const auto deepest = prefixes_.back().blocks;                                    // those of the level before
  std::unordered_map<std::uint64_t, std::pair<std::int64_t, std::size_t>> counts;  // by hash; with one of them
  for (std::size_t i = 0; i < sessions.size(); ++i) {
    if (prefixes_[at[i]].blocks != deepest || block_behind(i).empty()) continue;
    auto& count = counts[xxh3_64(std::as_bytes(block_behind(i)), prefixes_[at[i]].hash)];
    ++count.first;
    count.second = i;
  }
  ByteWriter out;
  for (const auto& [hash, count] : counts) {
    if (count.first * ranks_ <= most) continue;
    out.put(at[count.second]);
    out.put(std::as_bytes(block_behind(count.second)));
  }
  SEQKV_ASSIGN(const RankBytes all, communicator.all_gather(std::move(out).take()));
  std::set<Key> candidates;
  for (ByteReader in(all.bytes); in.remaining() > 0 && in.ok();) {
    const auto before = in.get<std::uint32_t>();
    const auto bytes = in.get_bytes(static_cast<std::size_t>(block_tokens_) * sizeof(Token));
    std::vector<Token> block(bytes.size() / sizeof(Token));
    std::ranges::copy(bytes, std::as_writable_bytes(std::span(block)).begin());
    candidates.emplace(before, std::move(block));
  }
  std::vector<std::int64_t> sums;
  for (const auto& [before, block] : candidates) {
    const auto found = counts.find(xxh3_64(std::as_bytes(std::span(block)), prefixes_[before].hash));
    sums.push_back(found == counts.end() ? 0 : found->second.first);
  }
  SEQKV_TRY(communicator.reduce(sums, Reduction::sum));
  const std::size_t known = prefixes_.size();
  std::size_t i = 0;
  for (const auto& [before, block] : candidates) {
    if (sums[i++] > most) add(before, block);
  }
  if (prefixes_.size() == known) return false;
  for (std::size_t s = 0; s < sessions.size(); ++s) at[s] = route(sessions[s].tokens).hot;
  return true;
}

// ---- sessions of a trie -----------------------------------------------------------------------------------

std::vector<TrieSession> ListedSessions::views() const {
  std::vector<TrieSession> views;
  std::size_t begin = 0;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const std::size_t size = ends[i] - begin;
    views.push_back(
        {TokenSpan(tokens).subspan(begin, size), ids[i],
         surprisals.empty() ? std::span<const std::uint32_t>() : std::span(surprisals).subspan(begin, size)});
    begin = ends[i];
  }
  return views;
}

ListedSessions list_sessions(const Trie& trie) {
  const TrieView& view = trie.view();
  ListedSessions all;
  if (trie.shape().total == 0) return all;
  std::vector<Token> path;
  std::vector<std::uint32_t> surprisals;
  struct Visit {
    std::uint64_t node;
    std::size_t depth;  ///< of its parent
  };
  std::vector<Visit> stack = {{TrieView::root, 0}};
  while (!stack.empty()) {
    const auto [node, depth] = stack.back();
    stack.pop_back();
    path.resize(depth);
    surprisals.resize(depth);
    for (std::uint64_t i = 0; i < view.edge_tokens(node); ++i) {
      path.push_back(view.edge_token(node, i));
      surprisals.push_back(view.token_surprisal == nullptr ? 0 : view.edge_surprisal(node, i));
    }
    // Sessions stand in the order of this walk: those that end here, then those of the children.
    for (std::uint64_t i = 0; i < view.ending(node); ++i) {
      all.ids.push_back(view.session[all.ids.size()]);
      all.tokens.insert(all.tokens.end(), path.begin(), path.end());
      if (view.token_surprisal != nullptr) {
        all.surprisals.insert(all.surprisals.end(), surprisals.begin(), surprisals.end());
      }
      all.ends.push_back(all.tokens.size());
    }
    for (std::uint64_t child = view.child[node + 1]; child-- > view.child[node];) stack.push_back({child, path.size()});
  }
  return all;
}

}  // namespace seqkv::mpi
