// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>

#include <map>

#include "core/try.hpp"
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

}  // namespace

Result<VerifyReport> Store::verify(const std::function<void(std::int64_t, std::int64_t)>& progress) const {
  VerifyReport report;
  SEQKV_ASSIGN(const StoreTotals totals, this->totals());
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
  SEQKV_ASSIGN(Statement sessions, state_->database.prepare("SELECT name, block, tokens FROM sessions ORDER BY name"));
  for (;;) {
    SEQKV_ASSIGN(const bool there, sessions.step());
    if (!there) break;
    ++report.sessions;
    const auto last = checked.find(sessions.integer(1));
    if (last == checked.end() || !last->second.good) {
      report.broken_sessions.push_back(sessions.text(0));
    } else if (last->second.end != sessions.integer(2)) {
      report.problems.push_back(fmt::format("session '{}': {} tokens in the index, {} in its blocks", sessions.text(0),
                                            sessions.integer(2), last->second.end));
      report.broken_sessions.push_back(sessions.text(0));
    }
  }
  return report;
}

}  // namespace seqkv
