// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Replay: the model as predictor, of the tokens of a session and of their cache. docs/replay.md has the mathematics
/// and the formats.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "seqkv/forward.hpp"
#include "seqkv/limits.hpp"
#include "seqkv/rounding.hpp"
#include "seqkv/transfer.hpp"

namespace seqkv {

/// An entropy coder of token sequences by the next-token distribution of a model. The same tokens and model give the
/// same bytes on every execution space, for every thread count, chunk and batch. Holds scratch memory; not to be used
/// from two threads at once.
template <class ExecutionSpace>
class ModelTokenCoder {
 public:
  struct Options {
    /// A session is cut into segments of so many tokens, each with a payload and a checksum of its own; 0: one segment.
    std::uint32_t segment_tokens = 0;
    /// Segments know nothing of each other but the session's first token: decoded alone and in parallel, for the bits
    /// that the context would save. Else a segment needs the tokens before it.
    bool independent = false;
    std::int64_t chunk = Forward<ExecutionSpace>::default_chunk;  ///< tokens encoded together
    std::int64_t batch = 16;                                      ///< sequences decoded together
  };

  struct DecodeOptions {
    /// Of all sessions together: who reads streams of strangers should bound them.
    std::uint64_t max_tokens = limits::max_tokens;
    /// What an earlier call has decoded of each session: whole segments from its start; or empty.
    std::span<const std::vector<Token>> known = {};
    /// Called with the tokens of every segment when its checksum has held; in order within a session.
    std::function<void(std::uint64_t session, std::uint64_t first, TokenSpan tokens)> segment;
    const std::atomic<bool>* stop = nullptr;  ///< looked at between tokens
  };

  /// Errors: invalid_argument (chunk, batch), limit_exceeded (vocabulary), out_of_memory.
  static Result<ModelTokenCoder> create(const ExecutionSpace& space, std::shared_ptr<const Model<ExecutionSpace>> model,
                                        const Options& options);
  static Result<ModelTokenCoder> create(const ExecutionSpace& space,
                                        std::shared_ptr<const Model<ExecutionSpace>> model) {
    return create(space, std::move(model), Options());
  }
  ModelTokenCoder(ModelTokenCoder&&) noexcept;
  ModelTokenCoder& operator=(ModelTokenCoder&&) noexcept;
  ~ModelTokenCoder();

  /// One stream of all sessions, which may be empty. Costs a forward pass over their tokens.
  /// Errors: token_out_of_range, limit_exceeded (more tokens than the model has positions), out_of_memory.
  Result<std::vector<std::byte>> encode(const ExecutionSpace& space, std::span<const TokenSpan> sessions);

  /// All sessions of a stream made with this model, whatever its options. A forward pass for every token, over the
  /// batch.
  /// Errors: wrong_model, corrupt, truncated, checksum_mismatch (the block is the segment, counted over all sessions),
  /// unsupported_version, limit_exceeded (more than max_tokens, or a session longer than the model's positions),
  /// invalid_argument (known tokens that are no whole segments), interrupted, out_of_memory.
  Result<std::vector<std::vector<Token>>> decode(const ExecutionSpace& space, std::span<const std::byte> stream,
                                                 const DecodeOptions& options);
  Result<std::vector<std::vector<Token>>> decode(const ExecutionSpace& space, std::span<const std::byte> stream) {
    return decode(space, stream, DecodeOptions());
  }

