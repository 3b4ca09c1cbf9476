// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "mpi/coded_prefix.hpp"

#include <algorithm>

#include "core/bytes.hpp"
#include "core/execution_spaces.hpp"
#include "core/try.hpp"

namespace seqkv::mpi {
namespace {

Result<Codec> exact_codec() { return Codec::parse("none+lossless"); }

}  // namespace

std::vector<std::byte> CodedPrefix::to_bytes() const {
  ByteWriter out;
  out.put(handover);
  out.put(first_token);
  out.put(static_cast<std::uint64_t>(rows.size()));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const BlockRow& row = rows[i];
    out.put(std::span<const std::byte>(row.identity.bytes));
    for (const std::int64_t number : {row.position, row.tokens, row.place.pack, row.place.offset, row.place.bytes}) {
      out.put(number);
    }
    out.put(static_cast<std::uint64_t>(blocks[i].size()));
    out.put(blocks[i]);
  }
  return std::move(out).take();
}

std::uint64_t CodedPrefix::handover_of(std::span<const std::byte> bytes) {
  return ByteReader(bytes).get<std::uint64_t>();
}

Result<CodedPrefix> CodedPrefix::from_bytes(std::span<const std::byte> bytes) {
  ByteReader in(bytes);
  CodedPrefix prefix;
  prefix.handover = in.get<std::uint64_t>();
  prefix.first_token = in.get<std::int64_t>();
  for (auto left = in.get<std::uint64_t>(); left > 0 && in.ok(); --left) {
    BlockRow& row = prefix.rows.emplace_back();
    std::ranges::copy(in.get_bytes(row.identity.bytes.size()), row.identity.bytes.begin());
    for (std::int64_t* number : {&row.position, &row.tokens, &row.place.pack, &row.place.offset, &row.place.bytes}) {
      *number = in.get<std::int64_t>();
    }
    const auto block = in.get_bytes(in.get<std::uint64_t>());
    prefix.blocks.emplace_back(block.begin(), block.end());
  }
  if (in.ok() && in.remaining() == 0) return prefix;
  return Error(ErrorCode::corrupt, "a prefix from another rank does not end where it should");
}

template <class ExecutionSpace>
Result<std::vector<CodedBlock>> CodedPrefix::encode(const ExecutionSpace& space, const ConstKvView& values,
                                                    TokenSpan tokens, std::int64_t first, std::int64_t block_tokens) {
  SEQKV_ASSIGN(const Codec codec, exact_codec());
  return seqkv::encode(space, codec, values, tokens, first, block_tokens);
}

template <class ExecutionSpace>
Result<KvCache> CodedPrefix::decode(const ExecutionSpace& space, const KvShape& shape, TokenSpan tokens) const {
  SEQKV_ASSIGN(const Codec codec, exact_codec());
  std::vector<CodedBlockView> views(blocks.begin(), blocks.end());
  std::int64_t at = first_token;
  for (const CodedBlockView& view : views) {
    SEQKV_ASSIGN(const CodedBlockInfo info, inspect_block(shape, view));
    const auto count = std::ssize(info.tokens);
    if (info.first_position != at || at + count > std::ssize(tokens) ||
        !std::ranges::equal(info.tokens, tokens.subspan(static_cast<std::size_t>(at), info.tokens.size()))) {
      return Error(ErrorCode::corrupt, "a prefix from another rank is of other tokens");
    }
    at += count;
  }
  SEQKV_TRY(check_sizes(codec, shape, views, at - first_token));
  SEQKV_ASSIGN(KvCache cache, KvCache::create(shape, at - first_token));
  SEQKV_TRY(seqkv::decode(space, codec, views, cache.view()));
  return cache;
}

#define SEQKV_INSTANTIATE(Space)                                                                            \
  template Result<std::vector<CodedBlock>> CodedPrefix::encode(const Space&, const ConstKvView&, TokenSpan, \
                                                               std::int64_t, std::int64_t);                 \
  template Result<KvCache> CodedPrefix::decode(const Space&, const KvShape&, TokenSpan) const;
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv::mpi
