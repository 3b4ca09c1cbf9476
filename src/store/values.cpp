// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Values into blocks of a store and back, with what they are predicted from (docs/reference.md).
#include <algorithm>

#include "codec/batch.hpp"
#include "core/execution_spaces.hpp"
#include "core/guard_memory.hpp"
#include "core/try.hpp"
#include "seqkv/session.hpp"

namespace seqkv {
namespace {

/// Blocks that others are predicted from, decoded.
struct Decoded {
  KvCache values;
  std::vector<ReferenceBlock> blocks;
};

/// How many from `first` on can be decoded together: of those that follow one another by position.
std::size_t together(std::span<const StoredReference* const> sources, std::size_t first) {
  std::size_t end = first + 1;
  while (end < sources.size() && sources[end]->tokens == sources[first]->tokens &&
         sources[end]->first_position == sources[end - 1]->first_position + sources[end - 1]->tokens) {
    ++end;
  }
  return end - first;
}

template <class ExecutionSpace>
Result<Decoded> decode_sources(const ExecutionSpace& space, const Codec& codec, const KvShape& shape,
                               std::span<const StoredReference* const> sources) {
  Decoded out;
  if (sources.empty()) return out;
  std::int64_t tokens = 0;
  for (const StoredReference* source : sources) tokens += source->tokens;
  SEQKV_ASSIGN(out.values, KvCache::create(shape, tokens));
  std::int64_t at = 0;
  for (std::size_t first = 0; first < sources.size();) {
    const std::size_t count = together(sources, first);
    std::vector<CodedBlockView> coded;
    const std::int64_t begin = at;
    for (const StoredReference* source : sources.subspan(first, count)) {
      coded.push_back(source->block);
      out.blocks.push_back(
          {source->hash, source->first_position, std::as_const(out.values).view().slice(at, source->tokens)});
      at += source->tokens;
    }
    if (auto status = decode(space, codec, coded, out.values.view().slice(begin, at - begin)); !status) {
      Error error = std::move(status).error();
      error.message = "what it is predicted from: " + error.message;
      return error;
    }
    first += count;
  }
  return out;
}

/// Blocks of tokens, and the references that the codec found no use for taken out of them again.
template <class ExecutionSpace>
Result<std::vector<CodedBlock>> encode_with(const ExecutionSpace& space, const SessionWriter& writer,
                                            const ConstKvView& kv, const References& references) {
  const std::int64_t first = writer.tokens();
  const std::int64_t size = writer.parameters().block_tokens;
  const auto ids = [&](std::int64_t from, std::int64_t count) {
    return writer.token_ids().subspan(static_cast<std::size_t>(from), static_cast<std::size_t>(count));
  };
  SEQKV_ASSIGN(std::vector<CodedBlock> blocks,
               encode(space, writer.codec(), kv, ids(first, kv.tokens), first, size, references));
  for (std::size_t i = 0; i < blocks.size() && !references.spans.empty(); ++i) {
    SEQKV_ASSIGN(const CodedBlockInfo info, inspect_block(kv.shape, blocks[i]));
    if (info.references.empty() || info.referring_subblocks > 0) continue;
    const ConstKvView values = kv.slice(info.first_position - first, info.count);
    SEQKV_ASSIGN(
        std::vector<CodedBlock> alone,
        encode(space, writer.codec(), values, ids(info.first_position, info.count), info.first_position, size));
    blocks[i] = std::move(alone.front());
  }
  return blocks;
}

}  // namespace

template <class ExecutionSpace>
Result<void> append(const ExecutionSpace& space, SessionWriter& writer, const ConstKvView& kv) {
  return guard_memory("to save a part of a session", [&]() -> Result<void> {
    const std::int64_t size = writer.parameters().block_tokens;
    const std::int64_t step =
        writer.codec().uses_references() ? size * codec::blocks_per_batch(space, kv.shape, size) : kv.tokens;
    for (std::int64_t at = 0; at < kv.tokens;) {
      SEQKV_ASSIGN(NextReferences next, writer.references(std::min(step, kv.tokens - at)));
      if (next.tokens < 1) return Error(ErrorCode::invalid_argument, "values of more tokens than the session has");
      std::vector<const StoredReference*> sources;
      for (const StoredReference& source : next.blocks) sources.push_back(&source);
      SEQKV_ASSIGN(Decoded decoded, decode_sources(space, writer.codec(), kv.shape, sources));
      SEQKV_ASSIGN(const std::vector<CodedBlock> blocks,
                   encode_with(space, writer, kv.slice(at, next.tokens), {decoded.blocks, std::move(next.spans)}));
      for (const CodedBlock& block : blocks) SEQKV_TRY(writer.append(block));
      at += next.tokens;
    }
    return {};
  });
}

template <class ExecutionSpace>
Result<void> decode(const ExecutionSpace& space, const Codec& codec, const StoredBlocks& blocks, std::size_t first,
                    std::size_t count, const KvView& out) {
  if (first > blocks.size() || count > blocks.size() - first) {
    return Error(ErrorCode::invalid_argument, "there are not so many blocks");
  }
  const std::span<const CodedBlockView> all = blocks;
  if (blocks.references().empty()) return decode(space, codec, all.subspan(first, count), out);
  return guard_memory("to decode blocks and what they are predicted from", [&]() -> Result<void> {
    const auto step = static_cast<std::size_t>(codec::blocks_for_all_threads(space, out.shape));
    for (std::size_t at = first; at < first + count; at += step) {
      const std::size_t end = std::min(at + step, first + count);
      std::vector<const StoredReference*> sources;
      for (std::size_t block = at; block < end; ++block) {
        for (const std::size_t number : blocks.references_of(block)) {
          const StoredReference* source = &blocks.references()[number];
          if (std::ranges::find(sources, source) == sources.end()) sources.push_back(source);
        }
      }
      auto decoded = decode_sources(space, codec, out.shape, sources);
      const auto in_block = [&](Error error) -> Error {
        error.block = static_cast<std::int64_t>(at) + std::max<std::int64_t>(error.block, 0);
        return error;
      };
      if (!decoded) return in_block(std::move(decoded).error().in_block(0));
      const std::int64_t from = blocks.first_token(at);
      const KvView part = out.slice(from - blocks.first_token(first), blocks.first_token(end) - from);
      if (auto status = decode(space, codec, all.subspan(at, end - at), part, decoded->blocks); !status) {
        return in_block(std::move(status).error());
      }
    }
    return {};
  });
}

#define SEQKV_INSTANTIATE(Space)                                                                          \
  template Result<void> append(const Space&, SessionWriter&, const ConstKvView&);                         \
  template Result<void> decode(const Space&, const Codec&, const StoredBlocks&, std::size_t, std::size_t, \
                               const KvView&);
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv
