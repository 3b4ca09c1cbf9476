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
  if (record.head.parent != parent || row.position != begin)
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

/// Walks over every pack: the records of sessions by name, and whether all were seen.
Result<bool> read_sessions(const Store::State& state, std::map<std::string, store::SessionHead>& sessions,
                           VerifyReport& report) {
  bool all = true;
  SEQKV_ASSIGN(Statement packs, state.database.prepare("SELECT id, bytes FROM packs ORDER BY id"));
  for (;;) {
    SEQKV_ASSIGN(const bool there, packs.step());
    if (!there) return all;
    const auto walk = [&]() -> Result<void> {
      SEQKV_ASSIGN(const auto bytes, state.pack(packs.integer(0), packs.integer(1)));
      SEQKV_ASSIGN(auto found, store::read_session_records(bytes, packs.integer(1)));
      for (store::SessionHead& head : found) sessions.insert_or_assign(head.name, std::move(head));
      return {};
    };
    if (auto status = walk(); !status) {
      all = false;
      auto error = std::move(status).error().in_file(store::pack_path(state.folder, packs.integer(0)).string());
      report.problems.push_back(error.describe());
    }
  }
}

}  // namespace

Result<VerifyReport> Store::verify(const std::function<void(std::int64_t, std::int64_t)>& progress) const {
  VerifyReport report;
  SEQKV_ASSIGN(const StoreTotals totals, this->totals());
  SEQKV_TRY(check_index(*state_, report));
  // Parents come before children in order of position.
  SEQKV_ASSIGN(Statement blocks,
               state_->database.prepare(fmt::format("SELECT {} FROM blocks ORDER BY position, id", block_columns)));
  std::map<std::int64_t, Checked> checked;
  for (;;) {
    SEQKV_ASSIGN(const bool there, blocks.step());
    if (!there) break;
    SEQKV_ASSIGN(const BlockRow row, row_from(blocks));
    const auto status = check_row(*state_, row, checked);
    checked[row.id] = {status.ok(), row.identity, row.position + row.tokens};
    if (!status) report.problems.push_back(fmt::format("block {}: {}", row.id, status.error().describe()));
    ++report.blocks;
    report.bytes += row.bytes;
    if (progress) progress(report.blocks, totals.blocks);
  }
  std::map<std::string, store::SessionHead> records;
  SEQKV_ASSIGN(const bool all_records, read_sessions(*state_, records, report));
  SEQKV_ASSIGN(Statement sessions,
               state_->database.prepare("SELECT name, block, tokens, (SELECT spec FROM codecs WHERE id = codec) "
                                        "FROM sessions ORDER BY name"));
  for (;;) {
    SEQKV_ASSIGN(const bool there, sessions.step());
    if (!there) break;
    ++report.sessions;
    const std::string name = sessions.text(0);
    const auto last = checked.find(sessions.integer(1));
    if (last == checked.end() || !last->second.good) {
      report.broken_sessions.push_back(name);
      continue;
    }
    const auto record = records.find(name);
    if (record == records.end()) {
      if (all_records) report.problems.push_back(fmt::format("session '{}' has no record in the packs", name));
      continue;
    }
    const store::SessionHead& head = record->second;
    if (head.last_block != last->second.identity || head.tokens != last->second.end ||
        head.tokens != sessions.integer(2) || head.codec != sessions.text(3)) {
      report.problems.push_back(
          fmt::format("session '{}': the index says {} tokens of {}, its record {} of {}{}", name, sessions.integer(2),
                      sessions.text(3), head.tokens, head.codec,
                      head.last_block == last->second.identity ? "" : ", and another last block"));
      report.broken_sessions.push_back(name);
    }
  }
  // What a restore begins with: a table without a column that it needs shows here.
  if (auto listed = this->sessions(); !listed && report.problems.empty()) {
    report.problems.push_back(listed.error().describe());
  }
  return report;
}

}  // namespace seqkv
