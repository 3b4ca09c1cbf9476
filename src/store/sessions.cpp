// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Sessions in the index.
#include <fmt/format.h>

#include "core/try.hpp"
#include "seqkv/limits.hpp"
#include "store/identity.hpp"
#include "store/store_state.hpp"

namespace seqkv {

using store::Statement;

Result<SessionRow> store::session_row(const Statement& statement) {
  SessionRow row;
  SessionHead& head = row.head;
  row.id = statement.integer(0);
  row.block = statement.integer(1);
  row.codec = statement.integer(2);
  head.name = statement.text(4);
  const auto read = [&]() -> Result<void> {
    SEQKV_ASSIGN(head.tenant, digest_from(statement, 3));
    SEQKV_ASSIGN(head.nonce, digest_from(statement, 5));
    if (statement.is_null(6)) return Error(ErrorCode::corrupt, "its codec is missing from the index");
    if (statement.is_null(8)) {
      return Error(ErrorCode::corrupt, fmt::format("block {} is missing from the index", row.block));
    }
    SEQKV_ASSIGN(head.profile, digest_from(statement, 6));
    SEQKV_ASSIGN(head.last_block, digest_from(statement, 8));
    return {};
  };
  if (auto status = read(); !status) {
    return std::move(status).error().at_field(fmt::format("session '{}'", head.name));
  }
  head.codec = statement.text(7);
  head.tokens = statement.integer(9);
  head.sequence = statement.integer(10);
  head.created = statement.integer(11);
  head.expires = statement.integer(12);
  head.pinned = statement.integer(13) != 0;
  row.place = {statement.integer(14), statement.integer(15), statement.integer(16)};
  return row;
}

Result<std::optional<SessionRow>> Store::State::find_session(const std::string& name) const {
  SEQKV_ASSIGN(Statement query, database.prepare(fmt::format("{} WHERE sessions.tenant = ? AND sessions.name = ?",
                                                             store::session_query)));
  query.bind(1, std::span<const std::byte>(tenant.bytes)).bind(2, std::string_view(name));
  SEQKV_ASSIGN(const bool there, query.step());
  if (!there) return std::optional<SessionRow>();
  auto row = store::session_row(query);
  if (!row) return std::move(row).error().in_file(index_path().string());
  return std::optional<SessionRow>(std::move(*row));
}

Result<SessionRow> Store::State::session(const std::string& name) const {
  SEQKV_ASSIGN(std::optional<SessionRow> row, find_session(name));
  if (!row) return Error(ErrorCode::session_not_found, fmt::format("no session '{}'", name)).in_file(folder.string());
  SEQKV_TRY(check_record(*row));
  return std::move(*row);
}

Result<void> Store::State::check_record(const SessionRow& row) const {
  const auto check = [&]() -> Result<void> {
    const auto read = [&]() -> Result<store::SessionHead> {
      SEQKV_ASSIGN(const auto bytes, record_at(row.place));
      SEQKV_ASSIGN(const store::Record record, store::read_record(seal, bytes, row.place.offset));
      return store::session_head(record, row.place.offset);
    };
    const auto head = read();
    // A damaged record is needed for a new index alone; but of a store with a key nothing is believed without it.
    if (!head) return seal.active() ? Result<void>(head.error()) : Result<void>();
    if (*head == row.head) return {};
    return Error(seal.active() ? ErrorCode::forged : ErrorCode::corrupt,
                 "the index and the record in the pack differ: seqkv repair --rebuild-index believes the packs");
  };
  if (auto status = check(); !status) {
    return std::move(status)
        .error()
        .at_field(fmt::format("session '{}'", row.head.name))
        .in_file(index_path().string());
  }
  return {};
}

Result<SessionBlocks> Store::State::session_blocks(const std::string& name) const {
  // Both of one moment: a writer may put another session in the place of this one.
  SEQKV_ASSIGN(const store::Transaction moment, store::Transaction::begin(database, store::Transaction::Purpose::read));
  SessionBlocks out;
  SEQKV_ASSIGN(out.session, session(name));
  auto rows = chain(out.session.block);
  if (!rows) return std::move(rows).error().at_field(fmt::format("session '{}'", name));
  out.blocks = std::move(*rows);
  const BlockRow& last = out.blocks.back();
  const std::int64_t tokens = out.session.head.tokens;
  if (tokens > last.position && tokens <= last.position + last.tokens) return out;
  return Error(ErrorCode::corrupt,
               fmt::format("session '{}' has {} tokens, its blocks {}", name, tokens, last.position + last.tokens))
      .in_file(index_path().string());
}

Digest Store::State::root_of(const store::SessionHead& session) const {
  return session.nonce.is_zero() ? root : store::lone_root_identity(root, session.nonce);
}

}  // namespace seqkv
