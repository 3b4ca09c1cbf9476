// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <algorithm>

#include "core/try.hpp"
#include "store/compaction.hpp"
#include "store/uses.hpp"

namespace seqkv {
namespace {

using store::Statement;

Result<std::int64_t> pack_bytes(const Store::State& state) {
  SEQKV_ASSIGN(Statement query, state.database.prepare("SELECT ifnull(sum(bytes), 0) FROM packs"));
  SEQKV_ASSIGN(const bool there, query.step());
  return there ? query.integer(0) : 0;
}

Result<std::int64_t> count_packs(const Store::State& state) {
  SEQKV_ASSIGN(Statement query, state.database.prepare("SELECT count(*) FROM packs"));
  SEQKV_ASSIGN(const bool there, query.step());
  return there ? query.integer(0) : 0;
}

/// Packs of which more than a part is dead. Records are counted with the zeros up to the next.
Result<std::set<std::int64_t>> packs_to_move(const Store::State& state, double dead_part) {
  SEQKV_ASSIGN(const store::RecordBytes parameters, store::parameters_record(state.parameters_text));
  SEQKV_ASSIGN(Statement query,
               state.database.prepare(
                   "SELECT packs.id, packs.bytes, ifnull(sum((alive.bytes + 63) / 64 * 64), 0) FROM packs LEFT JOIN "
                   "(SELECT pack, bytes FROM blocks UNION ALL SELECT pack, bytes FROM sessions UNION ALL SELECT pack, "
                   "bytes FROM removals) AS alive ON alive.pack = packs.id GROUP BY packs.id"));
  std::set<std::int64_t> packs;
  for (;;) {
    SEQKV_ASSIGN(const bool there, query.step());
    if (!there) return packs;
    const std::int64_t bytes = query.integer(1);
    const std::int64_t dead = bytes - query.integer(2) - store::pack_header_bytes - parameters.size();
    if (dead > 0 && static_cast<double>(dead) > dead_part * static_cast<double>(bytes)) packs.insert(query.integer(0));
  }
}

/// Codecs that nothing uses, and counts of what has not been used for so long that a use more would be the first.
Result<void> forget(store::Database& database) {
  SEQKV_TRY(database.execute(
      "DELETE FROM codecs WHERE id NOT IN (SELECT codec FROM blocks UNION SELECT codec FROM sessions)"));
  SEQKV_ASSIGN(Statement uses,
               database.prepare("DELETE FROM uses WHERE last_use < ? - 10 * (SELECT half_life FROM state)"));
  return uses.bind(1, store::now()).run();
}

/// Copies of profiles that no session needs.
Result<void> remove_profiles(const Store::State& state) {
  SEQKV_ASSIGN(Statement query, state.database.prepare("SELECT 1 FROM codecs WHERE profile = ?"));
  std::error_code problem;
  std::vector<Digest> unused;
  std::filesystem::directory_iterator entry(state.folder / "profiles", problem);
  for (; !problem && entry != std::filesystem::directory_iterator(); entry.increment(problem)) {
    Digest fingerprint;
    if (!Digest::parse(entry->path().stem().string(), fingerprint)) continue;
    if (state.profile_path(fingerprint).filename() != entry->path().filename()) continue;
    SEQKV_ASSIGN(const bool used, query.bind(1, std::span<const std::byte>(fingerprint.bytes)).step());
    query.reset();
    if (!used) unused.push_back(fingerprint);
  }
  for (const Digest& fingerprint : unused) {
    state.profiles.erase(fingerprint);
    SEQKV_TRY(io::remove(state.profile_path(fingerprint)));
  }
  return {};
}

}  // namespace

Result<GcReport> Store::gc(const GcOptions& options) {
  SEQKV_TRY(state_->check_writable());
  if (!(options.dead_part >= 0.0 && options.dead_part <= 1.0)) {
    return Error(ErrorCode::invalid_argument, "the part of a pack that may be dead is 0 to 1");
  }
  GcReport report;
  SEQKV_ASSIGN(report.bytes_before, pack_bytes(*state_));
  SEQKV_ASSIGN(report.expired, state_->remove_expired());
  SEQKV_ASSIGN(const std::set<std::int64_t> packs, packs_to_move(*state_, options.dead_part));
  SEQKV_ASSIGN(const std::int64_t all_packs, count_packs(*state_));
  const bool all_moved = static_cast<std::int64_t>(packs.size()) == all_packs;
  store::PackWriter writer(*state_, store::PackWriter::Begin::in_new_pack);
  store::Compaction compaction(*state_, writer, packs);
  SEQKV_TRY(compaction.copy({}, {}));
  SEQKV_TRY(writer.sync());
  SEQKV_ASSIGN(store::Transaction transaction, store::Transaction::begin(state_->database));
  SEQKV_TRY(writer.write_rows(state_->database));
  SEQKV_TRY(compaction.write_rows());
  SEQKV_TRY(forget(state_->database));
  SEQKV_TRY(transaction.commit());
  writer.keep();
  report.packs_written = writer.packs_begun();
  report.bytes_moved = compaction.bytes_moved();
  SEQKV_ASSIGN(report.packs_removed, compaction.remove_files());
  SEQKV_TRY(remove_profiles(*state_));
  // A record of a removal is of use while a pack from before it may hold the session: now none is left.
  if (all_moved) SEQKV_TRY(state_->database.execute("DELETE FROM removals"));
  SEQKV_ASSIGN(report.bytes_after, pack_bytes(*state_));
  return report;
}

}  // namespace seqkv
