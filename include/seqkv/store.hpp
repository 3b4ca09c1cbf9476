// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Stores: many sessions, their blocks shared by exact prefix (docs/store.md). An index in SQLite, the coded
/// blocks in append-only pack files. One writer at a time; any number of readers.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "seqkv/codec.hpp"
#include "seqkv/hash.hpp"
#include "seqkv/kv.hpp"
#include "seqkv/transfer.hpp"

namespace seqkv {

/// Version of the store's folder layout.
inline constexpr std::int64_t store_version = 1;

/// What all sessions of a store have in common.
struct StoreParameters {
  KvShape shape;
  Digest model;  ///< combined fingerprint; zero: not named
  std::int64_t block_tokens = 256;
};

struct SessionInfo {
  std::string name;
  std::int64_t tokens = 0;
  std::int64_t blocks = 0;
  std::int64_t bytes = 0;      ///< of its coded blocks, shared ones included
  std::int64_t own_bytes = 0;  ///< of those that no other session shares
  std::string codec;
  Digest profile;            ///< that the codec needs; zero: none
  std::int64_t created = 0;  ///< seconds since 1970
};

struct StoreTotals {
  std::int64_t sessions = 0;
  std::int64_t blocks = 0;
  std::int64_t session_tokens = 0;  ///< summed over sessions
  std::int64_t stored_tokens = 0;   ///< summed over blocks: each shared one once
  std::int64_t pack_bytes = 0;
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
  by_tokens,  ///< all sessions of the store: the values are what the store's model computes from the tokens
  none,       ///< nobody: values of unknown origin
};

class SessionWriter;

/// Not thread-safe. Must outlive the SessionWriter that it gave out.
class Store {
 public:
  /// Whether the folder has an index that this process may look at.
  static bool exists(const std::filesystem::path& folder) noexcept;
  /// For reading. Errors: file_not_found, corrupt, unsupported_version.
  static Result<Store> open(const std::filesystem::path& folder);
  /// For writing, made if it does not exist. Waits up to 30 s for another writer. A
  /// folder that it makes has mode 0700; packs/ and the index are for their owner in any case.
  /// Errors: wrong_model, wrong_store (naming the parameter that differs), busy, io, disk_full, corrupt.
  static Result<Store> open_for_writing(const std::filesystem::path& folder, const StoreParameters& parameters);

  Store(Store&&) noexcept;
  Store& operator=(Store&&) noexcept;
  ~Store();

  const StoreParameters& parameters() const noexcept;
  Result<StoreTotals> totals() const;
  /// By name.
  Result<std::vector<SessionInfo>> sessions() const;
  /// Errors: session_not_found.
  Result<SessionInfo> session(const std::string& name) const;

  /// The coded blocks of a session in order, checked against their identities. Views are into mapped pack files and
  /// live as long as the store. Errors: session_not_found, corrupt, truncated, checksum_mismatch.
  Result<std::vector<CodedBlockView>> blocks(const std::string& name) const;

  /// The same as a source for decompress, without reading a block yet: it is checked when it is read, and goes out of
  /// memory again. The store must outlive it, and not be used in the meantime.
  /// Errors: session_not_found, corrupt; those of its blocks as above.
  Result<BlockSource> source(const std::string& name) const;

  /// The profile with which sessions are coded, from the store's own copy. Errors: corrupt (it is missing or damaged).
  Result<std::shared_ptr<const Profile>> profile(const Digest& fingerprint) const;
  /// The codec of a session, with its profile. Errors: session_not_found, those above.
  Result<Codec> codec(const std::string& name) const;

  /// How many of the first tokens are stored with this codec as whole blocks (or, at the very end, as a tail).
  /// On a hit the tokens themselves are compared. Errors: corrupt, checksum_mismatch.
  Result<std::vector<CodedBlockView>> match(TokenSpan tokens, const Codec& codec) const;

  /// Starts to save a session; nothing is visible before commit(). The store keeps a copy of the codec's profile.
  /// Errors: session_differs (a session of this name exists), empty_input, invalid_argument (the name, a codec that is
  /// not settled or lacks its profile, or another session is being saved: one at a time), wrong_profile (of another
  /// model), io, disk_full.
  Result<SessionWriter> begin(const std::string& name, TokenSpan tokens, const Codec& codec,
                              Sharing sharing = Sharing::by_tokens);

  /// Reads every byte: records, checksums, identities, sessions. `progress(done, all)` counts blocks.
  Result<VerifyReport> verify(const std::function<void(std::int64_t, std::int64_t)>& progress = {}) const;

  struct State;  ///< src/store/store_state.hpp

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

  /// The next block behind the known ones. Errors: invalid_argument (tokens or position are not the next ones),
  /// io, disk_full.
  Result<void> append(CodedBlockView block);
  /// Makes the session durable and visible. Errors: invalid_argument (blocks are missing), io, disk_full.
  Result<void> commit();
  /// Bytes that this session added to the packs.
  std::int64_t new_bytes() const noexcept;

  struct State;  ///< src/store/session_writer.cpp

 private:
  friend class Store;
  explicit SessionWriter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace seqkv
