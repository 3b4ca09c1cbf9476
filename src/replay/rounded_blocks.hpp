// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The cache that an engine made, block after block, as differences from a forward pass with that engine's rounding,
/// which is put right layer by layer (docs/replay.md).
#pragma once

#include <algorithm>
#include <vector>

#include "codec/block.hpp"
#include "core/try.hpp"
#include "model/rounded_forward.hpp"
#include "replay/difference_coder.hpp"
#include "replay/ordered.hpp"

namespace seqkv::replay {

/// What a block's sub-block becomes.
struct ReplayedPayload {
  std::vector<std::byte> bytes;
  bool raw = false;
};

template <class ExecutionSpace>
class RoundedBlocks {
 public:
  using Hidden = std::span<const std::span<const std::byte>>;

  /// Throws where memory is short.
  RoundedBlocks(const ExecutionSpace& space, const std::shared_ptr<const Model<ExecutionSpace>>& model,
                const Rounding& rounding, DType dtype, std::int64_t block_tokens)
      : dtype_(dtype), forward_(space, model, rounding, dtype, block_tokens), sequence_(model->config()) {
    const ModelConfig& config = model->config();
    for (std::int64_t layer = 0; layer < config.layers; ++layer) {
      models_.push_back({DifferenceModel(config.hidden, dtype),
                         {DifferenceModel(config.kv_heads * config.head_dim, dtype),
                          DifferenceModel(config.kv_heads * config.head_dim, dtype)}});
    }
  }

  /// Sub-blocks of the next block, in the order of a coded block; `hidden` are the states of its tokens, or empty.
  /// `done(layer, numbers)` has what decoding will give, [K|V][kv_heads][tokens][head_dim]. Bytes of corrections of
  /// states are added to `state_bytes`.
  template <class Done>
  Result<std::vector<ReplayedPayload>> encode(const ExecutionSpace& space, TokenSpan tokens, const ConstKvView& cache,
                                              Hidden hidden, std::vector<std::int64_t>& state_bytes, const Done& done) {
    std::vector<ReplayedPayload> out;
    SEQKV_TRY(begin(space, tokens));
    for (std::int64_t layer = 0; layer < config().layers; ++layer) {
      const std::span<const std::byte> states = hidden.empty() ? std::span<const std::byte>() : hidden[layer];
      SEQKV_ASSIGN(ReplayedPayload keys, encode_keys(space, layer, cache, states, state_bytes[layer]));
      out.push_back(std::move(keys));
      out.push_back(encode_values(layer, cache));
      finish(space, layer, done);
    }
    forward_.end(space, sequence_);
    return out;
  }

  /// The other way round. Errors: corrupt.
  template <class Done>
  Result<void> decode(const ExecutionSpace& space, TokenSpan tokens, std::span<const codec::SubblockPayload> payloads,
                      const Done& done) {
    SEQKV_TRY(begin(space, tokens));
    for (std::int64_t layer = 0; layer < config().layers; ++layer) {
      const auto pair = payloads.subspan(static_cast<std::size_t>(2 * layer), 2);
      const bool good = decode_keys(space, layer, pair[0]) && decode_values(layer, pair[1]);
      if (!good) return Error(ErrorCode::corrupt, "the payload is not that of its block").at_field(name_of(layer));
      finish(space, layer, done);
    }
    forward_.end(space, sequence_);
    return {};
  }

 private:
  struct LayerModels {
    DifferenceModel state;
    std::array<DifferenceModel, 2> cache;
  };
  /// The first byte of the keys' payload.
  enum class States : std::uint8_t { as_expected = 0, corrected = 1 };

  const ModelConfig& config() const { return forward_.config(); }
  std::size_t half() const { return exact_.size() / 2; }
  static std::string name_of(std::int64_t layer) { return "layer " + std::to_string(layer); }

  Result<void> begin(const ExecutionSpace& space, TokenSpan tokens) {
    rows_ = tokens.size();
    state_drift_.assign(rows_, 1.0F);
    drift_.assign(rows_, 1.0F);
    exact_.resize(rows_ * static_cast<std::size_t>(2 * config().kv_heads * config().head_dim));
    return forward_.begin(space, sequence_, tokens);
  }

  /// The expected numbers of a layer, with the state as it is now.
  void project(const ExecutionSpace& space, std::int64_t layer) {
    forward_.project(space, layer);
    expected_ = forward_.cache(space, layer);
  }

  template <class Done>
  void finish(const ExecutionSpace& space, std::int64_t layer, const Done& done) {
    std::copy(exact_.begin(), exact_.end(), expected_.begin());
    forward_.set_cache(space, layer);
    done(layer, std::span<const std::int32_t>(exact_));
    if (layer + 1 < config().layers) forward_.finish(space, layer);
  }

  template <class Coder>
  void code_states(Coder& coder, DifferenceModel& model, std::span<const std::int32_t> expected,
                   std::span<std::int32_t> exact, RowDrift& drift) const {
    const auto width = static_cast<std::size_t>(config().hidden);
    for (std::size_t row = 0; row < rows_; ++row) {
      model.code_row(
          coder, expected, exact, [=](std::size_t channel) { return row * width + channel; }, drift[row]);
    }
  }

  template <class Coder>
  void code_cache(Coder& coder, DifferenceModel& model, int kind, RowDrift& drift) {
    const std::size_t start = kind == 0 ? 0 : half();
    const auto dim = static_cast<std::size_t>(config().head_dim);
    for (std::size_t row = 0; row < rows_; ++row) {
      const auto at = [=, rows = rows_](std::size_t channel) {
        return start + (channel / dim * rows + row) * dim + channel % dim;
      };
      model.code_row(coder, expected_, exact_, at, drift[row]);
    }
  }

