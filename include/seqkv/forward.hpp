// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The forward pass: tokens to KV cache and logits, with the same bits on every execution space, for every
/// thread count, chunk size and batch (DESIGN 4.1, docs/decisions/determinism.md).
#pragma once

#include <Kokkos_Core.hpp>
#include <memory>
#include <span>

#include "seqkv/kv.hpp"
#include "seqkv/model.hpp"

namespace seqkv {

template <class ExecutionSpace>
class Forward;
template <class ExecutionSpace>
class CacheGradient;
template <class ExecutionSpace>
class RoundedForward;

/// The KV cache of one sequence while a model works on it: fp32, in the memory of the execution space, laid out
/// for the attention kernel. Grows as tokens come.
template <class ExecutionSpace>
class Sequence {
 public:
  explicit Sequence(const ModelConfig& config);
  Sequence(Sequence&&) noexcept;
  Sequence& operator=(Sequence&&) noexcept;
  ~Sequence();

  std::int64_t tokens() const noexcept;
  /// Forgets all but the first `tokens` (at most tokens()).
  void truncate(std::int64_t tokens) noexcept;
  /// Makes room beforehand. Errors: out_of_memory.
  Result<void> reserve(const ExecutionSpace& space, std::int64_t tokens);

  /// Copies tokens [first, first + out.tokens) into `out` (host memory), rounded to out.shape.dtype: all layers, or the
  /// first out.shape.layers. Fences.
  /// Errors: shape_mismatch, invalid_argument.
  Result<void> read(const ExecutionSpace& space, std::int64_t first, const KvView& out) const;
  /// Appends a cache from host memory: what a restored session continues from. Fences.
  /// Errors: shape_mismatch, out_of_memory.
  Result<void> append(const ExecutionSpace& space, const ConstKvView& in);

  struct State;  ///< src/model/sequence.hpp

 private:
  friend class Forward<ExecutionSpace>;
  friend class CacheGradient<ExecutionSpace>;
  friend class RoundedForward<ExecutionSpace>;
  std::unique_ptr<State> state_;
};

/// Row-major floats [rows][columns] in the memory of the execution space.
template <class ExecutionSpace>
using Matrix = Kokkos::View<float**, Kokkos::LayoutRight, typename ExecutionSpace::memory_space>;

/// One model at work. Holds scratch memory for `chunk` tokens; not to be used from two threads at once.
template <class ExecutionSpace>
class Forward {
 public:
  /// How many tokens go through the layers together, over all items: a host's caches hold less than it takes to
  /// occupy a GPU.
  static constexpr std::int64_t default_chunk =
      Kokkos::SpaceAccessibility<Kokkos::HostSpace, typename ExecutionSpace::memory_space>::accessible ? 256 : 2048;

  struct Item {
    Sequence<ExecutionSpace>* sequence = nullptr;
    TokenSpan tokens;
    std::int64_t logits = 0;  ///< rows wanted: of the last that many tokens
  };
  struct Output {
    bool want_attention = false;
    /// [sum of Item::logits][vocabulary], rows in the order of items and tokens. Resized when too small.
    Matrix<ExecutionSpace> logits;
    /// If wanted: [layers * all tokens][query_heads * head_dim], layer by layer: what attention hands to the
    /// output projection.
    Matrix<ExecutionSpace> attention;
  };

  /// Errors: invalid_argument, out_of_memory.
  static Result<Forward> create(const ExecutionSpace& space, std::shared_ptr<const Model<ExecutionSpace>> model,
                                std::int64_t chunk = default_chunk);
  Forward(Forward&&) noexcept;
  Forward& operator=(Forward&&) noexcept;
  ~Forward();

  /// Appends each item's tokens to its sequence. Without logits or attention wanted, the last layer stops at its
  /// keys and values. Returns after the work is done (fences).
  /// Errors: invalid_argument (a sequence twice), token_out_of_range, limit_exceeded (more positions than the
  /// model has), out_of_memory. On an error found before the work starts no sequence has changed.
  Result<void> run(const ExecutionSpace& space, std::span<const Item> items, Output* output = nullptr);

  /// The same up to the keys and values of layer `layers`, counted from 0; those above are not touched, and such a
  /// sequence is of use for no other runs. Precondition: layers below the model's.
  Result<void> run_first(const ExecutionSpace& space, std::span<const Item> items, std::int64_t layers);

  const Model<ExecutionSpace>& model() const noexcept;

  struct State;  ///< src/model/forward_state.hpp

 private:
  Result<void> run(const ExecutionSpace& space, std::span<const Item> items, Output* output, std::int64_t last_layer);
  explicit Forward(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace seqkv
