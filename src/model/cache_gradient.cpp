// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/cache_gradient.hpp"

#include <fmt/format.h>

#include <vector>

#include "backends/kokkos/gradient.hpp"
#include "core/execution_spaces.hpp"
#include "core/guard_memory.hpp"
#include "core/random_bits.hpp"
#include "core/try.hpp"
#include "model/attention_gradient.hpp"
#include "model/forward_state.hpp"

namespace seqkv {

float drawing_number(std::uint64_t seed, std::int64_t position) noexcept {
  return static_cast<float>(random_bits(seed, static_cast<std::uint64_t>(position)) >> 40U) * 0x1p-24F;
}
namespace {

template <class ExecutionSpace>
using Policy = Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<std::int64_t>>;

template <class ExecutionSpace>
PanelMemory<ExecutionSpace> transposed(const ExecutionSpace& space, const kernels::PackedMatrix& from) {
  const std::int64_t padded = round_up(from.inputs, kernels::panel_width);
  const std::int64_t elements = padded * from.outputs;
  PanelMemory<ExecutionSpace> out;
  out.memory = Kokkos::View<std::byte*, typename ExecutionSpace::memory_space>(
      Kokkos::view_alloc(space, Kokkos::WithoutInitializing, "seqkv::model::transposed"),
      static_cast<std::size_t>(elements * (from.is_bf16 ? 2 : 4)));
  out.matrix = {out.memory.data(), from.is_bf16, from.inputs, from.outputs};
  Kokkos::parallel_for("seqkv::model::transpose", Policy<ExecutionSpace>(space, 0, elements),
                       kokkos::TransposeElement{from, out.memory.data(), padded});
  return out;
}

template <class ExecutionSpace>
struct TransposedLayer {
  PanelMemory<ExecutionSpace> qkv, output, gate_up, down;
};

}  // namespace

template <class ExecutionSpace>
struct CacheGradient<ExecutionSpace>::State {
  typename Forward<ExecutionSpace>::State forward;
  std::vector<TransposedLayer<ExecutionSpace>> layers;
  PanelMemory<ExecutionSpace> head;
  Matrix<ExecutionSpace> before_attention;  ///< [layers * rows][hidden]: x where each half of a layer starts
  Matrix<ExecutionSpace> before_mlp;
  Matrix<ExecutionSpace> logits, dx, dy, dqkv;
  Mirrored<ExecutionSpace, float> uniform;
  AttentionGradient<ExecutionSpace> attention;
  std::int64_t rows = 0;
  std::int64_t context = 0;

  const ModelConfig& config() const { return forward.config(); }
  static std::int64_t ld(const Matrix<ExecutionSpace>& matrix) { return static_cast<std::int64_t>(matrix.stride(0)); }

  void prepare(const ExecutionSpace& space, std::int64_t context_tokens, TokenSpan continuation, std::uint64_t seed) {
    context = context_tokens;
    rows = static_cast<std::int64_t>(continuation.size());
    if (static_cast<std::int64_t>(dqkv.extent(0)) < rows) {
      forward.chunk = rows;
      forward.allocate(space);
      const auto matrix = [&](const char* label, std::int64_t count, std::int64_t columns) {
        return Matrix<ExecutionSpace>(Kokkos::view_alloc(space, std::string("seqkv::model::") + label), count,
                                      padded_width(columns));
      };
      const std::int64_t q_width = config().query_heads * config().head_dim;
      before_attention = matrix("before_attention", config().layers * rows, config().hidden);
      before_mlp = matrix("before_mlp", config().layers * rows, config().hidden);
      logits = Matrix<ExecutionSpace>(Kokkos::view_alloc(space, "seqkv::model::logits"), rows, config().vocabulary);
      dx = matrix("dx", rows, config().hidden);
      dy = matrix("dy", rows, config().hidden);
      dqkv = matrix("dqkv", rows, q_width + 2 * config().kv_heads * config().head_dim);
      uniform.reserve("seqkv::model::uniform", rows);
    }
    attention.reserve(space, forward.heads(), rows, context + rows);
    for (std::int64_t m = 0; m < rows; ++m) {
      forward.tokens[m] = continuation[m];
      forward.info[m] = {context + m, 0};
      uniform[m] = drawing_number(seed, m);
    }
    forward.tokens.to_device(space, rows);
    forward.info.to_device(space, rows);
    uniform.to_device(space, rows);
  }

