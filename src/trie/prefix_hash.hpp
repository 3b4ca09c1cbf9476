// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Comparing long sequences that share long prefixes: hashes of the prefixes at every 64th token, made once, say in a
/// logarithm of steps where two sequences part. What they say is checked token by token afterwards.
#pragma once

#include <Kokkos_Core.hpp>
#include <algorithm>
#include <bit>
#include <compare>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "core/host_memory.hpp"
#include "seqkv/hash.hpp"
#include "seqkv/trie.hpp"

namespace seqkv::trie {

/// Tokens that two sequences have in common at the start, from `from` on (where they are known to agree).
inline std::uint64_t common_tokens(TokenSpan a, TokenSpan b, std::uint64_t from = 0) {
  constexpr std::uint64_t stride = 16;
  const std::uint64_t end = std::min(a.size(), b.size());
  std::uint64_t i = from;
  for (; i + stride <= end; i += stride) {
    Token difference = 0;
    for (std::uint64_t j = 0; j < stride; ++j) difference |= a[i + j] ^ b[i + j];
    if (difference != 0) break;
  }
  while (i < end && a[i] == b[i]) ++i;
  return i;
}

/// Hashes of the prefixes of sessions, at multiples of `step` tokens.
template <class HostSpace>
class PrefixHashes {
 public:
  static constexpr std::uint64_t step = 64;

  /// `mask` is for tests: it keeps few bits of each hash, so that different prefixes agree.
  PrefixHashes(const HostSpace& space, std::span<const TrieSession> sessions, std::uint64_t mask)
      : sessions_(sessions), first_(sessions.size() + 1) {
    for (std::size_t i = 0; i < sessions.size(); ++i) first_[i + 1] = first_[i] + sessions[i].tokens.size() / step;
    hashes_ = HostArray<std::uint64_t>(first_.back());
    const Kokkos::RangePolicy<HostSpace, Kokkos::Schedule<Kokkos::Dynamic>> all(space, 0, sessions.size());
    Kokkos::parallel_for("seqkv::trie::hash_prefixes", all, [&](std::size_t i) {
      const TokenSpan tokens = sessions_[i].tokens;
      std::uint64_t hash = 0;
      for (std::uint64_t block = 0; block < tokens.size() / step; ++block) {
        hash = xxh3_64(std::as_bytes(tokens.subspan(block * step, step)), hash);
        hashes_[first_[i] + block] = hash & mask;
      }
    });
    space.fence("seqkv::trie::hash_prefixes: the arrays are local");
  }

  /// Tokens that sessions a and b have in common, if hashes of different prefixes differ.
  std::uint64_t common(std::size_t a, std::size_t b) const {
    const std::uint64_t* ha = hashes_.data() + first_[a];
    const std::uint64_t* hb = hashes_.data() + first_[b];
    // The last block whose prefixes agree: they agree before it, too.
    std::uint64_t low = 0;
    std::uint64_t high = std::min(first_[a + 1] - first_[a], first_[b + 1] - first_[b]);
    while (low < high) {
      const std::uint64_t middle = (low + high) / 2;
      const bool agree = ha[middle] == hb[middle];
      low = agree ? middle + 1 : low;
      high = agree ? high : middle;
    }
    return common_tokens(sessions_[a].tokens, sessions_[b].tokens, low * step);
  }

 private:
  std::span<const TrieSession> sessions_;
  std::vector<std::uint64_t> first_;
  HostArray<std::uint64_t> hashes_;
};

/// Whether a stands before b: by tokens, equal ones by id. `common` tokens are equal.
inline bool before(const TrieSession& a, const TrieSession& b, std::uint64_t common) {
  if (common < a.tokens.size() && common < b.tokens.size()) return a.tokens[common] < b.tokens[common];
  if (a.tokens.size() != b.tokens.size()) return a.tokens.size() < b.tokens.size();
  return a.id < b.id;
}

/// Sorts in pieces on all threads, then merges pieces in pairs. `less` is a strict order without ties.
template <class HostSpace, class Less>
void parallel_sort(const HostSpace& space, std::vector<std::uint32_t>& order, const Less& less) {
  const std::size_t pieces = std::bit_ceil(static_cast<std::size_t>(space.concurrency()));
  const auto at = [&](std::size_t piece) {
    return order.begin() + static_cast<std::ptrdiff_t>(order.size() * piece / pieces);
  };
  using Range = Kokkos::RangePolicy<HostSpace, Kokkos::Schedule<Kokkos::Dynamic>>;
  Kokkos::parallel_for("seqkv::trie::sort_sessions", Range(space, 0, pieces, Kokkos::ChunkSize(1)),
                       [&](std::size_t piece) { std::sort(at(piece), at(piece + 1), less); });
  for (std::size_t width = 1; width < pieces; width *= 2) {
    Kokkos::parallel_for("seqkv::trie::merge_sessions", Range(space, 0, pieces / (2 * width), Kokkos::ChunkSize(1)),
                         [&](std::size_t pair) {
                           const std::size_t first = 2 * width * pair;
                           std::inplace_merge(at(first), at(first + width), at(first + 2 * width), less);
                         });
  }
  space.fence("seqkv::trie::sort_sessions: the order is the caller's");
}

}  // namespace seqkv::trie
