// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>

#include <algorithm>

#include "core/bytes.hpp"
#include "core/execution_spaces.hpp"
#include "core/guard_memory.hpp"
#include "core/token_checksum.hpp"
#include "core/try.hpp"
#include "model/rounded_forward.hpp"
#include "replay/difference_coder.hpp"
#include "replay/replay_stream.hpp"
#include "replay/token_stream.hpp"
#include "seqkv/hash.hpp"
#include "seqkv/replay.hpp"

namespace seqkv {
namespace {

using replay::BitDecoder;
using replay::BitEncoder;
using replay::DifferenceModel;
using replay::ReplayStream;

/// What was learned from the blocks before.
struct Models {
  std::vector<DifferenceModel> state, key, value;  ///< by layer

  Models(const ModelConfig& config, DType dtype) {
    for (std::int64_t layer = 0; layer < config.layers; ++layer) {
      state.emplace_back(config.hidden, dtype);
      key.emplace_back(config.kv_heads * config.head_dim, dtype);
      value.emplace_back(config.kv_heads * config.head_dim, dtype);
    }
  }
};

/// A tensor of the engine as integers, and back.
std::int32_t load(const std::byte* tensor, DType dtype, std::int64_t i) {
  if (dtype == DType::f32) return ordered_of(load_le<std::uint32_t>(tensor + 4 * i), dtype);
  return ordered_of(std::uint32_t{load_le<std::uint16_t>(tensor + 2 * i)}, dtype);
}
void store(std::byte* tensor, DType dtype, std::int64_t i, std::int32_t ordered) {
  if (dtype == DType::f32) return store_le(tensor + 4 * i, bits_of(ordered, dtype));
  store_le(tensor + 2 * i, static_cast<std::uint16_t>(bits_of(ordered, dtype)));
}

/// Calls visit(place in [K|V][kv_heads][rows][head_dim], tensor, element) for tokens [first, first + rows) of a layer.
template <class Byte, class Visit>
void for_each_number(const BasicKvView<Byte>& view, std::int64_t layer, std::int64_t first, std::int64_t rows,
                     const Visit& visit) {
  std::size_t place = 0;
  for (int kind = 0; kind < 2; ++kind) {
    const KvStrides& stride = view.strides[static_cast<std::size_t>(kind)];
    Byte* tensor = view.tensors[static_cast<std::size_t>(2 * layer + kind)];
    for (std::int64_t head = 0; head < view.shape.kv_heads; ++head) {
      for (std::int64_t row = 0; row < rows; ++row) {
        const std::int64_t at = head * stride.head + (first + row) * stride.token;
        for (std::int64_t i = 0; i < view.shape.head_dim; ++i) visit(place++, tensor, at + i * stride.component);
      }
    }
  }
}

}  // namespace

template <class ExecutionSpace>
struct ReplayCoder<ExecutionSpace>::State {
  std::shared_ptr<const Model<ExecutionSpace>> model;
  Options options;
  std::uint64_t fingerprint = 0;

  const ModelConfig& config() const { return model->config(); }

