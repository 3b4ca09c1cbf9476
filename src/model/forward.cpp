// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/forward.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <new>
#include <set>

#include "core/bytes.hpp"
#include "core/execution_spaces.hpp"
#include "core/float16.hpp"
#include "core/guard_memory.hpp"
#include "core/rope_table.hpp"
#include "core/try.hpp"
#include "model/dispatch.hpp"
#include "model/sequence.hpp"
#include "model/weights.hpp"

namespace seqkv {
namespace {

/// Rows of scratch are this much longer than needed, so that rows of a power-of-two width do not all fall into
/// the same cache sets.
constexpr std::int64_t row_padding = 16;
/// Rows of logits made at a time where the output cannot be written directly.
constexpr std::int64_t logit_rows = 32;

std::int64_t padded_width(std::int64_t columns) { return round_up(columns, kernels::panel_width) + row_padding; }

/// The piece of an item that is in the current chunk.
struct Slice {
  std::size_t item;
  std::int64_t first;  ///< token of the item
  std::int64_t count;
  std::int64_t logits;  ///< of the last that many rows
};

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

/// Row m of `out` becomes the embedding of ids[m].
template <class ExecutionSpace>
void embed(const ExecutionSpace& space, std::int64_t rows, const kernels::PackedMatrix& table, const Token* ids,
           const Matrix<ExecutionSpace>& out) {
  using Policy = Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<std::int64_t>>;
  Kokkos::parallel_for(
      "seqkv::model::embed", Policy(space, 0, rows * table.inputs), KOKKOS_LAMBDA(const std::int64_t at) {
        const std::int64_t m = at / table.inputs;
        const std::int64_t i = at % table.inputs;
        out(m, i) = load_as_float(table.data, table.is_bf16 ? DType::bf16 : DType::f32, ids[m] * table.inputs + i);
      });
}

/// The first `rows` and `columns` of `from`, into rows from `first` on.
template <class ExecutionSpace>
void copy_rows(const ExecutionSpace& space, const Matrix<ExecutionSpace>& from, std::int64_t rows, std::int64_t columns,
               const Matrix<ExecutionSpace>& to, std::int64_t first) {
  using Policy = Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<std::int64_t>>;
  Kokkos::parallel_for(
      "seqkv::model::copy_rows", Policy(space, 0, rows * columns), KOKKOS_LAMBDA(const std::int64_t at) {
        to(first + at / columns, at % columns) = from(at / columns, at % columns);
      });
}

}  // namespace

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

  /// Everything of a layer up to its keys and values in the caches. `pending` is the bias of the layer below.
  void attend_inputs(const ExecutionSpace& space, std::int64_t rows, std::int64_t layer, const float* pending) const {
    const auto& weights = model->weights().layers[layer];
    model::norm(space, normalize(0, rows, weights.attention_norm, layer > 0, pending));
    model::gemm(space, product(rows, y, weights.qkv, qkv));
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
    model::rope(space, args);
  }

  void attend(const ExecutionSpace& space, std::int64_t rows, std::int64_t layer) const {
    model::attention(space, kernels::Attention{rows, layer, config().window[layer], heads(), info.device(),
                                               caches.device(), q.data(), static_cast<std::int64_t>(q.stride(0)),
                                               attended.data(), static_cast<std::int64_t>(attended.stride(0))});
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
    const float* pending = bias_or_null(weights.layers.back().down_bias);
    model::norm(space, normalize(first, rows, weights.final_norm, true, pending));
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

template <class ExecutionSpace>
Forward<ExecutionSpace>::Forward(std::unique_ptr<State> state) : state_(std::move(state)) {}
template <class ExecutionSpace>
Forward<ExecutionSpace>::Forward(Forward&&) noexcept = default;
template <class ExecutionSpace>
Forward<ExecutionSpace>& Forward<ExecutionSpace>::operator=(Forward&&) noexcept = default;
template <class ExecutionSpace>
Forward<ExecutionSpace>::~Forward() = default;

template <class ExecutionSpace>
const Model<ExecutionSpace>& Forward<ExecutionSpace>::model() const noexcept {
  return *state_->model;
}

template <class ExecutionSpace>
Result<Forward<ExecutionSpace>> Forward<ExecutionSpace>::create(const ExecutionSpace& space,
                                                                std::shared_ptr<const Model<ExecutionSpace>> model,
                                                                std::int64_t chunk) {
  if (chunk < 1 || chunk > 65536) {
    return Error(ErrorCode::invalid_argument, fmt::format("a chunk of {} tokens, expected 1 to 65536", chunk));
  }
  return guard_memory(fmt::format("for a forward pass of {} tokens at a time", chunk), [&]() -> Result<Forward> {
    auto state = std::make_unique<State>();
    state->model = std::move(model);
    state->chunk = chunk;
    state->allocate(space);
    return Forward(std::move(state));
  });
}

namespace {

template <class Item>
Result<void> check_items(std::span<const Item> items, const ModelConfig& config) {
  std::set<const void*> seen;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const Item& item = items[i];
    const auto count = static_cast<std::int64_t>(item.tokens.size());
    if (item.sequence == nullptr || !seen.insert(item.sequence).second || item.logits < 0 || item.logits > count) {
      return Error(ErrorCode::invalid_argument,
                   fmt::format("item {} has no sequence, another item's, or asks for {} rows of logits of {} tokens", i,
                               item.logits, count));
    }
    for (std::int64_t t = 0; t < count; ++t) {
      if (item.tokens[t] >= config.vocabulary) {
        return Error(ErrorCode::token_out_of_range,
                     fmt::format("token {} is {}, the vocabulary has {}", t, item.tokens[t], config.vocabulary));
      }
    }
    if (item.sequence->tokens() + count > config.max_positions) {
      return Error(ErrorCode::limit_exceeded,
                   fmt::format("{} tokens, the model has {} positions (max_position_embeddings)",
                               item.sequence->tokens() + count, config.max_positions));
    }
  }
  return {};
}

/// Packs the tokens of all items into chunks, in order.
template <class Item>
std::vector<std::vector<Slice>> make_chunks(std::span<const Item> items, std::int64_t chunk) {
  std::vector<std::vector<Slice>> chunks;
  std::int64_t room = 0;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const auto total = static_cast<std::int64_t>(items[i].tokens.size());
    for (std::int64_t first = 0; first < total;) {
      if (room == 0) {
        chunks.emplace_back();
        room = chunk;
      }
      const std::int64_t count = std::min(room, total - first);
      const std::int64_t wanted_from = total - items[i].logits;
      chunks.back().push_back({i, first, count, std::clamp<std::int64_t>(first + count - wanted_from, 0, count)});
      first += count;
      room -= count;
    }
  }
  return chunks;
}

}  // namespace

