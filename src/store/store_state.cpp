// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "store/store_state.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/try.hpp"
#include "seqkv/limits.hpp"
#include "store/epoch.hpp"
#include "store/identity.hpp"
#include "store/parameters.hpp"

namespace seqkv {

using store::Place;
using store::Statement;

namespace store {

Result<Digest> digest_from(const Statement& statement, int column) {
  Digest out;
  const auto bytes = statement.blob(column);
  if (bytes.size() != out.bytes.size()) return Error(ErrorCode::corrupt, "a digest in the index that is not 32 bytes");
  std::ranges::copy(bytes, out.bytes.begin());
  return out;
}

Result<BlockRow> block_row(const Statement& statement) {
  BlockRow row;
  row.id = statement.integer(0);
  if (!statement.is_null(1)) row.parent = statement.integer(1);
  SEQKV_ASSIGN(row.identity, digest_from(statement, 2));
  row.position = statement.integer(3);
  row.tokens = statement.integer(4);
  // What is impossible stays so; but sums of sizes, and ends, are numbers.
  constexpr std::int64_t too_many = 2 * limits::max_coded_block;
  row.place = {statement.integer(5), statement.integer(6),
               std::clamp<std::int64_t>(statement.integer(7), -1, too_many)};
  return row;
}

}  // namespace store

// ---- opening ----------------------------------------------------------------------------------------------

Result<std::unique_ptr<Store::State>> Store::State::open(const std::filesystem::path& folder, const StoreAccess& access,
                                                         store::Database::Mode mode) {
  auto state = std::make_unique<State>();
  state->folder = folder;
  SEQKV_ASSIGN(state->database, store::Database::open(state->index_path(), mode));
  const auto read = [&]() -> Result<void> {
    SEQKV_ASSIGN(state->parameters_text, store::read_parameters(state->database));
    return state->unlock(access);
  };
  if (auto status = read(); !status) return std::move(status).error().in_file(state->index_path().string());
  return state;
}

Result<void> Store::State::unlock(const StoreAccess& access) {
  SEQKV_TRY(store::parse_text(parameters_text, parameters, id));
  const bool needed = parameters.protection != Protection::none;
  if (needed != !access.key.empty()) {
    return Error(ErrorCode::wrong_key,
                 needed ? fmt::format("the store is {}: its key is needed", to_string(parameters.protection))
                        : std::string("a key for a store that has none"));
  }
  seal = needed ? store::Seal(parameters.protection, access.key, id) : store::Seal();
  SEQKV_TRY(store::check_signature(parameters_text, seal));
  root = store::root_identity(seal.mix(access.salt), parameters.model);
  tenant = store::tenant_identity(root);
  return {};
}

Result<void> Store::State::check_writable() const {
  if (lock.get() < 0 && epoch == nullptr)
    return Error(ErrorCode::invalid_argument, "the store is open for reading only");
  if (saving) return Error(ErrorCode::invalid_argument, "a session is being saved");
  return {};
}

// ---- blocks -----------------------------------------------------------------------------------------------

Result<std::shared_ptr<const io::MappedFile>> Store::State::pack(std::int64_t number, std::int64_t end) const {
  if (number < 1 || number > limits::max_pack) return Error(ErrorCode::corrupt, fmt::format("pack number {}", number));
  const auto found = packs.find(number);
  if (found != packs.end() && static_cast<std::int64_t>(found->second->bytes().size()) >= end) return found->second;
  const auto path = store::pack_path(folder, number);
  SEQKV_ASSIGN(io::MappedFile mapped, io::MappedFile::open(path, io::Links::refuse));
  if (auto good = store::check_pack_header(mapped.bytes(), id); !good)
    return std::move(good).error().in_file(path.string());
  mapped.close();  // a large store has more packs than a process may have files open
  // Blocks handed out before keep the old mapping.
  return packs.insert_or_assign(number, std::make_shared<const io::MappedFile>(std::move(mapped))).first->second;
}

Result<std::span<const std::byte>> Store::State::record_at(const Place& place) const {
  const bool possible = place.offset >= 0 && place.bytes >= 0 && place.bytes <= INT64_MAX - place.offset;
  const std::int64_t end = possible ? place.offset + place.bytes : 0;
  SEQKV_ASSIGN(const auto mapped, pack(place.pack, end));
  auto bytes = store::bytes_at(mapped->bytes(), place.offset, place.bytes);
  if (!bytes) return std::move(bytes).error().in_file(store::pack_path(folder, place.pack).string());
  return bytes;
}

Result<StoredBlock> Store::State::open_record(const BlockRow& row, std::span<const std::byte> bytes) const {
  const auto open = [&]() -> Result<StoredBlock> {
    SEQKV_ASSIGN(store::Record record, store::read_record(seal, bytes, row.place.offset));
    StoredBlock out;
    SEQKV_ASSIGN(out.head, store::block_head(record, row.place.offset));
    if (out.head.identity != row.identity || out.head.position != row.position || out.head.tokens != row.tokens) {
      return Error(ErrorCode::corrupt, "the record is that of another block").at_byte(row.place.offset);
    }
    out.block = record.body;
    if (!record.opened.empty()) out.memory = std::make_shared<const std::vector<std::byte>>(std::move(record.opened));
    return out;
  };
  auto block = open();
  if (!block) return std::move(block).error().in_file(store::pack_path(folder, row.place.pack).string());
  return block;
}

Result<StoredBlock> Store::State::check(const BlockRow& row, std::span<const std::byte> bytes) const {
  SEQKV_ASSIGN(StoredBlock block, open_record(row, bytes));
  const auto check = [&]() -> Result<void> {
    SEQKV_ASSIGN(block.info, inspect_block(parameters.shape, block.block));
    if (block.info.first_position != row.position ||
        static_cast<std::int64_t>(block.info.tokens.size()) != row.tokens) {
      return Error(ErrorCode::corrupt, "position or tokens differ between the block and its record");
    }
    if (store::block_identity(block.head.parent, block.info.tokens) == row.identity) return {};
    return Error(ErrorCode::corrupt, "the block's tokens do not have its identity");
  };
  if (auto status = check(); !status) {
    return std::move(status).error().in_file(store::pack_path(folder, row.place.pack).string());
  }
  return block;
}

Result<StoredBlock> Store::State::read(const BlockRow& row) const {
  const auto read = [this](const BlockRow& at) -> Result<StoredBlock> {
    SEQKV_ASSIGN(const auto bytes, record_at(at.place));
    SEQKV_ASSIGN(StoredBlock block, check(at, bytes));
    if (block.memory == nullptr) block.memory = packs.at(at.place.pack);
    return block;
  };
  auto block = read(row);
  if (block) return block;
  // Perhaps gc was here between the query and now.
  BlockRow moved = row;
  SEQKV_ASSIGN(moved.place, current_place(row));
  return moved.place == row.place ? std::move(block) : read(moved);
}

Result<Place> Store::State::current_place(const BlockRow& row) const {
  SEQKV_ASSIGN(Statement query, database.prepare("SELECT identity, pack, offset, bytes FROM blocks WHERE id = ?"));
  SEQKV_ASSIGN(const bool there, query.bind(1, row.id).step());
  if (there) {
    SEQKV_ASSIGN(const Digest identity, store::digest_from(query, 0));
    if (identity == row.identity) return Place{query.integer(1), query.integer(2), query.integer(3)};
  }
  return Error(ErrorCode::session_not_found, "the block was removed while its session was read")
      .in_file(folder.string());
}

Result<std::optional<BlockRow>> Store::State::find(const Digest& identity, const Codec& codec) const {
  if (epoch != nullptr) {
    if (const BlockRow* row = epoch->find(identity)) return std::optional<BlockRow>(*row);
  }
  SEQKV_ASSIGN(Statement query, database.prepare(fmt::format("SELECT {} FROM blocks WHERE identity = ? AND codec = "
                                                             "(SELECT id FROM codecs WHERE spec = ? AND profile = ?)",
                                                             store::block_columns)));
  const Digest profile = codec.profile_fingerprint();
  query.bind(1, std::span<const std::byte>(identity.bytes)).bind(2, std::string_view(codec.spec()));
  query.bind(3, std::span<const std::byte>(profile.bytes));
  SEQKV_ASSIGN(const bool there, query.step());
  if (!there) return std::optional<BlockRow>();
  SEQKV_ASSIGN(const BlockRow row, store::block_row(query));
  return std::optional<BlockRow>(row);
}

Result<std::vector<BlockRow>> Store::State::chain(std::int64_t last) const {
  SEQKV_ASSIGN(Statement query,
               database.prepare(fmt::format("SELECT {} FROM blocks WHERE id = ?", store::block_columns)));
  std::vector<BlockRow> rows;
  std::int64_t position = -1;  // where the block must end
  std::optional<std::int64_t> next = last;
  while (next) {
    query.bind(1, *next);
    SEQKV_ASSIGN(const bool there, query.step());
    if (!there)
      return Error(ErrorCode::corrupt, fmt::format("block {} is missing from the index", *next))
          .in_file(index_path().string());
    SEQKV_ASSIGN(const BlockRow row, store::block_row(query));
    query.reset();
    // Positions fall along the chain, so that it ends.
    if (row.position < 0 || row.tokens < 1 || row.tokens > limits::max_block_tokens ||
        row.position > limits::max_tokens || (position >= 0 && row.position + row.tokens != position) ||
        (!row.parent && row.position != 0)) {
      return Error(ErrorCode::corrupt, fmt::format("block {} is not at its place in the session", row.id))
          .in_file(index_path().string());
    }
    position = row.position;
    next = row.parent;
    rows.push_back(row);
  }
  std::reverse(rows.begin(), rows.end());
  return rows;
}

// ---- codecs -----------------------------------------------------------------------------------------------

Result<std::optional<std::int64_t>> Store::State::codec_id(const Codec& codec) const {
  SEQKV_ASSIGN(Statement query, database.prepare("SELECT id FROM codecs WHERE spec = ? AND profile = ?"));
  const Digest profile = codec.profile_fingerprint();
  query.bind(1, std::string_view(codec.spec())).bind(2, std::span<const std::byte>(profile.bytes));
  SEQKV_ASSIGN(const bool there, query.step());
  if (!there) return std::optional<std::int64_t>();
  return std::optional<std::int64_t>(query.integer(0));
}

}  // namespace seqkv
