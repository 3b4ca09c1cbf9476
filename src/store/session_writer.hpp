// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// A session on its way into the store: what its writer knows.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "store/epoch.hpp"
#include "store/pack_writer.hpp"
#include "store/span_sources.hpp"

namespace seqkv {
namespace store {

/// What a block of the session may name.
struct NamedSource {
  SourceBlock block;
  std::optional<std::size_t> own;  ///< a block of the session itself, in the order of appending; it has no row yet
};

struct AppendedBlock {
  BlockRow row;
  std::uint64_t hash = 0;
  std::vector<NamedSource> sources;  ///< that it is predicted from, each once
};

}  // namespace store

struct SessionWriter::State {
  State(Store::State& of, Codec with) : store(of), codec(std::move(with)), own_pack(of) {}
  ~State() {
    if (saving) store.saving = false;
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  Store::State& store;
  Codec codec;
  store::PackWriter own_pack;
  store::SessionHead head;  ///< its record, but for the sequence number
  Digest root;              ///< of its chain of identities
  std::vector<Token> tokens;
  std::vector<Digest> identities;
  std::int64_t known_blocks = 0;
  std::optional<std::int64_t> known_id;  ///< of the last known block
  std::vector<std::pair<BlockRow, StoredBlock>> known;
  std::vector<store::AppendedBlock> appended;
  std::int64_t codec_id = 0;  ///< from write_rows on
  std::int64_t known_bytes = 0;
  std::int64_t new_bytes = 0;
  std::int64_t reference_bytes = 0;
  bool saving = false;  ///< between begin and commit, when the store saves nothing else
  bool committed = false;

  std::optional<std::vector<store::SourcePiece>> pieces;  ///< of the tokens behind the known ones; once looked for
  std::map<std::uint64_t, store::NamedSource> named;      ///< that references() gave, by hash

  std::size_t blocks() const { return static_cast<std::size_t>(known_blocks) + appended.size(); }
  Digest parent_of(std::size_t block) const { return block == 0 ? root : identities[block - 1]; }
  store::PackWriter& pack() { return store.epoch == nullptr ? own_pack : store.epoch->pack(); }
  Result<void> set_root(const std::optional<SessionRow>& existing, const SaveOptions& options);
  Result<void> find_known();
  Result<void> write_rows(const store::Place& record);

  // ---- src/store/session_references.cpp

  /// Looks for the tokens behind the known ones.
  Result<void> find_pieces();
  /// The block that a piece is from, if it still is what it was and is not predicted itself.
  std::optional<StoredReference> read(const store::SourcePiece& piece);
  /// Which of `named` a coded block names.
  Result<void> resolve(const CodedBlockInfo& info, store::AppendedBlock& block) const;
  /// Sessions to come are looked for in this one, too.
  void offer_sources();
};

}  // namespace seqkv
