// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>
#include <openssl/rand.h>

#include <algorithm>

#include "codec/predict/profile.hpp"
#include "core/try.hpp"
#include "store/epoch.hpp"
#include "store/identity.hpp"
#include "store/index.hpp"
#include "store/pack_writer.hpp"
#include "store/session_name.hpp"
#include "store/uses.hpp"

namespace seqkv {

struct SessionWriter::State {
  State(Store::State& of, Codec with) : store(of), codec(std::move(with)), own_pack(of) {}
  ~State() {
    if (saving) store.saving = false;
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  Store::State& store;
  Codec codec;
  store::PackWriter own_pack;
  store::SessionHead head;  ///< its record, but for the sequence number
  Digest root;              ///< of its chain of identities
  std::vector<Token> tokens;
  std::vector<Digest> identities;
  std::int64_t known_blocks = 0;
  std::optional<std::int64_t> known_id;  ///< of the last known block
  std::vector<BlockRow> appended;
  std::int64_t known_bytes = 0;
  std::int64_t new_bytes = 0;
  bool saving = false;  ///< between begin and commit, when the store saves nothing else
  bool committed = false;

  std::size_t blocks() const { return static_cast<std::size_t>(known_blocks) + appended.size(); }
  Digest parent_of(std::size_t block) const { return block == 0 ? root : identities[block - 1]; }
  store::PackWriter& pack() { return store.epoch == nullptr ? own_pack : store.epoch->pack(); }
  Result<void> set_root(const std::optional<SessionRow>& existing, const SaveOptions& options);
  Result<void> find_known();
  Result<void> write_rows(const store::Place& record);
};

SessionWriter::SessionWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
SessionWriter::SessionWriter(SessionWriter&&) noexcept = default;
SessionWriter::~SessionWriter() = default;

std::int64_t SessionWriter::known_blocks() const noexcept { return state_->known_blocks; }
std::int64_t SessionWriter::known_tokens() const noexcept {
  return std::min<std::int64_t>(state_->known_blocks * state_->store.parameters.block_tokens,
                                static_cast<std::int64_t>(state_->tokens.size()));
}
std::int64_t SessionWriter::new_bytes() const noexcept { return state_->new_bytes; }
std::int64_t SessionWriter::bytes() const noexcept { return state_->known_bytes + state_->new_bytes; }

// ---- beginning --------------------------------------------------------------------------------------------

namespace {

/// Whether sessions can be coded so.
Result<void> check_codec(const Codec& codec, const StoreParameters& parameters) {
  if (!codec.is_settled()) return Error(ErrorCode::invalid_argument, codec.spec() + " is a target, not a codec");
  if (!codec.needs_profile()) return {};
  SEQKV_TRY(check_profile(codec, parameters.shape));
  if (parameters.model.is_zero() || codec.profile()->model() == parameters.model) return {};
  return Error(ErrorCode::wrong_profile, "the profile is of another model than the store");
}

/// Whether a session can become one of these tokens.
Result<void> check_extension(const Store& store, const std::string& name, const SessionRow& existing, TokenSpan tokens,
                             const Codec& codec) {
  if (existing.head.codec != codec.spec() || existing.head.profile != codec.profile_fingerprint()) {
    return Error(ErrorCode::invalid_argument,
                 fmt::format("session '{}' is coded with {}, and goes on with it alone", name, existing.head.codec));
  }
  SEQKV_ASSIGN(const std::vector<Token> before, store.tokens(name));
  if (before.size() <= tokens.size() && std::ranges::equal(before, tokens.first(before.size()))) return {};
  return Error(ErrorCode::session_differs,
               fmt::format("session '{}' has {} tokens with which the new ones do not begin", name, before.size()));
}

}  // namespace

/// A chain of its own for a session that shares nothing; that of the session before where it goes on.
Result<void> SessionWriter::State::set_root(const std::optional<SessionRow>& existing, const SaveOptions& options) {
  if (existing && options.if_exists == IfExists::extend) {
    head.nonce = existing->head.nonce;
    head.created = existing->head.created;
    if (head.expires == 0) head.expires = existing->head.expires;
    head.pinned = head.pinned || existing->head.pinned;
  } else if (options.sharing == Sharing::none && RAND_bytes(reinterpret_cast<unsigned char*>(head.nonce.bytes.data()),
                                                            static_cast<int>(head.nonce.bytes.size())) != 1) {
    return Error(ErrorCode::io, "no random numbers for a session that shares nothing");
  }
  root = store.root_of(head);
  identities = store::block_identities(root, tokens, store.parameters.block_tokens);
  head.last_block = identities.back();
  return {};
}

/// The blocks at the front that are stored already, each read and its tokens compared.
Result<void> SessionWriter::State::find_known() {
  std::size_t position = 0;
  for (const Digest& identity : identities) {
    SEQKV_ASSIGN(const std::optional<BlockRow> row, store.find(identity, codec));
    if (!row) return {};
    if (store.epoch == nullptr || !store.epoch->is_promised(identity)) {
      SEQKV_ASSIGN(const StoredBlock block, store.read(*row));
      const auto here =
          TokenSpan(tokens).subspan(position, std::min(block.info.tokens.size(), tokens.size() - position));
      if (!std::ranges::equal(here, block.info.tokens)) return {};
    }
    position += static_cast<std::size_t>(row->tokens);
    known_id = row->id;
    known_bytes += row->place.bytes;
    ++known_blocks;
  }
  return {};
}

Result<SessionWriter> Store::begin(const std::string& name, TokenSpan tokens, const Codec& codec,
                                   const SaveOptions& options) {
  if (tokens.empty()) return Error(ErrorCode::empty_input, fmt::format("session '{}' has no tokens", name));
  SEQKV_TRY(store::check_session_name(name));
  SEQKV_TRY(state_->check_writable());
  SEQKV_ASSIGN(const std::optional<SessionRow> existing, state_->find_session(name));
  if (existing && options.if_exists == IfExists::refuse) {
    return Error(ErrorCode::session_differs, fmt::format("session '{}' is in the store already", name))
        .in_file(state_->folder.string());
  }
  SEQKV_TRY(check_codec(codec, state_->parameters));
  if (existing && options.if_exists == IfExists::extend) {
    SEQKV_TRY(check_extension(*this, name, *existing, tokens, codec));
  }
  auto writer = std::make_unique<SessionWriter::State>(*state_, codec);
  writer->tokens.assign(tokens.begin(), tokens.end());
  writer->head.tenant = state_->tenant;
  writer->head.name = name;
  writer->head.profile = codec.profile_fingerprint();
  writer->head.codec = codec.spec();
  writer->head.tokens = static_cast<std::int64_t>(tokens.size());
  writer->head.created = static_cast<std::int64_t>(store::now());
  writer->head.expires = options.expires;
  writer->head.pinned = options.pinned;
  SEQKV_TRY(writer->set_root(existing, options));
  SEQKV_TRY(writer->find_known());
  state_->saving = writer->saving = true;
  return SessionWriter(std::move(writer));
}

// ---- appending --------------------------------------------------------------------------------------------

Result<void> SessionWriter::append(CodedBlockView block) {
  State& state = *state_;
  SEQKV_ASSIGN(const CodedBlockInfo info, inspect_block(state.store.parameters.shape, block));
  const std::size_t number = state.blocks();
  const auto position = static_cast<std::int64_t>(number) * state.store.parameters.block_tokens;
  const auto all = static_cast<std::int64_t>(state.tokens.size());
  const auto expected = TokenSpan(state.tokens)
                            .subspan(static_cast<std::size_t>(std::min(position, all)),
                                     static_cast<std::size_t>(std::clamp<std::int64_t>(
                                         all - position, 0, state.store.parameters.block_tokens)));
  if (info.first_position != position || expected.empty() || !std::ranges::equal(info.tokens, expected)) {
    return Error(ErrorCode::invalid_argument,
                 fmt::format("the block for position {} with {} tokens is not the next one of '{}'",
                             info.first_position, info.tokens.size(), state.head.name));
  }
  const auto tokens = static_cast<std::int64_t>(info.tokens.size());
  SEQKV_ASSIGN(const store::RecordBytes record,
               store::block_record(state.store.seal,
                                   {state.identities[number], state.parent_of(number), state.head.profile,
                                    state.head.codec, position, tokens},
                                   block));
  SEQKV_ASSIGN(const store::Place place, state.pack().append(record));
  state.appended.push_back({0, {}, state.identities[number], position, tokens, place});
  if (state.store.epoch != nullptr) state.store.epoch->add(state.appended.back(), state.parent_of(number));
  state.new_bytes += place.bytes;
  return {};
}

/// The rows of blocks and session, and what was used.
Result<void> SessionWriter::State::write_rows(const store::Place& record) {
  store::Database& database = store.database;
  SEQKV_ASSIGN(const std::int64_t codec_id, store::need_codec(database, head.codec, head.profile));
  SEQKV_TRY(own_pack.write_rows(database));
  SEQKV_ASSIGN(store::BlockInserter inserter, store::BlockInserter::create(database));
  std::optional<std::int64_t> last = known_id;
  for (BlockRow& row : appended) {
    row.parent = last;
    SEQKV_ASSIGN(last, inserter.insert(row, codec_id));
  }
  SEQKV_TRY(store::put_session(database, head, *last, codec_id, record));
  return store::count_uses(database, identities, codec_id);
}

Result<void> SessionWriter::commit() {
  State& state = *state_;
  if (state.committed) return Error(ErrorCode::invalid_argument, "the session has been committed");
  if (state.blocks() != state.identities.size()) {
    return Error(ErrorCode::invalid_argument, fmt::format("session '{}' has {} blocks, {} were given", state.head.name,
                                                          state.identities.size(), state.blocks()));
  }
  if (state.store.epoch != nullptr) {  // the process with the lock goes on from here
    state.store.epoch->add(state.head, state.identities);
    state.committed = true;
    state.store.saving = state.saving = false;
    return {};
  }
  // Data first: the index never names bytes that are not on disk, nor a profile.
  if (state.codec.needs_profile()) SEQKV_TRY(state.store.keep(state.codec.profile()));
  SEQKV_ASSIGN(state.head.sequence, store::next_sequence(state.store));
  SEQKV_ASSIGN(const store::RecordBytes bytes, store::session_record(state.store.seal, state.head));
  SEQKV_ASSIGN(const store::Place record, state.own_pack.append(bytes));
  SEQKV_TRY(state.own_pack.sync());
  SEQKV_ASSIGN(store::Transaction transaction, store::Transaction::begin(state.store.database));
  SEQKV_TRY(state.write_rows(record));
  SEQKV_TRY(transaction.commit());
  state.own_pack.keep();
  state.committed = true;
  state.store.saving = state.saving = false;
  return {};
}

}  // namespace seqkv
