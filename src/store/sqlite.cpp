// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "store/sqlite.hpp"

#include <fmt/format.h>
#include <sqlite3.h>

#include <functional>
#include <map>
#include <string>

#include "core/try.hpp"
#include "io/file.hpp"
#include "io/text.hpp"

namespace seqkv::store {
namespace {

constexpr int busy_timeout_ms = 30'000;

Error sqlite_error(sqlite3* database, int status) {
  ErrorCode code = ErrorCode::io;
  switch (status & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      code = ErrorCode::busy;
      break;
    case SQLITE_FULL:
      code = ErrorCode::disk_full;
      break;
    case SQLITE_NOMEM:
      code = ErrorCode::out_of_memory;
      break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_ERROR:
      code = ErrorCode::corrupt;
      break;
    default:
      break;
  }
  const char* words = database != nullptr ? sqlite3_errmsg(database) : sqlite3_errstr(status);
  const char* path = database != nullptr ? sqlite3_db_filename(database, "main") : "";
  return Error(code, fmt::format("SQLite: {}", io::printable(words))).in_file(path != nullptr ? path : "");
}

/// What SQLite reads as the name of a file: "file:" and everything but plain letters as hexadecimal digits.
std::string uri_of(const std::filesystem::path& path) {
  std::string uri = "file:";
  for (const char c : path.string()) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '/' ||
                       c == '.' || c == '-' || c == '_';
    uri += plain ? std::string(1, c) : fmt::format("%{:02x}", static_cast<unsigned char>(c));
  }
  return uri;
}

}  // namespace

class StatementCache {
 public:
  StatementCache() = default;
  StatementCache(const StatementCache&) = delete;
  StatementCache& operator=(const StatementCache&) = delete;
  ~StatementCache() {
    for (const auto& [sql, statement] : idle_) sqlite3_finalize(statement);
  }

  void put(sqlite3_stmt* statement) {
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    idle_.emplace(sqlite3_sql(statement), statement);
  }
  /// Null if there is none.
  sqlite3_stmt* take(std::string_view sql) {
    const auto found = idle_.find(sql);
    if (found == idle_.end()) return nullptr;
    sqlite3_stmt* statement = found->second;
    idle_.erase(found);
    return statement;
  }

 private:
  std::multimap<std::string, sqlite3_stmt*, std::less<>> idle_;
};

void Statement::PutBack::operator()(sqlite3_stmt* statement) const { cache->put(statement); }
void Database::Close::operator()(sqlite3* database) const { sqlite3_close_v2(database); }

Statement& Statement::bind(int parameter, std::int64_t value) {
  sqlite3_bind_int64(statement_.get(), parameter, value);
  return *this;
}
Statement& Statement::bind(int parameter, double value) {
  sqlite3_bind_double(statement_.get(), parameter, value);
  return *this;
}
Statement& Statement::bind(int parameter, std::string_view text) {
  sqlite3_bind_text64(statement_.get(), parameter, text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  return *this;
}
Statement& Statement::bind(int parameter, std::span<const std::byte> blob) {
  sqlite3_bind_blob64(statement_.get(), parameter, blob.data(), blob.size(), SQLITE_TRANSIENT);
  return *this;
}
Statement& Statement::bind_null(int parameter) {
  sqlite3_bind_null(statement_.get(), parameter);
  return *this;
}

Result<bool> Statement::step() {
  const int status = sqlite3_step(statement_.get());
  if (status == SQLITE_ROW) return true;
  if (status == SQLITE_DONE) return false;
  return sqlite_error(sqlite3_db_handle(statement_.get()), status);
}

Result<void> Statement::run() {
  auto row = step();
  reset();
  if (!row) return std::move(row).error();
  return {};
}

void Statement::reset() {
  sqlite3_reset(statement_.get());
  sqlite3_clear_bindings(statement_.get());
}

std::int64_t Statement::integer(int column) const { return sqlite3_column_int64(statement_.get(), column); }
double Statement::real(int column) const { return sqlite3_column_double(statement_.get(), column); }
bool Statement::is_null(int column) const { return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL; }

std::string Statement::text(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_.get(), column));
  return text == nullptr ? ""
                         : std::string(text, static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column)));
}

std::span<const std::byte> Statement::blob(int column) const {
  const auto* data = static_cast<const std::byte*>(sqlite3_column_blob(statement_.get(), column));
  return {data, data == nullptr ? 0 : static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column))};
}

Result<Database> Database::open(const std::filesystem::path& path, Mode mode) {
  // For reading too SQLite gets the right to write, where there is one: what a writer that died inside its COMMIT
  // left behind has to be rolled back before anybody can read.
  int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_READWRITE;
  if (mode == Mode::create) flags |= SQLITE_OPEN_CREATE;
  std::error_code problem;
  const auto kind = std::filesystem::symlink_status(path, problem).type();
  if (mode != Mode::create && kind != std::filesystem::file_type::regular) {
    if (kind == std::filesystem::file_type::not_found) {
      return Error(ErrorCode::file_not_found, "no store here (its index is missing)").in_file(path.string());
    }
    if (problem) return io::system_error("cannot look at", path, problem.value());
    return Error(ErrorCode::io, "not a regular file").in_file(path.string());
  }
  std::string name = path.string();
  if (mode == Mode::read_immutable) {
    flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_READONLY | SQLITE_OPEN_URI;
    name = uri_of(path) + "?immutable=1";
  }
  sqlite3* handle = nullptr;
  const int status = sqlite3_open_v2(name.c_str(), &handle, flags, nullptr);
  Database database;
  database.database_.reset(handle);
  database.cache_ = std::make_shared<StatementCache>();
  if (status != SQLITE_OK) return sqlite_error(handle, status).in_file(path.string());
  sqlite3_extended_result_codes(handle, 1);
  sqlite3_busy_timeout(handle, busy_timeout_ms);
  // The index comes from a file that may have been made to harm: no SQL in it is trusted.
  sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  SEQKV_TRY(database.execute(
      "PRAGMA trusted_schema = OFF; PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;"));
  if (mode == Mode::read || mode == Mode::read_immutable) SEQKV_TRY(database.execute("PRAGMA query_only = ON;"));
  return database;
}

Result<void> Database::execute(const std::string& sql) {
  const int status = sqlite3_exec(database_.get(), sql.c_str(), nullptr, nullptr, nullptr);
  if (status != SQLITE_OK) return sqlite_error(database_.get(), status);
  return {};
}

Result<Statement> Database::prepare(std::string_view sql) const {
  sqlite3_stmt* statement = cache_->take(sql);
  if (statement != nullptr) return Statement(statement, cache_);
  const int status = sqlite3_prepare_v3(database_.get(), sql.data(), static_cast<int>(sql.size()),
                                        SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (status != SQLITE_OK) return sqlite_error(database_.get(), status);
  return Statement(statement, cache_);
}

std::int64_t Database::last_row_id() const { return sqlite3_last_insert_rowid(database_.get()); }

Result<Transaction> Transaction::begin(Database& database, Purpose purpose) {
  SEQKV_TRY(database.execute(purpose == Purpose::write ? "BEGIN IMMEDIATE" : "BEGIN"));
  return Transaction(&database);
}

Transaction::~Transaction() {
  if (database_ != nullptr) (void)database_->execute("ROLLBACK");
}

Result<void> Transaction::commit() {
  SEQKV_TRY(database_->execute("COMMIT"));
  database_ = nullptr;
  return {};
}

}  // namespace seqkv::store
