// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// What an open store holds, shared by reading, writing and verifying.
#pragma once

#include <map>
#include <optional>

#include "io/file.hpp"
#include "seqkv/store.hpp"
#include "store/pack.hpp"
#include "store/sqlite.hpp"

namespace seqkv {

/// Where a block lies, as the index says.
struct BlockRow {
  std::int64_t id = 0;
  std::optional<std::int64_t> parent;
  Digest identity;
  std::int64_t position = 0;
  std::int64_t tokens = 0;
  std::int64_t pack = 0;
  std::int64_t offset = 0;
  std::int64_t bytes = 0;  ///< of the record
};

struct Store::State {
  std::filesystem::path folder;
  store::Database database;
  StoreParameters parameters;
  Digest id;            ///< random; ties packs to their index
  Digest root;          ///< what chains of identities start from
  io::Descriptor lock;  ///< held by writers
  bool saving = false;  ///< a SessionWriter is at work behind the committed end of a pack
  mutable std::map<std::int64_t, io::MappedFile> packs;
  mutable std::map<Digest, std::shared_ptr<const Profile>> profiles;  ///< whose copies have been seen to be whole

  std::filesystem::path index_path() const { return folder / "store.db"; }

  /// The record of a block, its checksums and identity checked. Errors name the pack.
  Result<store::BlockRecord> read(const BlockRow& row) const;
  /// The same with its head checked alone.
  Result<store::BlockRecord> find_record(const BlockRow& row) const;
  /// The mapped pack, mapped again if it has grown beyond `end` since.
  Result<std::span<const std::byte>> pack(std::int64_t number, std::int64_t end) const;

  /// The id of a codec with its profile, or nothing.
  Result<std::optional<std::int64_t>> codec_id(const Codec& codec) const;
  std::filesystem::path profile_path(const Digest& fingerprint) const;
  /// Puts a copy of the profile into the store, if none is there as it was. Errors: wrong_profile (its file has
  /// changed), io, disk_full.
  Result<void> keep(const std::shared_ptr<const Profile>& profile) const;

  /// The row of a block, or nothing.
  Result<std::optional<BlockRow>> find(const Digest& identity, const Codec& codec) const;
  /// The chain that ends in block `last`, first block first. Errors: corrupt (a broken or endless chain).
  Result<std::vector<BlockRow>> chain(std::int64_t last) const;
  /// The blocks of a session. Errors: session_not_found, corrupt.
  Result<std::vector<BlockRow>> session_rows(const std::string& name) const;
};

/// Columns in the order that row_from reads them.
inline constexpr std::string_view block_columns = "id, parent, identity, position, tokens, pack, offset, bytes";
Result<BlockRow> row_from(const store::Statement& statement);
/// A column of 32 bytes. Errors: corrupt.
Result<Digest> digest_from(const store::Statement& statement, int column);

}  // namespace seqkv
