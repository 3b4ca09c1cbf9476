// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Pack files: append-only logs of records (docs/store.md). Records carry all that the index knows, so that the index
/// can be made again from the packs alone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "seqkv/codec.hpp"
#include "seqkv/hash.hpp"
#include "store/seal.hpp"

namespace seqkv::store {

inline constexpr std::int64_t pack_alignment = 64;
inline constexpr std::int64_t pack_header_bytes = 64;
/// A new pack is begun when one has reached this size.
inline constexpr std::int64_t pack_full = 1LL << 30;

enum class RecordType : std::uint32_t { block = 1, session = 2, removal = 3, parameters = 4 };

/// What stands before a coded block.
struct BlockHead {
  Digest identity;
  Digest parent;   ///< of the block before it, or the root
  Digest profile;  ///< that its codec needs; zero: none
  std::string codec;
  std::int64_t position = 0;  ///< of its first token
  std::int64_t tokens = 0;
  std::vector<Digest> sources;  ///< identities of the blocks that it is predicted from, of the same codec
};

/// A session as it is from its sequence number on. Of records of one tenant and name the highest number counts.
struct SessionHead {
  Digest tenant;
  std::string name;
  Digest nonce;    ///< zero: blocks are shared by tokens; else they begin with a root of their own
  Digest profile;  ///< that its codec needs; zero: none
  std::string codec;
  Digest last_block;
  std::int64_t tokens = 0;
  std::int64_t sequence = 0;
  std::int64_t created = 0;
  std::int64_t expires = 0;  ///< seconds since 1970; 0: never
  bool pinned = false;

  friend bool operator==(const SessionHead&, const SessionHead&) = default;
};

/// From this sequence number on there is no session of this name.
struct RemovalHead {
  Digest tenant;
  std::string name;
  std::int64_t sequence = 0;
};

/// Where a record lies.
struct Place {
  std::int64_t pack = 0;
  std::int64_t offset = 0;
  std::int64_t bytes = 0;

  friend bool operator==(const Place&, const Place&) = default;
};

std::vector<std::byte> pack_header(const Digest& store_id);
/// Checks the pack's header. Errors: corrupt, truncated.
Result<void> check_pack_header(std::span<const std::byte> pack, const Digest& store_id);

/// A record to be written: its head, and the body behind it.
struct RecordBytes {
  std::vector<std::byte> head;  ///< a multiple of 64 bytes
  std::span<const std::byte> body;
  std::vector<std::byte> encrypted;  ///< what `body` then points to

  std::int64_t size() const noexcept { return static_cast<std::int64_t>(head.size() + body.size()); }
};
Result<RecordBytes> block_record(const Seal& seal, const BlockHead& head, CodedBlockView block);
Result<RecordBytes> session_record(const Seal& seal, const SessionHead& head);
Result<RecordBytes> removal_record(const Seal& seal, const RemovalHead& head);
/// The parameters of the store as text; the first record of every pack.
Result<RecordBytes> parameters_record(const std::string& text);

/// A record read; spans point into the bytes given, or into `opened` where they had to be decrypted.
struct Record {
  RecordType type{};
  std::span<const std::byte> payload;
  std::span<const std::byte> body;
  std::vector<std::byte> opened;
};
/// The record that `bytes` are, at `offset` of its pack. Errors: corrupt, checksum_mismatch (bytes that changed),
/// forged (sealed by nobody who has the key).
Result<Record> read_record(const Seal& seal, std::span<const std::byte> bytes, std::int64_t offset);

Result<BlockHead> block_head(const Record& record, std::int64_t offset);
Result<SessionHead> session_head(const Record& record, std::int64_t offset);
Result<RemovalHead> removal_head(const Record& record, std::int64_t offset);
Result<std::string> parameters_text(const Record& record, std::int64_t offset);

/// The part of a pack where a record should lie. Errors: truncated.
Result<std::span<const std::byte>> bytes_at(std::span<const std::byte> pack, std::int64_t offset, std::int64_t bytes);

/// The size of the record that `bytes` begin with, by its own head, which is whole; nothing if there is none.
std::optional<std::size_t> whole_record(std::span<const std::byte> bytes);

/// What a walk over a pack comes upon: a record's bytes, or a gap where none could be made out.
struct PackItem {
  std::int64_t offset = 0;
  std::int64_t bytes = 0;
  RecordType type{};
  bool damaged = false;
};
/// Everything between the header and `end`, by the records' own sizes. Behind damage it goes on with the next thing
/// that looks like a record.
std::vector<PackItem> walk_pack(std::span<const std::byte> pack, std::int64_t end);

/// "00000001.pack"
std::filesystem::path pack_path(const std::filesystem::path& folder, std::int64_t number);
/// The numbers of all files that are named like packs, rising. Errors: io.
Result<std::vector<std::int64_t>> pack_files(const std::filesystem::path& folder);

}  // namespace seqkv::store
