// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// A forward pass that rounds where an engine does, layer by layer: between layers its state and its cache may be
/// replaced by those that the engine had.
///
/// Numbers come to the host as their bits in the engine's dtype, in an order like that of the numbers (ordered_of):
/// next neighbors differ by one, and every bit pattern has one integer.
#pragma once

#include "backends/cpu/launch.hpp"
#include "backends/kokkos/attention_gradient.hpp"
#include "backends/kokkos/rounded.hpp"
#include "core/try.hpp"
#include "model/forward_state.hpp"

namespace seqkv {

/// Bits of a number as an integer that grows with it; -0 is below +0.
SEQKV_INLINE std::int32_t ordered_of(std::uint32_t bits, DType dtype) {
  const std::uint32_t sign = dtype == DType::f32 ? 0x80000000U : 0x8000U;
  return (bits & sign) != 0 ? -1 - static_cast<std::int32_t>(bits & (sign - 1)) : static_cast<std::int32_t>(bits);
}
SEQKV_INLINE std::uint32_t bits_of(std::int32_t ordered, DType dtype) {
  const std::uint32_t sign = dtype == DType::f32 ? 0x80000000U : 0x8000U;
  return ordered < 0 ? sign | static_cast<std::uint32_t>(-1 - ordered) : static_cast<std::uint32_t>(ordered);
}
SEQKV_INLINE std::int32_t ordered_of(float x, DType dtype) {
  if (dtype == DType::bf16) return ordered_of(std::uint32_t{float_to_bf16(x)}, dtype);
  if (dtype == DType::f16) return ordered_of(std::uint32_t{float_to_f16(x)}, dtype);
  return ordered_of(detmath::bits(x), dtype);
}
SEQKV_INLINE float float_of(std::int32_t ordered, DType dtype) {
  const std::uint32_t bits = bits_of(ordered, dtype);
  if (dtype == DType::bf16) return bf16_to_float(static_cast<std::uint16_t>(bits));
  if (dtype == DType::f16) return f16_to_float(static_cast<std::uint16_t>(bits));
  return detmath::from_bits(bits);
}

// Structs, not lambdas, for nvcc's sake (model/forward_state.hpp).
template <class ExecutionSpace>
struct StateElement {
  enum class Work { round, read, write };
  Work work;
  DType dtype;
  Matrix<ExecutionSpace> x;
  std::int64_t hidden;
  std::int32_t* numbers;
  KOKKOS_FUNCTION void operator()(const std::int64_t at) const {
    float& element = x(at / hidden, at % hidden);
    switch (work) {
      case Work::round:
        element = float_of(ordered_of(element, dtype), dtype);
        break;
      case Work::read:
        numbers[at] = ordered_of(element, dtype);
        break;
      case Work::write:
        element = float_of(numbers[at], dtype);
        break;
    }
  }
};

/// A key or value of one head and row, between the cache and numbers [K|V][kv_heads][rows][head_dim].
struct CacheVector {
  kernels::HeadShape heads;
  const kernels::CacheTable* table;
  std::int64_t layer, first, rows;
  DType dtype;
  bool out;
  std::int32_t* numbers;
  KOKKOS_FUNCTION void operator()(const std::int64_t at) const {
    using kernels::key_tile;
    const std::int64_t token = first + at % rows;
    const std::int64_t head = at / rows % heads.kv_heads;
    const bool value = at / rows / heads.kv_heads != 0;
    float* from = value ? kernels::value_row_at(*table, heads, layer, head, token)
                        : kernels::key_tile_at(*table, heads, layer, head, token / key_tile) + token % key_tile;
    const std::int64_t step = value ? 1 : key_tile;
    std::int32_t* to = numbers + at * heads.head_dim;
    for (std::int64_t i = 0; i < heads.head_dim; ++i) {
      if (out) {
        to[i] = ordered_of(from[i * step], dtype);
      } else {
        from[i * step] = float_of(to[i], dtype);
      }
    }
  }
};

template <class ExecutionSpace>
class RoundedForward {
 public:
  using State = typename Forward<ExecutionSpace>::State;

  /// `cache` is the dtype in which keys and values, and states, come to the host. Throws where memory is short.
  RoundedForward(const ExecutionSpace& space, std::shared_ptr<const Model<ExecutionSpace>> model,
                 const Rounding& rounding, DType cache, std::int64_t chunk)
      : rounding_(rounding), dtype_(cache) {
    state_.model = std::move(model);
    state_.chunk = chunk;
    state_.allocate(space);
    const ModelConfig& config = state_.config();
    sums_ = Floats(Kokkos::view_alloc(space, "seqkv::model::sums"), chunk * padded_width(config.head_dim));
    divisor_ = Floats(Kokkos::view_alloc(space, "seqkv::model::divisor"), chunk);
    numbers_.reserve("seqkv::model::numbers", chunk * std::max(config.hidden, 2 * config.kv_heads * config.head_dim));
    state_.caches.reserve("seqkv::model::caches", 1);
  }

