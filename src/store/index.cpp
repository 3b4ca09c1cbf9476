// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "store/index.hpp"

#include <fmt/format.h>

#include "core/try.hpp"
#include "seqkv/limits.hpp"
#include "store/parameters.hpp"

namespace seqkv::store {
namespace {

constexpr const char* tables = R"(
  CREATE TABLE parameters (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), sequence INTEGER NOT NULL, next_pack INTEGER NOT NULL,
    half_life REAL NOT NULL, floor REAL NOT NULL);
  INSERT INTO state VALUES (1, 0, 1, 604800.0, 0.0);
  CREATE TABLE codecs (id INTEGER PRIMARY KEY, spec TEXT NOT NULL, profile BLOB NOT NULL,
    UNIQUE (spec, profile));
  CREATE TABLE packs (id INTEGER PRIMARY KEY, bytes INTEGER NOT NULL);
  CREATE TABLE blocks (
    id INTEGER PRIMARY KEY, identity BLOB NOT NULL, codec INTEGER NOT NULL,
    parent INTEGER REFERENCES blocks(id), position INTEGER NOT NULL, tokens INTEGER NOT NULL,
    pack INTEGER NOT NULL, offset INTEGER NOT NULL, bytes INTEGER NOT NULL);
  CREATE TABLE sources (
    block INTEGER NOT NULL REFERENCES blocks(id) ON DELETE CASCADE, source INTEGER NOT NULL REFERENCES blocks(id),
    PRIMARY KEY (block, source)) WITHOUT ROWID;
  CREATE TABLE sessions (
    id INTEGER PRIMARY KEY, tenant BLOB NOT NULL, name TEXT NOT NULL, nonce BLOB NOT NULL,
    block INTEGER NOT NULL REFERENCES blocks(id), tokens INTEGER NOT NULL, codec INTEGER NOT NULL,
    sequence INTEGER NOT NULL, created INTEGER NOT NULL, expires INTEGER NOT NULL, pinned INTEGER NOT NULL,
    pack INTEGER NOT NULL, offset INTEGER NOT NULL, bytes INTEGER NOT NULL);
  CREATE TABLE removals (
    tenant BLOB NOT NULL, name TEXT NOT NULL, sequence INTEGER NOT NULL,
    pack INTEGER NOT NULL, offset INTEGER NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY (tenant, name)) WITHOUT ROWID;
  CREATE TABLE uses (key INTEGER PRIMARY KEY, hits INTEGER NOT NULL, weight REAL NOT NULL, last_use REAL NOT NULL,
    floor REAL NOT NULL);
)";

constexpr const char* indexes = R"(
  CREATE UNIQUE INDEX blocks_by_identity ON blocks(identity, codec);
  CREATE INDEX blocks_by_parent ON blocks(parent);
  CREATE INDEX sources_by_source ON sources(source);
  CREATE UNIQUE INDEX sessions_by_name ON sessions(tenant, name);
  CREATE INDEX sessions_by_block ON sessions(block);
)";

/// Whether a session, a block that follows or one that is predicted from it needs a block.
constexpr const char* need_query =
    "SELECT EXISTS (SELECT 1 FROM sessions WHERE block = ?1) OR EXISTS (SELECT 1 FROM blocks WHERE parent = ?1) OR "
    "EXISTS (SELECT 1 FROM sources WHERE source = ?1)";

std::filesystem::path new_index_path(const std::filesystem::path& folder) { return folder / "store.db.new"; }

}  // namespace

Result<void> create_tables(Database& database, const std::string& parameters_text) {
  SEQKV_TRY(database.execute(tables));
  return write_parameters(database, parameters_text);
}

Result<void> create_indexes(Database& database) { return database.execute(indexes); }

