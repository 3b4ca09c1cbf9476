// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// The index made again from the packs alone.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

#include "core/bytes.hpp"
#include "core/try.hpp"
#include "io/file.hpp"
#include "store/index.hpp"
#include "store/parameters.hpp"

namespace seqkv {
namespace {

using store::PackItem;
using store::Place;
using store::RecordType;

/// A block as its record has it.
struct FoundBlock {
  Digest identity;
  Digest parent;
  std::int64_t codec = 0;  ///< its row
  std::int64_t position = 0;
  std::int64_t tokens = 0;
  Place place;
  std::vector<Digest> sources;  ///< what it is predicted from
  bool needed = false;          ///< by a session, and all that it needs is there
  std::int64_t id = 0;
};

/// What was last said of a name.
struct FoundSession {
  store::SessionHead head;
  Place place;
  bool removed = false;
};

class Rebuilder {
 public:
  Rebuilder(Store::State& state, RebuildReport& report) : state_(state), report_(report) {}

  Result<void> read_pack(std::int64_t number, std::span<const std::byte> pack) {
    std::int64_t end = store::pack_header_bytes;
    for (const PackItem& item : store::walk_pack(pack, static_cast<std::int64_t>(pack.size()))) {
      const Place place{number, item.offset, item.bytes};
      auto status = item.damaged
                        ? Error(ErrorCode::corrupt, "no record, or padding that is not zero").at_byte(item.offset)
                        : read_item(item.type, place, pack);
      io::forget(pack.subspan(static_cast<std::size_t>(item.offset), static_cast<std::size_t>(item.bytes)));
      // What stands behind the last record is what a writer that died had begun; the rest is damage.
      if (!status) {
        pending_.push_back(std::move(status).error().in_file(store::pack_path(state_.folder, number).string()));
        continue;
      }
      for (const Error& error : pending_) report_.problems.push_back(error.describe());
      pending_.clear();
      end = item.offset + item.bytes;
    }
    pending_.clear();
    SEQKV_ASSIGN(store::Statement row, state_.database.prepare("INSERT INTO packs (id, bytes) VALUES (?, ?)"));
    return row.bind(1, number).bind(2, end).run();
  }

  Result<void> finish(std::int64_t next_pack) {
    SEQKV_TRY(choose_sessions());
    SEQKV_TRY(insert_blocks());
    SEQKV_TRY(store::create_indexes(state_.database));  // of blocks at once, which is faster than one by one
    SEQKV_TRY(insert_sessions());
    SEQKV_ASSIGN(store::Statement next, state_.database.prepare("UPDATE state SET next_pack = ?"));
    SEQKV_TRY(next.bind(1, next_pack).run());
    return store::use_sequence(state_.database, sequence_);
  }

 private:
  struct Key {
    Digest identity;
    std::int64_t codec = 0;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const noexcept {
      return load_le<std::uint64_t>(key.identity.bytes.data()) + static_cast<std::uint64_t>(key.codec);
    }
  };

  Result<void> read_item(RecordType type, const Place& place, std::span<const std::byte> pack) {
    if (type == RecordType::parameters) return {};
    const auto bytes = pack.subspan(static_cast<std::size_t>(place.offset), static_cast<std::size_t>(place.bytes));
    SEQKV_ASSIGN(const store::Record record, store::read_record(state_.seal, bytes, place.offset));
    switch (type) {
      case RecordType::block: {
        SEQKV_ASSIGN(const store::BlockHead head, store::block_head(record, place.offset));
        SEQKV_ASSIGN(const std::int64_t codec, codec_row(head.codec, head.profile));
        const auto number = static_cast<std::uint32_t>(blocks_.size());
        FoundBlock block{head.identity, head.parent, codec, head.position, head.tokens, place, head.sources};
        const auto [found, is_new] = by_key_.try_emplace(Key{head.identity, codec}, number);
        if (is_new) {
          blocks_.push_back(std::move(block));
        } else {  // the last copy is the one that is alive: one that was removed may be predicted from what is gone
          blocks_[found->second] = std::move(block);
        }
        return {};
      }
      case RecordType::session: {
        SEQKV_ASSIGN(const store::SessionHead head, store::session_head(record, place.offset));
        note({head, place, false});
        return {};
      }
      case RecordType::removal: {
        SEQKV_ASSIGN(const store::RemovalHead head, store::removal_head(record, place.offset));
        FoundSession session{{}, place, true};
        session.head.tenant = head.tenant;
        session.head.name = head.name;
        session.head.sequence = head.sequence;
        note(std::move(session));
        return {};
      }
      default:
        return Error(ErrorCode::corrupt, "an unknown type of record").at_byte(place.offset);
    }
  }

