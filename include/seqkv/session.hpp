// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Caches in the caller's memory into sessions of a store, and parts of sessions back: tokens, layers, heads, in the
/// dtype and strides of the view.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "seqkv/store.hpp"

namespace seqkv {

struct SaveReport {
  std::int64_t known_tokens = 0;  ///< that the store had already
  std::int64_t new_bytes = 0;
};

/// Saves a cache of all `tokens` as a session. Of tokens that the store knows the values are not looked at. `kv` is in
/// host memory, of the store's shape and dtype, with any strides.
/// Errors: those of Store::begin, encode and SessionWriter; shape_mismatch.
template <class ExecutionSpace>
Result<SaveReport> save(const ExecutionSpace& space, Store& store, const std::string& session, TokenSpan tokens,
                        const Codec& codec, const ConstKvView& kv, const SaveOptions& options = {});

/// Codes the next tokens of a session that is being saved and appends their blocks, predicted from what the store has
/// where the codec does so. `kv` is in host memory, of the store's shape; it ends with a block.
/// Errors: those of encode and SessionWriter.
template <class ExecutionSpace>
Result<void> append(const ExecutionSpace& space, SessionWriter& writer, const ConstKvView& kv);

/// Decodes blocks [first, first + count) of those, and before what they are predicted from, into `out`, which is of
/// their tokens. Errors: those of the other decode; of what a block is predicted from, with that block.
template <class ExecutionSpace>
Result<void> decode(const ExecutionSpace& space, const Codec& codec, const StoredBlocks& blocks, std::size_t first,
                    std::size_t count, const KvView& out);
template <class ExecutionSpace>
Result<void> decode(const ExecutionSpace& space, const Codec& codec, const StoredBlocks& blocks, const KvView& out) {
  return decode(space, codec, blocks, 0, blocks.size(), out);
}

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

/// Restores a part of a session and returns its tokens. Every checksum of the coded bytes, every seal and every
/// identity holds before the first value is written: what fails there leaves `out` as it was. What fails later (values
/// that decode to others than were coded, which no damage to a store can bring about) leaves zeros. Blocks are decoded
/// together on all threads of `space`. `out` is in host memory, of any dtype and strides. Errors: session_not_found,
/// invalid_argument (no such tokens, layers or heads), shape_mismatch (of the view), those of Store::blocks,
/// Store::codec and decode.
template <class ExecutionSpace>
Result<std::vector<Token>> restore(const ExecutionSpace& space, const Store& store, const std::string& session,
                                   const RestorePart& part, const KvView& out);

/// The same from shards whose heads, one shard after the other, are those of the cache: saved by n ranks, restored by
/// m. All shards hold the same tokens. Errors: also shape_mismatch (shards that do not belong together).
template <class ExecutionSpace>
Result<std::vector<Token>> restore(const ExecutionSpace& space, std::span<const HeadShard> shards,
                                   const RestorePart& part, const KvView& out);

}  // namespace seqkv
