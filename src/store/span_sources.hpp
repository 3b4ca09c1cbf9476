// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Where tokens of a session stand in blocks of the store that others can be predicted from (docs/reference.md).
#pragma once

#include <optional>
#include <vector>

#include "seqkv/span_index.hpp"
#include "store/store_state.hpp"

namespace seqkv::store {

/// A stored block that may have been removed since.
struct SourceBlock {
  std::int64_t id = 0;  ///< of its row
  Digest identity;
};

/// Tokens [first, first + count) of a query are those from `source` on of a block.
struct SourcePiece {
  std::int64_t first = 0;
  std::int64_t count = 0;
  std::optional<SourceBlock> stored;  ///< or a block of the query itself:
  std::int64_t own = 0;               ///< its number, from the query's first token on
  std::int64_t source = 0;
  std::int64_t before = 0;  ///< tokens of the same span before it
};

/// The tokens of one tenant's blocks of one codec that are not predicted themselves. Made from the packs when it is
/// first asked, then kept up with what is saved; blocks that are removed stay in it, and are found to be gone.
class SpanSources {
 public:
  /// Pieces with fewer tokens are not worth a block more to be decoded.
  static constexpr std::int64_t least_piece = 16;

  /// Reads every block of the codec; those that cannot be read are left out.
  static Result<SpanSources> load(const Store::State& state, std::int64_t codec);
  /// Of a session that shares nothing: only what it has itself.
  static SpanSources none(const Store::State& state) { return SpanSources(state, 0); }

  std::int64_t codec() const noexcept { return codec_; }
  /// Blocks that follow one another, and their tokens. Beyond the limit (limits::max_searched_tokens) nothing is added.
  /// Errors: out_of_memory.
  Result<void> add(TokenSpan tokens, std::vector<SourceBlock> blocks);
  /// Nothing fits in any more, and some of it is known to be gone.
  bool is_stale() const noexcept { return full_ && gone_; }
  void note_gone() noexcept { gone_ = true; }

  /// Ascending; cut where blocks end, those of the query and those of the store.
  Result<std::vector<SourcePiece>> find(TokenSpan query) const;

 private:
  SpanSources(const Store::State& state, std::int64_t codec);

  std::int64_t block_tokens_;
  std::int64_t codec_;
  SpanIndex index_;
  std::vector<std::vector<SourceBlock>> blocks_;  ///< of each sequence of the index
  bool full_ = false;
  bool gone_ = false;
};

}  // namespace seqkv::store
