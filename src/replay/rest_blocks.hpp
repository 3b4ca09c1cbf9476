// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Blocks of replay:LAYERS: the first layers run again, the rest coded as residuals (docs/replay.md).
#pragma once

#include <fmt/format.h>

#include <memory>
#include <utility>

#include "codec/decoder.hpp"
#include "codec/encoder.hpp"
#include "core/try.hpp"
#include "replay/first_layers.hpp"
#include "replay/ordered.hpp"

namespace seqkv::replay {

template <class ExecutionSpace>
class RestBlocks {
 public:
  /// Errors: invalid_argument (no layers are left), those of Encoder::create and Decoder::create, out_of_memory.
  static Result<RestBlocks> create(const ExecutionSpace& space, std::shared_ptr<const Model<ExecutionSpace>> model,
                                   const Codec& codec, DType dtype, std::int64_t block_tokens) {
    const ModelConfig& config = model->config();
    const std::int64_t layers = codec.replayed_layers();
    if (layers + 1 >= config.layers) {
      return Error(ErrorCode::invalid_argument,
                   fmt::format("{} leaves nothing of {} layers", codec.spec(), config.layers));
    }
    const KvShape shape = config.kv_shape(dtype);
    SEQKV_ASSIGN(auto first, FirstLayers<ExecutionSpace>::create(space, std::move(model), layers, block_tokens));
    SEQKV_ASSIGN(auto encoder, codec::Encoder<ExecutionSpace>::create(space, codec.of_the_rest(), shape));
    encoder.give(first.subblocks());
    SEQKV_ASSIGN(auto decoder, codec::Decoder<ExecutionSpace>::create(space, codec.of_the_rest(), shape));
    return RestBlocks(std::move(first), std::move(encoder), std::move(decoder));
  }

  /// The next block. `scratch` is of its tokens; components that will not come back are added to `different`.
  Result<CodedBlock> encode(const ExecutionSpace& space, TokenSpan ids, std::int64_t position, const ConstKvView& cache,
                            KvCache& scratch, std::int64_t& different) {
    SEQKV_TRY(copy(space, cache, scratch.view()));
    SEQKV_TRY(first_.run(space, ids, scratch.view()));
    const ConstKvView values = std::as_const(scratch).view();
    different += differences(cache, values, static_cast<std::size_t>(first_.subblocks()));
    CodedBlock block;
    encoder_.run({&values, 1}, ids, position, {&block, 1});
    return block;
  }

  /// Its values, valid until the next call. Errors: corrupt, those of Decoder::run.
  Result<ConstKvView> decode(const ExecutionSpace& space, TokenSpan ids, codec::BlockParts parts, KvCache& scratch) {
    SEQKV_TRY(first_.run(space, ids, scratch.view()));
    for (std::size_t i = 0; i < static_cast<std::size_t>(first_.subblocks()); ++i) {
      codec::SubblockPayload& payload = parts.subblocks[i];
      if (payload.raw || !payload.bytes.empty()) {
        return Error(ErrorCode::corrupt, "a payload where the model makes the values");
      }
      const auto bytes = static_cast<std::size_t>(codec::raw_bytes(scratch.shape(), parts.tokens));
      payload = {{scratch.view().tensors[i], bytes}, true};
    }
    SEQKV_TRY(decoder_.run({&parts, 1}));
    return decoder_.values(0);
  }

 private:
  RestBlocks(FirstLayers<ExecutionSpace> first, codec::Encoder<ExecutionSpace> encoder,
             codec::Decoder<ExecutionSpace> decoder)
      : first_(std::move(first)), encoder_(std::move(encoder)), decoder_(std::move(decoder)) {}

  FirstLayers<ExecutionSpace> first_;
  codec::Encoder<ExecutionSpace> encoder_;
  codec::Decoder<ExecutionSpace> decoder_;
};

}  // namespace seqkv::replay
