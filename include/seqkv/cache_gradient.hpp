// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// How much a model's predictions depend on each number of a KV cache: gradients by reverse-mode differentiation of the
/// forward pass. Calibration measures with them which errors of a restored cache matter.
#pragma once

#include <Kokkos_Core.hpp>
#include <cstdint>
#include <memory>

#include "seqkv/forward.hpp"

namespace seqkv {

/// With which number in [0, 1) the token is drawn at a position of a continuation, from `seed`: it is the first one
/// whose share of the distribution, added to those of all ids below it, exceeds that.
float drawing_number(std::uint64_t seed, std::int64_t position) noexcept;

/// Samples of the score g = d/dKV of the sum over a continuation's positions of log p(y), each y drawn from the model's
/// own distribution at that position. The expectation of g g^T over draws is the Fisher information F summed over
/// positions, and for a small error e of the cache the sum of KL(exact || restored) is e^T F e / 2 (Kullback 1959).
///
/// Only what the continuation reads of the cache counts: the states that made the cache are not run again on restore.
/// The same bits on every execution space, thread count and CPU. Holds transposed copies of all weights.
template <class ExecutionSpace>
class CacheGradient {
 public:
  /// Errors: out_of_memory.
  static Result<CacheGradient> create(const ExecutionSpace& space, std::shared_ptr<const Model<ExecutionSpace>> model);
  CacheGradient(CacheGradient&&) noexcept;
  CacheGradient& operator=(CacheGradient&&) noexcept;
  ~CacheGradient();

  /// Runs `continuation` on `sequence` (which is truncated to its tokens again), and differentiates with draws made
  /// from `seed`. `out` takes the gradients of the sequence's cache [layers][K|V][kv_heads][tokens][head_dim] in f32,
  /// keys as engines hold them (after RoPE), on the host. Fences.
  /// Errors: shape_mismatch, invalid_argument (no continuation, device memory), token_out_of_range, limit_exceeded,
  /// out_of_memory.
  Result<void> run(const ExecutionSpace& space, Sequence<ExecutionSpace>& sequence, TokenSpan continuation,
                   std::uint64_t seed, const KvView& out);

 private:
  struct State;
  explicit CacheGradient(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace seqkv
