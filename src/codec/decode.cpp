// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>
#include <Kokkos_Core.hpp>

#include <algorithm>
#include <cstring>
#include <new>

#include "codec/batch.hpp"
#include "codec/block.hpp"
#include "codec/kernel.hpp"
#include "core/bytes.hpp"
#include "core/execution_spaces.hpp"
#include "core/guard_memory.hpp"
#include "core/try.hpp"
#include "seqkv/codec.hpp"
#include "seqkv/frame.hpp"
#include "seqkv/hash.hpp"

namespace seqkv {
namespace {

using codec::BlockParts;
using codec::Subblock;
using codec::Task;
using codec::Tasks;
using HostRange = Kokkos::RangePolicy<Kokkos::DefaultHostExecutionSpace, Kokkos::IndexType<std::int64_t>>;

/// Takes all blocks apart, in parallel, and checks that they follow one another. The first error in block order
/// is the one reported.
Result<std::vector<BlockParts>> parse_blocks(const KvShape& shape, std::span<const CodedBlockView> blocks,
                                             std::int64_t tokens) {
  std::vector<Result<BlockParts>> results(blocks.size(), BlockParts{});
  Kokkos::parallel_for("seqkv::codec::parse", HostRange(0, static_cast<std::int64_t>(blocks.size())),
                       [&](std::int64_t i) {
                         try {
                           (void)(results[i] = codec::parse_block(shape, blocks[i]));
                         } catch (const std::bad_alloc&) {
                           (void)(results[i] = Error(ErrorCode::out_of_memory, "no memory for the block's table"));
                         }
                       });
  std::vector<BlockParts> parts;
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (!results[i]) return std::move(results[i]).error().in_block(static_cast<std::int64_t>(i));
    parts.push_back(std::move(results[i]).value());
    const std::int64_t position = parts.back().first_position;
    const std::int64_t expected = parts.front().first_position + sum;
    if (position != expected) {
      return Error(ErrorCode::corrupt, fmt::format("the block is for position {}, expected {}", position, expected))
          .in_block(static_cast<std::int64_t>(i));
    }
    sum += parts.back().tokens;
  }
  if (sum != tokens) {
    return Error(ErrorCode::shape_mismatch, fmt::format("the blocks hold {} tokens, room is for {}", sum, tokens));
  }
  return parts;
}

/// Decodes a few blocks at a time through buffers that it keeps.
template <class ExecutionSpace>
class BatchDecoder {
 public:
  BatchDecoder(const ExecutionSpace& space, const KvShape& shape, codec::KernelOwner<ExecutionSpace> owner)
      : space_(space), shape_(shape), owner_(std::move(owner)) {}

  /// `first_block` is the number of parts[0], for messages. `out` has the tokens of these blocks.
  Result<void> run(std::span<const BlockParts> parts, std::int64_t first_block, const KvView& out) {
    lay_out(parts);
    upload_payloads(parts);
    owner_.set_positions(space_, parts.front().first_position, out.tokens);
    const auto count = static_cast<std::int64_t>(parts.size()) * subblocks();
    tasks_.to_device(space_, count);
    std::visit([&](const auto& kernel) { codec::decode_tasks(space_, kernel, largest_, tasks_, count); },
               owner_.kernel());
    tasks_.to_host(space_, count);
    values_.to_host(space_, bytes_);
    space_.fence("seqkv::codec::decode: values are checked on the host");
    SEQKV_TRY(check(parts, first_block));
    return scatter(parts, out);
  }

 private:
  std::int64_t subblocks() const { return 2 * shape_.layers; }

  /// Places for values, and a task a sub-block.
  void lay_out(std::span<const BlockParts> parts) {
    offsets_.clear();
    bytes_ = 0;
    std::int64_t token = 0;
    largest_ = {};
    for (const BlockParts& block : parts) {
      offsets_.push_back(bytes_);
      bytes_ += subblocks() * codec::raw_bytes(shape_, block.tokens);
    }
    values_.reserve("seqkv::codec::values", bytes_);
    tasks_.reserve("seqkv::codec::tasks", static_cast<std::int64_t>(parts.size()) * subblocks());
    for (std::size_t block = 0; block < parts.size(); ++block) {
      const std::int64_t whole = codec::raw_bytes(shape_, parts[block].tokens);
      for (std::int64_t index = 0; index < subblocks(); ++index) {
        Subblock subblock{shape_.kv_heads, parts[block].tokens, shape_.head_dim, shape_.dtype, index % 2 == 0, token};
        if (subblock.tokens > largest_.tokens) largest_ = subblock;
        const auto& payload = parts[block].subblocks[index];
        tasks_[block * subblocks() + index] = {subblock,
                                               static_cast<std::uint64_t>(index),
                                               values_.device() + offsets_[block] + index * whole,
                                               nullptr,
                                               static_cast<std::int64_t>(payload.bytes.size()),
                                               payload.raw};
      }
      token += parts[block].tokens;
    }
  }

  /// On host spaces the kernels read the caller's bytes in place.
  void upload_payloads(std::span<const BlockParts> parts) {
    if constexpr (is_host_space<ExecutionSpace>) {
      for_each_payload(parts, [this](std::int64_t i, std::span<const std::byte> bytes) {
        tasks_[i].coded = const_cast<std::byte*>(bytes.data());  // decode only reads
      });
    } else {
      std::int64_t total = 0;
      for_each_payload(parts, [&](std::int64_t, std::span<const std::byte> bytes) {
        total += round_up<std::int64_t>(static_cast<std::int64_t>(bytes.size()), 8);
      });
      payloads_.reserve("seqkv::codec::payloads", total);
      std::int64_t at = 0;
      for_each_payload(parts, [&](std::int64_t i, std::span<const std::byte> bytes) {
        std::memcpy(payloads_.host() + at, bytes.data(), bytes.size());
        tasks_[i].coded = payloads_.device() + at;
        at += round_up<std::int64_t>(static_cast<std::int64_t>(bytes.size()), 8);
      });
      payloads_.to_device(space_, total);
    }
  }