Result<Database> begin_index(const std::filesystem::path& folder) {
  const auto path = new_index_path(folder);
  auto journal = path;
  journal += "-journal";
  SEQKV_TRY(io::remove(path));
  SEQKV_TRY(io::remove(journal));
  // SQLite gives its journal the rights of the database: they have to be there first.
  SEQKV_ASSIGN(const io::Descriptor file, io::open_for_writing(path, io::Existing::empty));
  return Database::open(path, Database::Mode::create);
}

Result<void> publish_index(const std::filesystem::path& folder) {
  const auto index = Store::State::index_path(folder);
  auto journal = index;
  journal += "-journal";
  SEQKV_TRY(io::remove(journal));  // that of an old index would be rolled back into the new one
  SEQKV_TRY(io::rename(new_index_path(folder), index));
  return io::sync_directory(folder);
}

Result<std::int64_t> next_sequence(const Store::State& state) {
  SEQKV_ASSIGN(Statement query, state.database.prepare("SELECT sequence FROM state"));
  SEQKV_ASSIGN(const bool there, query.step());
  if (!there || query.integer(0) < 0 || query.integer(0) == INT64_MAX) {
    return Error(ErrorCode::corrupt, "the index has lost its counters").in_file(state.index_path().string());
  }
  return query.integer(0) + 1;
}

Result<void> use_sequence(Database& database, std::int64_t sequence) {
  SEQKV_ASSIGN(Statement update, database.prepare("UPDATE state SET sequence = max(sequence, ?)"));
  return update.bind(1, sequence).run();
}

Result<std::int64_t> need_codec(Database& database, const std::string& spec, const Digest& profile) {
  SEQKV_ASSIGN(Statement insert, database.prepare("INSERT OR IGNORE INTO codecs (spec, profile) VALUES (?, ?)"));
  SEQKV_TRY(insert.bind(1, std::string_view(spec)).bind(2, std::span<const std::byte>(profile.bytes)).run());
  SEQKV_ASSIGN(Statement query, database.prepare("SELECT id FROM codecs WHERE spec = ? AND profile = ?"));
  query.bind(1, std::string_view(spec)).bind(2, std::span<const std::byte>(profile.bytes));
  SEQKV_ASSIGN(const bool there, query.step());
  if (!there) return Error(ErrorCode::internal, "the codec's row is gone");
  return query.integer(0);
}

Result<BlockInserter> BlockInserter::create(Database& database) {
  SEQKV_ASSIGN(Statement statement,
               database.prepare("INSERT INTO blocks (id, identity, codec, parent, position, tokens, "
                                "pack, offset, bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"));
  return BlockInserter(database, std::move(statement));
}

Result<std::int64_t> BlockInserter::insert(const BlockRow& row, std::int64_t codec) {
  if (row.id > 0) {
    statement_.bind(1, row.id);
  } else {
    statement_.bind_null(1);
  }
  statement_.bind(2, std::span<const std::byte>(row.identity.bytes)).bind(3, codec);
  if (row.parent) {
    statement_.bind(4, *row.parent);
  } else {
    statement_.bind_null(4);
  }
  statement_.bind(5, row.position).bind(6, row.tokens);
  SEQKV_TRY(statement_.bind(7, row.place.pack).bind(8, row.place.offset).bind(9, row.place.bytes).run());
  return database_->last_row_id();
}

