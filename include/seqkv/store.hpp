// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Stores: many sessions, their blocks shared by exact prefix (docs/store.md). An index in SQLite, the coded
/// blocks in append-only pack files. One writer at a time; any number of readers.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "seqkv/codec.hpp"
#include "seqkv/hash.hpp"
#include "seqkv/kv.hpp"
#include "seqkv/retention.hpp"
#include "seqkv/transfer.hpp"

namespace seqkv {

/// Version of the store's folder layout.
inline constexpr std::int64_t store_version = 3;

/// What a store's key does. It is set when the store is made.
enum class Protection : std::uint8_t {
  none,       ///< no key: checksums against accidents only
  authentic,  ///< HMAC-SHA-256: what nobody with the key wrote is refused
  encrypted,  ///< AES-256-GCM: that, and tokens and values cannot be read without the key
};
/// "none", "authentic", "encrypted".
std::string_view to_string(Protection protection) noexcept;

/// What all sessions of a store have in common.
struct StoreParameters {
  KvShape shape;
  Digest model;  ///< combined fingerprint; zero: not named
  std::int64_t block_tokens = 256;
  Protection protection = Protection::none;
};

/// How a store is opened.
struct StoreAccess {
  /// Of a tenant: sessions and blocks of other salts are neither seen nor shared.
  std::string salt;
  /// Of a store with protection; see read_key_file.
  std::vector<std::byte> key;
  /// For reading a store that nobody writes to while it is open: no locks, as network file systems and read-only ones
  /// may want it.
  bool immutable = false;
};

/// A key from a file of 32 to 1024 bytes to which nobody but its owner has rights.
/// Errors: file_not_found, io, wrong_key.
Result<std::vector<std::byte>> read_key_file(const std::filesystem::path& path);

struct SessionInfo {
  std::string name;
  std::int64_t tokens = 0;
  std::int64_t blocks = 0;
  std::int64_t bytes = 0;      ///< of its coded blocks, shared ones included
  std::int64_t own_bytes = 0;  ///< of those that no other session shares, and nothing is predicted from
  std::string codec;
  Digest profile;            ///< that the codec needs; zero: none
  std::int64_t created = 0;  ///< seconds since 1970
  std::int64_t expires = 0;  ///< seconds since 1970, from when on gc and retain remove it; 0: never
  bool pinned = false;       ///< no budget removes it
};

struct StoreTotals {
  std::int64_t sessions = 0;
  std::int64_t blocks = 0;
  std::int64_t session_tokens = 0;  ///< summed over sessions
  std::int64_t stored_tokens = 0;   ///< summed over blocks: each shared one once
  std::int64_t block_bytes = 0;     ///< of the records of blocks that are stored
  std::int64_t pack_bytes = 0;      ///< with what gc would free
  std::int64_t index_bytes = 0;
  std::int64_t profile_bytes = 0;
};

/// What verify found. Problems are described one a line; sessions are those that cannot be restored.
struct VerifyReport {
  std::int64_t sessions = 0;
  std::int64_t blocks = 0;
  std::int64_t bytes = 0;
  std::vector<std::string> problems;
  std::vector<std::string> broken_sessions;
};

/// With whom a session shares the blocks of a common prefix.
enum class Sharing {
  by_tokens,  ///< all sessions of the tenant: the values are what the store's model computes from the tokens
  none,       ///< nobody but its forks: values of unknown origin
};

/// What to do with a session of the same name.
enum class IfExists {
  refuse,   ///< session_differs
  extend,   ///< the new tokens begin with its own, else session_differs; what it has is not written again
  replace,  ///< the new session takes its place when it is committed
};

struct SaveOptions {
  Sharing sharing = Sharing::by_tokens;
  IfExists if_exists = IfExists::refuse;
  std::int64_t expires = 0;
  bool pinned = false;
};

struct GcOptions {
  /// A pack is written anew when more than this part of it is dead.
  double dead_part = 0.25;
};

struct GcReport {
  std::vector<std::string> expired;  ///< sessions removed because their time was over
  std::int64_t packs_removed = 0;
  std::int64_t packs_written = 0;
  std::int64_t bytes_moved = 0;
  std::int64_t bytes_before = 0;  ///< of all packs
  std::int64_t bytes_after = 0;
};

/// A session that repair could not keep whole.
struct SessionLoss {
  std::string name;
  std::int64_t tokens = 0;  ///< it had
  std::int64_t kept = 0;    ///< of them are left, from the first; 0: it is gone
  std::string why;
};

struct RepairReport {
  std::vector<std::string> problems;
  std::vector<SessionLoss> lost;
  std::int64_t blocks_dropped = 0;
  GcReport gc;
};

struct RebuildReport {
  std::int64_t sessions = 0;
  std::int64_t blocks = 0;
  std::int64_t removed = 0;           ///< names whose last record says that the session was removed
  std::vector<SessionLoss> lost;      ///< sessions with a record whose blocks are not all there
  std::vector<std::string> problems;  ///< damage in packs
};

/// What a store may hold. A budget of 0 is none.
struct RetentionRule {
  RetentionPolicy policy = RetentionPolicy::value;
  std::int64_t bytes = 0;          ///< of all blocks
  std::int64_t sessions = 0;       ///< how many
  double half_life = 7 * 86400.0;  ///< seconds after which a use counts half
  RecomputeCost cost{1.0, 0.0};    ///< of the model; by default every token costs the same
};

struct RetainReport {
  std::vector<std::string> expired;
  std::vector<std::string> evicted;  ///< sessions that lost their last block
  std::int64_t blocks_evicted = 0;
  std::int64_t bytes_evicted = 0;
  std::int64_t bytes = 0;  ///< of blocks that are left
};

/// A block that others are predicted from, as it is stored (docs/reference.md).
struct StoredReference {
  std::uint64_t hash = 0;           ///< CodedBlockInfo::hash
  std::int64_t first_position = 0;  ///< in its own session
  std::int64_t tokens = 0;
  CodedBlockView block;
  std::shared_ptr<const void> memory;  ///< that `block` is in
};

/// Coded blocks of a store, in order, and the memory that they are in: mapped files, which stay whatever becomes of the
/// store, or their decrypted bytes. Those that are predicted from others come with these (session.hpp decodes both).
class StoredBlocks {
 public:
  std::size_t size() const noexcept { return views_.size(); }
  bool empty() const noexcept { return views_.empty(); }
  const CodedBlockView& operator[](std::size_t i) const noexcept { return views_[i]; }
  auto begin() const noexcept { return views_.begin(); }
  auto end() const noexcept { return views_.end(); }
  operator std::span<const CodedBlockView>() const noexcept { return views_; }  // NOLINT(google-explicit-constructor)

