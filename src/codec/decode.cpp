// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>
#include <Kokkos_Core.hpp>

#include <algorithm>

#include "codec/batch.hpp"
#include "codec/decoder.hpp"
#include "core/check_memory.hpp"
#include "core/execution_spaces.hpp"
#include "core/guard_memory.hpp"
#include "core/try.hpp"
#include "seqkv/codec.hpp"
#include "seqkv/frame.hpp"

namespace seqkv {

template <class ExecutionSpace>
Result<void> decode(const ExecutionSpace& space, const Codec& codec, std::span<const CodedBlockView> blocks,
                    const KvView& out, std::span<const ReferenceBlock> references) {
  return guard_memory("to decode a batch of blocks", [&]() -> Result<void> {
    SEQKV_ASSIGN(const std::vector<codec::BlockParts> parts, codec::parse_blocks(space, out.shape, blocks));
    SEQKV_TRY(codec::check_references(out.shape, references));
    SEQKV_TRY(check_memory<ExecutionSpace>(out.memory));
    std::int64_t sum = 0;
    for (const codec::BlockParts& block : parts) sum += block.tokens;
    if (sum != out.tokens) {
      return Error(ErrorCode::shape_mismatch,
                   fmt::format("the blocks hold {} tokens, room is for {}", sum, out.tokens));
    }
    SEQKV_ASSIGN(auto decoder, codec::Decoder<ExecutionSpace>::create(space, codec, out.shape));
    // Enough sub-blocks together for all threads; memory stays that of a few blocks.
    const auto together = static_cast<std::size_t>(codec::blocks_for_all_threads(space, out.shape));
    std::int64_t token = 0;
    for (std::size_t first = 0; first < parts.size(); first += together) {
      const auto batch = std::span(parts).subspan(first, std::min(together, parts.size() - first));
      if (auto status = decoder.run(batch, references); !status) {
        Error error = std::move(status).error();
        if (error.block >= 0) error.block += static_cast<std::int64_t>(first);
        return error;
      }
      for (std::size_t block = 0; block < batch.size(); ++block) {
        SEQKV_TRY(copy(space, decoder.values(block, out.memory), out.slice(token, batch[block].tokens)));
        token += batch[block].tokens;
      }
    }
    return {};
  });
}

template <class ExecutionSpace>
Result<KvCache> decode(const ExecutionSpace& space, const FrameReader& frame,
                       const std::shared_ptr<const Profile>& profile) {
  const FrameInfo& info = frame.info();
  const auto blocks = frame.blocks(0, info.blocks());
  SEQKV_ASSIGN(const Codec codec, codec::find_codec(info.codec, info.profile, profile));
  SEQKV_TRY(check_sizes(codec, info.shape, blocks, info.tokens));
  SEQKV_TRY(frame.tokens());  // each block at its place
  SEQKV_ASSIGN(KvCache cache, KvCache::create(info.shape, info.tokens));
  SEQKV_TRY(decode(space, codec, blocks, cache.view()));
  return cache;
}

#define SEQKV_INSTANTIATE(Space)                                                                           \
  template Result<void> decode(const Space&, const Codec&, std::span<const CodedBlockView>, const KvView&, \
                               std::span<const ReferenceBlock>);                                           \
  template Result<KvCache> decode(const Space&, const FrameReader&, const std::shared_ptr<const Profile>&);
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv
