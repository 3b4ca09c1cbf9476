// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>
#include <Kokkos_Core.hpp>

#include <algorithm>

#include "codec/batch.hpp"
#include "codec/encoder.hpp"
#include "codec/predict/reuse.hpp"
#include "core/check_memory.hpp"
#include "core/execution_spaces.hpp"
#include "core/guard_memory.hpp"
#include "core/try.hpp"
#include "seqkv/codec.hpp"
#include "seqkv/limits.hpp"

namespace seqkv {
namespace {

template <class ExecutionSpace>
Result<void> check_arguments(const ConstKvView& kv, TokenSpan tokens, std::int64_t first_position,
                             std::int64_t block_tokens, const References& references) {
  SEQKV_TRY(kv.shape.check());
  const auto ids = static_cast<std::int64_t>(tokens.size());
  if (kv.tokens != ids) {
    return Error(ErrorCode::shape_mismatch, fmt::format("{} token ids for a cache of {} tokens", ids, kv.tokens));
  }
  SEQKV_TRY(check_memory<ExecutionSpace>(kv.memory));
  if (first_position < 0 || first_position > limits::max_tokens - kv.tokens) {
    return Error(ErrorCode::invalid_argument, fmt::format("first position {}", first_position));
  }
  SEQKV_TRY(codec::check_references(kv.shape, references.blocks));
  std::int64_t end = 0;
  for (const ReferenceSpan& span : references.spans) {
    const bool known = span.block >= 0 && span.block < static_cast<std::int64_t>(references.blocks.size());
    if (!known || span.first < end || span.count < 1 || span.count > kv.tokens - span.first || span.source < 0 ||
        span.count > references.blocks[static_cast<std::size_t>(span.block)].values.tokens - span.source) {
      return Error(ErrorCode::invalid_argument,
                   fmt::format("a reference of {} tokens from {} on", span.count, span.first));
    }
    end = span.first + span.count;
  }
  return codec::check_block_size(kv.shape, block_tokens);
}

/// Those of tokens [first, first + count), counted from there.
References part_of(const References& references, std::int64_t first, std::int64_t count) {
  References out{references.blocks, {}};
  for (ReferenceSpan span : references.spans) {
    const std::int64_t begin = std::max(span.first, first);
    span.count = std::min(span.first + span.count, first + count) - begin;
    if (span.count <= 0) continue;
    span.source += begin - span.first;
    span.before += begin - span.first;
    span.first = begin - first;
    out.spans.push_back(span);
  }
  return out;
}

template <class ExecutionSpace>
Result<std::vector<CodedBlock>> encode_as_it_is(const ExecutionSpace& space, const Codec& codec, const ConstKvView& kv,
                                                TokenSpan tokens, std::int64_t first_position,
                                                std::int64_t block_tokens, const References& references) {
  SEQKV_ASSIGN(auto encoder, codec::Encoder<ExecutionSpace>::create(space, codec, kv.shape));
  std::vector<CodedBlock> out(static_cast<std::size_t>(divide_up(kv.tokens, block_tokens)));
  const std::int64_t batch = codec::blocks_per_batch(space, kv.shape, block_tokens);
  for (std::int64_t first = 0, block = 0; first < kv.tokens; first += batch * block_tokens, block += batch) {
    const std::int64_t count = std::min(batch * block_tokens, kv.tokens - first);
    std::vector<ConstKvView> blocks;
    for (std::int64_t at = first; at < first + count; at += block_tokens) {
      blocks.push_back(kv.slice(at, std::min(block_tokens, first + count - at)));
    }
    encoder.run(blocks, tokens.subspan(first, count), first_position + first,
                std::span(out).subspan(block, blocks.size()), part_of(references, first, count));
  }
  return out;
}

}  // namespace

template <class ExecutionSpace>
Result<std::vector<CodedBlock>> encode(const ExecutionSpace& space, const Codec& codec, const ConstKvView& kv,
                                       TokenSpan tokens, std::int64_t first_position, std::int64_t block_tokens,
                                       const References& references) {
  SEQKV_TRY(check_arguments<ExecutionSpace>(kv, tokens, first_position, block_tokens, references));
  return guard_memory("to code a batch of blocks", [&]() -> Result<std::vector<CodedBlock>> {
    if (codec.predictor() == Predictor::ref && codec.uses_references() && !references.spans.empty()) {
      // Nothing is left of what it is predicted from: the residual is none.
      KvCache on_host;
      if (kv.memory != MemorySpace::host) {
        SEQKV_ASSIGN(on_host, KvCache::create(kv.shape, kv.tokens));
        SEQKV_TRY(copy(space, kv, on_host.view()));
      }
      const ConstKvView host_view = kv.memory == MemorySpace::host ? kv : ConstKvView(on_host.view());
      SEQKV_ASSIGN(const KvCache reused,
                   codec::with_reused(host_view, first_position, references, codec.recoded_tokens()));
      return encode_as_it_is(space, codec, reused.view(), tokens, first_position, block_tokens, references);
    }
    return encode_as_it_is(space, codec, kv, tokens, first_position, block_tokens, references);
  });
}

#define SEQKV_INSTANTIATE(Space)                                                                             \
  template Result<std::vector<CodedBlock>> encode(const Space&, const Codec&, const ConstKvView&, TokenSpan, \
                                                  std::int64_t, std::int64_t, const References&);
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv
