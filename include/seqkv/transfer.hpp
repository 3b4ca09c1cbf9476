// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Whole caches from file to file, block by block: reading, coding and writing overlap, memory is bounded
/// (docs/pipeline.md). The bytes written are the same for any number of cores and any bound.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "seqkv/codec.hpp"
#include "seqkv/frame.hpp"
#include "seqkv/kv.hpp"
#include "seqkv/kv_file.hpp"
#include "seqkv/profile.hpp"

namespace seqkv {

struct TransferOptions {
  std::shared_ptr<const Profile> profile;  ///< of the codec, where it needs one
  int cores = 0;                           ///< threads that work, the caller's among them; 0: available_cores()
  std::int64_t memory =
      0;                ///< bytes of blocks under way, at most, yet always one block; 0: transfer_memory_per_core each
  bool overlap = true;  ///< false: one stage after the other, as in builds without oneTBB
  /// Called with tokens written and all, by one thread at a time.
  std::function<void(std::int64_t done, std::int64_t all)> progress;
  const std::atomic<bool>* stop = nullptr;  ///< when it becomes true the transfer ends: interrupted
};

inline constexpr std::int64_t transfer_memory_per_core = 256LL << 20;

/// Whether this build has oneTBB, without which stages do not overlap.
bool transfers_overlap() noexcept;

/// What a transfer took. Seconds of a stage are summed over threads.
struct TransferReport {
  std::int64_t bytes_read = 0;     ///< values, or coded blocks
  std::int64_t bytes_written = 0;  ///< coded blocks, or values
  double seconds = 0;
  double read_seconds = 0;
  double code_seconds = 0;
  double write_seconds = 0;  ///< without the commit, which is the caller's
  int cores = 1;
  int blocks_under_way = 1;     ///< how many the bound allows
  std::int64_t peak_bytes = 0;  ///< of blocks under way: what they and their buffers took at most
  /// Coding with replay alone: components that are not what the model computes, and so will not come back.
  std::int64_t not_given_back = 0;
};

/// A cache that is read along its tokens.
struct KvSource {
  KvShape shape;
  TokenSpan tokens;
  /// The values of tokens [first, first + count), which are a block: in `buffer`, which the caller keeps for the next
  /// block, or in memory that outlives the transfer. Called in order, by one thread at a time.
  std::function<Result<ConstKvView>(std::int64_t first, std::int64_t count, KvCache& buffer)> read;
  /// The states that enter the layers for the same tokens, [count][hidden] a layer in the dtype of the cache, in memory
  /// that outlives the transfer. Empty where there are none; replay+lossless takes fewer bits with them.
  std::function<Result<std::vector<std::span<const std::byte>>>(std::int64_t first, std::int64_t count)> hidden;
};

/// The file must outlive the source.
KvSource source_of(const KvFile& file);
/// Memory must outlive the source.
KvSource source_of(const ConstKvView& kv, TokenSpan tokens);

/// Where a decoded cache goes.
struct KvSink {
  KvShape shape;  ///< with the dtype that is wanted
  std::int64_t tokens = 0;
  /// Called before the first write, by one thread at a time.
  std::function<Result<void>()> reserve;
  /// The values of tokens [first, first + ids.size()) and their ids. Where `memory` is empty, called in order and by
  /// one thread at a time with values of `shape`'s dtype.
  std::function<Result<void>(std::int64_t first, TokenSpan ids, const ConstKvView& values)> write;
  /// Not empty: where the values go, by several threads at a time and in any order. Then write() is told the ids alone.
  std::optional<KvView> memory;
};

/// The file must outlive the sink, and is the caller's to commit: every checksum has held then.
KvSink sink_of(KvFileWriter& file);
/// Host memory of any dtype and strides, and room for as many ids as the view has tokens; both must outlive the sink.
/// What a transfer that fails has written there stays.
KvSink sink_of(const KvView& kv, std::span<Token> ids);

/// Coded blocks of one cache, wherever they lie.
struct BlockSource {
  struct Block {
    std::int64_t first_token = 0;
    std::int64_t tokens = 0;
    std::int64_t bytes = 0;               ///< or a few more
    std::vector<std::size_t> references;  ///< that it is predicted from, numbers of BlockSource::references
  };
  KvShape shape;
  std::string codec;
  Digest model;
  Digest profile;             ///< that coded them; zero: none
  std::vector<Block> blocks;  ///< from token 0 on, without a gap
  /// The bytes of a block: in `buffer`, which the caller keeps for the next one, or in memory that outlives the
  /// transfer. Called in order, by one thread at a time.
  std::function<Result<CodedBlockView>(std::int64_t block, std::vector<std::byte>& buffer)> read;
  /// Whether these are the tokens that the source expects. Called by several threads. May be empty.
  std::function<Result<void>(std::int64_t block, TokenSpan tokens)> check;
  /// The file that a block lies in, for messages. May be empty.
  std::function<std::string(std::int64_t block)> file;
  bool tokens_are_coded = false;  ///< of codecs that need a model: in frames, not in stores
  std::vector<Block> references;  ///< blocks of other caches, or of this one
  /// As read, of one of these.
  std::function<Result<CodedBlockView>(std::size_t reference, std::vector<std::byte>& buffer)> read_reference;

  std::int64_t tokens() const noexcept { return blocks.empty() ? 0 : blocks.back().first_token + blocks.back().tokens; }
};

/// The frame must outlive the source.
BlockSource source_of(const FrameReader& frame);

/// The codec with its profile (options.profile, or its own) and a step: a target of KL by the profile's curve, a target
/// of bits by coding the cache, a few times, until it takes what is wanted within 1 %, or as near as its blocks let it.
/// A codec without a target comes back at once. The result is the same for any number of cores.
/// Errors: invalid_argument (there is no such step, or no profile), shape_mismatch, those of encode and the source,
/// interrupted.
template <class ExecutionSpace>
Result<Codec> settle(const ExecutionSpace& space, const Codec& codec, const KvSource& source, std::int64_t block_tokens,
                     const TransferOptions& options = {});

/// Codes a cache into a new frame, which says codec (settled) and size of blocks. The caller commits it.
/// Errors: shape_mismatch (frame and source differ), those of encode and FrameWriter, interrupted; the first in the
/// order of blocks.
template <class ExecutionSpace>
Result<TransferReport> compress(const ExecutionSpace& space, const KvSource& source, FrameWriter& frame,
                                const TransferOptions& options = {});

/// Decodes blocks, token ids included, converting the dtype to that of the sink.
/// Errors: shape_mismatch (sink and source differ), those of decode and the sink, interrupted; the first in the order
/// of blocks.
template <class ExecutionSpace>
Result<TransferReport> decompress(const ExecutionSpace& space, const BlockSource& source, const KvSink& sink,
                                  const TransferOptions& options = {});

}  // namespace seqkv
