// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The tables of the index, and changes to them. All functions that change run inside the caller's transaction.
#pragma once

#include <optional>

#include "store/store_state.hpp"

namespace seqkv::store {

/// Tables of a new index, its parameters (signed) and counters.
Result<void> create_tables(Database& database, const std::string& parameters_text);
/// The indexes that the tables need once they are full; create_tables does without.
Result<void> create_indexes(Database& database);

/// One writer: an advisory lock on a file of its own, waited for up to 30 s. Readers hold the index only while a query
/// runs. Errors: busy, io.
Result<io::Descriptor> lock_for_writing(const std::filesystem::path& folder);

/// An empty database under a name of its own ...
Result<Database> begin_index(const std::filesystem::path& folder);
/// ... which becomes the index of the store when it is whole and closed.
Result<void> publish_index(const std::filesystem::path& folder);

/// The number for the next record of a session or removal.
Result<std::int64_t> next_sequence(const Store::State& state);
Result<void> use_sequence(Database& database, std::int64_t sequence);

/// The id of a codec, which is added if it is new.
Result<std::int64_t> need_codec(Database& database, const std::string& spec, const Digest& profile);

/// Inserts rows of blocks, parents before children.
class BlockInserter {
 public:
  static Result<BlockInserter> create(Database& database);
  /// The id of the row: row.id, or where that is 0 what the table gives it.
  Result<std::int64_t> insert(const BlockRow& row, std::int64_t codec);

 private:
  BlockInserter(Database& database, Statement statement) : database_(&database), statement_(std::move(statement)) {}
  Database* database_;
  Statement statement_;
};

/// Puts a session into the table, in the place of one of its name, and forgets a removal of it. `block` and `codec` are
/// the ids that head.last_block and head.codec stand for. What the old one alone had is dropped.
Result<void> put_session(Database& database, const SessionHead& head, std::int64_t block, std::int64_t codec,
                         const Place& place);

/// Takes a session out; its blocks stay, see prune. `removal`: where the record of it lies.
Result<void> drop_session(Database& database, const SessionRow& row, std::int64_t sequence, const Place& removal);

/// What a block is predicted from: blocks that are there. Rows go with the block.
Result<void> put_sources(Database& database, std::int64_t block, std::span<const std::int64_t> sources);
/// At most one more than a block may have.
Result<std::vector<std::int64_t>> sources_of(const Database& database, std::int64_t block);

/// Drops a block, those before it and those that it is predicted from, as far as no session and no other block needs
/// them. The number of blocks dropped.
Result<std::int64_t> prune(Database& database, std::int64_t block);

}  // namespace seqkv::store
