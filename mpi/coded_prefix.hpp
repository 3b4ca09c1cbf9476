// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Prefixes on their way from rank to rank: the model's cache of some blocks as coded frames, to the bit, and where the
/// blocks are stored.
#pragma once

#include <vector>

#include "seqkv/codec.hpp"
#include "store/store_state.hpp"

namespace seqkv::mpi {

struct CodedPrefix {
  std::uint64_t handover = 0;  ///< in the plan
  std::int64_t first_token = 0;
  std::vector<BlockRow> rows;      ///< where each block is stored
  std::vector<CodedBlock> blocks;  ///< none+lossless, f32

  std::vector<std::byte> to_bytes() const;
  /// Errors: corrupt.
  static Result<CodedPrefix> from_bytes(std::span<const std::byte> bytes);

  /// Which of the plan's it is, without reading all of it.
  static std::uint64_t handover_of(std::span<const std::byte> bytes);

  /// `values` in f32, of tokens [first, first + values.tokens) of the session.
  template <class ExecutionSpace>
  static Result<std::vector<CodedBlock>> encode(const ExecutionSpace& space, const ConstKvView& values,
                                                TokenSpan tokens, std::int64_t first, std::int64_t block_tokens);
  /// The values, if the blocks are of these tokens. Errors: corrupt, checksum_mismatch, out_of_memory.
  template <class ExecutionSpace>
  Result<KvCache> decode(const ExecutionSpace& space, const KvShape& shape, TokenSpan tokens) const;
};

}  // namespace seqkv::mpi
