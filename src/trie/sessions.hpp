// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// build_session_trie with hashes of few bits, for tests: what is built must not depend on them.
#pragma once

#include <cstdint>
#include <span>

#include "seqkv/trie.hpp"

namespace seqkv::trie {

template <class ExecutionSpace>
Result<Trie> build_session_trie_hashed(const ExecutionSpace& space, std::span<const TrieSession> sessions,
                                       std::uint64_t hash_mask);

}  // namespace seqkv::trie
