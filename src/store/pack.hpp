// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Pack files: append-only logs of records (docs/store.md). A block record carries all that the index knows of it,
/// so that the index can be rebuilt from the packs alone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "io/file.hpp"
#include "seqkv/codec.hpp"
#include "seqkv/hash.hpp"

namespace seqkv::store {

inline constexpr std::int64_t pack_alignment = 64;
/// A new pack is begun when one has reached this size.
inline constexpr std::int64_t pack_full = 1LL << 30;

enum class RecordType : std::uint32_t { block = 1, session = 2 };

/// What stands before a coded block.
struct BlockHead {
  Digest identity;
  Digest parent;   ///< of the block before it, or the root
  Digest profile;  ///< that its codec needs; zero: none
  std::string codec;
};

/// What a session's record says.
struct SessionHead {
  std::string name;
  Digest profile;  ///< that its codec needs; zero: none
  std::string codec;
  Digest last_block;
  std::int64_t tokens = 0;
};

std::vector<std::byte> pack_header(const Digest& store_id);
/// The record without the coded block, which follows it in the file; its size is a multiple of 64.
std::vector<std::byte> block_record_head(const BlockHead& head, CodedBlockView block);
std::vector<std::byte> session_record(const SessionHead& head);

/// Checks the pack's header. Errors: corrupt, truncated.
Result<void> check_pack_header(std::span<const std::byte> pack, const Digest& store_id);

struct BlockRecord {
  BlockHead head;
  CodedBlockView block;
};

/// The block record at `offset` of `bytes` (head included). Errors: corrupt, truncated, checksum_mismatch.
Result<BlockRecord> read_block_record(std::span<const std::byte> pack, std::int64_t offset, std::int64_t bytes);

/// Walks over the records of a pack, the first `end` bytes, and gives those of sessions. What is stored behind the
/// head of a block is not looked at. Errors: corrupt, truncated, checksum_mismatch.
Result<std::vector<SessionHead>> read_session_records(std::span<const std::byte> pack, std::int64_t end);

/// "00000001.pack"
std::filesystem::path pack_path(const std::filesystem::path& folder, std::int64_t number);

}  // namespace seqkv::store