  /// The forward pass, keeping what each half of a layer starts from; logits of all rows.
  void run_forward(const ExecutionSpace& space) {
    embed(space, rows, forward.model->weights().embedding.matrix, forward.tokens.device(), forward.x);
    for (std::int64_t layer = 0; layer < config().layers; ++layer) {
      forward.attend_inputs(space, rows, layer);
      copy_rows(space, forward.x, rows, config().hidden, before_attention, layer * rows);
      forward.attend(space, rows, layer);
      forward.finish_layer(space, rows, layer);
      copy_rows(space, forward.x, rows, config().hidden, before_mlp, layer * rows);
    }
    forward.make_logits(space, 0, rows, logits, 0);
  }

  /// y = norm of the rows that a half of layer `layer` starts from.
  void normalize(const ExecutionSpace& space, const Matrix<ExecutionSpace>& before, std::int64_t layer,
                 const Vector<ExecutionSpace>& weight) const {
    float* x = before.data() + layer * rows * ld(before);
    model::norm(space, kernels::Norm{rows, config().hidden, x, ld(before), nullptr, 0, nullptr, weight.data(),
                                     static_cast<float>(config().norm_epsilon), forward.y.data(), ld(forward.y)});
  }

  /// dx += the gradient through that norm, whose output has the gradient dy.
  void add_norm_gradient(const ExecutionSpace& space, const float* x, std::int64_t ldx,
                         const Vector<ExecutionSpace>& weight) const {
    Kokkos::parallel_for(
        "seqkv::model::norm_gradient", Policy<ExecutionSpace>(space, 0, rows),
        kokkos::NormGradientRow{config().hidden, x, ldx, weight.data(), static_cast<float>(config().norm_epsilon),
                                dy.data(), ld(dy), dx.data(), ld(dx)});
  }

  void back_through_head(const ExecutionSpace& space) const {
    Kokkos::parallel_for("seqkv::model::draw", Policy<ExecutionSpace>(space, 0, rows),
                         kokkos::DrawRow{config().vocabulary, logits.data(), ld(logits), uniform.device()});
    model::gemm(space, forward.product(rows, logits, head, dy));
    Kokkos::deep_copy(space, dx, 0.0F);
    add_norm_gradient(space, forward.x.data(), ld(forward.x), forward.model->weights().final_norm);
  }

  void back_through_mlp(const ExecutionSpace& space, std::int64_t layer) const {
    const auto& weights = forward.model->weights().layers[layer];
    normalize(space, before_mlp, layer, weights.mlp_norm);
    model::gemm(space, forward.product(rows, forward.y, weights.gate_up, forward.gate_up));
    model::gemm(space, forward.product(rows, dx, layers[layer].down, forward.act));
    Kokkos::parallel_for(
        "seqkv::model::gated_gradient", Policy<ExecutionSpace>(space, 0, rows * config().intermediate),
        kokkos::GatedGradientElement{config().intermediate, forward.gate_up.data(), ld(forward.gate_up),
                                     forward.bias_or_null(weights.gate_up_bias), forward.act.data(), ld(forward.act)});
    model::gemm(space, forward.product(rows, forward.gate_up, layers[layer].gate_up, dy));
    add_norm_gradient(space, before_mlp.data() + layer * rows * ld(before_mlp), ld(before_mlp), weights.mlp_norm);
  }