  template <class Visit>
  void for_each_payload(std::span<const BlockParts> parts, const Visit& visit) const {
    std::int64_t i = 0;
    for (const BlockParts& block : parts) {
      for (const auto& payload : block.subblocks) visit(i++, payload.bytes);
    }
  }

  Result<void> check(std::span<const BlockParts> parts, std::int64_t first_block) const {
    std::vector<std::uint64_t> hashes(parts.size() * subblocks());
    Kokkos::parallel_for(
        "seqkv::codec::hash", HostRange(0, static_cast<std::int64_t>(hashes.size())), [&](std::int64_t i) {
          const BlockParts& block = parts[i / subblocks()];
          const std::int64_t whole = codec::raw_bytes(shape_, block.tokens);
          const std::byte* values = values_.host() + offsets_[i / subblocks()] + i % subblocks() * whole;
          hashes[i] = xxh3_64({values, static_cast<std::size_t>(whole)});
        });
    for (std::size_t block = 0; block < parts.size(); ++block) {
      const auto number = first_block + static_cast<std::int64_t>(block);
      for (std::int64_t index = 0; index < subblocks(); ++index) {
        if (tasks_[block * subblocks() + index].bytes != codec::not_codable) continue;
        return Error(ErrorCode::corrupt,
                     fmt::format("the {}s of layer {} do not decode", index % 2 == 0 ? "key" : "value", index / 2))
            .in_block(number);
      }
      const auto of_block = std::span(hashes).subspan(block * subblocks(), subblocks());
      if (codec::combine_hashes(of_block) != parts[block].decoded_hash) {
        return Error(ErrorCode::checksum_mismatch,
                     "the decoded values do not have the checksum stored with them (another codec or shape?)")
            .in_block(number);
      }
    }
    return {};
  }

  Result<void> scatter(std::span<const BlockParts> parts, const KvView& out) const {
    std::int64_t token = 0;
    for (std::size_t block = 0; block < parts.size(); ++block) {
      const std::int64_t tokens = parts[block].tokens;
      const std::int64_t whole = codec::raw_bytes(shape_, tokens);
      ConstKvView from{shape_, tokens, {}, {}, MemorySpace::host};
      from.strides.fill({tokens * shape_.head_dim, shape_.head_dim, 1});
      for (std::int64_t i = 0; i < subblocks(); ++i)
        from.tensors.push_back(values_.host() + offsets_[block] + i * whole);
      SEQKV_TRY(copy(from, out.slice(token, tokens)));
      token += tokens;
    }
    return {};
  }

  const ExecutionSpace& space_;
  KvShape shape_;
  codec::KernelOwner<ExecutionSpace> owner_;
  std::vector<std::int64_t> offsets_;  ///< of each block's values
  Subblock largest_;
  std::int64_t bytes_ = 0;
  Mirrored<ExecutionSpace, std::byte> values_, payloads_;
  Tasks<ExecutionSpace> tasks_;
};

}  // namespace

template <class ExecutionSpace>
Result<void> decode(const ExecutionSpace& space, const Codec& codec, std::span<const CodedBlockView> blocks,
                    const KvView& out) {
  return guard_memory("to decode a batch of blocks", [&]() -> Result<void> {
    SEQKV_ASSIGN(const std::vector<BlockParts> parts, parse_blocks(out.shape, blocks, out.tokens));
    auto created = codec::KernelOwner<ExecutionSpace>::create(space, codec, out.shape);
    if (!created) return Error(ErrorCode::corrupt, "blocks that no encoder writes: " + created.error().message);
    auto owner = std::move(created).value();
    // Enough sub-blocks together for all threads; memory stays that of a few blocks.
    const std::int64_t together =
        std::max<std::int64_t>(1, divide_up<std::int64_t>(8 * space.concurrency(), 2 * out.shape.layers));
    BatchDecoder<ExecutionSpace> decoder(space, out.shape, std::move(owner));
    std::int64_t token = 0;
    for (std::size_t first = 0; first < parts.size(); first += static_cast<std::size_t>(together)) {
      const auto batch =
          std::span<const BlockParts>(parts).subspan(first, std::min<std::size_t>(together, parts.size() - first));
      std::int64_t tokens = 0;
      for (const BlockParts& block : batch) tokens += block.tokens;
      SEQKV_TRY(decoder.run(batch, static_cast<std::int64_t>(first), out.slice(token, tokens)));
      token += tokens;
    }
    return {};
  });
}

template <class ExecutionSpace>
Result<KvCache> decode(const ExecutionSpace& space, const FrameReader& frame) {
  const FrameInfo& info = frame.info();
  const auto blocks = frame.blocks(0, info.blocks());
  SEQKV_ASSIGN(const Codec codec, Codec::parse_stored(info.codec));
  SEQKV_TRY(check_sizes(codec, info.shape, blocks, info.tokens));
  SEQKV_TRY(frame.tokens());  // each block at its place
  SEQKV_ASSIGN(KvCache cache, KvCache::create(info.shape, info.tokens));
  SEQKV_TRY(decode(space, codec, blocks, cache.view()));
  return cache;
}

#define SEQKV_INSTANTIATE(Space)                                                                            \
  template Result<void> decode(const Space&, const Codec&, std::span<const CodedBlockView>, const KvView&); \
  template Result<KvCache> decode(const Space&, const FrameReader&);
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)

}  // namespace seqkv
