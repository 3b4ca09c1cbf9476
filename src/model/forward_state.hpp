// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// What a forward pass holds, and its steps layer by layer: shared by Forward and CacheGradient.
#pragma once

#include <algorithm>
#include <string>

#include "core/bytes.hpp"
#include "core/float16.hpp"
#include "core/rope_table.hpp"
#include "model/dispatch.hpp"
#include "model/sequence.hpp"
#include "model/weights.hpp"
#include "seqkv/forward.hpp"

namespace seqkv {

/// Rows of scratch are this much longer than needed, so that rows of a power-of-two width do not all fall into
/// the same cache sets.
inline constexpr std::int64_t row_padding = 16;
/// Rows of logits made at a time where the output cannot be written directly.
inline constexpr std::int64_t logit_rows = 32;

inline std::int64_t padded_width(std::int64_t columns) { return round_up(columns, kernels::panel_width) + row_padding; }

/// cos and sin of every position reached so far.
template <class ExecutionSpace>
struct RopeTable {
  Matrix<ExecutionSpace> cosine, sine;  ///< [positions][head_dim / 2]
  std::vector<float> frequencies;

  void extend(const ExecutionSpace& space, std::int64_t positions, std::int64_t most) {
    const auto known = static_cast<std::int64_t>(cosine.extent(0));
    if (positions <= known) return;
    const std::int64_t wanted = std::max(positions, std::min(most, std::max<std::int64_t>(2 * known, 1024)));
    const auto pairs = static_cast<std::int64_t>(frequencies.size());
    cosine = Matrix<ExecutionSpace>(Kokkos::view_alloc(space, "seqkv::model::cosine"), wanted, pairs);
    sine = Matrix<ExecutionSpace>(Kokkos::view_alloc(space, "seqkv::model::sine"), wanted, pairs);
    const auto host_cosine = Kokkos::create_mirror_view(cosine);
    const auto host_sine = Kokkos::create_mirror_view(sine);
    Kokkos::parallel_for(
        "seqkv::model::rope_table",
        Kokkos::RangePolicy<Kokkos::DefaultHostExecutionSpace, Kokkos::IndexType<std::int64_t>>(0, wanted),
        [&](std::int64_t p) {
          rope_angles(frequencies, p, host_cosine.data() + p * pairs, host_sine.data() + p * pairs);
        });
    Kokkos::deep_copy(space, cosine, host_cosine);
    Kokkos::deep_copy(space, sine, host_sine);
    space.fence("seqkv::model::rope_table: the host copy is local");
  }
};

// Structs, not lambdas: several sources run them, and nvcc's extended lambdas crash there.
template <class ExecutionSpace>
struct EmbedElement {
  kernels::PackedMatrix table;
  const Token* ids;
  Matrix<ExecutionSpace> out;
  KOKKOS_FUNCTION void operator()(const std::int64_t at) const {
    const std::int64_t m = at / table.inputs;
    const std::int64_t i = at % table.inputs;
    out(m, i) = load_as_float(table.data, table.is_bf16 ? DType::bf16 : DType::f32, ids[m] * table.inputs + i);
  }
};

/// Row m of `out` becomes the embedding of ids[m].
template <class ExecutionSpace>
void embed(const ExecutionSpace& space, std::int64_t rows, const kernels::PackedMatrix& table, const Token* ids,
           const Matrix<ExecutionSpace>& out) {
  using Policy = Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<std::int64_t>>;
  Kokkos::parallel_for("seqkv::model::embed", Policy(space, 0, rows * table.inputs),
                       EmbedElement<ExecutionSpace>{table, ids, out});
}

template <class ExecutionSpace>
struct CopyElement {
  Matrix<ExecutionSpace> from, to;
  std::int64_t columns, first;
  KOKKOS_FUNCTION void operator()(const std::int64_t at) const {
    to(first + at / columns, at % columns) = from(at / columns, at % columns);
  }
};

/// The first `rows` and `columns` of `from`, into rows from `first` on.
template <class ExecutionSpace>
void copy_rows(const ExecutionSpace& space, const Matrix<ExecutionSpace>& from, std::int64_t rows, std::int64_t columns,
               const Matrix<ExecutionSpace>& to, std::int64_t first) {
  using Policy = Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<std::int64_t>>;
  Kokkos::parallel_for("seqkv::model::copy_rows", Policy(space, 0, rows * columns),
                       CopyElement<ExecutionSpace>{from, to, columns, first});
}

/// Whether a model can go on with `tokens` after `before` others.
Result<void> check_tokens(TokenSpan tokens, std::int64_t before, const ModelConfig& config);

template <class ExecutionSpace>
struct Forward<ExecutionSpace>::State {
  std::shared_ptr<const Model<ExecutionSpace>> model;
  std::int64_t chunk = 0;
  RopeTable<ExecutionSpace> rope;
  Matrix<ExecutionSpace> x, y, qkv, q, attended, delta, gate_up, act, logits;
  Mirrored<ExecutionSpace, Token> tokens;
  Mirrored<ExecutionSpace, kernels::RowInfo> info;
  Mirrored<ExecutionSpace, kernels::CacheTable> caches;

