// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "store/store_state.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/try.hpp"
#include "seqkv/limits.hpp"
#include "store/identity.hpp"

namespace seqkv {

using store::Statement;

Result<Digest> digest_from(const Statement& statement, int column) {
  Digest out;
  const auto bytes = statement.blob(column);
  if (bytes.size() != out.bytes.size()) return Error(ErrorCode::corrupt, "a digest in the index that is not 32 bytes");
  std::ranges::copy(bytes, out.bytes.begin());
  return out;
}

Result<BlockRow> row_from(const Statement& statement) {
  BlockRow row;
  row.id = statement.integer(0);
  if (!statement.is_null(1)) row.parent = statement.integer(1);
  SEQKV_ASSIGN(row.identity, digest_from(statement, 2));
  row.position = statement.integer(3);
  row.tokens = statement.integer(4);
  row.pack = statement.integer(5);
  row.offset = statement.integer(6);
  row.bytes = statement.integer(7);
  return row;
}

Result<std::span<const std::byte>> Store::State::pack(std::int64_t number, std::int64_t end) const {
  if (number < 1 || number > 99'999'999) return Error(ErrorCode::corrupt, fmt::format("pack number {}", number));
  auto found = packs.find(number);
  if (found == packs.end() || static_cast<std::int64_t>(found->second.bytes().size()) < end) {
    const auto path = store::pack_path(folder, number);
    SEQKV_ASSIGN(io::MappedFile mapped, io::MappedFile::open(path));
    if (auto good = store::check_pack_header(mapped.bytes(), id); !good)
      return std::move(good).error().in_file(path.string());
    mapped.close();  // a large store has more packs than a process may have files open
    // Views handed out before point into the old mapping, which therefore stays.
    if (found != packs.end()) packs.emplace(-static_cast<std::int64_t>(packs.size()) - 1, std::move(found->second));
    found = packs.insert_or_assign(number, std::move(mapped)).first;
  }
  return found->second.bytes();
}

Result<store::BlockRecord> Store::State::find_record(const BlockRow& row) const {
  const auto in_pack = [&](Error error) {
    return std::move(error).in_file(store::pack_path(folder, row.pack).string());
  };
  if (row.offset < 0 || row.bytes < 0 || row.offset > INT64_MAX - row.bytes) {
    return in_pack(Error(ErrorCode::corrupt, "the index gives an impossible place for a block"));
  }
  SEQKV_ASSIGN(const std::span<const std::byte> bytes, pack(row.pack, row.offset + row.bytes));
  auto record = store::read_block_record(bytes, row.offset, row.bytes);
  if (!record) return in_pack(std::move(record).error());
  if (record->head.identity != row.identity) {
    return in_pack(Error(ErrorCode::corrupt, "the record is that of another block").at_byte(row.offset));
  }
  return record;
}

Result<store::BlockRecord> Store::State::read(const BlockRow& row) const {
  SEQKV_ASSIGN(store::BlockRecord record, find_record(row));
  auto info = inspect_block(parameters.shape, record.block);
  if (info && store::block_identity(record.head.parent, info->tokens) != row.identity) {
    info = Error(ErrorCode::corrupt, "the block's tokens do not have its identity").at_byte(row.offset);
  }
  if (!info) return std::move(info).error().in_file(store::pack_path(folder, row.pack).string());
  return record;
}

Result<std::optional<std::int64_t>> Store::State::codec_id(const Codec& codec) const {
  SEQKV_ASSIGN(Statement query, database.prepare("SELECT id FROM codecs WHERE spec = ? AND profile = ?"));
  const Digest profile = codec.profile_fingerprint();
  query.bind(1, std::string_view(codec.spec())).bind(2, std::span<const std::byte>(profile.bytes));
  SEQKV_ASSIGN(const bool there, query.step());
  if (!there) return std::optional<std::int64_t>();
  return std::optional<std::int64_t>(query.integer(0));
}

Result<std::optional<BlockRow>> Store::State::find(const Digest& identity, const Codec& codec) const {
  SEQKV_ASSIGN(Statement query, database.prepare(fmt::format("SELECT {} FROM blocks WHERE identity = ? AND codec = "
                                                             "(SELECT id FROM codecs WHERE spec = ? AND profile = ?)",
                                                             block_columns)));
  const Digest profile = codec.profile_fingerprint();
  query.bind(1, std::span<const std::byte>(identity.bytes)).bind(2, std::string_view(codec.spec()));
  query.bind(3, std::span<const std::byte>(profile.bytes));
  SEQKV_ASSIGN(const bool there, query.step());
  if (!there) return std::optional<BlockRow>();
  SEQKV_ASSIGN(const BlockRow row, row_from(query));
  return std::optional<BlockRow>(row);
}

Result<std::vector<BlockRow>> Store::State::chain(std::int64_t last) const {
  SEQKV_ASSIGN(Statement query, database.prepare(fmt::format("SELECT {} FROM blocks WHERE id = ?", block_columns)));
  std::vector<BlockRow> rows;
  std::int64_t position = -1;  // where the block must end
  std::optional<std::int64_t> next = last;
  while (next) {
    query.bind(1, *next);
    SEQKV_ASSIGN(const bool there, query.step());
    if (!there)
      return Error(ErrorCode::corrupt, fmt::format("block {} is missing from the index", *next))
          .in_file(index_path().string());
    SEQKV_ASSIGN(const BlockRow row, row_from(query));
    query.reset();
    // Positions fall along the chain, so that it ends.
    if (row.position < 0 || row.tokens < 1 || row.tokens > limits::max_block_tokens ||
        (position >= 0 && row.position + row.tokens != position) || (!row.parent && row.position != 0)) {
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

Result<std::vector<BlockRow>> Store::State::session_rows(const std::string& name) const {
  SEQKV_ASSIGN(Statement query, database.prepare("SELECT block, tokens FROM sessions WHERE name = ?"));
  query.bind(1, std::string_view(name));
  SEQKV_ASSIGN(const bool there, query.step());
  if (!there) return Error(ErrorCode::session_not_found, fmt::format("no session '{}'", name)).in_file(folder.string());
  const std::int64_t tokens = query.integer(1);
  SEQKV_ASSIGN(std::vector<BlockRow> rows, chain(query.integer(0)));
  const std::int64_t held = rows.back().position + rows.back().tokens;
  if (held == tokens) return rows;
  return Error(ErrorCode::corrupt, fmt::format("session '{}' has {} tokens, its blocks {}", name, tokens, held))
      .in_file(index_path().string());
}

}  // namespace seqkv
