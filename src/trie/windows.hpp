// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The oracle of build_window_trie, for tests and benchmarks: portable kernels only.
#pragma once

#include <span>

#include "seqkv/trie.hpp"

namespace seqkv::trie {

template <class ExecutionSpace>
Result<Trie> build_window_trie_portable(const ExecutionSpace& space, std::span<const TokenSpan> sequences, int depth);

}  // namespace seqkv::trie