  const ModelConfig& config() const { return model->config(); }
  kernels::HeadShape heads() const { return {config().query_heads, config().kv_heads, config().head_dim}; }
  Result<void> check(const typename Sequence<ExecutionSpace>::State& sequence) const {
    if (sequence.layers == config().layers && sequence.heads == heads()) return {};
    return Error(ErrorCode::shape_mismatch, "a sequence made for a model of another shape");
  }

  void allocate(const ExecutionSpace& space) {
    const auto matrix = [&](const char* label, std::int64_t rows, std::int64_t columns) {
      return Matrix<ExecutionSpace>(Kokkos::view_alloc(space, std::string("seqkv::model::") + label), rows,
                                    padded_width(columns));
    };
    const std::int64_t q_width = config().query_heads * config().head_dim;
    x = matrix("x", chunk, config().hidden);
    y = matrix("y", chunk, config().hidden);
    qkv = matrix("qkv", chunk, q_width + 2 * config().kv_heads * config().head_dim);
    q = matrix("q", chunk, q_width);
    attended = matrix("attended", chunk, q_width);
    delta = matrix("delta", chunk, config().hidden);
    gate_up = matrix("gate_up", chunk, 2 * config().intermediate);
    act = matrix("act", chunk, config().intermediate);
    logits = matrix("logits", logit_rows, config().vocabulary);
    tokens.reserve("seqkv::model::tokens", chunk);
    info.reserve("seqkv::model::info", chunk);
    rope.frequencies = inverse_frequencies(config().rope);
    space.fence("seqkv::model::allocate: scratch is zeroed");
  }

  kernels::Gemm product(std::int64_t rows, const Matrix<ExecutionSpace>& a, const PanelMemory<ExecutionSpace>& b,
                        const Matrix<ExecutionSpace>& c) const {
    return {rows,     a.data(), static_cast<std::int64_t>(a.stride(0)),
            b.matrix, c.data(), static_cast<std::int64_t>(c.stride(0))};
  }

  /// x += delta (if `with_delta`) + bias; y = norm(x), from row `first` on.
  kernels::Norm normalize(std::int64_t first, std::int64_t rows, const Vector<ExecutionSpace>& weight, bool with_delta,
                          const float* bias) const {
    const auto ld = static_cast<std::int64_t>(x.stride(0));
    return {rows,
            config().hidden,
            x.data() + first * ld,
            ld,
            with_delta ? delta.data() + first * ld : nullptr,
            ld,
            bias,
            weight.data(),
            static_cast<float>(config().norm_epsilon),
            y.data() + first * ld,
            ld};
  }

  const float* bias_or_null(const Vector<ExecutionSpace>& bias) const {
    return bias.size() > 0 ? bias.data() : nullptr;
  }

  /// The bias of the last product of layer `layer - 1`, which is added to x together with delta.
  const float* pending_bias(std::int64_t layer) const {
    return layer == 0 ? nullptr : bias_or_null(model->weights().layers[layer - 1].down_bias);
  }