  void load(const ConstKvView& cache, std::int64_t layer, int kind) {
    const std::byte* tensor = cache.tensors[static_cast<std::size_t>(2 * layer + kind)];
    std::int32_t* to = exact_.data() + (kind == 0 ? 0 : half());
    for_each_element(cache, kind, [&](std::size_t place, std::int64_t element) {
      to[place] = load_ordered(tensor, dtype_, element);
    });
  }
  ReplayedPayload raw(const ConstKvView& cache, std::int64_t layer, int kind) const {
    ReplayedPayload out{std::vector<std::byte>(half() * size_of(dtype_)), true};
    const std::byte* tensor = cache.tensors[static_cast<std::size_t>(2 * layer + kind)];
    for_each_element(cache, kind, [&](std::size_t place, std::int64_t element) {
      store_ordered(out.bytes.data(), dtype_, static_cast<std::int64_t>(place), load_ordered(tensor, dtype_, element));
    });
    return out;
  }
  void load_raw(std::span<const std::byte> bytes, int kind) {
    std::int32_t* to = exact_.data() + (kind == 0 ? 0 : half());
    for (std::size_t i = 0; i < half(); ++i) to[i] = load_ordered(bytes.data(), dtype_, static_cast<std::int64_t>(i));
  }

  /// Raw where coding does not pay: states then stay what was expected, and nothing is learned.
  Result<ReplayedPayload> encode_keys(const ExecutionSpace& space, std::int64_t layer, const ConstKvView& cache,
                                      std::span<const std::byte> states, std::int64_t& state_bytes) {
    LayerModels& models = models_[static_cast<std::size_t>(layer)];
    LayerModels tried = models;
    RowDrift tried_state_drift = state_drift_;
    RowDrift tried_drift = drift_;
    BitEncoder coder;
    std::vector<std::int32_t> before;
    if (!states.empty()) {
      const auto expected = forward_.state(space);
      before.assign(expected.begin(), expected.end());
      std::vector<std::int32_t> exact(before.size());
      for (std::size_t i = 0; i < exact.size(); ++i) {
        exact[i] = load_ordered(states.data(), dtype_, static_cast<std::int64_t>(i));
      }
      code_states(coder, tried.state, before, exact, tried_state_drift);
      std::copy(exact.begin(), exact.end(), expected.begin());
      forward_.set_state(space);
    }
    const auto of_states = static_cast<std::int64_t>(coder.size());
    project(space, layer);
    load(cache, layer, 0);
    code_cache(coder, tried.cache[0], 0, tried_drift);
    ReplayedPayload out;
    out.bytes.push_back(static_cast<std::byte>(states.empty() ? States::as_expected : States::corrected));
    const auto bits = std::move(coder).finish();
    out.bytes.insert(out.bytes.end(), bits.begin(), bits.end());
    if (out.bytes.size() < half() * size_of(dtype_)) {
      models = std::move(tried);
      state_drift_ = std::move(tried_state_drift);
      drift_ = std::move(tried_drift);
      state_bytes += of_states;
      return out;
    }
    if (!states.empty()) {
      const auto now = forward_.state(space);
      std::copy(before.begin(), before.end(), now.begin());
      forward_.set_state(space);
      project(space, layer);
    }
    return raw(cache, layer, 0);
  }

  ReplayedPayload encode_values(std::int64_t layer, const ConstKvView& cache) {
    DifferenceModel& model = models_[static_cast<std::size_t>(layer)].cache[1];
    DifferenceModel tried = model;
    RowDrift tried_drift = drift_;
    BitEncoder coder;
    load(cache, layer, 1);
    code_cache(coder, tried, 1, tried_drift);
    ReplayedPayload out{std::move(coder).finish(), false};
    if (out.bytes.size() >= half() * size_of(dtype_)) return raw(cache, layer, 1);
    model = std::move(tried);
    drift_ = std::move(tried_drift);
    return out;
  }

  bool decode_keys(const ExecutionSpace& space, std::int64_t layer, const codec::SubblockPayload& payload) {
    if (payload.raw) {
      project(space, layer);
      load_raw(payload.bytes, 0);
      return true;
    }
    if (payload.bytes.empty()) return false;
    const auto states = std::to_integer<std::uint8_t>(payload.bytes[0]);
    if (states > static_cast<std::uint8_t>(States::corrected)) return false;
    LayerModels& models = models_[static_cast<std::size_t>(layer)];
    BitDecoder coder(payload.bytes.subspan(1));
    if (states == static_cast<std::uint8_t>(States::corrected)) {
      const auto expected = forward_.state(space);
      std::vector<std::int32_t> exact(expected.size());
      code_states(coder, models.state, expected, exact, state_drift_);
      std::copy(exact.begin(), exact.end(), expected.begin());
      forward_.set_state(space);
    }
    project(space, layer);
    code_cache(coder, models.cache[0], 0, drift_);
    return coder.at_end();
  }

  bool decode_values(std::int64_t layer, const codec::SubblockPayload& payload) {
    if (payload.raw) {
      load_raw(payload.bytes, 1);
      return true;
    }
    BitDecoder coder(payload.bytes);
    code_cache(coder, models_[static_cast<std::size_t>(layer)].cache[1], 1, drift_);
    return coder.at_end();
  }

  DType dtype_;
  RoundedForward<ExecutionSpace> forward_;
  Sequence<ExecutionSpace> sequence_;
  std::vector<LayerModels> models_;  ///< by layer, what was learned from the blocks before
  RowDrift state_drift_, drift_;     ///< of the block
  std::size_t rows_ = 0;
  std::span<std::int32_t> expected_;  ///< of the layer, [K|V][kv_heads][rows][head_dim]
  std::vector<std::int32_t> exact_;   ///< the same as the engine had it
};

}  // namespace seqkv::replay
