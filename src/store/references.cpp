// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// What stored blocks are predicted from.
#include <fmt/format.h>

#include <algorithm>

#include "core/try.hpp"
#include "seqkv/limits.hpp"
#include "store/index.hpp"
#include "store/store_state.hpp"

namespace seqkv {

Result<BlockRow> Store::State::row(std::int64_t block) const {
  SEQKV_ASSIGN(store::Statement query,
               database.prepare(fmt::format("SELECT {} FROM blocks WHERE id = ?", store::block_columns)));
  SEQKV_ASSIGN(const bool there, query.bind(1, block).step());
  if (there) return store::block_row(query);
  return Error(ErrorCode::missing_reference, fmt::format("block {} is missing from the index", block))
      .in_file(index_path().string());
}

Result<std::vector<BlockRow>> Store::State::source_rows(std::int64_t block) const {
  SEQKV_ASSIGN(const std::vector<std::int64_t> ids, store::sources_of(database, block));
  if (std::ssize(ids) > limits::max_block_sources) {
    return Error(ErrorCode::corrupt, fmt::format("block {} is predicted from too many others", block))
        .in_file(index_path().string());
  }
  std::vector<BlockRow> rows;
  for (const std::int64_t source : ids) {
    SEQKV_ASSIGN(rows.emplace_back(), row(source));
  }
  return rows;
}

Result<StoredReference> Store::State::read_source(const BlockRow& row) const {
  SEQKV_ASSIGN(StoredBlock block, read(row));
  // One step and no more: a restore takes two blocks.
  if (!block.info.references.empty()) {
    return Error(ErrorCode::corrupt, "predicted from a block that is predicted itself")
        .in_file(store::pack_path(folder, row.place.pack).string());
  }
  return StoredReference{block.info.hash, row.position, row.tokens, block.block, std::move(block.memory)};
}

Result<void> Store::State::add_references(const BlockRow& row, const CodedBlockInfo& info, StoredBlocks& blocks) const {
  if (info.references.empty()) return {};
  std::vector<std::uint64_t> missing;
  for (const BlockReference& reference : info.references) missing.push_back(reference.hash);
  std::ranges::sort(missing);
  missing.erase(std::unique(missing.begin(), missing.end()), missing.end());
  const auto add = [&]() -> Result<void> {
    SEQKV_ASSIGN(const std::vector<BlockRow> rows, source_rows(row.id));
    for (const BlockRow& source : rows) {
      auto read = read_source(source);
      if (!read) {
        Error error = std::move(read).error();
        error.message = fmt::format("predicted from block {}: {}", source.id, error.message);
        return error;
      }
      if (std::erase(missing, read->hash) > 0) blocks.refer(std::move(*read));
    }
    if (missing.empty()) return {};
    return Error(ErrorCode::missing_reference,
                 fmt::format("predicted from a block that is not there, of the hash {:016x}", missing.front()))
        .in_file(index_path().string());
  };
  auto status = add();
  if (!status) SEQKV_TRY(current_place(row));  // perhaps it has been removed meanwhile, with what it needs
  return status;
}

}  // namespace seqkv
