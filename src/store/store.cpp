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
#include "store/index.hpp"
#include "store/parameters.hpp"
#include "store/store_state.hpp"

namespace seqkv {
namespace {

using store::Database;
using store::Statement;

constexpr auto lock_patience = std::chrono::seconds(30);

Result<Digest> random_digest() {
  Digest id;
  if (::getrandom(id.bytes.data(), id.bytes.size(), 0) != static_cast<ssize_t>(id.bytes.size())) {
    return Error(ErrorCode::io, "no random numbers from the system");
  }
  return id;
}

/// A random id, the tables, in a file of another name that is renamed when they are there: a store exists whole or not.
Result<void> create_index(const std::filesystem::path& folder, const StoreParameters& parameters,
                          const StoreAccess& access) {
  std::error_code problem;
  std::filesystem::create_directories(folder / "packs", problem);
  if (problem) return io::system_error("cannot create", folder / "packs", problem.value());
  std::filesystem::permissions(folder / "packs", std::filesystem::perms::owner_all, problem);
  SEQKV_ASSIGN(const auto packs, store::pack_files(folder));
  if (!packs.empty()) {
    return Error(ErrorCode::corrupt, "there are packs here and no index: seqkv repair --rebuild-index makes it again")
        .in_file(folder.string());
  }
  if ((parameters.protection == Protection::none) != access.key.empty()) {
    return Error(ErrorCode::wrong_key,
                 access.key.empty() ? "a store with protection needs a key" : "a key for a store without protection");
  }
  SEQKV_ASSIGN(const Digest id, random_digest());
  const store::Seal seal = access.key.empty() ? store::Seal() : store::Seal(parameters.protection, access.key, id);
  SEQKV_ASSIGN(Database database, store::begin_index(folder));
  SEQKV_ASSIGN(store::Transaction transaction, store::Transaction::begin(database));
  SEQKV_TRY(store::create_tables(database, store::signed_text(store::to_text(parameters, id), seal)));
  SEQKV_TRY(store::create_indexes(database));
  SEQKV_TRY(transaction.commit());
  database = Database();
  return store::publish_index(folder);
}

}  // namespace

Result<io::Descriptor> store::lock_for_writing(const std::filesystem::path& folder) {
  const auto path = folder / "writer.lock";
  SEQKV_ASSIGN(io::Descriptor file, io::open_for_writing(path, io::Existing::keep));
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

std::string_view to_string(Protection protection) noexcept {
  switch (protection) {
    case Protection::none:
      return "none";
    case Protection::authentic:
      return "authentic";
    case Protection::encrypted:
      return "encrypted";
  }
  return "?";
}

// ---- opening ----------------------------------------------------------------------------------------------

Store::Store(std::unique_ptr<State> state) : state_(std::move(state)) {}
Store::Store(Store&&) noexcept = default;
Store& Store::operator=(Store&&) noexcept = default;
Store::~Store() = default;

bool Store::exists(const std::filesystem::path& folder) noexcept {
  std::error_code problem;
  return std::filesystem::exists(State::index_path(folder), problem);
}

Result<Store> Store::open(const std::filesystem::path& folder, const StoreAccess& access) {
  SEQKV_ASSIGN(auto state,
               State::open(folder, access, access.immutable ? Database::Mode::read_immutable : Database::Mode::read));
  return Store(std::move(state));
}

Result<Store> Store::open_for_writing(const std::filesystem::path& folder, const StoreAccess& access) {
  if (access.immutable) return Error(ErrorCode::invalid_argument, "an immutable store cannot be written to");
  // Not made by a lock file in a folder that is no store.
  if (!exists(folder)) {
    return Error(ErrorCode::file_not_found, "no store here (its index is missing)")
        .in_file(State::index_path(folder).string());
  }
  SEQKV_ASSIGN(io::Descriptor lock, store::lock_for_writing(folder));
  SEQKV_ASSIGN(auto state, State::open(folder, access, Database::Mode::write));
  state->lock = std::move(lock);
  return Store(std::move(state));
}

Result<Store> Store::open_for_writing(const std::filesystem::path& folder, const StoreParameters& parameters,
                                      const StoreAccess& access) {
  SEQKV_TRY(store::check_parameters(parameters));
  std::error_code problem;
  const bool made = std::filesystem::create_directories(folder, problem);
  if (problem) return io::system_error("cannot create", folder, problem.value());
  // A folder that was there keeps the rights that its owner gave it; packs/ and the index are closed in any case.
  if (made) std::filesystem::permissions(folder, std::filesystem::perms::owner_all, problem);
  SEQKV_ASSIGN(io::Descriptor lock, store::lock_for_writing(folder));
  if (!exists(folder)) SEQKV_TRY(create_index(folder, parameters, access));
  SEQKV_ASSIGN(auto state, State::open(folder, access, Database::Mode::write));
  SEQKV_TRY(store::compare_parameters(state->parameters, parameters, state->index_path()));
  state->lock = std::move(lock);
  return Store(std::move(state));
}

const StoreParameters& Store::parameters() const noexcept { return state_->parameters; }

// ---- queries ----------------------------------------------------------------------------------------------

Result<StoreTotals> Store::totals() const {
  StoreTotals totals;
  SEQKV_ASSIGN(Statement query,
               state_->database.prepare(
                   "SELECT (SELECT count(*) FROM sessions), (SELECT count(*) FROM blocks), "
                   "(SELECT ifnull(sum(tokens), 0) FROM sessions), (SELECT ifnull(sum(tokens), 0) FROM blocks), "
                   "(SELECT ifnull(sum(bytes), 0) FROM blocks), (SELECT ifnull(sum(bytes), 0) FROM packs)"));
  SEQKV_ASSIGN(const bool there, query.step());
  if (!there) return Error(ErrorCode::internal, "no row of totals");
  totals.sessions = query.integer(0);
  totals.blocks = query.integer(1);
  totals.session_tokens = query.integer(2);
  totals.stored_tokens = query.integer(3);
  totals.block_bytes = query.integer(4);
  totals.pack_bytes = query.integer(5);
  std::error_code problem;
  totals.index_bytes = static_cast<std::int64_t>(std::filesystem::file_size(state_->index_path(), problem));
  SEQKV_ASSIGN(Statement profiles, state_->database.prepare("SELECT DISTINCT profile FROM codecs"));
  for (;;) {
    SEQKV_ASSIGN(const bool more, profiles.step());
    if (!more) return totals;
    SEQKV_ASSIGN(const Digest profile, store::digest_from(profiles, 0));
    const auto size = profile.is_zero() ? 0 : std::filesystem::file_size(state_->profile_path(profile), problem);
    if (!problem) totals.profile_bytes += static_cast<std::int64_t>(size);
  }
}

namespace {

/// How many sessions and blocks refer to a block; 2 or more stand for many.
constexpr const char* reference_query =
    "SELECT (SELECT count(*) FROM (SELECT 1 FROM sessions WHERE block = ?1 LIMIT 2)) + "
    "(SELECT count(*) FROM (SELECT 1 FROM blocks WHERE parent = ?1 LIMIT 2)) + "
    "(SELECT count(*) FROM (SELECT 1 FROM sources WHERE source = ?1 LIMIT 2))";

/// Fills in what the chain of blocks tells.
Result<SessionInfo> describe_session(const Store::State& state, const SessionRow& row, Statement& references) {
  const store::SessionHead& head = row.head;
  SessionInfo info{head.name, head.tokens, 0, 0, 0, head.codec, head.profile, head.created, head.expires, head.pinned};
  auto chain = state.chain(row.block);
  if (!chain) return std::move(chain).error().at_field(fmt::format("session '{}'", info.name));
  info.blocks = static_cast<std::int64_t>(chain->size());
  bool own = true;  // from the end of the chain, until a block has another user
  for (auto block = chain->rbegin(); block != chain->rend(); ++block) {
    info.bytes += block->place.bytes;
    if (!own) continue;
    SEQKV_ASSIGN(const bool there, references.bind(1, block->id).step());
    own = there && references.integer(0) == 1;
    references.reset();
    if (own) info.own_bytes += block->place.bytes;
  }
  return info;
}

}  // namespace

Result<std::vector<SessionInfo>> Store::sessions() const {
  SEQKV_ASSIGN(const store::Transaction moment,
               store::Transaction::begin(state_->database, store::Transaction::Purpose::read));
  SEQKV_ASSIGN(Statement query, state_->database.prepare(fmt::format(
                                    "{} WHERE sessions.tenant = ? ORDER BY sessions.name", store::session_query)));
  query.bind(1, std::span<const std::byte>(state_->tenant.bytes));
  SEQKV_ASSIGN(Statement references, state_->database.prepare(reference_query));
  return store::all_rows<SessionInfo>(query, [&](const Statement& statement) -> Result<SessionInfo> {
    SEQKV_ASSIGN(const SessionRow row, store::session_row(statement));
    return describe_session(*state_, row, references);
  });
}

Result<SessionInfo> Store::session(const std::string& name) const {
  SEQKV_ASSIGN(const store::Transaction moment,
               store::Transaction::begin(state_->database, store::Transaction::Purpose::read));
  SEQKV_ASSIGN(Statement references, state_->database.prepare(reference_query));
  SEQKV_ASSIGN(const SessionRow row, state_->session(name));
  return describe_session(*state_, row, references);
}

Result<StoredBlocks> Store::blocks(const std::string& name) const {
  SEQKV_ASSIGN(const SessionBlocks session, state_->session_blocks(name));
  return state_->read_blocks(session, 0, session.session.head.tokens);
}

Result<StoredBlocks> Store::blocks(const std::string& name, std::int64_t first, std::int64_t tokens) const {
  SEQKV_ASSIGN(const SessionBlocks session, state_->session_blocks(name));
  if (first >= 0 && tokens > 0 && first < session.session.head.tokens &&
      tokens <= session.session.head.tokens - first) {
    return state_->read_blocks(session, first, tokens);
  }
  return Error(ErrorCode::invalid_argument, fmt::format("{} tokens from {} on, session '{}' has {}", tokens, first,
                                                        name, session.session.head.tokens));
}

Result<std::vector<Token>> Store::tokens(const std::string& name) const {
  SEQKV_ASSIGN(const SessionBlocks session, state_->session_blocks(name));
  SEQKV_ASSIGN(const StoredBlocks blocks, state_->read_blocks(session, 0, session.session.head.tokens));
  std::vector<Token> tokens = blocks.token_ids();
  tokens.resize(static_cast<std::size_t>(session.session.head.tokens));
  return tokens;
}

Result<StoredBlocks> Store::match(TokenSpan tokens, const Codec& codec) const {
  StoredBlocks blocks;
  Digest identity = state_->root;
  const auto size = static_cast<std::size_t>(state_->parameters.block_tokens);
  for (std::size_t first = 0; first < tokens.size(); first += size) {
    const TokenSpan here = tokens.subspan(first, std::min(size, tokens.size() - first));
    identity = store::block_identity(identity, here);
    SEQKV_ASSIGN(const std::optional<BlockRow> row, state_->find(identity, codec));
    if (!row) break;
    SEQKV_ASSIGN(StoredBlock block, state_->read(*row));
    // Two sequences of tokens with one SHA-256 have not been seen; if they are, it is a miss.
    if (!std::ranges::equal(here, block.info.tokens)) break;
    blocks.append(block.block, row->position, block.info.tokens, std::move(block.memory));
    SEQKV_TRY(state_->add_references(*row, block.info, blocks));
  }
  return blocks;
}

}  // namespace seqkv
