// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "store/epoch.hpp"

#include <algorithm>

#include "core/bytes.hpp"
#include "core/try.hpp"
#include "store/index.hpp"
#include "store/uses.hpp"

namespace seqkv::store {
namespace {

void put(ByteWriter& out, const Digest& digest) { out.put(std::span<const std::byte>(digest.bytes)); }
void put(ByteWriter& out, const Place& place) {
  out.put(place.pack);
  out.put(place.offset);
  out.put(place.bytes);
}

Digest get_digest(ByteReader& in) {
  Digest digest;
  const auto bytes = in.get_bytes(digest.bytes.size());
  std::ranges::copy(bytes, digest.bytes.begin());
  return digest;
}
Place get_place(ByteReader& in) {
  Place place;
  place.pack = in.get<std::int64_t>();
  place.offset = in.get<std::int64_t>();
  place.bytes = in.get<std::int64_t>();
  return place;
}

void put(ByteWriter& out, const SessionHead& head) {
  put(out, head.tenant);
  out.put_text(head.name);
  put(out, head.nonce);
  put(out, head.profile);
  out.put_text(head.codec);
  put(out, head.last_block);
  for (const std::int64_t number : {head.tokens, head.sequence, head.created, head.expires}) out.put(number);
  out.put(static_cast<std::uint8_t>(head.pinned));
}
SessionHead get_head(ByteReader& in) {
  SessionHead head;
  head.tenant = get_digest(in);
  head.name = in.get_text();
  head.nonce = get_digest(in);
  head.profile = get_digest(in);
  head.codec = in.get_text();
  head.last_block = get_digest(in);
  for (std::int64_t* number : {&head.tokens, &head.sequence, &head.created, &head.expires}) {
    *number = in.get<std::int64_t>();
  }
  head.pinned = in.get<std::uint8_t>() != 0;
  return head;
}

}  // namespace

// ---- what a process has written ---------------------------------------------------------------------------

const BlockRow* Epoch::find(const Digest& identity) const {
  const auto found = blocks_.find(identity);
  return found == blocks_.end() ? nullptr : &found->second.row;
}

bool Epoch::is_promised(const Digest& identity) const {
  const auto found = blocks_.find(identity);
  return found != blocks_.end() && found->second.promised;
}

void Epoch::promise(const BlockRow& row) { blocks_.try_emplace(row.identity, Block{row, {}, true}); }

void Epoch::add(const BlockRow& row, const Digest& parent) {
  if (!blocks_.try_emplace(row.identity, Block{row, parent, false}).second) return;
  written_.push_back(row.identity);
  new_bytes_ += row.place.bytes;
}

void Epoch::add(SessionHead head, std::vector<Digest> identities) {
  sessions_.push_back({std::move(head), std::move(identities)});
}

Result<std::vector<std::byte>> Epoch::close(std::int64_t sequence) {
  ByteWriter rows;
  rows.put(static_cast<std::uint64_t>(sessions_.size()));
  for (Session& session : sessions_) {
    session.head.sequence = sequence++;
    SEQKV_ASSIGN(const RecordBytes record, session_record(pack_.seal(), session.head));
    SEQKV_ASSIGN(const Place place, pack_.append(record));
    put(rows, session.head);
    put(rows, place);
    rows.put(static_cast<std::uint64_t>(session.identities.size()));
    for (const Digest& identity : session.identities) put(rows, identity);
  }
  SEQKV_TRY(pack_.sync());
  rows.put(static_cast<std::uint64_t>(written_.size()));
  for (const Digest& identity : written_) {
    const Block& block = blocks_.at(identity);
    put(rows, identity);
    put(rows, block.parent);
    rows.put(block.row.position);
    rows.put(block.row.tokens);
    put(rows, block.row.place);
  }
  const auto packs = pack_.ends();
  rows.put(static_cast<std::uint64_t>(packs.size()));
  for (const auto& [number, end] : packs) {
    rows.put(number);
    rows.put(end);
  }
  pack_.go_on();  // from here on the index may name it, even if this process should not hear of that
  return std::move(rows).take();
}

void Epoch::begin_next() {
  blocks_.clear();
  written_.clear();
  sessions_.clear();
  new_bytes_ = 0;
}

// ---- the commit -------------------------------------------------------------------------------------------

namespace {

struct StagedBlock {
  BlockRow row;
  Digest parent;
};
struct StagedSession {
  SessionHead head;
  Place place;
  std::vector<Digest> identities;
};

/// The rows of all processes.
struct Staged {
  std::vector<StagedSession> sessions;
  std::vector<StagedBlock> blocks;
  std::vector<std::pair<std::int64_t, std::int64_t>> packs;

