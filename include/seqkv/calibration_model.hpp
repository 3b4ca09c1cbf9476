// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// What calibration asks of a model, whoever runs it: seqkv's own forward pass, or an engine of the caller's.
#pragma once

#include <cstdint>
#include <vector>

#include "seqkv/hash.hpp"
#include "seqkv/kv.hpp"
#include "seqkv/model_config.hpp"

namespace seqkv {

/// A model and the sequence that it holds. Called by one thread at a time but for embedding. An error ends the
/// calibration and is its own.
class CalibrationModel {
 public:
  virtual ~CalibrationModel() = default;

  /// Used are: shape and rope of the cache, hidden, vocabulary, max_positions, norm_epsilon, bos, and for the size of
  /// the profile intermediate, query_heads and tied_embeddings.
  virtual const ModelConfig& config() const = 0;
  /// Of the model, as its caches name it.
  virtual Digest fingerprint() const = 0;
  /// What the first layer takes of a token, before its norm: config().hidden numbers, of whatever scale. Called by
  /// several threads.
  virtual void embedding(Token token, float* out) const = 0;

  /// Runs `tokens` from the first position on. What follows works on their cache, which stays exact.
  virtual Result<void> start(TokenSpan tokens) = 0;
  /// The cache, rounded to out.shape.dtype, keys after RoPE; `out` is contiguous memory of the host.
  virtual Result<void> read(const KvView& out) = 0;
  /// The score d/dKV of the sum over `continuation` of log p(y), each y drawn from the model's distribution at that
  /// position by drawing_number(seed, position) (CacheGradient); `out` as of read in f32.
  virtual Result<void> gradient(TokenSpan continuation, std::uint64_t seed, const KvView& out) = 0;
  /// Logits [continuation][vocabulary] behind the cache.
  virtual Result<std::vector<float>> go_on(TokenSpan continuation) = 0;
  /// The same behind a cache that was restored, contiguous on the host, of as many tokens.
  virtual Result<std::vector<float>> go_on_from(const ConstKvView& restored, TokenSpan continuation) = 0;
};

}  // namespace seqkv
