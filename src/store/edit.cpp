// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Changes to sessions without new blocks: each writes a record, then the index.
#include <fmt/format.h>

#include "core/try.hpp"
#include "store/index.hpp"
#include "store/pack_writer.hpp"
#include "store/session_name.hpp"
#include "store/uses.hpp"

namespace seqkv {
namespace {

/// Writes a session's record anew and puts it into the index.
Result<void> rewrite(Store::State& state, store::SessionHead head, std::int64_t block, std::int64_t codec) {
  store::PackWriter pack(state);
  SEQKV_ASSIGN(head.sequence, store::next_sequence(state));
  SEQKV_ASSIGN(const store::RecordBytes record, store::session_record(state.seal, head));
  SEQKV_ASSIGN(const store::Place place, pack.append(record));
  SEQKV_TRY(pack.sync());
  SEQKV_ASSIGN(store::Transaction transaction, store::Transaction::begin(state.database));
  SEQKV_TRY(pack.write_rows(state.database));
  SEQKV_TRY(store::put_session(state.database, head, block, codec, place));
  SEQKV_TRY(transaction.commit());
  pack.keep();
  return {};
}

}  // namespace

Result<void> Store::fork(const std::string& from, const std::string& to, std::int64_t tokens) {
  SEQKV_TRY(state_->check_writable());
  SEQKV_TRY(store::check_session_name(to));
  SEQKV_ASSIGN(const SessionBlocks base, state_->session_blocks(from));
  if (tokens < 1 || tokens > base.session.head.tokens) {
    return Error(ErrorCode::invalid_argument,
                 fmt::format("a fork of {} tokens, session '{}' has {}", tokens, from, base.session.head.tokens));
  }
  SEQKV_ASSIGN(const std::optional<SessionRow> existing, state_->find_session(to));
  if (existing) {
    return Error(ErrorCode::session_differs, fmt::format("session '{}' is in the store already", to))
        .in_file(state_->folder.string());
  }
  std::size_t last = 0;
  while (base.blocks[last].position + base.blocks[last].tokens < tokens) ++last;
  store::SessionHead head = base.session.head;
  head.name = to;
  head.tokens = tokens;
  head.last_block = base.blocks[last].identity;
  head.created = static_cast<std::int64_t>(store::now());
  head.expires = 0;
  head.pinned = false;
  return rewrite(*state_, std::move(head), base.blocks[last].id, base.session.codec);
}

Result<void> Store::set_expiry(const std::string& name, std::int64_t expires) {
  SEQKV_TRY(state_->check_writable());
  if (expires < 0) return Error(ErrorCode::invalid_argument, "a session cannot expire before 1970");
  SEQKV_ASSIGN(SessionRow row, state_->session(name));
  row.head.expires = expires;
  return rewrite(*state_, row.head, row.block, row.codec);
}

Result<void> Store::set_pinned(const std::string& name, bool pinned) {
  SEQKV_TRY(state_->check_writable());
  SEQKV_ASSIGN(SessionRow row, state_->session(name));
  row.head.pinned = pinned;
  return rewrite(*state_, row.head, row.block, row.codec);
}

Result<void> Store::touch(const std::string& name) {
  SEQKV_TRY(state_->check_writable());
  SEQKV_ASSIGN(const SessionBlocks session, state_->session_blocks(name));
  std::vector<Digest> identities;
  for (const BlockRow& row : session.blocks) identities.push_back(row.identity);
  SEQKV_ASSIGN(store::Transaction transaction, store::Transaction::begin(state_->database));
  SEQKV_TRY(store::count_uses(state_->database, identities, session.session.codec));
  return transaction.commit();
}

Result<void> Store::remove(const std::string& name) {
  SEQKV_TRY(state_->check_writable());
  // Not held against its seal: what is forged can be removed, too.
  SEQKV_ASSIGN(const std::optional<SessionRow> row, state_->find_session(name));
  if (!row) {
    return Error(ErrorCode::session_not_found, fmt::format("no session '{}'", name)).in_file(state_->folder.string());
  }
  return state_->remove({&*row, 1});
}

Result<void> Store::State::remove(std::span<const SessionRow> rows) {
  if (rows.empty()) return {};
  store::PackWriter pack(*this);
  SEQKV_ASSIGN(std::int64_t sequence, store::next_sequence(*this));
  std::vector<store::Place> places;
  for (const SessionRow& row : rows) {
    SEQKV_ASSIGN(const store::RecordBytes record,
                 store::removal_record(
                     seal, {row.head.tenant, row.head.name, sequence + static_cast<std::int64_t>(places.size())}));
    SEQKV_ASSIGN(places.emplace_back(), pack.append(record));
  }
  SEQKV_TRY(pack.sync());
  SEQKV_ASSIGN(store::Transaction transaction, store::Transaction::begin(database));
  SEQKV_TRY(pack.write_rows(database));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    SEQKV_TRY(store::drop_session(database, rows[i], sequence + static_cast<std::int64_t>(i), places[i]));
    SEQKV_TRY(store::prune(database, rows[i].block));
  }
  SEQKV_TRY(transaction.commit());
  pack.keep();
  return {};
}

Result<std::vector<std::string>> Store::State::remove_expired() {
  const auto time = static_cast<std::int64_t>(store::now());
  SEQKV_ASSIGN(store::Statement query,
               database.prepare(fmt::format("{} WHERE sessions.expires BETWEEN 1 AND ? ORDER BY sessions.name",
                                            store::session_query)));
  query.bind(1, time);
  SEQKV_ASSIGN(const std::vector<SessionRow> rows, store::all_rows<SessionRow>(query, store::session_row));
  query.reset();
  SEQKV_TRY(remove(rows));
  std::vector<std::string> names;
  for (const SessionRow& row : rows) names.push_back(row.head.name);
  return names;
}

}  // namespace seqkv
