// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The stream of a replayed session: header, index, tokens, blocks (docs/replay.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "seqkv/kv.hpp"
#include "seqkv/rounding.hpp"

namespace seqkv::replay {

struct ReplayStream {
  struct Block {
    std::uint32_t checksum = 0;  ///< of the numbers that it gives
    std::vector<std::byte> payload;
  };
  std::uint64_t fingerprint = 0;  ///< of the model
  DType dtype = DType::bf16;      ///< of the cache
  Rounding rounding;
  bool with_states = false;
  bool with_tokens = false;
  std::uint64_t tokens = 0;
  std::uint32_t token_checksum = 0;  ///< where the stream does not hold them
  std::uint64_t block_tokens = 0;
  std::vector<std::byte> token_stream;  ///< of a ModelTokenCoder, one session; or empty
  std::vector<Block> blocks;
};

std::vector<std::byte> write(const ReplayStream& stream);
/// Errors: corrupt, truncated, checksum_mismatch, unsupported_version.
Result<ReplayStream> parse_replay_stream(std::span<const std::byte> bytes);

}  // namespace seqkv::replay
