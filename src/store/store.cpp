// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/store.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

#include "core/try.hpp"
#include "seqkv/limits.hpp"
#include "store/identity.hpp"
#include "store/parameters.hpp"
#include "store/store_state.hpp"

namespace seqkv {
namespace {

using store::Database;
using store::Statement;

constexpr auto lock_patience = std::chrono::seconds(30);

constexpr const char* schema = R"(
  CREATE TABLE parameters (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE codecs (id INTEGER PRIMARY KEY, spec TEXT NOT NULL, profile BLOB NOT NULL,
    UNIQUE (spec, profile));
  CREATE TABLE packs (id INTEGER PRIMARY KEY, bytes INTEGER NOT NULL);
  CREATE TABLE blocks (
    id INTEGER PRIMARY KEY, identity BLOB NOT NULL, codec INTEGER NOT NULL REFERENCES codecs(id),
    parent INTEGER REFERENCES blocks(id), position INTEGER NOT NULL, tokens INTEGER NOT NULL,
    pack INTEGER NOT NULL REFERENCES packs(id), offset INTEGER NOT NULL, bytes INTEGER NOT NULL,
    UNIQUE (identity, codec));
  CREATE INDEX blocks_by_parent ON blocks(parent);
  CREATE TABLE sessions (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, block INTEGER NOT NULL REFERENCES blocks(id),
    tokens INTEGER NOT NULL, codec INTEGER NOT NULL REFERENCES codecs(id), created INTEGER NOT NULL);
  CREATE INDEX sessions_by_block ON sessions(block);
)";

/// One writer: an advisory lock on a file of its own. Readers hold the index only while a query runs.
Result<io::Descriptor> lock_for_writing(const std::filesystem::path& folder) {
  const auto path = folder / "writer.lock";
  io::Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (file.get() < 0) return io::system_error("cannot open", path, errno);
  const auto deadline = std::chrono::steady_clock::now() + lock_patience;
  while (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return io::system_error("cannot lock", path, errno);
    if (std::chrono::steady_clock::now() > deadline) {
      return Error(ErrorCode::busy,
                   fmt::format("another process has been writing to this store for {} s", lock_patience.count()))
          .in_file(path.string());
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return file;
}

Result<Digest> random_digest() {
  Digest id;
  if (::getrandom(id.bytes.data(), id.bytes.size(), 0) != static_cast<ssize_t>(id.bytes.size())) {
    return Error(ErrorCode::io, "no random numbers from the system");
  }
  return id;
}

/// The tables, in a file of another name that is renamed when they are there: a store exists whole or not.
Result<void> create_index(const std::filesystem::path& folder, const StoreParameters& parameters) {
  std::error_code problem;
  std::filesystem::create_directories(folder / "packs", problem);
  if (problem) return io::system_error("cannot create", folder / "packs", problem.value());
  std::filesystem::permissions(folder / "packs", std::filesystem::perms::owner_all, problem);
  const auto fresh = folder / "store.db.new";
  std::filesystem::remove(fresh, problem);
  {
    SEQKV_ASSIGN(Database database, Database::open(fresh, Database::Mode::create));
    std::filesystem::permissions(fresh, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write,
                                 problem);
    SEQKV_ASSIGN(store::Transaction transaction, store::Transaction::begin(database));
    SEQKV_TRY(database.execute(schema));
    SEQKV_ASSIGN(const Digest id, random_digest());
    SEQKV_TRY(store::write_parameters(database, parameters, id));
    SEQKV_TRY(transaction.commit());
  }
  if (::rename(fresh.c_str(), (folder / "store.db").c_str()) != 0) {
    return io::system_error("cannot rename", fresh, errno);
  }
  return io::sync_directory(folder);
}

}  // namespace

// ---- opening ----------------------------------------------------------------------------------------------

Store::Store(std::unique_ptr<State> state) : state_(std::move(state)) {}
Store::Store(Store&&) noexcept = default;
Store& Store::operator=(Store&&) noexcept = default;
Store::~Store() = default;

bool Store::exists(const std::filesystem::path& folder) noexcept {
  std::error_code problem;
  return std::filesystem::exists(folder / "store.db", problem);
}

Result<Store> Store::open(const std::filesystem::path& folder) {
  auto state = std::make_unique<State>();
  state->folder = folder;
  SEQKV_ASSIGN(state->database, Database::open(state->index_path(), Database::Mode::read));
  if (auto read = store::read_parameters(state->database, state->parameters, state->id); !read) {
    return std::move(read).error().in_file(state->index_path().string());
  }
  state->root = store::root_identity("", state->parameters.model);
  return Store(std::move(state));
}

Result<Store> Store::open_for_writing(const std::filesystem::path& folder, const StoreParameters& parameters) {
  SEQKV_TRY(store::check_parameters(parameters));
  auto state = std::make_unique<State>();
  state->folder = folder;
  std::error_code problem;
  const bool made = std::filesystem::create_directories(folder, problem);
  if (problem) return io::system_error("cannot create", folder, problem.value());
  // A folder that was there keeps the rights that its owner gave it; packs/ and the index are closed in any case.
  if (made) std::filesystem::permissions(folder, std::filesystem::perms::owner_all, problem);
  SEQKV_ASSIGN(state->lock, lock_for_writing(folder));
  if (!exists(folder)) SEQKV_TRY(create_index(folder, parameters));
  SEQKV_ASSIGN(state->database, Database::open(state->index_path(), Database::Mode::write));
  if (auto read = store::read_parameters(state->database, state->parameters, state->id); !read) {
    return std::move(read).error().in_file(state->index_path().string());
  }
  SEQKV_TRY(store::compare_parameters(state->parameters, parameters, state->index_path()));
  state->root = store::root_identity("", state->parameters.model);
  return Store(std::move(state));
}

const StoreParameters& Store::parameters() const noexcept { return state_->parameters; }

// ---- queries ----------------------------------------------------------------------------------------------

namespace {

constexpr const char* session_query =
    "SELECT sessions.id, sessions.name, sessions.tokens, codecs.spec, sessions.created, sessions.block, codecs.profile "
    "FROM sessions JOIN codecs ON codecs.id = sessions.codec";

/// How many sessions and blocks refer to a block.
constexpr const char* reference_query =
    "SELECT (SELECT count(*) FROM sessions WHERE block = ?1) + (SELECT count(*) FROM blocks WHERE parent = ?1)";

}  // namespace

Result<StoreTotals> Store::totals() const {
  StoreTotals totals;
  SEQKV_ASSIGN(Statement query,
               state_->database.prepare(
                   "SELECT (SELECT count(*) FROM sessions), (SELECT count(*) FROM blocks), "
                   "(SELECT ifnull(sum(tokens), 0) FROM sessions), "
                   "(SELECT ifnull(sum(tokens), 0) FROM blocks), (SELECT ifnull(sum(bytes), 0) FROM packs)"));
  SEQKV_ASSIGN(const bool there, query.step());
  if (!there) return Error(ErrorCode::internal, "no row of totals");
  totals.sessions = query.integer(0);
  totals.blocks = query.integer(1);
  totals.session_tokens = query.integer(2);
  totals.stored_tokens = query.integer(3);
  totals.pack_bytes = query.integer(4);
  std::error_code problem;
  totals.index_bytes = static_cast<std::int64_t>(std::filesystem::file_size(state_->index_path(), problem));
  SEQKV_ASSIGN(Statement profiles, state_->database.prepare("SELECT DISTINCT profile FROM codecs"));
  for (;;) {
    SEQKV_ASSIGN(const bool more, profiles.step());
    if (!more) return totals;
    SEQKV_ASSIGN(const Digest profile, digest_from(profiles, 0));
    const auto size = profile.is_zero() ? 0 : std::filesystem::file_size(state_->profile_path(profile), problem);
    if (!problem) totals.profile_bytes += static_cast<std::int64_t>(size);
  }
}

/// Fills in what the chain of blocks tells.
static Result<SessionInfo> describe_session(const Store::State& state, const Statement& row, Statement& references) {
  SessionInfo info;
  info.name = row.text(1);
  info.tokens = row.integer(2);
  info.codec = row.text(3);
  info.created = row.integer(4);
  SEQKV_ASSIGN(info.profile, digest_from(row, 6));
  auto chain = state.chain(row.integer(5));
  if (!chain) return std::move(chain).error().at_field(fmt::format("session '{}'", info.name));
  info.blocks = static_cast<std::int64_t>(chain->size());
  bool own = true;  // from the end of the chain, until a block has another user
  for (auto block = chain->rbegin(); block != chain->rend(); ++block) {
    info.bytes += block->bytes;
    references.bind(1, block->id);
    SEQKV_ASSIGN(const bool there, references.step());
    own = own && there && references.integer(0) == 1;
    references.reset();
    if (own) info.own_bytes += block->bytes;
  }
  return info;
}

Result<std::vector<SessionInfo>> Store::sessions() const {
  SEQKV_ASSIGN(Statement query, state_->database.prepare(fmt::format("{} ORDER BY sessions.name", session_query)));
  SEQKV_ASSIGN(Statement references, state_->database.prepare(reference_query));
  std::vector<SessionInfo> sessions;
  for (;;) {
    SEQKV_ASSIGN(const bool there, query.step());
    if (!there) return sessions;
    SEQKV_ASSIGN(sessions.emplace_back(), describe_session(*state_, query, references));
  }
}

Result<SessionInfo> Store::session(const std::string& name) const {
  SEQKV_ASSIGN(Statement query, state_->database.prepare(fmt::format("{} WHERE sessions.name = ?", session_query)));
  SEQKV_ASSIGN(Statement references, state_->database.prepare(reference_query));
  query.bind(1, std::string_view(name));
  SEQKV_ASSIGN(const bool there, query.step());
  if (!there)
    return Error(ErrorCode::session_not_found, fmt::format("no session '{}'", name)).in_file(state_->folder.string());
  return describe_session(*state_, query, references);
}

Result<std::vector<CodedBlockView>> Store::blocks(const std::string& name) const {
  SEQKV_ASSIGN(const std::vector<BlockRow> rows, state_->session_rows(name));
  std::vector<CodedBlockView> blocks;
  Digest parent = state_->root;
  const Digest lone = store::lone_root_identity(state_->root, name);
  for (const BlockRow& row : rows) {
    auto record = state_->read(row);
    if (!record)
      return std::move(record)
          .error()
          .in_block(static_cast<std::int64_t>(blocks.size()))
          .at_field(fmt::format("session '{}'", name));
    if (record->head.parent != parent && !(blocks.empty() && record->head.parent == lone)) {
      return Error(ErrorCode::corrupt, "the block does not continue the one before it")
          .in_block(static_cast<std::int64_t>(blocks.size()))
          .at_field(fmt::format("session '{}'", name));
    }
    parent = row.identity;
    blocks.push_back(record->block);
  }
  return blocks;
}

Result<std::vector<CodedBlockView>> Store::match(TokenSpan tokens, const Codec& codec) const {
  const auto identities = store::block_identities(state_->root, tokens, state_->parameters.block_tokens);
  std::vector<CodedBlockView> blocks;
  std::size_t position = 0;
  for (const Digest& identity : identities) {
    SEQKV_ASSIGN(const std::optional<BlockRow> row, state_->find(identity, codec));
    if (!row) break;
    SEQKV_ASSIGN(const store::BlockRecord record, state_->read(*row));
    SEQKV_ASSIGN(const CodedBlockInfo info, inspect_block(state_->parameters.shape, record.block));
    // Two sequences of tokens with one SHA-256 have not been seen; if they are, it is a miss.
    const auto here = tokens.subspan(position, std::min(info.tokens.size(), tokens.size() - position));
    if (!std::ranges::equal(here, info.tokens)) break;
    position += info.tokens.size();
    blocks.push_back(record.block);
  }
  return blocks;
}

}  // namespace seqkv