 private:
  struct State;
  explicit ModelTokenCoder(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// The cache that the model's own forward pass makes of tokens, in the dtype of `out`: the same bits on every execution
/// space, for every thread count and chunk. A session of which only tokens are stored is restored by this.
/// Errors: shape_mismatch (not of this model, or of another number of tokens), those of Forward::run and
/// Sequence::read.
template <class ExecutionSpace>
Result<void> regenerate(const ExecutionSpace& space, Forward<ExecutionSpace>& forward, TokenSpan tokens,
                        const KvView& out);

/// The cache of a session, coded block after block with codec `replay` (the blocks hold tokens alone) or
/// `replay+lossless` (and what a forward pass with an engine's rounding does not know of the engine's cache: every bit
/// comes back, whatever the engine did). A block needs those before it. Holds scratch memory; not to be used from two
/// threads at once.
template <class ExecutionSpace>
class ReplayCoder {
 public:
  struct Options {
    std::int64_t block_tokens = 256;  ///< at most; less memory for fewer
    /// Tokens at the model's surprisal, as frames have them; else in the clear, as stores do, which look at them.
    bool code_tokens = true;
  };

  /// Where the bytes of the blocks coded so far are.
  struct Report {
    std::int64_t tokens = 0;
    std::int64_t bytes = 0;
    std::int64_t token_bytes = 0;
    std::vector<std::int64_t> state_bytes;  ///< by layer: corrections of the state that enters it
    std::vector<std::int64_t> cache_bytes;  ///< by layer: differences of keys and values
    std::int64_t different = 0;             ///< components that decoding will not give back: replay alone
  };

  /// What was decoded; valid until the next call.
  struct Block {
    TokenSpan tokens;
    ConstKvView cache;
  };

  /// States that enter the layers, [tokens][hidden] in the dtype of the cache, one a layer; or empty.
  using Hidden = std::span<const std::span<const std::byte>>;

  /// Of caches of the model in `dtype`. Errors: invalid_argument (another codec, block_tokens), out_of_memory.
  static Result<ReplayCoder> create(const ExecutionSpace& space, std::shared_ptr<const Model<ExecutionSpace>> model,
                                    const Codec& codec, DType dtype, const Options& options);
  static Result<ReplayCoder> create(const ExecutionSpace& space, std::shared_ptr<const Model<ExecutionSpace>> model,
                                    const Codec& codec, DType dtype) {
    return create(space, std::move(model), codec, dtype, Options());
  }
  ReplayCoder(ReplayCoder&&) noexcept;
  ReplayCoder& operator=(ReplayCoder&&) noexcept;
  ~ReplayCoder();

  /// Tokens coded or decoded so far: the position of the next block.
  std::int64_t position() const noexcept;

  /// Forgets the tokens from `position` on, which is at most position(). Precondition: codec `replay`, and tokens that
  /// are not coded.
  void rewind(std::int64_t position) noexcept;

  /// The next block. States make it much smaller (docs/replay.md) and are not given back. `replay` alone does without a
  /// cache (no tensors); it counts in report() what it will not give back of one.
  /// Errors: shape_mismatch, invalid_argument (the number of tokens), those of check_tokens, out_of_memory. After an
  /// error the coder is of no more use.
  Result<CodedBlock> encode(const ExecutionSpace& space, TokenSpan tokens, const ConstKvView& cache,
                            Hidden hidden = {});
  const Report& report() const noexcept;

  /// The next block, made with the same model, codec and dtype.
  /// Errors: corrupt, checksum_mismatch, limit_exceeded (more than the model's positions), out_of_memory. After an
  /// error the coder is of no more use.
  Result<Block> decode(const ExecutionSpace& space, CodedBlockView block);

 private:
  struct State;
  explicit ReplayCoder(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// compress, decompress and decode of transfer.hpp and frame.hpp for all codecs: those that need a model take it from
/// here, the others are passed on and do without (null). With a model blocks come one after the other, on `space`.
/// Errors: also invalid_argument (no model), wrong_model (the frame was coded with another, or names none).
template <class ExecutionSpace>
Result<TransferReport> compress(const ExecutionSpace& space, const std::shared_ptr<const Model<ExecutionSpace>>& model,
                                const KvSource& source, FrameWriter& frame, const TransferOptions& options = {});
template <class ExecutionSpace>
Result<TransferReport> decompress(const ExecutionSpace& space,
                                  const std::shared_ptr<const Model<ExecutionSpace>>& model, const BlockSource& source,
                                  const KvSink& sink, const TransferOptions& options = {});
template <class ExecutionSpace>
Result<KvCache> decode(const ExecutionSpace& space, const std::shared_ptr<const Model<ExecutionSpace>>& model,
                       const FrameReader& frame, const std::shared_ptr<const Profile>& profile = nullptr);

}  // namespace seqkv