  Result<std::int64_t> codec_row(const std::string& spec, const Digest& profile) {
    if (last_codec_ > 0 && spec == last_spec_ && profile == last_profile_) return last_codec_;
    SEQKV_ASSIGN(last_codec_, store::need_codec(state_.database, spec, profile));
    last_spec_ = spec;
    last_profile_ = profile;
    return last_codec_;
  }

  void note(FoundSession session) {
    sequence_ = std::max(sequence_, session.head.sequence);
    const auto [found, is_new] = sessions_.try_emplace({session.head.tenant, session.head.name}, session);
    if (!is_new && found->second.head.sequence < session.head.sequence) found->second = std::move(session);
  }

  /// The blocks of a chain, from its last one to its first, as far as they are not known to be there. Why it cannot be
  /// had, or nothing. `tokens`: that the session has which ends with it; 0: none.
  std::string follow(Digest identity, std::int64_t codec, std::int64_t tokens, std::vector<std::uint32_t>& chain) {
    std::int64_t end = -1;
    for (;;) {
      const auto found = by_key_.find({identity, codec});
      if (found == by_key_.end()) {
        return end < 0 ? "its last block is missing" : fmt::format("the block before token {} is missing", end);
      }
      const FoundBlock& block = blocks_[found->second];
      const std::int64_t block_end = block.position + block.tokens;
      const bool is_last = end < 0;
      // Positions fall, so that the chain ends.
      if (block.position < 0 || block.tokens < 1 || (!is_last && block_end != end) ||
          (is_last && tokens > 0 && (tokens <= block.position || tokens > block_end))) {
        return fmt::format("the block at token {} is not at its place", block.position);
      }
      if (block.needed) return {};
      chain.push_back(found->second);
      if (block.position == 0) return {};
      end = block.position;
      identity = block.parent;
    }
  }

  /// Marks the blocks of a session and all that they are predicted from. Why it cannot be had, or nothing.
  std::string mark(const FoundSession& session, std::int64_t codec) {
    std::vector<std::uint32_t> all;
    std::string why = follow(session.head.last_block, codec, session.head.tokens, all);
    std::set<std::uint32_t> followed;
    for (std::size_t i = 0; i < all.size() && why.empty(); ++i) {
      if (!followed.insert(all[i]).second) continue;
      const FoundBlock& block = blocks_[all[i]];
      for (const Digest& source : block.sources) {
        if (why.empty()) why = follow(source, codec, 0, all);
      }
      if (!why.empty()) why = fmt::format("what the block at token {} is predicted from: {}", block.position, why);
    }
    for (std::size_t i = 0; i < all.size() && why.empty(); ++i) blocks_[all[i]].needed = true;
    return why;
  }

  Result<void> choose_sessions() {
    for (auto& [name, session] : sessions_) {
      if (session.removed) {
        ++report_.removed;
        continue;
      }
      SEQKV_ASSIGN(const std::int64_t codec, codec_row(session.head.codec, session.head.profile));
      if (std::string why = mark(session, codec); !why.empty()) {
        report_.lost.push_back({session.head.name, session.head.tokens, 0, std::move(why)});
      } else {
        chosen_.emplace_back(&session, codec);
      }
    }
    return {};
  }