  const ModelConfig& config() const { return state_.config(); }

  /// The next tokens of a sequence, at most a chunk, are embedded. Precondition: check_tokens.
  Result<void> begin(const ExecutionSpace& space, Sequence<ExecutionSpace>& sequence, TokenSpan tokens) {
    rows_ = static_cast<std::int64_t>(tokens.size());
    first_ = sequence.tokens();
    SEQKV_TRY(sequence.reserve(space, first_ + rows_));
    state_.rope.extend(space, first_ + rows_, config().max_positions);
    state_.caches[0] = sequence.state_->table();
    state_.caches.to_device(space, 1);
    for (std::int64_t m = 0; m < rows_; ++m) {
      state_.tokens[m] = tokens[static_cast<std::size_t>(m)];
      state_.info[m] = {first_ + m, 0};
    }
    state_.tokens.to_device(space, rows_);
    state_.info.to_device(space, rows_);
    embed(space, rows_, state_.model->weights().embedding.matrix, state_.tokens.device(), state_.x);
    if (rounding_.dtype != DType::f32) on_state(space, StateElement<ExecutionSpace>::Work::round, rounding_.dtype);
    return {};
  }
  /// The sequence has these tokens now; fences.
  void end(const ExecutionSpace& space, Sequence<ExecutionSpace>& sequence) const {
    space.fence("seqkv::model::rounded_forward: the chunk's tokens are about to be overwritten");
    sequence.state_->tokens += rows_;
  }

  /// From the state that enters a layer to its keys and values, in the cache.
  void project(const ExecutionSpace& space, std::int64_t layer) const {
    const auto& weights = state_.model->weights().layers[layer];
    run(space, "seqkv::model::rounded_norm", &cpu::RoundedKernels::norm, rows_,
        kernels::RoundedNorm{state_.normalize(0, rows_, weights.attention_norm, false, nullptr), rounding_});
    model::gemm(space, state_.product(rows_, state_.y, weights.qkv, state_.qkv));
    kernels::Rope rope = state_.rope_arguments(rows_, layer);
    rope.query_scale = 1;
    run(space, "seqkv::model::rounded_rope", &cpu::RoundedKernels::rope, rows_, kernels::RoundedRope{rope, rounding_});
  }

  /// From there to the state that leaves the layer.
  void finish(const ExecutionSpace& space, std::int64_t layer) {
    const auto& weights = state_.model->weights().layers[layer];
    attend(space, layer);
    model::gemm(space, state_.product(rows_, state_.attended, weights.output, state_.delta));
    run(space, "seqkv::model::rounded_norm", &cpu::RoundedKernels::norm, rows_,
        kernels::RoundedNorm{
            state_.normalize(0, rows_, weights.mlp_norm, true, state_.bias_or_null(weights.output_bias)), rounding_});
    model::gemm(space, state_.product(rows_, state_.y, weights.gate_up, state_.gate_up));
    run(space, "seqkv::model::rounded_gate", &cpu::RoundedKernels::gate, rows_,
        kernels::RoundedGate{
            {rows_, config().intermediate, state_.gate_up.data(), static_cast<std::int64_t>(state_.gate_up.stride(0)),
             state_.bias_or_null(weights.gate_up_bias), state_.act.data(),
             static_cast<std::int64_t>(state_.act.stride(0))},
            rounding_});
    model::gemm(space, state_.product(rows_, state_.act, weights.down, state_.delta));
    kernels::Norm add = state_.normalize(0, rows_, weights.mlp_norm, true, state_.bias_or_null(weights.down_bias));
    add.y = nullptr;
    add.ldy = 0;
    run(space, "seqkv::model::rounded_sum", &cpu::RoundedKernels::norm, rows_, kernels::RoundedNorm{add, rounding_});
  }

  /// The state, [rows][hidden]; fences.
  std::span<std::int32_t> state(const ExecutionSpace& space) const {
    on_state(space, StateElement<ExecutionSpace>::Work::read, dtype_);
    return to_host(space, rows_ * config().hidden);
  }
  /// Puts what state() gave, corrected, in its place.
  void set_state(const ExecutionSpace& space) const {
    numbers_.to_device(space, rows_ * config().hidden);
    on_state(space, StateElement<ExecutionSpace>::Work::write, dtype_);
  }
  /// Keys and values of the rows in one layer, [K|V][kv_heads][rows][head_dim]; fences.
  std::span<std::int32_t> cache(const ExecutionSpace& space, std::int64_t layer) const {
    on_cache(space, layer, true);
    return to_host(space, rows_ * 2 * config().kv_heads * config().head_dim);
  }
  void set_cache(const ExecutionSpace& space, std::int64_t layer) const {
    numbers_.to_device(space, rows_ * 2 * config().kv_heads * config().head_dim);
    on_cache(space, layer, false);
  }

 private:
  using Floats = Kokkos::View<float*, typename ExecutionSpace::memory_space>;
  using Policy = Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<std::int64_t>>;

