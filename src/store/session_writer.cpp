// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "codec/predict/profile.hpp"
#include "core/bytes.hpp"
#include "core/try.hpp"
#include "io/text.hpp"
#include "seqkv/limits.hpp"
#include "store/identity.hpp"
#include "store/store_state.hpp"

namespace seqkv {
namespace {

using store::Statement;

/// The pack that is written to: its committed end is where the next record goes.
struct OpenPack {
  std::int64_t number = 0;
  std::filesystem::path path;
  io::Descriptor file;
  std::int64_t committed = 0;
  bool is_new = false;
};

Result<OpenPack> create_pack(const Store::State& state, std::int64_t number) {
  OpenPack pack{number, store::pack_path(state.folder, number), {}, 0, true};
  // A file of this name that the index does not know is what a crash left behind.
  pack.file = io::Descriptor(::open(pack.path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (pack.file.get() < 0) return io::system_error("cannot create", pack.path, errno);
  const auto header = store::pack_header(state.id);
  SEQKV_TRY(io::write_all(pack.file, pack.path, header, 0));
  pack.committed = static_cast<std::int64_t>(header.size());
  return pack;
}

/// The last pack if there is room in it, else a new one. What lies beyond the committed end is cut off.
Result<OpenPack> open_pack(const Store::State& state) {
  SEQKV_ASSIGN(Statement query, state.database.prepare("SELECT id, bytes FROM packs ORDER BY id DESC LIMIT 1"));
  SEQKV_ASSIGN(const bool there, query.step());
  if (!there) return create_pack(state, 1);
  OpenPack pack{query.integer(0), store::pack_path(state.folder, query.integer(0)), {}, query.integer(1), false};
  if (pack.committed >= store::pack_full) return create_pack(state, pack.number + 1);
  pack.file = io::Descriptor(::open(pack.path.c_str(), O_RDWR | O_CLOEXEC));
  if (pack.file.get() < 0) return io::system_error("cannot open", pack.path, errno);
  struct stat info {};
  if (::fstat(pack.file.get(), &info) != 0) return io::system_error("cannot stat", pack.path, errno);
  if (info.st_size < pack.committed) {
    return Error(ErrorCode::truncated,
                 fmt::format("the pack has {} bytes, the index says {}", info.st_size, pack.committed))
        .in_file(pack.path.string());
  }
  if (info.st_size > pack.committed && ::ftruncate(pack.file.get(), pack.committed) != 0) {
    return io::system_error("cannot truncate", pack.path, errno);
  }
  return pack;
}

}  // namespace

struct SessionWriter::State {
  Store::State* store = nullptr;
  Digest root;  ///< of its chain of identities
  std::string name;
  std::vector<Token> tokens;
  Codec codec;
  std::vector<Digest> identities;
  std::int64_t known_blocks = 0;
  std::int64_t known_tokens = 0;
  std::optional<std::int64_t> known_id;  ///< of the last known block
  OpenPack pack;
  std::int64_t end = 0;  ///< of what has been appended
  std::vector<BlockRow> appended;
  bool committed = false;

  Digest parent_of(std::size_t block) const { return block == 0 ? root : identities[block - 1]; }
  Result<std::int64_t> insert_rows();
};

SessionWriter::SessionWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
SessionWriter::SessionWriter(SessionWriter&&) noexcept = default;

SessionWriter::~SessionWriter() {
  if (!state_ || state_->committed) return;
  state_->store->saving = false;
  if (state_->pack.file.get() < 0) return;
  // Give the space back now; the next writer would cut it off anyway.
  if (state_->pack.is_new) {
    ::unlink(state_->pack.path.c_str());
  } else if (state_->end > state_->pack.committed &&
             ::ftruncate(state_->pack.file.get(), state_->pack.committed) != 0) {
    return;
  }
}

std::int64_t SessionWriter::known_blocks() const noexcept { return state_->known_blocks; }
std::int64_t SessionWriter::known_tokens() const noexcept { return state_->known_tokens; }

std::int64_t SessionWriter::new_bytes() const noexcept {
  std::int64_t bytes = 0;
  for (const BlockRow& row : state_->appended) bytes += row.bytes;
  return bytes;
}

/// Whether sessions can be coded so.
static Result<void> check_codec(const Codec& codec, const StoreParameters& parameters) {
  if (!codec.is_settled()) return Error(ErrorCode::invalid_argument, codec.spec() + " is a target, not a codec");
  if (!codec.needs_profile()) return {};
  SEQKV_TRY(check_profile(codec, parameters.shape));
  if (parameters.model.is_zero() || codec.profile()->model() == parameters.model) return {};
  return Error(ErrorCode::wrong_profile, "the profile is of another model than the store");
}

Result<SessionWriter> Store::begin(const std::string& name, TokenSpan tokens, const Codec& codec, Sharing sharing) {
  if (tokens.empty()) return Error(ErrorCode::empty_input, fmt::format("session '{}' has no tokens", name));
  if (name.empty() || static_cast<std::int64_t>(name.size()) > limits::max_session_name ||
      io::find_invalid_utf8(name) >= 0 || name.find('\0') != std::string::npos) {
    return Error(ErrorCode::invalid_argument,
                 fmt::format("a session's name has 1 to {} bytes of UTF-8", limits::max_session_name));
  }
  if (state_->lock.get() < 0) return Error(ErrorCode::invalid_argument, "the store is open for reading only");
  if (state_->saving) return Error(ErrorCode::invalid_argument, "another session is being saved");
  SEQKV_ASSIGN(Statement existing, state_->database.prepare("SELECT 1 FROM sessions WHERE name = ?"));
  SEQKV_ASSIGN(const bool exists, existing.bind(1, std::string_view(name)).step());
  if (exists)
    return Error(ErrorCode::session_differs, fmt::format("session '{}' is in the store already", name))
        .in_file(state_->folder.string());

  SEQKV_TRY(check_codec(codec, state_->parameters));
  std::vector<CodedBlockView> known;
  if (sharing == Sharing::by_tokens) {
    SEQKV_ASSIGN(known, match(tokens, codec));
  }
  const Digest root = sharing == Sharing::by_tokens ? state_->root : store::lone_root_identity(state_->root, name);
  auto writer = std::make_unique<SessionWriter::State>(
      SessionWriter::State{state_.get(),
                           root,
                           name,
                           {tokens.begin(), tokens.end()},
                           codec,
                           store::block_identities(root, tokens, state_->parameters.block_tokens),
                           0,
                           0,
                           {},
                           {},
                           0,
                           {},
                           false});
  writer->known_blocks = static_cast<std::int64_t>(known.size());
  writer->known_tokens = std::min<std::int64_t>(writer->known_blocks * state_->parameters.block_tokens,
                                                static_cast<std::int64_t>(tokens.size()));
  if (!known.empty()) {
    SEQKV_ASSIGN(const std::optional<BlockRow> last, state_->find(writer->identities[known.size() - 1], codec));
    if (!last) return Error(ErrorCode::internal, "a matched block is gone");
    writer->known_id = last->id;
  }
  SEQKV_ASSIGN(writer->pack, open_pack(*state_));
  writer->end = writer->pack.committed;
  state_->saving = true;
  return SessionWriter(std::move(writer));
}

Result<void> SessionWriter::append(CodedBlockView block) {
  State& state = *state_;
  SEQKV_ASSIGN(const CodedBlockInfo info, inspect_block(state.store->parameters.shape, block));
  const std::size_t number = static_cast<std::size_t>(state.known_blocks) + state.appended.size();
  const auto position = static_cast<std::int64_t>(number) * state.store->parameters.block_tokens;
  const auto all = static_cast<std::int64_t>(state.tokens.size());
  const auto expected = TokenSpan(state.tokens)
                            .subspan(static_cast<std::size_t>(std::min(position, all)),
                                     static_cast<std::size_t>(std::clamp<std::int64_t>(
                                         all - position, 0, state.store->parameters.block_tokens)));
  if (info.first_position != position || !std::ranges::equal(info.tokens, expected)) {
    return Error(ErrorCode::invalid_argument,
                 fmt::format("the block for position {} with {} tokens is not the next one of '{}'",
                             info.first_position, info.tokens.size(), state.name));
  }
  const auto head = store::block_record_head(
      {state.identities[number], state.parent_of(number), state.codec.profile_fingerprint(), state.codec.spec()},
      block);
  const std::int64_t offset = round_up(state.end, store::pack_alignment);
  SEQKV_TRY(io::write_all(state.pack.file, state.pack.path, head, offset));
  SEQKV_TRY(io::write_all(state.pack.file, state.pack.path, block, offset + static_cast<std::int64_t>(head.size())));
  const auto bytes = static_cast<std::int64_t>(head.size() + block.size());
  state.appended.push_back({0,
                            {},
                            state.identities[number],
                            position,
                            static_cast<std::int64_t>(info.tokens.size()),
                            state.pack.number,
                            offset,
                            bytes});
  state.end = offset + bytes;
  return {};
}

/// The rows of blocks and session; returns the new end of the pack.
Result<std::int64_t> SessionWriter::State::insert_rows() {
  store::Database& database = store->database;
  const Digest profile = codec.profile_fingerprint();
  SEQKV_ASSIGN(Statement codec_row, database.prepare("INSERT OR IGNORE INTO codecs (spec, profile) VALUES (?, ?)"));
  codec_row.bind(1, std::string_view(codec.spec())).bind(2, std::span<const std::byte>(profile.bytes));
  SEQKV_TRY(codec_row.run());
  SEQKV_ASSIGN(const std::optional<std::int64_t> codec_id, store->codec_id(codec));
  if (!codec_id) return Error(ErrorCode::internal, "the codec's row is gone");
  SEQKV_ASSIGN(Statement pack_row, database.prepare("INSERT INTO packs (id, bytes) VALUES (?1, ?2) "
                                                    "ON CONFLICT (id) DO UPDATE SET bytes = excluded.bytes"));
  SEQKV_TRY(pack_row.bind(1, pack.number).bind(2, end).run());
  SEQKV_ASSIGN(Statement block_row,
               database.prepare("INSERT INTO blocks (identity, codec, parent, position, tokens, pack, offset, bytes) "
                                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"));
  std::optional<std::int64_t> parent = known_id;
  for (const BlockRow& row : appended) {
    block_row.bind(1, std::span<const std::byte>(row.identity.bytes)).bind(2, *codec_id);
    if (parent) {
      block_row.bind(3, *parent);
    } else {
      block_row.bind_null(3);
    }
    block_row.bind(4, row.position).bind(5, row.tokens).bind(6, row.pack).bind(7, row.offset).bind(8, row.bytes);
    SEQKV_TRY(block_row.run());
    parent = database.last_row_id();
  }
  SEQKV_ASSIGN(Statement session_row, database.prepare("INSERT INTO sessions (name, block, tokens, codec, created) "
                                                       "VALUES (?, ?, ?, ?, ?)"));
  session_row.bind(1, std::string_view(name)).bind(2, *parent).bind(3, static_cast<std::int64_t>(tokens.size()));
  SEQKV_TRY(session_row.bind(4, *codec_id).bind(5, static_cast<std::int64_t>(std::time(nullptr))).run());
  return end;
}

Result<void> SessionWriter::commit() {
  State& state = *state_;
  const std::size_t blocks = static_cast<std::size_t>(state.known_blocks) + state.appended.size();
  if (blocks != state.identities.size()) {
    return Error(ErrorCode::invalid_argument,
                 fmt::format("session '{}' has {} blocks, {} were given", state.name, state.identities.size(), blocks));
  }
  // Data first: the index never names bytes that are not on disk, nor a profile.
  if (state.codec.needs_profile()) SEQKV_TRY(state.store->keep(state.codec.profile()));
  const auto record = store::session_record({state.name, state.codec.profile_fingerprint(), state.codec.spec(),
                                             state.identities.back(), static_cast<std::int64_t>(state.tokens.size())});
  const std::int64_t offset = round_up(state.end, store::pack_alignment);
  SEQKV_TRY(io::write_all(state.pack.file, state.pack.path, record, offset));
  state.end = offset + static_cast<std::int64_t>(record.size());
  SEQKV_TRY(io::sync(state.pack.file, state.pack.path));
  if (state.pack.is_new) SEQKV_TRY(io::sync_directory(state.pack.path.parent_path()));

  SEQKV_ASSIGN(store::Transaction transaction, store::Transaction::begin(state.store->database));
  SEQKV_ASSIGN(const std::int64_t end, state.insert_rows());
  SEQKV_TRY(transaction.commit());
  state.committed = true;
  state.store->saving = false;
  state.pack.committed = end;
  return {};
}

}  // namespace seqkv