  /// Parents before children. Blocks that only lost sessions needed become nobody's.
  Result<void> insert_blocks() {
    std::vector<FoundBlock*> order;
    for (FoundBlock& block : blocks_) {
      if (block.needed) order.push_back(&block);
    }
    std::ranges::stable_sort(order, {}, [](const FoundBlock* block) { return block->position; });
    SEQKV_ASSIGN(store::BlockInserter inserter, store::BlockInserter::create(state_.database));
    for (FoundBlock* block : order) {
      BlockRow row{++report_.blocks, {}, block->identity, block->position, block->tokens, block->place};
      if (block->position > 0) {
        const auto parent = by_key_.find({block->parent, block->codec});
        if (parent == by_key_.end() || blocks_[parent->second].id == 0) {  // of a session that is lost
          --report_.blocks;
          continue;
        }
        row.parent = blocks_[parent->second].id;
      }
      block->id = row.id;
      SEQKV_TRY(inserter.insert(row, block->codec));
    }
    for (const FoundBlock* block : order) {
      std::vector<std::int64_t> sources;
      for (const Digest& source : block->sources) sources.push_back(blocks_[by_key_.at({source, block->codec})].id);
      if (block->id != 0) SEQKV_TRY(store::put_sources(state_.database, block->id, sources));
    }
    return {};
  }

  Result<void> insert_sessions() {
    for (const auto& [session, codec] : chosen_) {
      const FoundBlock& last = blocks_[by_key_.at({session->head.last_block, codec})];
      SEQKV_TRY(store::put_session(state_.database, session->head, last.id, codec, session->place));
      ++report_.sessions;
    }
    SEQKV_ASSIGN(store::Statement note,
                 state_.database.prepare("INSERT INTO removals (tenant, name, sequence, pack, offset, bytes) "
                                         "VALUES (?, ?, ?, ?, ?, ?)"));
    for (const auto& [key, session] : sessions_) {
      if (!session.removed) continue;
      note.bind(1, std::span<const std::byte>(key.first.bytes)).bind(2, std::string_view(key.second));
      note.bind(3, session.head.sequence).bind(4, session.place.pack);
      SEQKV_TRY(note.bind(5, session.place.offset).bind(6, session.place.bytes).run());
    }
    return {};
  }

  Store::State& state_;
  RebuildReport& report_;
  std::vector<Error> pending_;  ///< damage behind the last record of a pack so far
  std::vector<FoundBlock> blocks_;
  std::unordered_map<Key, std::uint32_t, KeyHash> by_key_;
  std::string last_spec_;  ///< records in a row have the same codec
  Digest last_profile_;
  std::int64_t last_codec_ = 0;
  std::map<std::pair<Digest, std::string>, FoundSession> sessions_;
  std::vector<std::pair<const FoundSession*, std::int64_t>> chosen_;
  std::int64_t sequence_ = 0;
};

Result<void> read_packs(Store::State& state, const std::vector<std::int64_t>& packs, RebuildReport& report) {
  Rebuilder rebuilder(state, report);
  for (const std::int64_t number : packs) {
    auto mapped = state.pack(number, 0);
    if (!mapped) {
      report.problems.push_back(mapped.error().describe());
      continue;
    }
    SEQKV_TRY(rebuilder.read_pack(number, (*mapped)->bytes()));
  }
  return rebuilder.finish(packs.back() + 1);
}

}  // namespace

Result<RebuildReport> Store::rebuild_index(const std::filesystem::path& folder, const StoreAccess& access) {
  SEQKV_ASSIGN(const std::vector<std::int64_t> packs, store::pack_files(folder));
  if (packs.empty()) return Error(ErrorCode::file_not_found, "no packs here").in_file(folder.string());
  SEQKV_ASSIGN(const io::Descriptor lock, store::lock_for_writing(folder));
  RebuildReport report;
  State state;
  state.folder = folder;
  SEQKV_ASSIGN(state.parameters_text, store::find_parameters(folder, packs));
  if (auto status = state.unlock(access); !status) return std::move(status).error().in_file(folder.string());
  SEQKV_ASSIGN(state.database, store::begin_index(folder));
  // Nobody reads the new file before it is whole, and fsync comes with the last COMMIT.
  SEQKV_TRY(
      state.database.execute("PRAGMA journal_mode = MEMORY; PRAGMA foreign_keys = OFF; PRAGMA cache_size = -65536;"));
  SEQKV_ASSIGN(store::Transaction transaction, store::Transaction::begin(state.database));
  SEQKV_TRY(store::create_tables(state.database, state.parameters_text));
  SEQKV_TRY(read_packs(state, packs, report));
  SEQKV_TRY(transaction.commit());
  state.database = store::Database();
  SEQKV_TRY(store::publish_index(folder));
  return report;
}

}  // namespace seqkv
