// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "codec/block.hpp"
#include "core/execution_spaces.hpp"
#include "core/guard_memory.hpp"
#include "replay/block_tokens.hpp"
#include "replay/rest_blocks.hpp"
#include "replay/rounded_blocks.hpp"
#include "seqkv/hash.hpp"
#include "seqkv/replay.hpp"

namespace seqkv {
namespace {

using codec::BlockParts;
using replay::ReplayedPayload;

/// Of a block's values, [layers][K|V][kv_heads][tokens][head_dim] in the dtype (docs/format.md, decoded_hash).
std::uint64_t hash_of(const KvCache& cache) {
  const std::size_t bytes = codec::raw_bytes(cache.shape(), cache.tokens());
  std::vector<std::uint64_t> hashes;
  for (std::int64_t i = 0; i < 2 * cache.shape().layers; ++i) {
    hashes.push_back(xxh3_64(cache.raw().subspan(static_cast<std::size_t>(i) * bytes, bytes)));
  }
  return codec::combine_hashes(hashes);
}

Result<void> check_inputs(const ModelConfig& config, TokenSpan tokens, const ConstKvView& cache, DType dtype,
                          std::span<const std::span<const std::byte>> hidden) {
  const KvShape& shape = cache.shape;
  if (shape.layers != config.layers || shape.kv_heads != config.kv_heads || shape.head_dim != config.head_dim ||
      shape.dtype != dtype || cache.tokens != std::ssize(tokens)) {
    return Error(ErrorCode::shape_mismatch,
                 fmt::format("a cache of {} tokens of {} for {} tokens and a model of {}", cache.tokens,
                             shape.describe(), tokens.size(), config.kv_shape(dtype).describe()));
  }
  if (cache.memory != MemorySpace::host || std::ssize(cache.tensors) != 2 * shape.layers) {
    return Error(ErrorCode::invalid_argument, "a host view of all tensors is expected");
  }
  if (!hidden.empty() && std::ssize(hidden) != config.layers) {
    return Error(ErrorCode::shape_mismatch,
                 fmt::format("hidden states of {} layers, the model has {}", hidden.size(), config.layers));
  }
  const std::size_t bytes = tokens.size() * static_cast<std::size_t>(config.hidden) * size_of(dtype);
  for (std::size_t layer = 0; layer < hidden.size(); ++layer) {
    if (hidden[layer].size() == bytes) continue;
    return Error(ErrorCode::shape_mismatch,
                 fmt::format("{} bytes of hidden states, expected {}: {} tokens x {} in {}", hidden[layer].size(),
                             bytes, tokens.size(), config.hidden, to_string(dtype)))
        .at_field(fmt::format("layers.{}.hidden", layer));
  }
  return {};
}

}  // namespace

template <class ExecutionSpace>
struct ReplayCoder<ExecutionSpace>::State {
  std::shared_ptr<const Model<ExecutionSpace>> model;
  Codec codec;
  DType dtype;
  Options options;
  std::optional<replay::BlockTokens<ExecutionSpace>> tokens;     ///< where tokens are coded, or recomputing needs them
  std::optional<replay::RoundedBlocks<ExecutionSpace>> rounded;  ///< of replay+lossless
  std::optional<replay::RestBlocks<ExecutionSpace>> rest;        ///< of replay:LAYERS
  std::int64_t position = 0;
  std::vector<Token> block_tokens;
  KvCache block_cache;
  Report report;

  const ModelConfig& config() const { return model->config(); }

  Result<void> check_place(TokenSpan ids) const {
    if (ids.empty() || std::ssize(ids) > options.block_tokens) {
      return Error(ErrorCode::invalid_argument,
                   fmt::format("a block of {} tokens, expected 1 to {}", ids.size(), options.block_tokens));
    }
    return check_tokens(ids, position, config());
  }

  Result<void> make_room(std::int64_t count) {
    if (block_cache.tokens() == count) return {};
    SEQKV_ASSIGN(block_cache, KvCache::create(config().kv_shape(dtype), count));
    return {};
  }

