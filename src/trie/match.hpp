// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The oracle of match, for tests and benchmarks: portable kernels only.
#pragma once

#include <span>

#include "seqkv/trie_match.hpp"

namespace seqkv::trie {

template <class ExecutionSpace>
Result<void> match_portable(const ExecutionSpace& space, const DeviceTrie<ExecutionSpace>& trie,
                            std::span<const TokenSpan> queries, std::span<TrieCursor> places,
                            std::int64_t block_tokens = 1);

}  // namespace seqkv::trie
