// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "store/session_writer.hpp"

#include <fmt/format.h>
#include <openssl/rand.h>

#include <algorithm>

#include "codec/predict/profile.hpp"
#include "core/try.hpp"
#include "store/epoch.hpp"
#include "store/identity.hpp"
#include "store/index.hpp"
#include "store/session_name.hpp"
#include "store/span_sources.hpp"
#include "store/uses.hpp"

namespace seqkv {

SessionWriter::SessionWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
SessionWriter::SessionWriter(SessionWriter&&) noexcept = default;
SessionWriter::~SessionWriter() = default;

std::int64_t SessionWriter::known_blocks() const noexcept { return state_->known_blocks; }
std::int64_t SessionWriter::known_tokens() const noexcept {
  return std::min<std::int64_t>(state_->known_blocks * state_->store.parameters.block_tokens,
                                static_cast<std::int64_t>(state_->tokens.size()));
}
Result<StoredBlocks> SessionWriter::known() const {
  StoredBlocks out;
  for (const auto& [row, block] : state_->known) {
    out.append(block.block, row.position, block.info.tokens, block.memory);
    SEQKV_TRY(state_->store.add_references(row, block.info, out));
  }
  return out;
}
std::int64_t SessionWriter::tokens() const noexcept {
  const auto appended = static_cast<std::int64_t>(state_->blocks()) * state_->store.parameters.block_tokens;
  return std::min(appended, static_cast<std::int64_t>(state_->tokens.size()));
}
TokenSpan SessionWriter::token_ids() const noexcept { return state_->tokens; }
const Codec& SessionWriter::codec() const noexcept { return state_->codec; }
const StoreParameters& SessionWriter::parameters() const noexcept { return state_->store.parameters; }
std::int64_t SessionWriter::new_bytes() const noexcept { return state_->new_bytes; }
std::int64_t SessionWriter::bytes() const noexcept { return state_->known_bytes + state_->new_bytes; }
std::int64_t SessionWriter::reference_bytes() const noexcept { return state_->reference_bytes; }

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
    StoredBlock block;
    const auto here =
        TokenSpan(tokens).subspan(position, std::min(static_cast<std::size_t>(row->tokens), tokens.size() - position));
    if (store.epoch != nullptr && store.epoch->is_promised(identity)) {
      block.info.tokens.assign(here.begin(), here.end());
    } else {
      SEQKV_ASSIGN(block, store.read(*row));
      if (!std::ranges::equal(here, block.info.tokens)) return {};
    }
    position += here.size();
    known_id = row->id;
    known_bytes += row->place.bytes;
    ++known_blocks;
    known.emplace_back(*row, std::move(block));
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
  store::AppendedBlock appended{{0, {}, state.identities[number], position, tokens, {}}, info.hash, {}};
  SEQKV_TRY(state.resolve(info, appended));
  std::vector<Digest> sources;
  for (const store::NamedSource& source : appended.sources) sources.push_back(source.block.identity);
  SEQKV_ASSIGN(const store::RecordBytes record,
               store::block_record(state.store.seal,
                                   {state.identities[number], state.parent_of(number), state.head.profile,
                                    state.head.codec, position, tokens, std::move(sources)},
                                   block));
  SEQKV_ASSIGN(appended.row.place, state.pack().append(record));
  state.new_bytes += appended.row.place.bytes;
  if (!appended.sources.empty()) state.reference_bytes += appended.row.place.bytes;
  if (state.store.epoch != nullptr) state.store.epoch->add(appended.row, state.parent_of(number));
  state.appended.push_back(std::move(appended));
  return {};
}

/// The rows of blocks and session, and what was used.
Result<void> SessionWriter::State::write_rows(const store::Place& record) {
  store::Database& database = store.database;
  SEQKV_ASSIGN(codec_id, store::need_codec(database, head.codec, head.profile));
  SEQKV_TRY(own_pack.write_rows(database));
  SEQKV_ASSIGN(store::BlockInserter inserter, store::BlockInserter::create(database));
  std::optional<std::int64_t> last = known_id;
  for (store::AppendedBlock& block : appended) {
    block.row.parent = last;
    SEQKV_ASSIGN(block.row.id, inserter.insert(block.row, codec_id));
    last = block.row.id;
    std::vector<std::int64_t> sources;
    for (const store::NamedSource& source : block.sources) {
      sources.push_back(source.own ? appended[*source.own].row.id : source.block.id);
    }
    SEQKV_TRY(store::put_sources(database, block.row.id, sources));
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
  state.offer_sources();
  return {};
}

}  // namespace seqkv