  /// What the forward pass of the tokens, which have been read, left in the cache.
  Result<void> take_recomputed(const ExecutionSpace& space) {
    return tokens->sequence().read(space, position, block_cache.view());
  }
  /// Numbers of a layer go to the block's cache.
  auto to_block_cache() {
    return [this](std::int64_t layer, std::span<const std::int32_t> numbers) {
      replay::store_layer(numbers, layer, block_cache.view());
    };
  }

  /// Counts a block that has been coded.
  CodedBlock count(CodedBlock block, std::int64_t tokens_of_block) {
    report.bytes += std::ssize(block);
    report.tokens += tokens_of_block;
    position += tokens_of_block;
    return block;
  }

  Result<CodedBlock> encode(const ExecutionSpace& space, TokenSpan ids, const ConstKvView& cache, Hidden hidden) {
    const bool compare = !cache.tensors.empty();  // replay alone does without
    if (rounded || rest || compare) SEQKV_TRY(check_inputs(config(), ids, cache, dtype, hidden));
    SEQKV_TRY(check_place(ids));
    SEQKV_TRY(make_room(std::ssize(ids)));
    if (rest) {
      SEQKV_ASSIGN(CodedBlock block, rest->encode(space, ids, position, cache, block_cache, report.different));
      return count(std::move(block), std::ssize(ids));
    }
    const std::int64_t subblocks = 2 * config().layers;
    codec::BlockWriter writer;
    if (options.code_tokens) {
      SEQKV_ASSIGN(const std::vector<std::byte> coded, tokens->encode(space, ids));
      report.token_bytes += std::ssize(coded);
      writer.start(position, std::ssize(ids), coded, subblocks);
    } else {
      if (tokens) SEQKV_TRY(tokens->read(space, ids));
      writer.start({}, position, ids, {}, subblocks);
    }
    std::vector<ReplayedPayload> payloads(static_cast<std::size_t>(subblocks));
    if (rounded) {
      SEQKV_ASSIGN(payloads, rounded->encode(space, ids, cache, hidden, report.state_bytes, to_block_cache()));
    } else {
      SEQKV_TRY(take_recomputed(space));
      const ConstKvView values = std::as_const(block_cache).view();
      if (compare) report.different += replay::differences(cache, values, values.tensors.size());
    }
    for (std::size_t i = 0; i < payloads.size(); ++i) {
      writer.append({payloads[i].bytes, payloads[i].raw});
      report.cache_bytes[i / 2] += std::ssize(payloads[i].bytes);
    }
    return count(writer.finish(hash_of(block_cache)), std::ssize(ids));
  }

  Result<void> take_tokens(const ExecutionSpace& space, const BlockParts& parts) {
    const bool coded = parts.token_bits == BlockParts::coded_token_bits;
    if (coded != options.code_tokens) {
      return Error(ErrorCode::corrupt, coded ? "its tokens are coded by a model" : "its tokens are not coded");
    }
    if (coded) {
      SEQKV_ASSIGN(block_tokens, tokens->decode(space, parts.packed_tokens, parts.tokens));
      return {};
    }
    block_tokens = codec::unpack_tokens(parts);
    if (auto good = check_tokens(block_tokens, position, config()); !good) {
      return Error(ErrorCode::corrupt, good.error().message);
    }
    if (tokens) SEQKV_TRY(tokens->read(space, block_tokens));
    return {};
  }