Result<void> put_session(Database& database, const SessionHead& head, std::int64_t block, std::int64_t codec,
                         const Place& place) {
  const std::span<const std::byte> tenant(head.tenant.bytes);
  const std::string_view name(head.name);
  SEQKV_ASSIGN(Statement old, database.prepare("SELECT block FROM sessions WHERE tenant = ? AND name = ?"));
  SEQKV_ASSIGN(const bool replaces, old.bind(1, tenant).bind(2, name).step());
  const std::int64_t old_block = replaces ? old.integer(0) : 0;
  old.reset();
  for (const char* sql :
       {"DELETE FROM sessions WHERE tenant = ? AND name = ?", "DELETE FROM removals WHERE tenant = ? AND name = ?"}) {
    SEQKV_ASSIGN(Statement remove, database.prepare(sql));
    SEQKV_TRY(remove.bind(1, tenant).bind(2, name).run());
  }
  SEQKV_ASSIGN(Statement row,
               database.prepare("INSERT INTO sessions (tenant, name, nonce, block, tokens, codec, sequence, "
                                "created, expires, pinned, pack, offset, bytes) "
                                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"));
  row.bind(1, tenant).bind(2, name).bind(3, std::span<const std::byte>(head.nonce.bytes)).bind(4, block);
  row.bind(5, head.tokens).bind(6, codec).bind(7, head.sequence).bind(8, head.created).bind(9, head.expires);
  row.bind(10, std::int64_t{head.pinned}).bind(11, place.pack).bind(12, place.offset).bind(13, place.bytes);
  SEQKV_TRY(row.run());
  SEQKV_TRY(use_sequence(database, head.sequence));
  if (replaces) SEQKV_TRY(prune(database, old_block));
  return {};
}

Result<void> drop_session(Database& database, const SessionRow& row, std::int64_t sequence, const Place& removal) {
  SEQKV_ASSIGN(Statement remove, database.prepare("DELETE FROM sessions WHERE id = ?"));
  SEQKV_TRY(remove.bind(1, row.id).run());
  SEQKV_ASSIGN(Statement note,
               database.prepare("INSERT OR REPLACE INTO removals (tenant, name, sequence, pack, offset, "
                                "bytes) VALUES (?, ?, ?, ?, ?, ?)"));
  note.bind(1, std::span<const std::byte>(row.head.tenant.bytes)).bind(2, std::string_view(row.head.name));
  SEQKV_TRY(note.bind(3, sequence).bind(4, removal.pack).bind(5, removal.offset).bind(6, removal.bytes).run());
  return use_sequence(database, sequence);
}

Result<void> put_sources(Database& database, std::int64_t block, std::span<const std::int64_t> sources) {
  SEQKV_ASSIGN(Statement insert, database.prepare("INSERT OR IGNORE INTO sources (block, source) VALUES (?, ?)"));
  for (const std::int64_t source : sources) SEQKV_TRY(insert.bind(1, block).bind(2, source).run());
  return {};
}

Result<std::vector<std::int64_t>> sources_of(const Database& database, std::int64_t block) {
  SEQKV_ASSIGN(Statement query, database.prepare("SELECT source FROM sources WHERE block = ? ORDER BY source LIMIT ?"));
  query.bind(1, block).bind(2, limits::max_block_sources + 1);
  return all_rows<std::int64_t>(query, [](const Statement& row) -> Result<std::int64_t> { return row.integer(0); });
}

Result<std::int64_t> prune(Database& database, std::int64_t block) {
  SEQKV_ASSIGN(Statement needed, database.prepare(need_query));
  SEQKV_ASSIGN(Statement parent, database.prepare("SELECT parent FROM blocks WHERE id = ?"));
  SEQKV_ASSIGN(Statement remove, database.prepare("DELETE FROM blocks WHERE id = ?"));
  std::int64_t dropped = 0;
  std::vector<std::int64_t> perhaps = {block};
  while (!perhaps.empty()) {
    const std::int64_t at = perhaps.back();
    perhaps.pop_back();
    SEQKV_ASSIGN(const bool counted, needed.bind(1, at).step());
    const bool stays = !counted || needed.integer(0) != 0;
    needed.reset();
    if (stays) continue;
    SEQKV_ASSIGN(const bool there, parent.bind(1, at).step());
    if (there && !parent.is_null(0)) perhaps.push_back(parent.integer(0));
    parent.reset();
    if (!there) continue;
    // What it was predicted from may be needed by nobody else.
    SEQKV_ASSIGN(const std::vector<std::int64_t> sources, sources_of(database, at));
    SEQKV_TRY(remove.bind(1, at).run());
    ++dropped;
    perhaps.insert(perhaps.end(), sources.begin(), sources.end());
  }
  return dropped;
}

}  // namespace seqkv::store
