// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// From values to coded blocks, with buffers that are kept from call to call.
#pragma once

#include <algorithm>
#include <optional>
#include <span>
#include <vector>

#include "codec/block.hpp"
#include "codec/kernel.hpp"
#include "codec/predict/coder.hpp"
#include "codec/subblock.hpp"
#include "core/copy_tensors.hpp"
#include "core/mirrored.hpp"
#include "seqkv/codec.hpp"

namespace seqkv::codec {

/// Codes some sub-blocks at a time. Sub-blocks are numbered through the blocks of a call. Several encoders may work at
/// the same time, each on a space of its own.
template <class ExecutionSpace>
class Encoder {
 public:
  /// Errors: invalid_argument (the codec cannot be had for this shape).
  static Result<Encoder> create(const ExecutionSpace& space, const Codec& codec, const KvShape& shape);

  /// Buffers for calls of so many blocks of so many tokens; run makes them where they are missing.
  void reserve(std::int64_t blocks, std::int64_t block_tokens);

  /// Codes consecutive blocks of one size, but that the last may be shorter, into out[0], out[1], ..., whose memory is
  /// used again. Precondition: as many ids as tokens, values of the shape, in host memory or all in that of the space.
  /// Throws where memory is short (core/guard_memory.hpp). `references`, spans counted from the first token of the
  /// call: see encode().
  void run(std::span<const ConstKvView> blocks, TokenSpan tokens, std::int64_t first_position,
           std::span<CodedBlock> out, const References& references = {});

  /// Of every block the first `subblocks` sub-blocks are what a decoder has anyway: they get an empty payload, and
  /// predict those above. Precondition: a codec that predicts and is not exact.
  void give(std::int64_t subblocks) { given_ = subblocks; }

  /// Host memory that the buffers have grown to.
  std::int64_t bytes() const {
    return values_.bytes() + slots_.bytes() + decoded_.bytes() + (predictive_ ? predictive_->bytes() : 0);
  }

 private:
  /// Sub-blocks [first, first + count), one behind the other in the buffers.
  struct Chunk {
    std::int64_t first = 0;
    std::int64_t count = 0;
    std::int64_t bytes = 0;  ///< of values
    std::int64_t slot = 0;   ///< room for the payload of one
    Subblock largest;
  };

  Encoder(const ExecutionSpace& space, const Codec& codec, const KvShape& shape, KernelOwner<ExecutionSpace> owner)
      : space_(space), codec_(codec), shape_(shape), owner_(std::move(owner)) {}

  std::int64_t subblocks() const { return 2 * shape_.layers; }
  std::int64_t blocks() const { return divide_up(tokens_, block_tokens_); }
  std::int64_t tokens_of(std::int64_t block) const { return std::min(block_tokens_, tokens_ - block * block_tokens_); }
  Subblock subblock(std::int64_t index) const;
  std::int64_t together() const;
  Chunk lay_out(std::int64_t first, std::int64_t count);
  std::int64_t at(const Chunk& chunk, std::int64_t index) const;
  const std::byte* in_place(std::span<const ConstKvView> blocks, std::int64_t index) const;

  void start_prediction(TokenSpan tokens, std::int64_t first_position, const References& references);
  void gather(std::span<const ConstKvView> blocks, const Chunk& chunk);
  void gather_on_device(std::span<const ConstKvView> blocks, const Chunk& chunk);
  template <class Kernel>
  void code(const Kernel& kernel, const Chunk& chunk);
  template <class Kernel>
  void reconstruct(const Kernel& kernel, const Chunk& chunk);
  void make_tasks(const Chunk& chunk);
  void code_predictively(const Chunk& chunk);
  void hash(const Chunk& chunk);
  void append(const Chunk& chunk);
  /// Where the task of sub-block `i` of the chunk stands. A predictive coder takes a sub-block of all blocks at a time.
  std::int64_t task_at(std::int64_t i) const { return predictive_ ? i % subblocks() * blocks() + i / subblocks() : i; }
  bool is_raw(std::int64_t number) const;
  SubblockPayload payload(const Chunk& chunk, std::int64_t index) const;

  ExecutionSpace space_;
  Codec codec_;
  KvShape shape_;
  KernelOwner<ExecutionSpace> owner_;
  std::optional<PredictiveCoder<ExecutionSpace>> predictive_;
  std::int64_t block_tokens_ = 0;
  std::int64_t given_ = 0;                          ///< sub-blocks
  std::int64_t tokens_ = 0;                         ///< of all blocks of the call
  std::vector<BlockWriter> writers_;                ///< one a block
  std::vector<std::vector<BlockReference>> named_;  ///< what each block is predicted from
  std::vector<std::uint64_t> hashes_;               ///< of the values of every sub-block
  std::vector<const std::byte*> sources_;           ///< of a chunk's values, on the host: the caller's or values_
  Mirrored<ExecutionSpace, std::byte> values_, slots_, decoded_;
  Mirrored<ExecutionSpace, Task> tasks_, decode_;
  Mirrored<ExecutionSpace, std::byte*> decoded_at_;
  bool is_on_device_ = false;  ///< what the call codes
  CopyTensors<ExecutionSpace> copies_;
};

}  // namespace seqkv::codec
