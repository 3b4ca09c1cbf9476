// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Parts of stored sessions into the caller's memory: tokens, layers, heads, in the dtype and strides of the view.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "seqkv/store.hpp"

namespace seqkv {

/// What is wanted; a count of 0 is all from the first on. The view's shape and tokens must be of these counts.
struct RestorePart {
  std::int64_t first_token = 0;
  std::int64_t tokens = 0;
  std::int64_t first_layer = 0;
  std::int64_t layers = 0;
  std::int64_t first_head = 0;
  std::int64_t heads = 0;
};

/// A session with some of the heads of a cache: what one rank of a tensor-parallel engine has saved.
struct HeadShard {
  const Store* store = nullptr;
  std::string session;
};

/// Restores a part of a session. Every checksum of the coded bytes, every seal and every identity holds before the
/// first value is written: what fails there leaves `out` as it was. What fails later (values that decode to others than
/// were coded, which no damage to a store can bring about) leaves zeros. Blocks are decoded together on all threads of
/// `space`. `out` is in host memory, of any dtype and strides.
/// Errors: session_not_found, invalid_argument (no such tokens, layers or heads), shape_mismatch (of the view), those
/// of Store::blocks, Store::codec and decode.
template <class ExecutionSpace>
Result<void> restore(const ExecutionSpace& space, const Store& store, const std::string& session,
                     const RestorePart& part, const KvView& out);

/// The same from shards whose heads, one shard after the other, are those of the cache: saved by n ranks, restored by
/// m. All shards hold the same tokens. Errors: also shape_mismatch (shards that do not belong together).
template <class ExecutionSpace>
Result<void> restore(const ExecutionSpace& space, std::span<const HeadShard> shards, const RestorePart& part,
                     const KvView& out);

}  // namespace seqkv
