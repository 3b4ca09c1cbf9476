// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Longest prefixes, portable: a thread for each query.
#pragma once

#include <Kokkos_Core.hpp>
#include <cstdint>

#include "seqkv/trie_view.hpp"

namespace seqkv::kokkos {

struct MatchQueries {
  TrieView trie;
  const TokenRange* queries;
  TrieCursor* places;
  std::uint64_t block_tokens;

  KOKKOS_FUNCTION void operator()(std::int64_t i) const {
    TrieCursor at = places[i];
    TrieCursor whole = at;  // at the last end of a block
    for (std::uint64_t t = 0; t < queries[i].count; ++t) {
      if (!at.advance(trie, queries[i].tokens[t])) break;
      if (at.depth % block_tokens == 0) whole = at;
    }
    places[i] = block_tokens == 1 ? at : whole;
  }
};

}  // namespace seqkv::kokkos
