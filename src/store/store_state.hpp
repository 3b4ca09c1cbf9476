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
#include "store/seal.hpp"
#include "store/sqlite.hpp"

namespace seqkv {

namespace store {
class Epoch;
class SpanSources;
}  // namespace store

/// A block as the index has it.
struct BlockRow {
  std::int64_t id = 0;
  std::optional<std::int64_t> parent;
  Digest identity;
  std::int64_t position = 0;
  std::int64_t tokens = 0;
  store::Place place;
};

/// A session as the index has it.
struct SessionRow {
  std::int64_t id = 0;
  std::int64_t block = 0;  ///< the last one
  std::int64_t codec = 0;
  store::SessionHead head;
  store::Place place;  ///< of its record
};

struct SessionBlocks {
  SessionRow session;
  std::vector<BlockRow> blocks;
};

/// A block read and checked.
struct StoredBlock {
  store::BlockHead head;
  CodedBlockView block;
  CodedBlockInfo info;                 ///< where the coded block has been checked
  std::shared_ptr<const void> memory;  ///< that `block` is in
};

struct Store::State {
  std::filesystem::path folder;
  mutable store::Database database;  ///< a query is no change
  StoreParameters parameters;
  std::string parameters_text;  ///< as packs carry it
  Digest id;                    ///< random; ties packs to their index
  Digest root;                  ///< what chains of identities of this tenant start from
  Digest tenant;
  store::Seal seal;
  io::Descriptor lock;  ///< held by writers
  bool saving = false;  ///< a SessionWriter is at work behind the committed end of a pack
  mutable std::map<std::int64_t, std::shared_ptr<const io::MappedFile>> packs;
  mutable std::map<Digest, std::shared_ptr<const Profile>> profiles;  ///< whose copies have been seen to be whole
  std::shared_ptr<store::SpanSources> sources;  ///< of the codec that was last asked for; the writer's
  /// Of a process that writes together with others, or null. Goes before `packs`, which it knows.
  std::shared_ptr<store::Epoch> epoch;

  /// Opens the index of a folder and reads the parameters.
  static Result<std::unique_ptr<State>> open(const std::filesystem::path& folder, const StoreAccess& access,
                                             store::Database::Mode mode);
  /// Derives what depends on salt, key and parameters.
  Result<void> unlock(const StoreAccess& access);

  static std::filesystem::path index_path(const std::filesystem::path& folder) { return folder / "store.db"; }
  std::filesystem::path index_path() const { return index_path(folder); }

  /// Whether the store may be changed now. Errors: invalid_argument.
  Result<void> check_writable() const;

  // ---- blocks (src/store/store_state.cpp)

  /// The record of a block, everything in it checked. Where gc has moved it meanwhile, its new place is looked up.
  /// Errors name the pack.
  Result<StoredBlock> read(const BlockRow& row) const;
  /// The same from the bytes of the record: opened and its head checked, and the coded block as well.
  Result<StoredBlock> open_record(const BlockRow& row, std::span<const std::byte> record) const;
  Result<StoredBlock> check(const BlockRow& row, std::span<const std::byte> record) const;
  /// Where the block is now. Errors: session_not_found (it has been removed), those of the index.
  Result<store::Place> current_place(const BlockRow& row) const;
  /// The mapped pack, mapped again if it has grown beyond `end` since.
  Result<std::shared_ptr<const io::MappedFile>> pack(std::int64_t number, std::int64_t end) const;
  /// The bytes of a record in its mapped pack.
  Result<std::span<const std::byte>> record_at(const store::Place& place) const;

  // ---- what blocks are predicted from (src/store/references.cpp)

  /// Errors: missing_reference.
  Result<BlockRow> row(std::int64_t block) const;
  /// Errors: missing_reference, corrupt (too many).
  Result<std::vector<BlockRow>> source_rows(std::int64_t block) const;
  /// Errors: those of read, corrupt (it is predicted itself).
  Result<StoredReference> read_source(const BlockRow& row) const;
  /// Puts what a block is predicted from beside it, the last one of `blocks`. Errors: those above.
  Result<void> add_references(const BlockRow& row, const CodedBlockInfo& info, StoredBlocks& blocks) const;

  // ---- looking up

  /// The row of a block, or nothing.
  Result<std::optional<BlockRow>> find(const Digest& identity, const Codec& codec) const;
  /// The chain that ends in block `last`, first block first. Errors: corrupt (a broken or endless chain).
  Result<std::vector<BlockRow>> chain(std::int64_t last) const;

  // ---- sessions (src/store/sessions.cpp)

  /// Errors: session_not_found, corrupt, forged.
  Result<SessionRow> session(const std::string& name) const;
  Result<std::optional<SessionRow>> find_session(const std::string& name) const;
  /// Holds a session against its record. One that cannot be read is an error only where it should be sealed.
  /// Errors: corrupt, forged, those of reading.
  Result<void> check_record(const SessionRow& row) const;
  /// A session and its chain at one moment. Errors: session_not_found, corrupt, forged.
  Result<SessionBlocks> session_blocks(const std::string& name) const;
  /// Those of its blocks that hold tokens [first, first + tokens), read and checked (src/store/read_blocks.cpp).
  Result<StoredBlocks> read_blocks(const SessionBlocks& session, std::int64_t first, std::int64_t tokens) const;
  /// Takes sessions out, of any tenant, each with a record of it (src/store/edit.cpp).
  Result<void> remove(std::span<const SessionRow> rows);
  /// Those whose time is over. Their names.
  Result<std::vector<std::string>> remove_expired();
  /// What a session's chain starts from.
  Digest root_of(const store::SessionHead& session) const;

  // ---- codecs and profiles

  Result<std::optional<std::int64_t>> codec_id(const Codec& codec) const;
  std::filesystem::path profile_path(const Digest& fingerprint) const;
  /// Puts a copy of the profile into the store, if none is there as it was. Errors: wrong_profile (its file has
  /// changed), io, disk_full.
  Result<void> keep(const std::shared_ptr<const Profile>& profile) const;
};

namespace store {

/// Columns in the order that block_row reads them.
inline constexpr std::string_view block_columns = "id, parent, identity, position, tokens, pack, offset, bytes";
Result<BlockRow> block_row(const Statement& statement);
/// What session_row reads, to be followed by conditions on `sessions`.
inline constexpr std::string_view session_query =
    "SELECT sessions.id, sessions.block, sessions.codec, sessions.tenant, sessions.name, sessions.nonce, "
    "codecs.profile, "
    "codecs.spec, blocks.identity, sessions.tokens, sessions.sequence, sessions.created, sessions.expires, "
    "sessions.pinned, sessions.pack, sessions.offset, sessions.bytes FROM sessions "
    "LEFT JOIN codecs ON codecs.id = sessions.codec LEFT JOIN blocks ON blocks.id = sessions.block";
Result<SessionRow> session_row(const Statement& statement);
/// A column of 32 bytes. Errors: corrupt.
Result<Digest> digest_from(const Statement& statement, int column);

/// Every row of a query, each read by `read`.
template <class Row, class Read>
Result<std::vector<Row>> all_rows(Statement& statement, const Read& read) {
  std::vector<Row> rows;
  for (;;) {
    auto there = statement.step();
    if (!there) return std::move(there).error();
    if (!*there) return rows;
    auto row = read(statement);
    if (!row) return std::move(row).error();
    rows.push_back(std::move(*row));
  }
}

}  // namespace store
}  // namespace seqkv