  /// A block through the layers, each corrected before the next one sees it. `states(layer, exact)` and
  /// `numbers(layer, exact)` fill in what the engine had, where that is known; `done(layer, exact)` has it in the end.
  template <class Coder, class States, class Numbers, class Done>
  Result<void> run_block(const ExecutionSpace& space, RoundedForward<ExecutionSpace>& forward,
                         Sequence<ExecutionSpace>& sequence, TokenSpan tokens, bool with_states, Coder& coder,
                         Models& models, const States& states, const Numbers& numbers, const Done& done) const {
    const std::size_t rows = tokens.size();
    const auto dim = static_cast<std::size_t>(config().head_dim);
    const auto hidden = static_cast<std::size_t>(config().hidden);
    replay::RowDrift state_drift(rows, 1.0F);
    replay::RowDrift drift(rows, 1.0F);
    std::vector<std::int32_t> exact;
    SEQKV_TRY(forward.begin(space, sequence, tokens));
    for (std::int64_t layer = 0; layer < config().layers; ++layer) {
      const auto l = static_cast<std::size_t>(layer);
      if (with_states) {
        const auto expected = forward.state(space);
        exact.assign(expected.size(), 0);
        states(layer, std::span(exact));
        for (std::size_t row = 0; row < rows; ++row) {
          models.state[l].code_row(
              coder, expected, exact, [=](std::size_t channel) { return row * hidden + channel; }, state_drift[row]);
        }
        std::copy(exact.begin(), exact.end(), expected.begin());
        forward.set_state(space);
        done(layer, true, std::span<const std::int32_t>());
      }
      forward.project(space, layer);
      const auto expected = forward.cache(space, layer);
      exact.assign(expected.size(), 0);
      numbers(layer, std::span(exact));
      for (std::size_t row = 0; row < rows; ++row) {
        const std::size_t half = expected.size() / 2;
        const auto at = [=](std::size_t channel) { return (channel / dim * rows + row) * dim + channel % dim; };
        models.key[l].code_row(coder, expected, exact, at, drift[row]);
        models.value[l].code_row(
            coder, expected, exact, [=](std::size_t channel) { return half + at(channel); }, drift[row]);
      }
      std::copy(exact.begin(), exact.end(), expected.begin());
      forward.set_cache(space, layer);
      done(layer, false, std::span<const std::int32_t>(exact));
      if (layer + 1 < config().layers) forward.finish(space, layer);
    }
    forward.end(space, sequence);
    return {};
  }
};

template <class ExecutionSpace>
ReplayCoder<ExecutionSpace>::ReplayCoder(std::unique_ptr<State> state) : state_(std::move(state)) {}
template <class ExecutionSpace>
ReplayCoder<ExecutionSpace>::ReplayCoder(ReplayCoder&&) noexcept = default;
template <class ExecutionSpace>
ReplayCoder<ExecutionSpace>& ReplayCoder<ExecutionSpace>::operator=(ReplayCoder&&) noexcept = default;
template <class ExecutionSpace>
ReplayCoder<ExecutionSpace>::~ReplayCoder() = default;

template <class ExecutionSpace>
Result<ReplayCoder<ExecutionSpace>> ReplayCoder<ExecutionSpace>::create(
    const ExecutionSpace&, std::shared_ptr<const Model<ExecutionSpace>> model, const Options& options) {
  if (options.block_tokens < 1 || options.block_tokens > limits::max_block_tokens) {
    return Error(ErrorCode::invalid_argument,
                 fmt::format("blocks of {} tokens, expected 1 to {}", options.block_tokens, limits::max_block_tokens));
  }
  const std::uint64_t fingerprint = load_le<std::uint64_t>(model->fingerprint().combined().bytes.data());
  return ReplayCoder(std::make_unique<State>(State{std::move(model), options, fingerprint}));
}

namespace {

Result<void> check_inputs(const ModelConfig& config, TokenSpan tokens, const ConstKvView& cache,
                          std::span<const std::span<const std::byte>> hidden) {
  SEQKV_TRY(check_tokens(tokens, 0, config));
  const KvShape& shape = cache.shape;
  if (shape.layers != config.layers || shape.kv_heads != config.kv_heads || shape.head_dim != config.head_dim ||
      cache.tokens != std::ssize(tokens)) {
    return Error(ErrorCode::shape_mismatch,
                 fmt::format("a cache of {} tokens of {} for {} tokens and a model of {}", cache.tokens,
                             shape.describe(), tokens.size(), config.kv_shape(shape.dtype).describe()));
  }
  if (cache.memory != MemorySpace::host || std::ssize(cache.tensors) != 2 * shape.layers) {
    return Error(ErrorCode::invalid_argument, "a host view of all tensors is expected");
  }
  if (!hidden.empty() && std::ssize(hidden) != config.layers) {
    return Error(ErrorCode::shape_mismatch,
                 fmt::format("hidden states of {} layers, the model has {}", hidden.size(), config.layers));
  }
  const std::size_t bytes = tokens.size() * static_cast<std::size_t>(config.hidden) * size_of(shape.dtype);
  for (std::size_t layer = 0; layer < hidden.size(); ++layer) {
    if (hidden[layer].size() == bytes) continue;
    return Error(ErrorCode::shape_mismatch,
                 fmt::format("{} bytes of hidden states, expected {}: {} tokens x {} in {}", hidden[layer].size(),
                             bytes, tokens.size(), config.hidden, to_string(shape.dtype)))
        .at_field(fmt::format("layers.{}.hidden", layer));
  }
  return {};
}

/// Checksum of the exact numbers of a block, layer after layer.
class BlockChecksum {
 public:
  void add(std::span<const std::int32_t> numbers) { hash_ = xxh3_64(as_bytes(numbers), hash_); }
  std::uint32_t value() const { return static_cast<std::uint32_t>(hash_); }