  template <class Args>
  static void run(const ExecutionSpace& space, const char* label,
                  void (*cpu::RoundedKernels::*kernel)(const Args&, std::int64_t, std::int64_t), std::int64_t rows,
                  const Args& args) {
    if constexpr (is_host_space<ExecutionSpace>) {
      if (const cpu::Kernels* best = cpu::kernels()) {
        auto* function = best->rounded.*kernel;
        cpu::for_each_row_range(label, space, rows,
                                [=](std::int64_t first, std::int64_t last) { function(args, first, last); });
        return;
      }
    }
    kokkos::rounded(space, label, rows, args);
  }

  void need(const ExecutionSpace& space, Floats& view, const char* label, std::int64_t count) const {
    if (static_cast<std::int64_t>(view.size()) >= count) return;
    view = {};
    view = Floats(Kokkos::view_alloc(space, Kokkos::WithoutInitializing, std::string("seqkv::model::") + label), count);
  }

  /// Whole rows of scores: what rounds normalized weights must know the sum of all.
  void attend(const ExecutionSpace& space, std::int64_t layer) {
    const kernels::HeadShape heads = state_.heads();
    const std::int64_t keys = first_ + rows_;
    const std::int64_t ld = round_up(keys, kernels::panel_width);
    const std::int64_t ld_sums = padded_width(heads.head_dim);
    const std::int64_t ld_dim = round_up(heads.head_dim, kernels::panel_width);
    need(space, scores_, "scores", rows_ * ld);
    need(space, key_panels_, "key_panels", heads.kv_heads * ld * heads.head_dim);
    need(space, value_panels_, "value_panels", heads.kv_heads * ld_dim * keys);
    const kernels::CacheTable* cache = state_.caches.device();
    for (const kokkos::PackCache& work :
         {kokkos::PackCache{cache, heads, layer, keys, false, false, key_panels_.data()},
          kokkos::PackCache{cache, heads, layer, keys, true, true, value_panels_.data()}}) {
      Kokkos::parallel_for("seqkv::model::pack_cache", Policy(space, 0, work.count()), work);
    }
    for (std::int64_t head = 0; head < heads.query_heads; ++head) {
      const std::int64_t kv_head = head / (heads.query_heads / heads.kv_heads);
      const auto ldq = static_cast<std::int64_t>(state_.q.stride(0));
      const auto ldo = static_cast<std::int64_t>(state_.attended.stride(0));
      const kernels::PackedMatrix k{key_panels_.data() + kv_head * ld * heads.head_dim, false, keys, heads.head_dim};
      const kernels::PackedMatrix v{value_panels_.data() + kv_head * ld_dim * keys, false, heads.head_dim, keys};
      model::gemm(space, kernels::Gemm{rows_, state_.q.data() + head * heads.head_dim, ldq, k, scores_.data(), ld});
      run(space, "seqkv::model::rounded_softmax", &cpu::RoundedKernels::softmax, rows_,
          kernels::RoundedSoftmax{rows_, config().window[layer], state_.info.device(), scores_.data(), ld,
                                  1.0F / std::sqrt(static_cast<float>(heads.head_dim)), divisor_.data(), rounding_});
      model::gemm(space, kernels::Gemm{rows_, scores_.data(), ld, v, sums_.data(), ld_sums});
      run(space, "seqkv::model::rounded_head", &cpu::RoundedKernels::head, rows_,
          kernels::RoundedHead{rows_, heads.head_dim, sums_.data(), ld_sums, divisor_.data(),
                               state_.attended.data() + head * heads.head_dim, ldo, rounding_});
    }
  }

  void on_state(const ExecutionSpace& space, typename StateElement<ExecutionSpace>::Work work, DType dtype) const {
    Kokkos::parallel_for("seqkv::model::exchange_state", Policy(space, 0, rows_ * config().hidden),
                         StateElement<ExecutionSpace>{work, dtype, state_.x, config().hidden, numbers_.device()});
  }
  void on_cache(const ExecutionSpace& space, std::int64_t layer, bool out) const {
    Kokkos::parallel_for(
        "seqkv::model::exchange_cache", Policy(space, 0, 2 * config().kv_heads * rows_),
        CacheVector{state_.heads(), state_.caches.device(), layer, first_, rows_, dtype_, out, numbers_.device()});
  }

  std::span<std::int32_t> to_host(const ExecutionSpace& space, std::int64_t count) const {
    numbers_.to_host(space, count);
    space.fence("seqkv::model::rounded_forward: the host looks at the numbers");
    return {numbers_.host(), static_cast<std::size_t>(count)};
  }

  Rounding rounding_;
  DType dtype_;
  State state_;
  Floats sums_, divisor_, scores_, key_panels_, value_panels_;
  Mirrored<ExecutionSpace, std::int32_t> numbers_;
  std::int64_t rows_ = 0;
  std::int64_t first_ = 0;
};

}  // namespace seqkv