  /// From a layer's QKV product to its queries, and to its keys and values in the caches.
  kernels::Rope rope_arguments(std::int64_t rows, std::int64_t layer) const {
    const auto& weights = model->weights().layers[layer];
    kernels::Rope args;
    args.rows = rows;
    args.layer = layer;
    args.heads = heads();
    args.info = info.device();
    args.caches = caches.device();
    args.qkv = qkv.data();
    args.ld_qkv = static_cast<std::int64_t>(qkv.stride(0));
    args.bias = bias_or_null(weights.qkv_bias);
    args.q_norm = bias_or_null(weights.q_norm);
    args.k_norm = bias_or_null(weights.k_norm);
    args.epsilon = static_cast<float>(config().norm_epsilon);
    args.cosine = rope.cosine.data();
    args.sine = rope.sine.data();
    args.query_scale = 1.44269504088896340736F / std::sqrt(static_cast<float>(config().head_dim));
    args.q = q.data();
    args.ldq = static_cast<std::int64_t>(q.stride(0));
    return args;
  }

  /// Everything of a layer up to its keys and values in the caches.
  void attend_inputs(const ExecutionSpace& space, std::int64_t rows, std::int64_t layer) const {
    const auto& weights = model->weights().layers[layer];
    model::norm(space, normalize(0, rows, weights.attention_norm, layer > 0, pending_bias(layer)));
    model::gemm(space, product(rows, y, weights.qkv, qkv));
    model::rope(space, rope_arguments(rows, layer));
  }

  void attend(const ExecutionSpace& space, std::int64_t rows, std::int64_t layer) const {
    kernels::Attention args;
    args.rows = rows;
    args.layer = layer;
    args.window = config().window[layer];
    args.heads = heads();
    args.info = info.device();
    args.caches = caches.device();
    args.q = q.data();
    args.ldq = static_cast<std::int64_t>(q.stride(0));
    args.out = attended.data();
    args.ldo = static_cast<std::int64_t>(attended.stride(0));
    args.sequences = info[rows - 1].sequence - info[0].sequence + 1;
    model::attention(space, args);
  }

  /// From attention to the end of the layer; what is to be added to x is left in delta.
  void finish_layer(const ExecutionSpace& space, std::int64_t rows, std::int64_t layer) const {
    const auto& weights = model->weights().layers[layer];
    model::gemm(space, product(rows, attended, weights.output, delta));
    model::norm(space, normalize(0, rows, weights.mlp_norm, true, bias_or_null(weights.output_bias)));
    model::gemm(space, product(rows, y, weights.gate_up, gate_up));
    model::gated_activation(space,
                            {rows, config().intermediate, gate_up.data(), static_cast<std::int64_t>(gate_up.stride(0)),
                             bias_or_null(weights.gate_up_bias), act.data(), static_cast<std::int64_t>(act.stride(0))});
    model::gemm(space, product(rows, act, weights.down, delta));
  }

  /// Logits of rows [first, first + rows) of the chunk into rows from `target` on of `out`.
  void make_logits(const ExecutionSpace& space, std::int64_t first, std::int64_t rows,
                   const Matrix<ExecutionSpace>& out, std::int64_t target) const {
    const auto& weights = model->weights();
    model::norm(space, normalize(first, rows, weights.final_norm, true, pending_bias(config().layers)));
    kernels::Gemm args = product(rows, y, weights.head, out);
    args.a += first * args.lda;
    args.c += target * args.ldc;
    if (config().vocabulary % kernels::panel_width == 0) return model::gemm(space, args);
    // The product writes whole panels, more columns than `out` has: through scratch.
    for (std::int64_t done = 0; done < rows; done += logit_rows) {
      const std::int64_t some = std::min(logit_rows, rows - done);
      kernels::Gemm part = product(some, y, weights.head, logits);
      part.a += (first + done) * part.lda;
      model::gemm(space, part);
      copy_rows(space, logits, some, config().vocabulary, out, target + done);
    }
  }
};

}  // namespace seqkv
