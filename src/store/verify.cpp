// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>

#include <map>

#include "core/try.hpp"
#include "io/text.hpp"
#include "seqkv/limits.hpp"
#include "store/identity.hpp"
#include "store/store_state.hpp"

namespace seqkv {
namespace {

using store::Statement;

/// What is known of a block once it has been read.
struct Checked {
  bool good = false;
  Digest identity;
  std::int64_t end = 0;  ///< position behind its last token
};

/// Reads one block and holds it against its row and its parent, which has been checked before it.
Result<void> check_row(const Store::State& state, const BlockRow& row, const std::map<std::int64_t, Checked>& checked) {
  SEQKV_ASSIGN(const store::BlockRecord record, state.read(row));
  SEQKV_ASSIGN(const CodedBlockInfo info, inspect_block(state.parameters.shape, record.block));
  if (info.first_position != row.position || static_cast<std::int64_t>(info.tokens.size()) != row.tokens) {
    return Error(ErrorCode::corrupt, "position or tokens differ between index and block");
  }
  Digest parent = state.root;
  std::int64_t begin = 0;
  if (row.parent) {
    const auto found = checked.find(*row.parent);
    if (found == checked.end() || !found->second.good)
      return Error(ErrorCode::corrupt, "the block before it is missing or broken");
    parent = found->second.identity;
    begin = found->second.end;
  }
  // The identity of a first block commits to its root, which is not the store's for a session that shares nothing.
  if ((row.parent && record.head.parent != parent) || row.position != begin)
    return Error(ErrorCode::corrupt, "it does not continue the block before it");
  return {};
}

/// SQLite's own check of the index. Errors: corrupt.
Result<void> check_index(const Store::State& state, VerifyReport& report) {
  SEQKV_ASSIGN(Statement check, state.database.prepare("PRAGMA integrity_check"));
  for (;;) {
    SEQKV_ASSIGN(const bool there, check.step());
    if (!there) return {};
    if (const std::string words = check.text(0); words != "ok") {
      report.problems.push_back(fmt::format("{}: {}", state.index_path().string(), io::printable(words)));
    }
  }
}

struct PackRow {
  std::int64_t number = 0;
  std::int64_t bytes = 0;
};

struct SessionRow {
  std::string name;
  std::int64_t block = 0;
  std::int64_t tokens = 0;
  std::string codec;
  Digest profile;
};

struct IndexRows {
  std::vector<BlockRow> blocks;  ///< parents before children
  std::vector<PackRow> packs;
  std::vector<SessionRow> sessions;  ///< by name
};

template <class Row, class Read>
Result<std::vector<Row>> read_rows(const Store::State& state, const std::string& query, const Read& read) {
  std::vector<Row> rows;
  SEQKV_ASSIGN(Statement statement, state.database.prepare(query));
  for (;;) {
    SEQKV_ASSIGN(const bool there, statement.step());
    if (!there) return rows;
    SEQKV_ASSIGN(Row row, read(statement));
    rows.push_back(std::move(row));
  }
}

/// The rows of one moment, all at once: an open query would keep a writer from its commit while packs are read.
Result<IndexRows> read_index(Store::State& state) {
  SEQKV_ASSIGN(const store::Transaction moment,
               store::Transaction::begin(state.database, store::Transaction::Purpose::read));
  IndexRows rows;
  SEQKV_ASSIGN(
      rows.blocks,
      read_rows<BlockRow>(state, fmt::format("SELECT {} FROM blocks ORDER BY position, id", block_columns), row_from));
  SEQKV_ASSIGN(rows.packs, read_rows<PackRow>(state, "SELECT id, bytes FROM packs ORDER BY id",
                                              [](const Statement& row) -> Result<PackRow> {
                                                return PackRow{row.integer(0), row.integer(1)};
                                              }));
  SEQKV_ASSIGN(rows.sessions,
               read_rows<SessionRow>(state,
                                     "SELECT name, block, tokens, (SELECT spec FROM codecs WHERE id = codec), "
                                     "(SELECT profile FROM codecs WHERE id = codec) FROM sessions ORDER BY name",
                                     [](const Statement& row) -> Result<SessionRow> {
                                       SessionRow session{row.text(0), row.integer(1), row.integer(2), row.text(3), {}};
                                       if (!row.is_null(4)) {
                                         SEQKV_ASSIGN(session.profile, digest_from(row, 4));
                                       }
                                       return session;
                                     }));
  return rows;
}

/// Walks over every pack: the records of sessions by name, and whether all were seen.
bool read_sessions(const Store::State& state, const std::vector<PackRow>& packs,
                   std::map<std::string, store::SessionHead>& sessions, VerifyReport& report) {
  bool all = true;
  for (const PackRow& pack : packs) {
    const auto walk = [&]() -> Result<void> {
      SEQKV_ASSIGN(const auto bytes, state.pack(pack.number, pack.bytes));
      SEQKV_ASSIGN(auto found, store::read_session_records(bytes, pack.bytes));
      for (store::SessionHead& head : found) sessions.insert_or_assign(head.name, std::move(head));
      return {};
    };
    if (auto status = walk(); !status) {
      all = false;
      auto error = std::move(status).error().in_file(store::pack_path(state.folder, pack.number).string());
      report.problems.push_back(error.describe());
    }
  }
  return all;
}

/// Holds a session against its last block and its record.
Result<void> check_session(const SessionRow& row, const std::map<std::int64_t, Checked>& checked,
                           const std::map<std::string, store::SessionHead>& records, bool all_records,
                           VerifyReport& report) {
  const auto last = checked.find(row.block);
  if (last == checked.end() || !last->second.good) {
    report.broken_sessions.push_back(row.name);
    return {};
  }
  const auto record = records.find(row.name);
  if (record == records.end()) {
    if (!all_records) return {};
    return Error(ErrorCode::corrupt, fmt::format("session '{}' has no record in the packs", row.name));
  }
  const store::SessionHead& head = record->second;
  if (head.last_block == last->second.identity && head.tokens == last->second.end && head.tokens == row.tokens &&
      head.codec == row.codec && head.profile == row.profile) {
    return {};
  }
  report.broken_sessions.push_back(row.name);
  return Error(ErrorCode::corrupt,
               fmt::format("session '{}': the index says {} tokens of {}, its record {} of {}{}", row.name, row.tokens,
                           row.codec, head.tokens, head.codec,
                           head.last_block == last->second.identity ? "" : ", and another last block"));
}

}  // namespace

Result<VerifyReport> Store::verify(const std::function<void(std::int64_t, std::int64_t)>& progress) const {
  VerifyReport report;
  SEQKV_TRY(check_index(*state_, report));
  SEQKV_ASSIGN(const IndexRows index, read_index(*state_));
  std::map<std::int64_t, Checked> checked;
  for (const BlockRow& row : index.blocks) {
    const auto status = check_row(*state_, row, checked);
    checked[row.id] = {status.ok(), row.identity, row.position + row.tokens};
    if (!status) report.problems.push_back(fmt::format("block {}: {}", row.id, status.error().describe()));
    ++report.blocks;
    report.bytes += row.bytes;
    if (progress) progress(report.blocks, static_cast<std::int64_t>(index.blocks.size()));
  }
  std::map<std::string, store::SessionHead> records;
  std::map<Digest, bool> profiles;  // whether they are there as they were
  const bool all_records = read_sessions(*state_, index.packs, records, report);
  for (const SessionRow& row : index.sessions) {
    ++report.sessions;
    const auto status = check_session(row, checked, records, all_records, report);
    if (!status) report.problems.push_back(status.error().message);
    if (row.profile.is_zero()) continue;
    if (!profiles.contains(row.profile)) {
      const auto loaded = profile(row.profile);
      profiles[row.profile] = loaded.ok();
      if (!loaded) report.problems.push_back(loaded.error().describe());
    }
    if (status && !profiles[row.profile]) report.broken_sessions.push_back(row.name);
  }
  // What a restore begins with: a table without a column that it needs shows here.
  if (auto listed = this->sessions(); !listed && report.problems.empty()) {
    report.problems.push_back(listed.error().describe());
  }
  return report;
}

}  // namespace seqkv
