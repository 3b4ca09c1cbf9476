// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The stream of a token coder: header, index, payloads (docs/token-coder.md), and one block of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "seqkv/kv.hpp"
#include "seqkv/result.hpp"
#include "trie/predictor.hpp"

namespace seqkv::trie {

/// What a decoder must know beside the trie.
struct StreamHeader {
  std::uint64_t fingerprint = 0;  ///< of the trie
  std::uint64_t vocabulary = 0;
  std::uint64_t block_tokens = 0;  ///< 0: whole sequences
  bool adaptive = true;
};

struct CodedBlock {
  std::vector<std::byte> payload;
  std::uint32_t checksum = 0;  ///< of the tokens
};

/// Blocks of a sequence of so many tokens.
constexpr std::uint64_t blocks_of(std::uint64_t tokens, std::uint64_t block_tokens) {
  if (tokens == 0) return 0;
  return block_tokens == 0 ? 1 : (tokens - 1) / block_tokens + 1;
}

/// `tokens` of each sequence, and the blocks of all of them.
std::vector<std::byte> write_stream(const StreamHeader& header, std::span<const std::uint64_t> tokens,
                                    std::span<const CodedBlock> blocks);

/// A stream's index, checked; the payloads are not.
struct Stream {
  struct Block {
    std::uint64_t sequence;
    std::uint64_t first;  ///< token of the sequence
    std::uint64_t tokens;
    std::uint32_t checksum;
    std::span<const std::byte> payload;
  };
  StreamHeader header;
  std::vector<std::uint64_t> tokens;       ///< of each sequence
  std::vector<std::uint64_t> first_block;  ///< of each sequence
  std::vector<Block> blocks;
};
/// Errors: corrupt, truncated, checksum_mismatch, unsupported_version, limit_exceeded (more than `max_tokens`).
Result<Stream> parse_stream(std::span<const std::byte> bytes, std::uint64_t max_tokens);

/// Tokens must be below the predictor's vocabulary. Throws std::bad_alloc.
CodedBlock encode_block(Predictor& predictor, TokenSpan tokens);
/// Throws std::bad_alloc. Errors: corrupt, checksum_mismatch.
Result<std::vector<Token>> decode_block(Predictor& predictor, const Stream::Block& block);

}  // namespace seqkv::trie