template <class ExecutionSpace>
Result<void> Forward<ExecutionSpace>::run(const ExecutionSpace& space, std::span<const Item> items, Output* output) {
  State& state = *state_;
  const ModelConfig& config = state.config();
  SEQKV_TRY(check_items(items, config));
  for (const Item& item : items) {
    const auto& held = *item.sequence->state_;
    if (held.layers != config.layers || held.heads != state.heads()) {
      return Error(ErrorCode::shape_mismatch, "a sequence made for a model of another shape");
    }
  }
  std::int64_t wanted = 0;
  std::int64_t total = 0;
  std::int64_t positions = 0;
  for (const Item& item : items) {
    wanted += item.logits;
    total += static_cast<std::int64_t>(item.tokens.size());
    positions =
        std::max<std::int64_t>(positions, item.sequence->tokens() + static_cast<std::int64_t>(item.tokens.size()));
  }
  const bool want_attention = output != nullptr && output->want_attention;
  if (wanted > 0 && output == nullptr)
    return Error(ErrorCode::invalid_argument, "logits are asked for without an output");
  return guard_memory(fmt::format("for a forward pass over {} tokens", total), [&]() -> Result<void> {
    const auto need = [&](Matrix<ExecutionSpace>& matrix, const std::string& label, std::int64_t rows,
                          std::int64_t columns) {
      if (static_cast<std::int64_t>(matrix.extent(0)) >= rows && static_cast<std::int64_t>(matrix.extent(1)) == columns)
        return;
      matrix = Matrix<ExecutionSpace>(Kokkos::view_alloc(space, label), rows, columns);
    };
    if (wanted > 0) need(output->logits, "seqkv::model::logits", wanted, config.vocabulary);
    if (want_attention) {
      need(output->attention, "seqkv::model::attention", config.layers * total, config.query_heads * config.head_dim);
    }
    state.rope.extend(space, positions, config.max_positions);
    for (const Item& item : items) {
      SEQKV_TRY(item.sequence->reserve(space, item.sequence->tokens() + static_cast<std::int64_t>(item.tokens.size())));
    }
    state.caches.reserve("seqkv::model::caches", static_cast<std::int64_t>(items.size()));
    for (std::size_t i = 0; i < items.size(); ++i) state.caches[i] = items[i].sequence->state_->table();
    state.caches.to_device(space, static_cast<std::int64_t>(items.size()));

    std::int64_t tokens_done = 0;
    std::int64_t logits_done = 0;
    for (const auto& slices : make_chunks(items, state.chunk)) {
      std::int64_t rows = 0;
      bool logits_here = false;
      for (const Slice& slice : slices) {
        const Item& item = items[slice.item];
        for (std::int64_t t = 0; t < slice.count; ++t, ++rows) {
          state.tokens[rows] = item.tokens[slice.first + t];
          state.info[rows] = {item.sequence->tokens() + t, static_cast<std::int64_t>(slice.item)};
        }
        logits_here = logits_here || slice.logits > 0;
      }
      state.tokens.to_device(space, rows);
      state.info.to_device(space, rows);
      embed(space, rows, state.model->weights().embedding.matrix, state.tokens.device(), state.x);
      for (std::int64_t layer = 0; layer < config.layers; ++layer) {
        const float* pending =
            layer == 0 ? nullptr : state.bias_or_null(state.model->weights().layers[layer - 1].down_bias);
        state.attend_inputs(space, rows, layer, pending);
        const bool last = layer + 1 == config.layers;
        if (last && !logits_here && !want_attention) break;
        state.attend(space, rows, layer);
        if (want_attention) {
          copy_rows(space, state.attended, rows, config.query_heads * config.head_dim, output->attention,
                    layer * total + tokens_done);
        }
        if (last && !logits_here) break;
        state.finish_layer(space, rows, layer);
      }
      std::int64_t row = 0;
      for (const Slice& slice : slices) {
        row += slice.count;
        if (slice.logits > 0) state.make_logits(space, row - slice.logits, slice.logits, output->logits, logits_done);
        logits_done += slice.logits;
        items[slice.item].sequence->state_->tokens += slice.count;
      }
      tokens_done += rows;
      space.fence("seqkv::model::forward: the chunk's tokens are about to be overwritten");
    }
    return {};
  });
}

#define SEQKV_INSTANTIATE(Space) template class Forward<Space>;
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)

}  // namespace seqkv
