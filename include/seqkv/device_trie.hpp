// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Tries in the memory of an execution space: copied there, or built there from tokens that are there.
#pragma once

#include <Kokkos_Core.hpp>
#include <cstdint>

#include "seqkv/trie.hpp"

namespace seqkv {

/// Sequences one after another in the memory of a space. Not owned. Sequence i is
/// tokens[offsets[i] .. offsets[i + 1]): offsets ascend from 0 to the number of all tokens.
template <class MemorySpace>
struct TokenBatch {
  Kokkos::View<const Token*, MemorySpace, Kokkos::MemoryUnmanaged> tokens;
  Kokkos::View<const std::uint64_t*, MemorySpace, Kokkos::MemoryUnmanaged> offsets;  ///< [sequences + 1]
};

/// A trie in the memory of an execution space. Cheap to copy: copies share the memory.
template <class ExecutionSpace>
class DeviceTrie {
 public:
  using MemorySpace = typename ExecutionSpace::memory_space;

  /// To be assigned to; its view is not for kernels.
  DeviceTrie() = default;
  /// On host spaces the memory of `trie` itself; copied to a device, returning after that is done.
  /// Errors: out_of_memory.
  static Result<DeviceTrie> create(const ExecutionSpace& space, const Trie& trie);
  /// What build_window_trie (trie.hpp) gives for the same sequences, bit for bit, without leaving the memory of the
  /// space; fences. Peak memory of a device: about 40 bytes a window beside the trie, for keys of 128 bits.
  /// Errors: those of build_window_trie, invalid_argument (offsets that do not ascend from 0 to all tokens).
  static Result<DeviceTrie> build_windows(const ExecutionSpace& space, const TokenBatch<MemorySpace>& sequences,
                                          int depth);
  /// In host memory; fences. Errors: out_of_memory.
  Result<Trie> to_host(const ExecutionSpace& space) const;

  const TrieShape& shape() const noexcept { return shape_; }
  /// Its arrays are in the memory of the space.
  const TrieView& view() const noexcept { return view_; }

 private:
  Trie host_;  ///< host spaces: all of it
  TrieShape shape_;
  Kokkos::View<std::byte*, MemorySpace> memory_;
  TrieView view_ = host_.view();
};

}  // namespace seqkv