  /// Of all blocks together.
  const std::vector<Token>& token_ids() const noexcept { return ids_; }
  std::int64_t tokens() const noexcept { return static_cast<std::int64_t>(ids_.size()); }
  /// Position in the session of a block's first token; of size(): behind the last one.
  std::int64_t first_token(std::size_t block) const noexcept { return firsts_[block]; }

  /// What blocks are predicted from, each once.
  const std::vector<StoredReference>& references() const noexcept { return references_; }
  /// The numbers of those that a block names.
  const std::vector<std::size_t>& references_of(std::size_t block) const noexcept { return names_[block]; }

  /// The next block, which begins at `position` where it is the first.
  void append(CodedBlockView block, std::int64_t position, TokenSpan ids, std::shared_ptr<const void> memory) {
    names_.emplace_back();
    if (views_.empty()) firsts_ = {position};
    views_.push_back(block);
    ids_.insert(ids_.end(), ids.begin(), ids.end());
    firsts_.push_back(firsts_.back() + static_cast<std::int64_t>(ids.size()));
    memory_.push_back(std::move(memory));
  }
  /// The last block is predicted from this one, too.
  void refer(StoredReference reference) {
    const auto found = std::ranges::find(references_, reference.hash, &StoredReference::hash);
    names_.back().push_back(static_cast<std::size_t>(found - references_.begin()));
    if (found == references_.end()) references_.push_back(std::move(reference));
  }

