// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// SQLite with Result: a database, prepared statements, transactions.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "seqkv/result.hpp"

struct sqlite3;
struct sqlite3_stmt;

namespace seqkv::store {

/// Statements that have been prepared and are not in use: to prepare one takes longer than most queries do.
class StatementCache;

/// A prepared statement. Parameters are numbered from 1, columns from 0.
class Statement {
 public:
  Statement& bind(int parameter, std::int64_t value);
  Statement& bind(int parameter, double value);
  Statement& bind(int parameter, std::string_view text);
  Statement& bind(int parameter, std::span<const std::byte> blob);
  Statement& bind_null(int parameter);

  /// True if there is a row, false at the end. Errors: corrupt, busy, disk_full, io.
  Result<bool> step();
  /// Runs a statement without rows, and makes it ready for new parameters.
  Result<void> run();
  void reset();

  std::int64_t integer(int column) const;
  double real(int column) const;
  bool is_null(int column) const;
  std::string text(int column) const;
  /// Valid until the next step.
  std::span<const std::byte> blob(int column) const;

 private:
  friend class Database;
  struct PutBack {
    std::shared_ptr<StatementCache> cache;
    void operator()(sqlite3_stmt* statement) const;
  };
  Statement(sqlite3_stmt* statement, std::shared_ptr<StatementCache> cache)
      : statement_(statement, PutBack{std::move(cache)}) {}
  std::unique_ptr<sqlite3_stmt, PutBack> statement_;
};

class Database {
 public:
  enum class Mode { read, read_immutable, write, create };

  /// Errors: file_not_found, io, corrupt (not a database).
  static Result<Database> open(const std::filesystem::path& path, Mode mode);

  /// Statements separated by semicolons, without parameters or rows.
  Result<void> execute(const std::string& sql);
  /// Fast where the same text was prepared before.
  Result<Statement> prepare(std::string_view sql) const;
  std::int64_t last_row_id() const;

 private:
  struct Close {
    void operator()(sqlite3* database) const;
  };
  std::unique_ptr<sqlite3, Close> database_;
  std::shared_ptr<StatementCache> cache_;
};

/// BEGIN ... COMMIT; rolled back unless committed. For reading, all queries inside see the database of one moment.
class Transaction {
 public:
  enum class Purpose { write, read };
  static Result<Transaction> begin(Database& database, Purpose purpose = Purpose::write);
  Transaction(Transaction&& other) noexcept : database_(std::exchange(other.database_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();
  Result<void> commit();

 private:
  explicit Transaction(Database* database) : database_(database) {}
  Database* database_;
};

}  // namespace seqkv::store