  Result<Block> decode(const ExecutionSpace& space, CodedBlockView bytes) {
    SEQKV_ASSIGN(BlockParts parts, codec::parse_block(config().kv_shape(dtype), bytes));
    if (parts.first_position != position) {
      return Error(ErrorCode::corrupt,
                   fmt::format("the block is for position {}, expected {}", parts.first_position, position));
    }
    if (parts.tokens > options.block_tokens || position + parts.tokens > config().max_positions) {
      return Error(ErrorCode::limit_exceeded, fmt::format("{} tokens from position {}, the model has {} positions",
                                                          parts.tokens, position, config().max_positions));
    }
    SEQKV_TRY(take_tokens(space, parts));
    SEQKV_TRY(make_room(parts.tokens));
    if (rest) {
      const std::int64_t tokens_of_block = parts.tokens;
      SEQKV_ASSIGN(const ConstKvView values, rest->decode(space, block_tokens, std::move(parts), block_cache));
      position += tokens_of_block;
      return Block{block_tokens, values};
    }
    if (rounded) {
      SEQKV_TRY(rounded->decode(space, block_tokens, parts.subblocks, to_block_cache()));
    } else {
      if (std::ranges::any_of(parts.subblocks, [](const auto& s) { return s.raw || !s.bytes.empty(); })) {
        return Error(ErrorCode::corrupt, "a payload in a block of replay");
      }
      SEQKV_TRY(take_recomputed(space));
    }
    if (hash_of(block_cache) != parts.decoded_hash) {
      return Error(ErrorCode::checksum_mismatch, "the values do not have the checksum stored with them");
    }
    position += parts.tokens;
    return Block{block_tokens, std::as_const(block_cache).view()};
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
    const ExecutionSpace& space, std::shared_ptr<const Model<ExecutionSpace>> model, const Codec& codec, DType dtype,
    const Options& options) {
  if (!codec.needs_model()) {
    return Error(ErrorCode::invalid_argument, codec.spec() + " is no codec of replay");
  }
  if (options.block_tokens < 1 || options.block_tokens > limits::max_block_tokens) {
    return Error(ErrorCode::invalid_argument,
                 fmt::format("blocks of {} tokens, expected 1 to {}", options.block_tokens, limits::max_block_tokens));
  }
  return guard_memory("for a coder of sessions", [&]() -> Result<ReplayCoder> {
    auto state = std::make_unique<State>(State{model, codec, dtype, options, {}, {}, {}, 0, {}, {}, {}});
    const auto layers = static_cast<std::size_t>(model->config().layers);
    state->report.state_bytes.resize(layers);
    state->report.cache_bytes.resize(layers);
    if (codec.replayed_layers() > 0) {
      state->options.code_tokens = false;  // that takes the whole model
      SEQKV_ASSIGN(state->rest,
                   replay::RestBlocks<ExecutionSpace>::create(space, model, codec, dtype, options.block_tokens));
      return ReplayCoder(std::move(state));
    }
    const auto* lossless = std::get_if<LosslessSpec>(&codec.quantizer());
    if (lossless == nullptr || options.code_tokens) {
      SEQKV_ASSIGN(state->tokens, replay::BlockTokens<ExecutionSpace>::create(space, model, options.block_tokens,
                                                                              options.code_tokens));
    }
    if (lossless != nullptr) {
      state->rounded.emplace(space, model, lossless->rounding(dtype), dtype, options.block_tokens);
    }
    return ReplayCoder(std::move(state));
  });
}

template <class ExecutionSpace>
std::int64_t ReplayCoder<ExecutionSpace>::position() const noexcept {
  return state_->position;
}

template <class ExecutionSpace>
void ReplayCoder<ExecutionSpace>::rewind(std::int64_t position) noexcept {
  state_->tokens->truncate(position);
  state_->position = position;
}

template <class ExecutionSpace>
const typename ReplayCoder<ExecutionSpace>::Report& ReplayCoder<ExecutionSpace>::report() const noexcept {
  return state_->report;
}

template <class ExecutionSpace>
Result<CodedBlock> ReplayCoder<ExecutionSpace>::encode(const ExecutionSpace& space, TokenSpan tokens,
                                                       const ConstKvView& cache, Hidden hidden) {
  return guard_memory("to code a block by replay", [&] { return state_->encode(space, tokens, cache, hidden); });
}

template <class ExecutionSpace>
Result<typename ReplayCoder<ExecutionSpace>::Block> ReplayCoder<ExecutionSpace>::decode(const ExecutionSpace& space,
                                                                                        CodedBlockView block) {
  return guard_memory("to decode a block by replay", [&] { return state_->decode(space, block); });
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
#undef SEQKV_INSTANTIATE

}  // namespace seqkv
