// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The layout of a coded block (docs/format.md, "Coded block"): writing one, and taking one apart without
/// believing it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "seqkv/codec.hpp"

namespace seqkv::codec {

/// The payload of one (layer, kind) of a block.
struct SubblockPayload {
  std::span<const std::byte> bytes;
  bool raw = false;  ///< values as they are; else the quantizer's format
};

/// A block taken apart; spans point into it.
struct BlockParts {
  std::int64_t first_position = 0;
  std::int64_t tokens = 0;
  int token_bits = 0;
  std::span<const std::byte> packed_tokens;
  std::vector<SubblockPayload> subblocks;  ///< [layers][K|V]
  std::uint64_t decoded_hash = 0;
};

/// Bytes of one sub-block as raw values.
std::int64_t raw_bytes(const KvShape& shape, std::int64_t tokens);

CodedBlock assemble_block(std::int64_t first_position, TokenSpan tokens, std::span<const SubblockPayload> subblocks,
                          std::uint64_t decoded_hash);

/// Errors: corrupt, checksum_mismatch, limit_exceeded.
Result<BlockParts> parse_block(const KvShape& shape, CodedBlockView block);

std::vector<Token> unpack_tokens(const BlockParts& parts);

/// XXH3-64 over the XXH3-64 of each sub-block's values.
std::uint64_t combine_hashes(std::span<const std::uint64_t> hashes);

}  // namespace seqkv::codec
