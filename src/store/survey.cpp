// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "store/survey.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "codec/predict/profile.hpp"
#include "core/try.hpp"
#include "io/file.hpp"
#include "io/text.hpp"

namespace seqkv::store {
namespace {

/// SQLite's own check of the index.
Result<void> check_index(const Store::State& state, Survey& survey) {
  SEQKV_ASSIGN(Statement check, state.database.prepare("PRAGMA integrity_check"));
  for (;;) {
    SEQKV_ASSIGN(const bool there, check.step());
    if (!there) return {};
    if (const std::string words = check.text(0); words != "ok") {
      survey.problems.push_back(fmt::format("{}: {}", state.index_path().string(), io::printable(words)));
    }
  }
}

/// The rows of one moment, all at once: an open query would keep a writer from its commit while packs are read.
Result<void> read_index(const Store::State& state, Survey& survey, std::vector<BlockRow>& blocks,
                        std::vector<SessionRow>& sessions, std::vector<SourceRow>& sources) {
  SEQKV_ASSIGN(const Transaction moment, Transaction::begin(state.database, Transaction::Purpose::read));
  SEQKV_ASSIGN(Statement block_query,
               state.database.prepare(fmt::format("SELECT {} FROM blocks ORDER BY position, id", block_columns)));
  SEQKV_ASSIGN(blocks, all_rows<BlockRow>(block_query, block_row));
  SEQKV_ASSIGN(Statement source_query, state.database.prepare("SELECT block, source FROM sources"));
  SEQKV_ASSIGN(sources, all_rows<SourceRow>(source_query, [](const Statement& row) -> Result<SourceRow> {
                 return SourceRow{row.integer(0), row.integer(1)};
               }));
  SEQKV_ASSIGN(Statement pack_query, state.database.prepare("SELECT id, bytes FROM packs ORDER BY id"));
  SEQKV_ASSIGN(survey.packs, all_rows<PackRow>(pack_query, [](const Statement& row) -> Result<PackRow> {
                 return PackRow{row.integer(0), row.integer(1)};
               }));
  SEQKV_ASSIGN(Statement session_rows, state.database.prepare(fmt::format("{} ORDER BY sessions.name", session_query)));
  for (;;) {
    SEQKV_ASSIGN(const bool there, session_rows.step());
    if (!there) return {};
    // A row that cannot be made out is a session of which nothing but the name is known.
    auto row = session_row(session_rows);
    if (!row) {
      survey.problems.push_back(row.error().describe());
      SessionRow& lost = sessions.emplace_back();
      lost.id = session_rows.integer(0);
      lost.head.name = session_rows.text(4);
      if (auto tenant = digest_from(session_rows, 3)) lost.head.tenant = *tenant;
      continue;
    }
    sessions.push_back(std::move(*row));
  }
}

/// Reads one block and holds it against its row and its parent, which has been checked before it.
Result<void> check_block_row(const Store::State& state, const BlockRow& row, Survey& survey) {
  SEQKV_ASSIGN(const StoredBlock block, state.read(row));
  Survey::Block& entry = survey.blocks[row.id];
  entry.hash = block.info.hash;
  for (const BlockReference& reference : block.info.references) entry.names.push_back(reference.hash);
  std::int64_t begin = 0;
  if (row.parent) {
    const auto found = survey.blocks.find(*row.parent);
    if (found == survey.blocks.end() || !found->second.good)
      return Error(ErrorCode::corrupt, "the block before it is missing or broken");
    const BlockRow& parent = found->second.row;
    begin = parent.position + parent.tokens;
    if (block.head.parent != parent.identity) {
      return Error(ErrorCode::corrupt, "it does not continue the block before it");
    }
  }
  // The identity of a first block commits to its root, which tenants and sessions that share nothing have of their own.
  if (row.position == begin) return {};
  return Error(ErrorCode::corrupt, "it does not continue the block before it");
}

/// Walks over a pack to its committed end.
Result<void> check_pack(const Store::State& state, const PackRow& pack) {
  SEQKV_ASSIGN(const auto mapped, state.pack(pack.number, pack.bytes));
  const auto bytes = mapped->bytes();
  if (static_cast<std::int64_t>(bytes.size()) < pack.bytes) {
    return Error(ErrorCode::truncated,
                 fmt::format("the pack has {} bytes, the index says {}", bytes.size(), pack.bytes))
        .at_byte(static_cast<std::int64_t>(bytes.size()));
  }
  bool parameters = false;
  for (const PackItem& item : walk_pack(bytes, pack.bytes)) {
    if (item.damaged) return Error(ErrorCode::corrupt, "no record, or padding that is not zero").at_byte(item.offset);
    switch (item.type) {
      case RecordType::block:
      case RecordType::session:
      case RecordType::removal:
        break;
      case RecordType::parameters: {
        SEQKV_ASSIGN(const auto here, bytes_at(bytes, item.offset, item.bytes));
        SEQKV_ASSIGN(const Record record, read_record(state.seal, here, item.offset));
        SEQKV_ASSIGN(const std::string text, parameters_text(record, item.offset));
        if (text != state.parameters_text) {
          return Error(ErrorCode::corrupt, "other parameters than the index has").at_byte(item.offset);
        }
        parameters = true;
        break;
      }
      default:
        return Error(ErrorCode::corrupt, "an unknown type of record").at_byte(item.offset);
    }
  }
  if (!parameters) return Error(ErrorCode::corrupt, "the pack does not carry the store's parameters");
  return {};
}

/// Whether the session's record is what the index says.
Result<void> check_session_record(const Store::State& state, Survey::Session& session) {
  const SessionRow& row = session.row;
  SEQKV_ASSIGN(const auto bytes, state.record_at(row.place));
  const auto check = [&]() -> Result<void> {
    SEQKV_ASSIGN(const Record record, read_record(state.seal, bytes, row.place.offset));
    SEQKV_ASSIGN(const SessionHead head, session_head(record, row.place.offset));
    session.differs = head != row.head;
    if (!session.differs) return {};
    return Error(ErrorCode::corrupt, "the index and its record differ");
  };
  if (auto status = check(); !status) {
    return std::move(status).error().in_file(pack_path(state.folder, row.place.pack).string());
  }
  return {};
}

/// How much of a session is good.
void follow_chain(const Survey& survey, Survey::Session& session) {
  std::int64_t before = INT64_MAX;
  std::optional<std::int64_t> at = session.row.block;
  while (at) {
    const auto found = survey.blocks.find(*at);
    if (found == survey.blocks.end() || found->second.row.position >= before) {
      session.why = fmt::format("block {} is missing", *at);
      return;
    }
    const BlockRow& row = found->second.row;
    if (found->second.good) {
      session.last_good = row.id;
      const bool last = row.id == session.row.block;
      session.good_tokens =
          last ? std::min(session.row.head.tokens, row.position + row.tokens) : row.position + row.tokens;
      if (last && session.row.head.tokens > row.position + row.tokens) session.why = "its blocks have fewer tokens";
      if (last && session.row.head.tokens <= row.position) {
        session.why = "it ends before its last block";
        session.good_tokens = 0;
        session.last_good = 0;
      }
      return;
    }
    session.why = fmt::format("block {} for token {} on is broken", row.id, row.position);
    before = row.position;
    at = row.parent;
  }
}

/// Whether the store's copy of a profile is the one that its name says.
Result<void> check_profile_copy(const Store::State& state, const Digest& fingerprint) {
  const auto path = state.profile_path(fingerprint);
  auto loaded = Profile::load(path);
  if (loaded && (*loaded)->fingerprint() == fingerprint) return {};
  const std::string what = loaded ? "it is not the one that its name says" : loaded.error().message;
  return Error(ErrorCode::corrupt, "the profile that sessions need: " + what).in_file(path.string());
}

void check_sessions(const Store::State& state, std::vector<SessionRow>& rows, Survey& survey) {
  std::map<Digest, bool> profiles;
  for (SessionRow& row : rows) {
    Survey::Session session;
    session.row = std::move(row);
    if (session.row.block != 0) {
      const auto status = check_session_record(state, session);
      session.record_good = status.ok();
      if (!status) {
        survey.problems.push_back(fmt::format("session '{}': {}", session.row.head.name, status.error().describe()));
        survey.damaged_packs.insert(session.row.place.pack);
      }
      follow_chain(survey, session);
    }
    // A session that a key should have sealed cannot be told from one that somebody else made up.
    if (!session.record_good && state.seal.active()) {
      session.good_tokens = 0;
      session.last_good = 0;
      session.why = "its record is missing or forged";
    }
    if (session.differs) session.why = "the index and its record differ";
    const Digest& profile = session.row.head.profile;
    if (!profile.is_zero() && !profiles.contains(profile)) {
      const auto status = check_profile_copy(state, profile);
      profiles[profile] = status.ok();
      if (!status) survey.problems.push_back(status.error().describe());
    }
    session.profile_good = profile.is_zero() || profiles[profile];
    if (!session.profile_good) session.why = "its profile is missing or damaged";
    if (!session.restores() && !session.why.empty()) {
      survey.problems.push_back(fmt::format("session '{}': {}", session.row.head.name, session.why));
    }
    survey.sessions.push_back(std::move(session));
  }
}

/// Packs that rows lie in and the index does not list: nobody else would know that they are needed.
void find_unknown_packs(const Store::State& state, Survey& survey) {
  std::set<std::int64_t> unknown;
  for (const auto& [id, block] : survey.blocks) unknown.insert(block.row.place.pack);
  for (const Survey::Session& session : survey.sessions) unknown.insert(session.row.place.pack);
  for (const PackRow& pack : survey.packs) unknown.erase(pack.number);
  unknown.erase(0);  // of sessions of which nothing is known
  for (const std::int64_t number : unknown) {
    survey.problems.push_back(
        fmt::format("{}: pack {} is missing from the index", state.index_path().string(), number));
    survey.damaged_packs.insert(number);
  }
}

}  // namespace

Result<Survey> survey(const Store::State& state, const std::function<void(std::int64_t, std::int64_t)>& progress) {
  Survey survey;
  SEQKV_TRY(check_index(state, survey));
  std::vector<BlockRow> blocks;
  std::vector<SessionRow> sessions;
  std::vector<SourceRow> sources;
  SEQKV_TRY(read_index(state, survey, blocks, sessions, sources));
  survey.blocks.reserve(blocks.size());
  for (const BlockRow& row : blocks) {
    const auto status = check_block_row(state, row, survey);
    if (const auto bytes = state.record_at(row.place)) io::forget(*bytes);
    Survey::Block& block = survey.blocks[row.id];
    block.row = row;
    block.good = status.ok();
    survey.order.push_back(row.id);
    if (!status) {
      survey.problems.push_back(fmt::format("block {}: {}", row.id, status.error().describe()));
      survey.damaged_packs.insert(row.place.pack);
    }
    survey.bytes += row.place.bytes;
    if (progress) progress(static_cast<std::int64_t>(survey.order.size()), static_cast<std::int64_t>(blocks.size()));
  }
  check_sources(sources, survey);
  for (const PackRow& pack : survey.packs) {
    auto status = check_pack(state, pack);
    if (status) continue;
    survey.damaged_packs.insert(pack.number);
    const auto path = pack_path(state.folder, pack.number).string();
    survey.problems.push_back(std::move(status).error().in_file(path).describe());
  }
  check_sessions(state, sessions, survey);
  find_unknown_packs(state, survey);
  return survey;
}

}  // namespace seqkv::store