  Result<void> read(std::span<const std::byte> part) {
    ByteReader in(part);
    for (auto left = in.get<std::uint64_t>(); left > 0 && in.ok(); --left) {
      StagedSession& session = sessions.emplace_back();
      session.head = get_head(in);
      session.place = get_place(in);
      for (auto blocks_left = in.get<std::uint64_t>(); blocks_left > 0 && in.ok(); --blocks_left) {
        session.identities.push_back(get_digest(in));
      }
    }
    for (auto left = in.get<std::uint64_t>(); left > 0 && in.ok(); --left) {
      StagedBlock& block = blocks.emplace_back();
      block.row.identity = get_digest(in);
      block.parent = get_digest(in);
      block.row.position = in.get<std::int64_t>();
      block.row.tokens = in.get<std::int64_t>();
      block.row.place = get_place(in);
    }
    for (auto left = in.get<std::uint64_t>(); left > 0 && in.ok(); --left) {
      const auto number = in.get<std::int64_t>();
      packs.emplace_back(number, in.get<std::int64_t>());
    }
    if (in.ok() && in.remaining() == 0) return {};
    return Error(ErrorCode::internal, "rows of another process that do not end where they should");
  }
};

class EpochCommit {
 public:
  EpochCommit(Database& database, std::int64_t codec) : database_(database), codec_(codec) {}

  Result<void> write(std::span<const std::pair<std::int64_t, std::int64_t>> packs) {
    SEQKV_ASSIGN(Statement row, database_.prepare("INSERT INTO packs (id, bytes) VALUES (?1, ?2) "
                                                  "ON CONFLICT (id) DO UPDATE SET bytes = excluded.bytes"));
    SEQKV_ASSIGN(Statement next, database_.prepare("UPDATE state SET next_pack = max(next_pack, ?)"));
    for (const auto& [number, end] : packs) {
      SEQKV_TRY(row.bind(1, number).bind(2, end).run());
      SEQKV_TRY(next.bind(1, number + 1).run());
    }
    return {};
  }

  /// Parents first: those stand further ahead in their sessions.
  Result<void> write(std::vector<StagedBlock>& blocks) {
    std::ranges::stable_sort(blocks, {}, [](const StagedBlock& block) { return block.row.position; });
    SEQKV_ASSIGN(BlockInserter inserter, BlockInserter::create(database_));
    for (StagedBlock& block : blocks) {
      SEQKV_ASSIGN(const std::optional<std::int64_t> there, find(block.row.identity));
      if (there) continue;
      if (block.row.position > 0) {
        SEQKV_ASSIGN(block.row.parent, find(block.parent));
        if (!block.row.parent) {
          ++totals_.left_out;
          continue;
        }
      }
      SEQKV_ASSIGN(const std::int64_t id, inserter.insert(block.row, codec_));
      ids_[block.row.identity] = id;
      ++totals_.blocks;
    }
    return {};
  }

  Result<void> write(std::span<const StagedSession> sessions) {
    for (const StagedSession& session : sessions) {
      SEQKV_ASSIGN(const std::optional<std::int64_t> last, find(session.head.last_block));
      if (!last) {
        ++totals_.left_out;
        continue;
      }
      SEQKV_TRY(put_session(database_, session.head, *last, codec_, session.place));
      SEQKV_TRY(count_uses(database_, session.identities, codec_));
      ++totals_.sessions;
    }
    return {};
  }

  const EpochTotals& totals() const { return totals_; }

 private:
  Result<std::optional<std::int64_t>> find(const Digest& identity) {
    const auto known = ids_.find(identity);
    if (known != ids_.end()) return std::optional(known->second);
    SEQKV_ASSIGN(Statement query, database_.prepare("SELECT id FROM blocks WHERE identity = ? AND codec = ?"));
    SEQKV_ASSIGN(const bool there, query.bind(1, std::span<const std::byte>(identity.bytes)).bind(2, codec_).step());
    if (!there) return std::optional<std::int64_t>();
    ids_[identity] = query.integer(0);
    return std::optional(query.integer(0));
  }

  Database& database_;
  std::int64_t codec_;
  std::map<Digest, std::int64_t> ids_;
  EpochTotals totals_;
};

}  // namespace

Result<EpochTotals> commit_epochs(Store::State& state, const Codec& codec,
                                  std::span<const std::span<const std::byte>> parts) {
  Staged staged;
  for (const auto& part : parts) {
    if (!part.empty()) SEQKV_TRY(staged.read(part));
  }
  if (staged.sessions.empty() && staged.blocks.empty()) return EpochTotals{};
  if (codec.needs_profile()) SEQKV_TRY(state.keep(codec.profile()));
  SEQKV_ASSIGN(Transaction transaction, Transaction::begin(state.database));
  SEQKV_ASSIGN(const std::int64_t codec_id, need_codec(state.database, codec.spec(), codec.profile_fingerprint()));
  EpochCommit commit(state.database, codec_id);
  SEQKV_TRY(commit.write(staged.packs));
  SEQKV_TRY(commit.write(staged.blocks));
  SEQKV_TRY(commit.write(std::span<const StagedSession>(staged.sessions)));
  SEQKV_TRY(transaction.commit());
  return commit.totals();
}

Result<void> remove_unknown_packs(const Store::State& state) {
  SEQKV_ASSIGN(Statement query, state.database.prepare("SELECT 1 FROM packs WHERE id = ?"));
  SEQKV_ASSIGN(const std::vector<std::int64_t> files, pack_files(state.folder));
  for (const std::int64_t number : files) {
    SEQKV_ASSIGN(const bool known, query.bind(1, number).step());
    query.reset();
    if (!known) SEQKV_TRY(io::remove(pack_path(state.folder, number)));
  }
  return {};
}

}  // namespace seqkv::store
