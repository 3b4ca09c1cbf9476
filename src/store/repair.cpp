// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>

#include <algorithm>

#include "core/try.hpp"
#include "store/compaction.hpp"
#include "store/survey.hpp"

namespace seqkv {
namespace {

/// A session that does not stay as it is.
struct Change {
  const store::Survey::Session* session = nullptr;
  store::SessionHead head;  ///< what is left of it; no tokens: nothing
  std::int64_t block = 0;
  store::Place place;  ///< of the record that says so
};

/// Sessions cut to what is good of them, removed, or, where only their record is broken, as they were.
std::vector<Change> changes_of(const store::Survey& survey, RepairReport& report) {
  std::vector<Change> changes;
  for (const store::Survey::Session& session : survey.sessions) {
    if (session.restores() && session.record_good) continue;
    Change change{&session, session.row.head, session.last_good, {}};
    change.head.tokens = session.profile_good ? session.good_tokens : 0;
    if (change.head.tokens > 0) change.head.last_block = survey.blocks.at(session.last_good).row.identity;
    if (change.head.tokens != session.row.head.tokens) {
      report.lost.push_back({session.row.head.name, session.row.head.tokens, change.head.tokens, session.why});
    }
    changes.push_back(std::move(change));
  }
  return changes;
}

/// Appends the records of changes, each with a sequence number of its own.
Result<void> write_records(const Store::State& state, std::vector<Change>& changes, store::PackWriter& writer) {
  SEQKV_ASSIGN(std::int64_t sequence, store::next_sequence(state));
  for (Change& change : changes) {
    change.head.sequence = sequence++;
    SEQKV_ASSIGN(const store::RecordBytes record,
                 change.head.tokens > 0
                     ? store::session_record(state.seal, change.head)
                     : store::removal_record(state.seal, {change.head.tenant, change.head.name, change.head.sequence}));
    SEQKV_ASSIGN(change.place, writer.append(record));
  }
  return {};
}

Result<void> change_rows(store::Database& database, const std::vector<Change>& changes) {
  for (const Change& change : changes) {
    if (change.head.tokens > 0) {
      SEQKV_TRY(store::put_session(database, change.head, change.block, change.session->row.codec, change.place));
      continue;
    }
    SEQKV_TRY(store::drop_session(database, change.session->row, change.head.sequence, change.place));
    SEQKV_TRY(store::prune(database, change.session->row.block));
  }
  return {};
}

/// Blocks that are broken, or lack what they need; children first. Those that went with their sessions are gone
/// already.
Result<void> drop_blocks(store::Database& database, const store::Survey& survey) {
  SEQKV_ASSIGN(store::Statement drop, database.prepare("DELETE FROM blocks WHERE id = ?"));
  std::vector<std::int64_t> sources;
  for (auto id = survey.order.rbegin(); id != survey.order.rend(); ++id) {
    const store::Survey::Block& block = survey.blocks.at(*id);
    if (block.good) continue;
    SEQKV_TRY(drop.bind(1, *id).run());
    sources.insert(sources.end(), block.sources.begin(), block.sources.end());
  }
  for (const std::int64_t source : sources) SEQKV_TRY(store::prune(database, source));
  return {};
}

}  // namespace

Result<RepairReport> Store::repair() {
  SEQKV_TRY(state_->check_writable());
  RepairReport report;
  SEQKV_ASSIGN(store::Survey survey, store::survey(*state_, {}));
  for (const store::Survey::Session& session : survey.sessions) {
    if (!session.differs) continue;
    return Error(ErrorCode::corrupt, fmt::format("session '{}' is another in the index than in the packs: only "
                                                 "--rebuild-index can tell what it was",
                                                 session.row.head.name))
        .in_file(state_->index_path().string());
  }
  report.problems = std::move(survey.problems);
  std::vector<Change> changes = changes_of(survey, report);
  std::unordered_set<std::int64_t> dead_blocks;
  for (const auto& [id, block] : survey.blocks) {
    if (!block.good) dead_blocks.insert(id);
  }
  report.blocks_dropped = static_cast<std::int64_t>(dead_blocks.size());
  std::unordered_set<std::int64_t> changed_sessions;
  for (const Change& change : changes) changed_sessions.insert(change.session->row.id);

  // What is good in damaged packs moves out of them; then nothing damaged is left.
  store::PackWriter writer(*state_, store::PackWriter::Begin::in_new_pack);
  store::Compaction compaction(*state_, writer, survey.damaged_packs);
  SEQKV_TRY(compaction.copy(dead_blocks, changed_sessions));
  SEQKV_TRY(write_records(*state_, changes, writer));
  SEQKV_TRY(writer.sync());
  SEQKV_ASSIGN(store::Transaction transaction, store::Transaction::begin(state_->database));
  SEQKV_TRY(writer.write_rows(state_->database));
  SEQKV_TRY(state_->database.execute("PRAGMA defer_foreign_keys = ON"));
  SEQKV_TRY(compaction.write_rows());
  SEQKV_TRY(change_rows(state_->database, changes));
  SEQKV_TRY(drop_blocks(state_->database, survey));
  SEQKV_TRY(transaction.commit());
  writer.keep();
  report.gc.packs_written = writer.packs_begun();
  report.gc.bytes_moved = compaction.bytes_moved();
  SEQKV_ASSIGN(report.gc.packs_removed, compaction.remove_files());
  return report;
}

}  // namespace seqkv
