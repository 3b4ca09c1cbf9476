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

/// A cache that some engine made, coded as what a forward pass with that engine's rounding does not know of it. Every
/// bit comes back, whatever the engine did. Holds scratch memory; not to be used from two threads at once.
template <class ExecutionSpace>
class ReplayCoder {
 public:
  struct Options {
    Rounding rounding;                ///< of the engine; a wrong one costs bits
    std::int64_t block_tokens = 256;  ///< that go through the layers together; part of the format
    bool with_tokens = true;          ///< code the tokens, too; else who decodes must know them
  };

  /// What was coded.
  struct Session {
    std::vector<Token> tokens;
    KvCache cache;
  };

  /// Where the bytes are.
  struct Report {
    std::int64_t bytes = 0;
    std::int64_t token_bytes = 0;
    std::vector<std::int64_t> state_bytes;  ///< by layer: corrections of the state that enters it
    std::vector<std::int64_t> cache_bytes;  ///< by layer: differences of keys and values
  };

  /// Errors: invalid_argument (block_tokens), out_of_memory.
  static Result<ReplayCoder> create(const ExecutionSpace& space, std::shared_ptr<const Model<ExecutionSpace>> model,
                                    const Options& options);
  ReplayCoder(ReplayCoder&&) noexcept;
  ReplayCoder& operator=(ReplayCoder&&) noexcept;
  ~ReplayCoder();

  /// `hidden`: the states that enter the layers, [tokens][hidden] in the dtype of the cache, one a layer; or empty.
  /// They make the rest much smaller (docs/replay.md) and are not given back.
  /// Errors: shape_mismatch, invalid_argument, those of check_tokens, out_of_memory.
  Result<std::vector<std::byte>> encode(const ExecutionSpace& space, TokenSpan tokens, const ConstKvView& cache,
                                        std::span<const std::span<const std::byte>> hidden, Report* report = nullptr);

  /// A stream made with this model, whatever the options were; `tokens` are those of a stream without its own.
  /// Errors: wrong_model, corrupt, truncated, checksum_mismatch (with the block), unsupported_version, limit_exceeded,
  /// invalid_argument (tokens given or missing), out_of_memory.
  Result<Session> decode(const ExecutionSpace& space, std::span<const std::byte> stream, TokenSpan tokens = {});

 private:
  struct State;
  explicit ReplayCoder(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace seqkv