 private:
  std::vector<StoredReference> references_;
  std::vector<std::vector<std::size_t>> names_;
  std::vector<CodedBlockView> views_;
  std::vector<std::shared_ptr<const void>> memory_;
  std::vector<Token> ids_;
  std::vector<std::int64_t> firsts_;
};

/// What the next tokens of a session can be predicted from.
struct NextReferences {
  std::int64_t tokens = 0;  ///< of which this tells, whole blocks or up to the end
  std::vector<StoredReference> blocks;
  std::vector<ReferenceSpan> spans;  ///< of these tokens
};

class SessionWriter;

/// Not thread-safe. Must outlive the SessionWriter that it gave out.
class Store {
 public:
  /// Whether the folder has an index that this process may look at.
  static bool exists(const std::filesystem::path& folder) noexcept;
  /// For reading. Errors: file_not_found, corrupt, forged, unsupported_version, wrong_key.
  static Result<Store> open(const std::filesystem::path& folder, const StoreAccess& access = {});
  /// For writing, made if it does not exist. Waits up to 30 s for another writer. A
  /// folder that it makes has mode 0700; packs/ and the index are for their owner in any case.
  /// Errors: wrong_model, wrong_store (naming the parameter that differs), wrong_key, busy, io, disk_full, corrupt
  /// (also where there are packs and no index: see rebuild_index).
  static Result<Store> open_for_writing(const std::filesystem::path& folder, const StoreParameters& parameters,
                                        const StoreAccess& access = {});
  /// The same for a store that exists, whatever its parameters. Errors: file_not_found, those above.
  static Result<Store> open_for_writing(const std::filesystem::path& folder, const StoreAccess& access = {});

  Store(Store&&) noexcept;
  Store& operator=(Store&&) noexcept;
  ~Store();

  const StoreParameters& parameters() const noexcept;
  /// Of all tenants.
  Result<StoreTotals> totals() const;
  /// By name.
  Result<std::vector<SessionInfo>> sessions() const;
  /// Errors: session_not_found.
  Result<SessionInfo> session(const std::string& name) const;

  /// The coded blocks of a session in order, checked against their identities. The last one may hold more tokens than
  /// the session has, where that was forked inside it. Errors: session_not_found, corrupt, truncated,
  /// checksum_mismatch, forged, missing_reference (a block is predicted from one that is not there).
  Result<StoredBlocks> blocks(const std::string& name) const;
  /// Those that hold tokens [first, first + tokens). Errors: also invalid_argument (not so many tokens).
  Result<StoredBlocks> blocks(const std::string& name, std::int64_t first, std::int64_t tokens) const;
  /// The tokens of a session. Errors: as above.
  Result<std::vector<Token>> tokens(const std::string& name) const;

  /// The same as a source for decompress, without reading a block yet: it is checked when it is read, and goes out of
  /// memory again. The store must outlive it, and not be used in the meantime.
  /// Errors: session_not_found, corrupt, unsupported (a session that ends inside its last block: see restore); those of
  /// its blocks as above.
  Result<BlockSource> source(const std::string& name) const;

  /// The profile with which sessions are coded, from the store's own copy. Errors: corrupt (it is missing or damaged).
  Result<std::shared_ptr<const Profile>> profile(const Digest& fingerprint) const;
  /// The codec of a session, with its profile. Errors: session_not_found, those above.
  Result<Codec> codec(const std::string& name) const;

  /// How many of the first tokens are stored with this codec as whole blocks (or, at the very end, as a tail).
  /// On a hit the tokens themselves are compared. Errors: corrupt, checksum_mismatch, forged.
  Result<StoredBlocks> match(TokenSpan tokens, const Codec& codec) const;

  // ---- of a store that is open for writing: else invalid_argument. All of them also: io, disk_full, busy, corrupt.

