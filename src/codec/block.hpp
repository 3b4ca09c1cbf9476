// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The layout of a coded block (docs/format.md, "Coded block"): writing one, and taking one apart without
/// believing it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/bytes.hpp"
#include "seqkv/codec.hpp"

namespace seqkv::codec {

/// The payload of one (layer, kind) of a block.
struct SubblockPayload {
  std::span<const std::byte> bytes;
  bool raw = false;  ///< values as they are; else the quantizer's format

  /// Of ecsq in a block with references: whether rows that have one are predicted with it.
  bool refers() const;
};

/// A block taken apart; spans point into it.
struct BlockParts {
  /// In place of the bits of a token: the tokens are coded by a model (docs/replay.md).
  static constexpr int coded_token_bits = 255;

  std::int64_t first_position = 0;
  std::int64_t tokens = 0;
  int token_bits = 0;                        ///< or coded_token_bits
  std::uint64_t hash = 0;                    ///< of its bytes
  std::span<const std::byte> packed_tokens;  ///< or coded by a model
  std::vector<BlockReference> references;    ///< ascending
  std::vector<SubblockPayload> subblocks;    ///< [layers][K|V]
  std::uint64_t decoded_hash = 0;
};

/// Bytes of one sub-block as raw values.
std::int64_t raw_bytes(const KvShape& shape, std::int64_t tokens);

/// Whether caches of this shape can be cut into blocks of so many tokens. Errors: invalid_argument, limit_exceeded.
Result<void> check_block_size(const KvShape& shape, std::int64_t block_tokens);

/// Whether blocks of caches of this shape can be predicted from those. Errors: shape_mismatch, invalid_argument.
Result<void> check_references(const KvShape& shape, std::span<const ReferenceBlock> references);

/// No coded block has more bytes than the raw values of its sub-blocks and this.
std::int64_t most_overhead(const KvShape& shape, std::int64_t tokens);

/// Puts a coded block together, sub-block by sub-block.
class BlockWriter {
 public:
  /// `memory` is a block that is no longer needed.
  void start(CodedBlock memory, std::int64_t first_position, TokenSpan tokens,
             std::span<const BlockReference> references, std::int64_t subblocks);
  /// The same with tokens that a model has coded.
  void start(std::int64_t first_position, std::int64_t tokens, std::span<const std::byte> coded_tokens,
             std::int64_t subblocks);
  /// Room for payloads of so many bytes in all, padding included.
  void reserve(std::int64_t payload_bytes);
  /// The next one; of all, as many as were promised.
  void append(const SubblockPayload& payload);
  CodedBlock finish(std::uint64_t decoded_hash);

 private:
  void put_head(std::int64_t first_position, std::int64_t tokens, std::int64_t subblocks, int token_bits,
                std::size_t more);

  ByteWriter out_;
  std::size_t entry_ = 0;  ///< of the table: where that of the next sub-block stands
};

/// Errors: corrupt, checksum_mismatch, limit_exceeded.
Result<BlockParts> parse_block(const KvShape& shape, CodedBlockView block);

/// Precondition: no model has coded them.
std::vector<Token> unpack_tokens(const BlockParts& parts);

/// XXH3-64 over the XXH3-64 of each sub-block's values.
std::uint64_t combine_hashes(std::span<const std::uint64_t> hashes);

}  // namespace seqkv::codec