  void back_through_attention(const ExecutionSpace& space, std::int64_t layer) const {
    const auto& weights = forward.model->weights().layers[layer];
    normalize(space, before_attention, layer, weights.attention_norm);
    model::gemm(space, forward.product(rows, forward.y, weights.qkv, forward.qkv));
    const kernels::Rope rope = forward.rope_arguments(rows, layer);
    model::rope(space, rope);
    model::gemm(space, forward.product(rows, dx, layers[layer].output, forward.attended));
    attention.run(space,
                  {rows, layer, config().window[layer], forward.heads(), forward.info.device(), forward.caches.device(),
                   forward.q.data(), ld(forward.q), nullptr, 0},
                  forward.attended.data(), ld(forward.attended));
    if (layer == 0) return;  // nothing below reads the cache
    attention.back_through_rope(space, rope, context, dqkv);
    model::gemm(space, forward.product(rows, dqkv, layers[layer].qkv, dy));
    add_norm_gradient(space, before_attention.data() + layer * rows * ld(before_attention), ld(before_attention),
                      weights.attention_norm);
  }
};

template <class ExecutionSpace>
CacheGradient<ExecutionSpace>::CacheGradient(std::unique_ptr<State> state) : state_(std::move(state)) {}
template <class ExecutionSpace>
CacheGradient<ExecutionSpace>::CacheGradient(CacheGradient&&) noexcept = default;
template <class ExecutionSpace>
CacheGradient<ExecutionSpace>& CacheGradient<ExecutionSpace>::operator=(CacheGradient&&) noexcept = default;
template <class ExecutionSpace>
CacheGradient<ExecutionSpace>::~CacheGradient() = default;

template <class ExecutionSpace>
Result<CacheGradient<ExecutionSpace>> CacheGradient<ExecutionSpace>::create(
    const ExecutionSpace& space, std::shared_ptr<const Model<ExecutionSpace>> model) {
  return guard_memory("for the gradients of a cache", [&]() -> Result<CacheGradient> {
    auto state = std::make_unique<State>();
    state->forward.model = std::move(model);
    const auto& weights = state->forward.model->weights();
    for (const auto& layer : weights.layers) {
      state->layers.push_back({transposed(space, layer.qkv.matrix), transposed(space, layer.output.matrix),
                               transposed(space, layer.gate_up.matrix), transposed(space, layer.down.matrix)});
    }
    state->head = transposed(space, weights.head.matrix);
    space.fence("seqkv::model::transpose: whoever runs it may use another instance of the space");
    return CacheGradient(std::move(state));
  });
}

template <class ExecutionSpace>
Result<void> CacheGradient<ExecutionSpace>::run(const ExecutionSpace& space, Sequence<ExecutionSpace>& sequence,
                                                TokenSpan continuation, std::uint64_t seed, const KvView& out) {
  State& state = *state_;
  const ModelConfig& config = state.config();
  const std::int64_t context = sequence.tokens();
  const auto rows = static_cast<std::int64_t>(continuation.size());
  if (rows == 0) return Error(ErrorCode::invalid_argument, "gradients need a continuation of at least one token");
  if (out.memory != MemorySpace::host || static_cast<std::int64_t>(out.tensors.size()) != 2 * out.shape.layers) {
    return Error(ErrorCode::invalid_argument,
                 fmt::format("a host view of all tensors is expected, not {} tensors", out.tensors.size()));
  }
  if (out.tokens != context || out.shape.dtype != DType::f32 || out.shape.layers != config.layers ||
      out.shape.kv_heads != config.kv_heads || out.shape.head_dim != config.head_dim) {
    return Error(ErrorCode::shape_mismatch,
                 fmt::format("gradients of {} tokens of {} in f32 do not fit {} tokens of {}", context,
                             config.kv_shape(DType::f32).describe(), out.tokens, out.shape.describe()));
  }
  SEQKV_TRY(state.forward.check(*sequence.state_));
  SEQKV_TRY(check_tokens(continuation, context, config));
  return guard_memory(fmt::format("for gradients over {} tokens", context + rows), [&]() -> Result<void> {
    state.prepare(space, context, continuation, seed);
    SEQKV_TRY(sequence.reserve(space, context + rows));
    state.forward.rope.extend(space, context + rows, config.max_positions);
    state.forward.caches.reserve("seqkv::model::caches", 1);
    state.forward.caches[0] = sequence.state_->table();
    state.forward.caches.to_device(space, 1);
    state.run_forward(space);
    state.back_through_head(space);
    for (std::int64_t layer = config.layers - 1; layer >= 0; --layer) {
      state.back_through_mlp(space, layer);
      state.back_through_attention(space, layer);
      state.attention.store(space, layer, out);
    }
    return {};
  });
}

#define SEQKV_INSTANTIATE(Space) template class CacheGradient<Space>;
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv
