// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The ways to build_window_trie: what it does on devices, and its oracle, for tests and benchmarks.
#pragma once

#include <span>

#include "seqkv/trie.hpp"

namespace seqkv::trie {

/// By the kernels of backends/gpu, on any space. Throws where memory is short.
template <class ExecutionSpace>
Result<Trie> build_window_trie_by_tiles(const ExecutionSpace& space, std::span<const TokenSpan> sequences, int depth);

/// By the portable kernels only.
template <class ExecutionSpace>
Result<Trie> build_window_trie_portable(const ExecutionSpace& space, std::span<const TokenSpan> sequences, int depth);

}  // namespace seqkv::trie
