// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>
#include <Kokkos_Core.hpp>

#include <algorithm>

#include "codec/batch.hpp"
#include "codec/encoder.hpp"
#include "core/execution_spaces.hpp"
#include "core/guard_memory.hpp"
#include "core/try.hpp"
#include "seqkv/codec.hpp"
#include "seqkv/limits.hpp"

namespace seqkv {
namespace {

Result<void> check_arguments(const ConstKvView& kv, TokenSpan tokens, std::int64_t first_position,
                             std::int64_t block_tokens) {
  SEQKV_TRY(kv.shape.check());
  const auto ids = static_cast<std::int64_t>(tokens.size());
  if (kv.tokens != ids) {
    return Error(ErrorCode::shape_mismatch, fmt::format("{} token ids for a cache of {} tokens", ids, kv.tokens));
  }
  if (kv.memory != MemorySpace::host) return Error(ErrorCode::invalid_argument, "host memory is expected");
  if (first_position < 0 || first_position > limits::max_tokens - kv.tokens) {
    return Error(ErrorCode::invalid_argument, fmt::format("first position {}", first_position));
  }
  return codec::check_block_size(kv.shape, block_tokens);
}

}  // namespace

template <class ExecutionSpace>
Result<std::vector<CodedBlock>> encode(const ExecutionSpace& space, const Codec& codec, const ConstKvView& kv,
                                       TokenSpan tokens, std::int64_t first_position, std::int64_t block_tokens) {
  SEQKV_TRY(check_arguments(kv, tokens, first_position, block_tokens));
  return guard_memory("to code a batch of blocks", [&]() -> Result<std::vector<CodedBlock>> {
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
                  std::span(out).subspan(block, blocks.size()));
    }
    return out;
  });
}

#define SEQKV_INSTANTIATE(Space)                                                                             \
  template Result<std::vector<CodedBlock>> encode(const Space&, const Codec&, const ConstKvView&, TokenSpan, \
                                                  std::int64_t, std::int64_t);
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)

}  // namespace seqkv
