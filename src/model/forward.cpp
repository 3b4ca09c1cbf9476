// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/forward.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <new>
#include <set>

#include "core/execution_spaces.hpp"
#include "core/guard_memory.hpp"
#include "core/try.hpp"
#include "model/forward_state.hpp"

namespace seqkv {
namespace {

/// The piece of an item that is in the current chunk.
struct Slice {
  std::size_t item;
  std::int64_t first;  ///< token of the item
  std::int64_t count;
  std::int64_t logits;  ///< of the last that many rows
};

}  // namespace

Result<void> check_tokens(TokenSpan tokens, std::int64_t before, const ModelConfig& config) {
  const auto count = static_cast<std::int64_t>(tokens.size());
  for (std::int64_t t = 0; t < count; ++t) {
    if (tokens[t] >= config.vocabulary) {
      return Error(ErrorCode::token_out_of_range,
                   fmt::format("token {} is {}, the vocabulary has {}", t, tokens[t], config.vocabulary));
    }
  }
  if (before + count > config.max_positions) {
    return Error(ErrorCode::limit_exceeded,
                 fmt::format("{} tokens, the model has {} positions (max_position_embeddings)", before + count,
                             config.max_positions));
  }
  return {};
}

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
    SEQKV_TRY(check_tokens(item.tokens, item.sequence->tokens(), config));
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
  return run(space, items, output, model().config().layers - 1);
}

template <class ExecutionSpace>
Result<void> Forward<ExecutionSpace>::run_first(const ExecutionSpace& space, std::span<const Item> items,
                                                std::int64_t layers) {
  return run(space, items, nullptr, layers);
}

template <class ExecutionSpace>
Result<void> Forward<ExecutionSpace>::run(const ExecutionSpace& space, std::span<const Item> items, Output* output,
                                          std::int64_t last_layer) {
  State& state = *state_;
  const ModelConfig& config = state.config();
  SEQKV_TRY(check_items(items, config));
  for (const Item& item : items) SEQKV_TRY(state.check(*item.sequence->state_));
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
      for (std::int64_t layer = 0; layer <= last_layer; ++layer) {
        state.attend_inputs(space, rows, layer);
        const bool last = layer == last_layer;
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
#undef SEQKV_INSTANTIATE

}  // namespace seqkv
