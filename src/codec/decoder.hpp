// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// From coded blocks to values, with buffers that are kept from call to call.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "codec/block.hpp"
#include "codec/kernel.hpp"
#include "codec/predict/coder.hpp"
#include "codec/subblock.hpp"
#include "core/mirrored.hpp"
#include "seqkv/codec.hpp"

namespace seqkv::codec {

/// Takes blocks apart, in parallel, and checks that they follow one another. The first error in block order is the one
/// reported, its block counted from 0. Errors: corrupt, checksum_mismatch, limit_exceeded, out_of_memory.
template <class ExecutionSpace>
Result<std::vector<BlockParts>> parse_blocks(const ExecutionSpace& space, const KvShape& shape,
                                             std::span<const CodedBlockView> blocks);

/// Decodes consecutive blocks, some sub-blocks at a time. Several decoders may work at the same time, each on a space
/// of its own.
template <class ExecutionSpace>
class Decoder {
 public:
  /// Errors: corrupt (no encoder writes blocks of this codec and shape).
  static Result<Decoder> create(const ExecutionSpace& space, const Codec& codec, const KvShape& shape);

  /// Buffers for calls of so many tokens and coded bytes together; run makes them where they are missing.
  void reserve(std::int64_t tokens, std::int64_t coded_bytes) {
    values_.reserve("seqkv::codec::values", subblocks() * raw_bytes(shape_, tokens));
    if constexpr (!is_host_space<ExecutionSpace>) payloads_.reserve("seqkv::codec::payloads", coded_bytes);
  }

  /// Every checksum has held where it succeeds. The first error in block order is reported, its block counted from 0.
  /// `references` are those that the blocks name, and maybe others.
  /// Errors: corrupt, checksum_mismatch, missing_reference. Throws where memory is short (core/guard_memory.hpp).
  Result<void> run(std::span<const BlockParts> parts, std::span<const ReferenceBlock> references = {});

  /// The values of a block of the last run, on the host or in the memory of the space.
  ConstKvView values(std::size_t block, MemorySpace memory = MemorySpace::host) const;

  /// Host memory that the buffers have grown to.
  std::int64_t bytes() const { return values_.bytes() + payloads_.bytes() + (predictive_ ? predictive_->bytes() : 0); }

 private:
  /// Of one block in this run.
  struct Place {
    std::int64_t tokens = 0;
    std::int64_t first_token = 0;  ///< counted over the run
    std::int64_t at = 0;           ///< of its values in the buffer
  };
  struct Chunk {
    std::int64_t first = 0;
    std::int64_t count = 0;
    Subblock largest;
  };

  Decoder(const ExecutionSpace& space, const KvShape& shape, KernelOwner<ExecutionSpace> owner)
      : space_(space), shape_(shape), owner_(std::move(owner)) {}

  std::int64_t subblocks() const { return 2 * shape_.layers; }
  Subblock subblock(std::int64_t index) const;
  std::int64_t values_at(std::int64_t index) const;

  void lay_out(std::span<const BlockParts> parts);
  Chunk make_tasks(std::span<const BlockParts> parts, std::int64_t first, std::int64_t count);
  void upload_payloads(std::span<const BlockParts> parts, const Chunk& chunk);
  void decode(std::span<const BlockParts> parts, std::int64_t first, std::int64_t count);
  Result<void> start_prediction(std::span<const BlockParts> parts, std::span<const ReferenceBlock> references);
  /// Which of the blocks use their references in a sub-block.
  std::vector<std::uint8_t> refers(std::span<const BlockParts> parts, std::int64_t number) const;
  /// Where the task of sub-block `i` of a chunk stands. A predictive coder takes a sub-block of all blocks at a time.
  std::int64_t task_at(std::int64_t i) const { return predictive_ ? i % subblocks() * blocks() + i / subblocks() : i; }
  std::int64_t blocks() const { return static_cast<std::int64_t>(places_.size()); }
  Result<void> check(std::span<const BlockParts> parts) const;

  ExecutionSpace space_;
  KvShape shape_;
  KernelOwner<ExecutionSpace> owner_;
  std::optional<PredictiveCoder<ExecutionSpace>> predictive_;
  bool uses_references_ = false;
  std::vector<Place> places_;
  std::vector<std::uint64_t> hashes_;  ///< of the values of every sub-block
  std::vector<std::uint8_t> broken_;   ///< sub-blocks that do not decode
  Mirrored<ExecutionSpace, std::byte> values_, payloads_;
  Mirrored<ExecutionSpace, Task> tasks_;
};

}  // namespace seqkv::codec