 private:
  std::uint64_t hash_ = 0;
};

}  // namespace

template <class ExecutionSpace>
Result<std::vector<std::byte>> ReplayCoder<ExecutionSpace>::encode(const ExecutionSpace& space, TokenSpan tokens,
                                                                   const ConstKvView& cache,
                                                                   std::span<const std::span<const std::byte>> hidden,
                                                                   Report* report) {
  const State& state = *state_;
  SEQKV_TRY(check_inputs(state.config(), tokens, cache, hidden));
  return guard_memory("to code a cache by replay", [&]() -> Result<std::vector<std::byte>> {
    const DType dtype = cache.shape.dtype;
    ReplayStream stream{state.fingerprint,
                        dtype,
                        state.options.rounding,
                        !hidden.empty(),
                        state.options.with_tokens,
                        tokens.size(),
                        token_checksum(tokens),
                        static_cast<std::uint64_t>(state.options.block_tokens),
                        {},
                        {}};
    if (state.options.with_tokens) {
      SEQKV_ASSIGN(auto coder, ModelTokenCoder<ExecutionSpace>::create(space, state.model));
      SEQKV_ASSIGN(stream.token_stream, coder.encode(space, {&tokens, 1}));
    }
    RoundedForward<ExecutionSpace> forward(space, state.model, stream.rounding, dtype, state.options.block_tokens);
    Sequence<ExecutionSpace> sequence(state.config());
    SEQKV_TRY(sequence.reserve(space, std::ssize(tokens)));
    Models models(state.config(), dtype);
    if (report != nullptr) {
      *report = {};
      report->token_bytes = std::ssize(stream.token_stream);
      report->state_bytes.resize(static_cast<std::size_t>(state.config().layers));
      report->cache_bytes.resize(static_cast<std::size_t>(state.config().layers));
    }
    const auto width = state.config().hidden;
    for (std::size_t first = 0; first < tokens.size(); first += stream.block_tokens) {
      const TokenSpan part = tokens.subspan(first, std::min<std::size_t>(stream.block_tokens, tokens.size() - first));
      BitEncoder coder;
      BlockChecksum checksum;
      std::size_t spent = 0;
      SEQKV_TRY(state.run_block(
          space, forward, sequence, part, stream.with_states, coder, models,
          [&](std::int64_t layer, std::span<std::int32_t> exact) {
            const std::byte* from = hidden[static_cast<std::size_t>(layer)].data();
            for (std::size_t i = 0; i < exact.size(); ++i) {
              exact[i] = load(from, dtype, static_cast<std::int64_t>(first) * width + static_cast<std::int64_t>(i));
            }
          },
          [&](std::int64_t layer, std::span<std::int32_t> exact) {
            for_each_number(cache, layer, static_cast<std::int64_t>(first), std::ssize(part),
                            [&](std::size_t place, const std::byte* tensor, std::int64_t element) {
                              exact[place] = load(tensor, dtype, element);
                            });
          },
          [&](std::int64_t layer, bool of_state, std::span<const std::int32_t> exact) {
            if (!of_state) checksum.add(exact);
            if (report == nullptr) return;
            auto& sum = (of_state ? report->state_bytes : report->cache_bytes)[static_cast<std::size_t>(layer)];
            sum += static_cast<std::int64_t>(coder.size() - spent);
            spent = coder.size();
          }));
      stream.blocks.push_back({checksum.value(), std::move(coder).finish()});
    }
    auto bytes = replay::write(stream);
    if (report != nullptr) report->bytes = std::ssize(bytes);
    return bytes;
  });
}

template <class ExecutionSpace>
Result<typename ReplayCoder<ExecutionSpace>::Session> ReplayCoder<ExecutionSpace>::decode(
    const ExecutionSpace& space, std::span<const std::byte> bytes, TokenSpan tokens) {
  const State& state = *state_;
  return guard_memory("to decode a replayed cache", [&]() -> Result<Session> {
    SEQKV_ASSIGN(const ReplayStream stream, replay::parse_replay_stream(bytes));
    if (stream.fingerprint != state.fingerprint) {
      return Error(ErrorCode::wrong_model, fmt::format("the session was coded with model {:016x}, this one is {:016x}",
                                                       stream.fingerprint, state.fingerprint));
    }
    Session session;
    if (stream.with_tokens) {
      if (!tokens.empty()) return Error(ErrorCode::invalid_argument, "the session has tokens of its own");
      SEQKV_ASSIGN(auto coder, ModelTokenCoder<ExecutionSpace>::create(space, state.model));
      SEQKV_ASSIGN(auto sessions, coder.decode(space, stream.token_stream));
      if (sessions.size() != 1) return Error(ErrorCode::corrupt, "tokens of one session are expected");
      session.tokens = std::move(sessions[0]);
    } else {
      session.tokens.assign(tokens.begin(), tokens.end());
    }
    if (session.tokens.size() != stream.tokens) {
      return Error(stream.with_tokens ? ErrorCode::corrupt : ErrorCode::invalid_argument,
                   fmt::format("{} tokens for a session of {}", session.tokens.size(), stream.tokens));
    }
    if (!stream.with_tokens && token_checksum(tokens) != stream.token_checksum) {
      return Error(ErrorCode::invalid_argument, "the tokens are not those of the session");
    }
    SEQKV_TRY(check_tokens(session.tokens, 0, state.config()));
    SEQKV_ASSIGN(session.cache, KvCache::create(state.config().kv_shape(stream.dtype), std::ssize(session.tokens)));
    RoundedForward<ExecutionSpace> forward(space, state.model, stream.rounding, stream.dtype,
                                           static_cast<std::int64_t>(stream.block_tokens));
    Sequence<ExecutionSpace> sequence(state.config());
    Models models(state.config(), stream.dtype);
    for (std::size_t i = 0; i < stream.blocks.size(); ++i) {
      const std::size_t first = i * stream.block_tokens;
      const TokenSpan part =
          TokenSpan(session.tokens).subspan(first, std::min<std::size_t>(stream.block_tokens, stream.tokens - first));
      BitDecoder coder(stream.blocks[i].payload);
      BlockChecksum checksum;
      const auto nothing = [](std::int64_t, std::span<std::int32_t>) {};
      SEQKV_TRY(state.run_block(space, forward, sequence, part, stream.with_states, coder, models, nothing, nothing,
                                [&](std::int64_t layer, bool of_state, std::span<const std::int32_t> exact) {
                                  if (of_state) return;
                                  checksum.add(exact);
                                  for_each_number(session.cache.view(), layer, static_cast<std::int64_t>(first),
                                                  std::ssize(part),
                                                  [&](std::size_t place, std::byte* tensor, std::int64_t element) {
                                                    store(tensor, stream.dtype, element, exact[place]);
                                                  });
                                }));
      if (!coder.at_end()) {
        return Error(ErrorCode::corrupt, "the payload is not that of its block").in_block(static_cast<std::int64_t>(i));
      }
      if (checksum.value() != stream.blocks[i].checksum) {
        return Error(ErrorCode::checksum_mismatch, "the checksum of the block's numbers is another")
            .in_block(static_cast<std::int64_t>(i));
      }
    }
    return session;
  });
}

template <class ExecutionSpace>
Result<void> regenerate(const ExecutionSpace& space, Forward<ExecutionSpace>& forward, TokenSpan tokens,
                        const KvView& out) {
  if (out.tokens != std::ssize(tokens)) {
    return Error(ErrorCode::shape_mismatch,
                 fmt::format("a cache of {} tokens for {} tokens", out.tokens, tokens.size()));
  }
  Sequence<ExecutionSpace> sequence(forward.model().config());
  const typename Forward<ExecutionSpace>::Item item{&sequence, tokens, 0};
  SEQKV_TRY(sequence.reserve(space, out.tokens));
  SEQKV_TRY(forward.run(space, {&item, 1}));
  return sequence.read(space, 0, out);
}

#define SEQKV_INSTANTIATE(Space)     \
  template class ReplayCoder<Space>; \
  template Result<void> regenerate<Space>(const Space&, Forward<Space>&, TokenSpan, const KvView&);
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)

}  // namespace seqkv