  /// Starts to save a session; nothing is visible before commit(). The store keeps a copy of the codec's profile.
  /// Errors: session_differs, empty_input, invalid_argument (the name, a codec that is not settled, lacks its profile
  /// or is not that of the session to be extended, or another session is being saved: one at a time), wrong_profile (of
  /// another model), io, disk_full.
  Result<SessionWriter> begin(const std::string& name, TokenSpan tokens, const Codec& codec,
                              const SaveOptions& options = {});
  /// A session of the first `tokens` of another, which share its blocks: nothing is copied.
  /// Errors: session_not_found, session_differs (there is one of the new name), invalid_argument (name, or more tokens
  /// than there are).
  Result<void> fork(const std::string& from, const std::string& to, std::int64_t tokens);
  /// Errors: session_not_found.
  Result<void> set_expiry(const std::string& name, std::int64_t expires);
  Result<void> set_pinned(const std::string& name, bool pinned);
  /// Counts a use of a session for retention. Saving counts by itself. Errors: session_not_found.
  Result<void> touch(const std::string& name);
  /// Its bytes stay in the packs until gc. Errors: session_not_found.
  Result<void> remove(const std::string& name);

  /// Removes sessions of the past, then what is worth least until the rule holds. Bytes stay in the packs until gc.
  /// Sessions end with their last block; blocks that are left of them are shared further until their turn comes.
  /// Pinned sessions stay: a budget that they exceed is not met. Errors: invalid_argument.
  Result<RetainReport> retain(const RetentionRule& rule);
  /// Removes sessions of the past and writes packs anew that are dead in part. Readers go on.
  Result<GcReport> gc(const GcOptions& options = {});
  /// Drops what is broken: sessions are cut to the blocks before the damage, or removed if none are left.
  Result<RepairReport> repair();
  /// Makes the index anew from the packs alone. Use counts are lost, blocks that no session needs too; a save that died
  /// between its fsync and its commit may appear. Errors: file_not_found (no packs), corrupt, wrong_key, busy, io.
  static Result<RebuildReport> rebuild_index(const std::filesystem::path& folder, const StoreAccess& access = {});

  /// Reads every byte of all tenants: records, checksums, identities, sessions. `progress(done, all)` counts blocks.
  Result<VerifyReport> verify(const std::function<void(std::int64_t, std::int64_t)>& progress = {}) const;

  struct State;  ///< src/store/store_state.hpp
  State& state() noexcept { return *state_; }

 private:
  explicit Store(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// A session on its way into the store. Destroyed without commit, it leaves the store as it was.
class SessionWriter {
 public:
  SessionWriter(SessionWriter&&) noexcept;
  SessionWriter& operator=(SessionWriter&&) = delete;
  ~SessionWriter();

  /// Blocks and tokens at the front that the store has already: not to be appended.
  std::int64_t known_blocks() const noexcept;
  std::int64_t known_tokens() const noexcept;
  /// These blocks, as begin() has read them, with what they are predicted from. Errors: those of Store::blocks.
  Result<StoredBlocks> known() const;
  /// Tokens that the store knows or that have been appended.
  std::int64_t tokens() const noexcept;
  TokenSpan token_ids() const noexcept;
  const Codec& codec() const noexcept;
  const StoreParameters& parameters() const noexcept;

  /// Where the next `tokens` tokens, which end with a block, stand in stored blocks that are not predicted themselves;
  /// nothing for codecs without references. It tells of fewer of them where the others can be predicted from these.
  /// Errors: those of the index, out_of_memory.
  Result<NextReferences> references(std::int64_t tokens);

  /// The next block. It may name what references() gave. Errors: invalid_argument (tokens or position are not the next
  /// ones), missing_reference, io, disk_full.
  Result<void> append(CodedBlockView block);
  /// Makes the session durable and visible. Errors: invalid_argument (blocks are missing), io, disk_full.
  Result<void> commit();
  /// Bytes that this session added to the packs.
  std::int64_t new_bytes() const noexcept;
  /// With those of the known blocks: what the session's blocks have so far.
  std::int64_t bytes() const noexcept;
  /// Those of blocks that are predicted from others.
  std::int64_t reference_bytes() const noexcept;

  struct State;  ///< src/store/session_writer.hpp

 private:
  friend class Store;
  explicit SessionWriter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace seqkv
