// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "store/compaction.hpp"

#include <fmt/format.h>

#include "core/try.hpp"
#include "io/file.hpp"

namespace seqkv::store {

Result<void> Compaction::copy(const std::unordered_set<std::int64_t>& dead_blocks,
                              const std::unordered_set<std::int64_t>& dead_sessions) {
  for (const std::int64_t pack : packs_) {
    SEQKV_TRY(copy_blocks(pack, dead_blocks));
    SEQKV_TRY(copy_sessions(pack, dead_sessions));
    SEQKV_TRY(copy_removals(pack));
    state_.packs.erase(pack);
  }
  return {};
}

/// Byte for byte, for a record does not depend on its place; read and checked before.
Result<void> Compaction::copy_blocks(std::int64_t pack, const std::unordered_set<std::int64_t>& dead) {
  SEQKV_ASSIGN(Statement query, state_.database.prepare(fmt::format("SELECT {} FROM blocks WHERE pack = ? "
                                                                    "ORDER BY offset",
                                                                    block_columns)));
  SEQKV_ASSIGN(const std::vector<BlockRow> rows, all_rows<BlockRow>(query.bind(1, pack), block_row));
  for (const BlockRow& row : rows) {
    if (dead.contains(row.id)) continue;
    SEQKV_ASSIGN(const auto bytes, state_.record_at(row.place));
    SEQKV_TRY(state_.check(row, bytes));
    SEQKV_ASSIGN(const Place place, writer_.append(bytes));
    io::forget(bytes);
    moves_.push_back({"UPDATE blocks SET pack = ?, offset = ?, bytes = ? WHERE id = ?", row.id, place});
    bytes_moved_ += place.bytes;
  }
  return {};
}

Result<void> Compaction::copy_sessions(std::int64_t pack, const std::unordered_set<std::int64_t>& dead) {
  SEQKV_ASSIGN(Statement query, state_.database.prepare(
                                    fmt::format("{} WHERE sessions.pack = ? ORDER BY sessions.offset", session_query)));
  SEQKV_ASSIGN(const std::vector<SessionRow> rows, all_rows<SessionRow>(query.bind(1, pack), session_row));
  for (const SessionRow& row : rows) {
    if (dead.contains(row.id)) continue;
    SEQKV_TRY(state_.check_record(row));
    SEQKV_ASSIGN(const RecordBytes record, session_record(state_.seal, row.head));
    SEQKV_ASSIGN(const Place place, writer_.append(record));
    moves_.push_back({"UPDATE sessions SET pack = ?, offset = ?, bytes = ? WHERE id = ?", row.id, place});
    bytes_moved_ += place.bytes;
  }
  return {};
}

Result<void> Compaction::copy_removals(std::int64_t pack) {
  SEQKV_ASSIGN(Statement query,
               state_.database.prepare("SELECT tenant, name, sequence FROM removals WHERE pack = ? ORDER BY offset"));
  SEQKV_ASSIGN(const std::vector<RemovalHead> heads,
               all_rows<RemovalHead>(query.bind(1, pack), [](const Statement& row) -> Result<RemovalHead> {
                 SEQKV_ASSIGN(const Digest tenant, digest_from(row, 0));
                 return RemovalHead{tenant, row.text(1), row.integer(2)};
               }));
  for (const RemovalHead& head : heads) {
    SEQKV_ASSIGN(const RecordBytes record, removal_record(state_.seal, head));
    SEQKV_ASSIGN(const Place place, writer_.append(record));
    removals_.push_back({head, place});
    bytes_moved_ += place.bytes;
  }
  return {};
}

Result<void> Compaction::write_rows() {
  Database& database = state_.database;
  std::optional<Statement> statement;
  const char* prepared = nullptr;
  for (const Move& move : moves_) {
    if (move.update != prepared) {
      SEQKV_ASSIGN(statement, database.prepare(move.update));
      prepared = move.update;
    }
    statement->bind(1, move.place.pack).bind(2, move.place.offset).bind(3, move.place.bytes);
    SEQKV_TRY(statement->bind(4, move.id).run());
  }
  SEQKV_ASSIGN(Statement removal, database.prepare("UPDATE removals SET pack = ?, offset = ?, bytes = ? "
                                                   "WHERE tenant = ? AND name = ?"));
  for (const MovedRemoval& moved : removals_) {
    removal.bind(1, moved.place.pack).bind(2, moved.place.offset).bind(3, moved.place.bytes);
    removal.bind(4, std::span<const std::byte>(moved.head.tenant.bytes));
    SEQKV_TRY(removal.bind(5, std::string_view(moved.head.name)).run());
  }
  SEQKV_ASSIGN(Statement drop, database.prepare("DELETE FROM packs WHERE id = ?"));
  for (const std::int64_t pack : packs_) SEQKV_TRY(drop.bind(1, pack).run());
  return {};
}

Result<std::int64_t> Compaction::remove_files() {
  SEQKV_ASSIGN(
      Statement query,
      state_.database.prepare("SELECT id FROM packs UNION SELECT pack FROM blocks UNION SELECT pack FROM sessions"));
  SEQKV_ASSIGN(
      const std::vector<std::int64_t> rows,
      all_rows<std::int64_t>(query, [](const Statement& row) -> Result<std::int64_t> { return row.integer(0); }));
  const std::unordered_set<std::int64_t> known(rows.begin(), rows.end());
  std::int64_t removed = 0;
  SEQKV_ASSIGN(const std::vector<std::int64_t> files, pack_files(state_.folder));
  for (const std::int64_t file : files) {
    if (known.contains(file)) continue;
    state_.packs.erase(file);
    SEQKV_TRY(io::remove(pack_path(state_.folder, file)));
    ++removed;
  }
  SEQKV_TRY(io::sync_directory(state_.folder / "packs"));
  return removed;
}

}  // namespace seqkv::store
