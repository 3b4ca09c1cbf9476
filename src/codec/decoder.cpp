// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "codec/decoder.hpp"

#include <fmt/format.h>
#include <Kokkos_Core.hpp>

#include <algorithm>
#include <cstring>
#include <new>

#include "codec/batch.hpp"
#include "core/bytes.hpp"
#include "core/execution_spaces.hpp"
#include "core/host_range.hpp"
#include "core/try.hpp"
#include "seqkv/hash.hpp"

namespace seqkv::codec {

template <class ExecutionSpace>
Result<std::vector<BlockParts>> parse_blocks(const ExecutionSpace& space, const KvShape& shape,
                                             std::span<const CodedBlockView> blocks) {
  std::vector<Result<BlockParts>> results(blocks.size(), BlockParts{});
  Kokkos::parallel_for("seqkv::codec::parse", host_range(space, static_cast<std::int64_t>(blocks.size())),
                       [&](std::int64_t i) {
                         try {
                           (void)(results[i] = parse_block(shape, blocks[i]));
                         } catch (const std::bad_alloc&) {
                           (void)(results[i] = Error(ErrorCode::out_of_memory, "no memory for the block's table"));
                         }
                       });
  std::vector<BlockParts> parts;
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (!results[i]) return std::move(results[i]).error().in_block(static_cast<std::int64_t>(i));
    parts.push_back(std::move(results[i]).value());
    if (parts.back().token_bits == BlockParts::coded_token_bits) {
      return Error(ErrorCode::corrupt, "its tokens are coded by a model").in_block(static_cast<std::int64_t>(i));
    }
    const std::int64_t position = parts.back().first_position;
    const std::int64_t expected = parts.front().first_position + sum;
    if (position != expected) {
      return Error(ErrorCode::corrupt, fmt::format("the block is for position {}, expected {}", position, expected))
          .in_block(static_cast<std::int64_t>(i));
    }
    sum += parts.back().tokens;
  }
  return parts;
}

template <class ExecutionSpace>
Result<Decoder<ExecutionSpace>> Decoder<ExecutionSpace>::create(const ExecutionSpace& space, const Codec& codec,
                                                                const KvShape& shape) {
  SEQKV_TRY(check_no_model(codec));
  auto owner = KernelOwner<ExecutionSpace>::create(space, codec, shape);
  if (!owner) return Error(ErrorCode::corrupt, "blocks that no encoder writes: " + owner.error().message);
  Decoder decoder(space, shape, std::move(owner).value());
  if (codec.needs_profile()) {
    SEQKV_TRY(check_profile(codec, shape));
    decoder.predictive_.emplace(space, codec, decoder.owner_.kernel());
    decoder.uses_references_ = codec.uses_references();
  }
  return decoder;
}

template <class ExecutionSpace>
Result<void> Decoder<ExecutionSpace>::run(std::span<const BlockParts> parts,
                                          std::span<const ReferenceBlock> references) {
  lay_out(parts);
  if (parts.empty()) return {};
  owner_.set_positions(space_, parts.front().first_position, places_.back().first_token + places_.back().tokens);
  const auto all = static_cast<std::int64_t>(parts.size()) * subblocks();
  const std::int64_t together = predictive_ ? all : subblocks_together(space_, subblock(0), all);
  if (predictive_) SEQKV_TRY(start_prediction(parts, references));
  for (std::int64_t first = 0; first < all; first += together) decode(parts, first, std::min(together, all - first));
  return check(parts);
}

template <class ExecutionSpace>
ConstKvView Decoder<ExecutionSpace>::values(std::size_t block, MemorySpace memory) const {
  const Place& place = places_[block];
  ConstKvView view{shape_, place.tokens, {}, {}, memory};
  const std::byte* values = memory == MemorySpace::host ? values_.host() : values_.device();
  view.strides.fill({place.tokens * shape_.head_dim, shape_.head_dim, 1});
  for (std::int64_t i = 0; i < subblocks(); ++i) {
    view.tensors.push_back(values + place.at + i * raw_bytes(shape_, place.tokens));
  }
  return view;
}

template <class ExecutionSpace>
Subblock Decoder<ExecutionSpace>::subblock(std::int64_t index) const {
  const Place& place = places_[index / subblocks()];
  return {shape_.kv_heads, place.tokens, shape_.head_dim, shape_.dtype, index % 2 == 0, place.first_token};
}

template <class ExecutionSpace>
std::int64_t Decoder<ExecutionSpace>::values_at(std::int64_t index) const {
  const Place& place = places_[index / subblocks()];
  return place.at + index % subblocks() * raw_bytes(shape_, place.tokens);
}

template <class ExecutionSpace>
void Decoder<ExecutionSpace>::lay_out(std::span<const BlockParts> parts) {
  places_.clear();
  std::int64_t token = 0;
  std::int64_t at = 0;
  for (const BlockParts& block : parts) {
    places_.push_back({block.tokens, token, at});
    token += block.tokens;
    at += subblocks() * raw_bytes(shape_, block.tokens);
  }
  values_.reserve("seqkv::codec::values", at);
  hashes_.resize(parts.size() * subblocks());
  broken_.resize(hashes_.size());
}

template <class ExecutionSpace>
typename Decoder<ExecutionSpace>::Chunk Decoder<ExecutionSpace>::make_tasks(std::span<const BlockParts> parts,
                                                                            std::int64_t first, std::int64_t count) {
  Chunk chunk{first, count, {}};
  tasks_.reserve("seqkv::codec::tasks", count);
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t index = first + i;
    const SubblockPayload& payload = parts[index / subblocks()].subblocks[index % subblocks()];
    Task& task = tasks_[task_at(i)];
    task = {subblock(index),
            static_cast<std::uint64_t>(index % subblocks()),
            values_.device() + values_at(index),
            const_cast<std::byte*>(payload.bytes.data()),  // decode only reads
            static_cast<std::int64_t>(payload.bytes.size()),
            payload.raw};
    if (task.subblock.tokens > chunk.largest.tokens) chunk.largest = task.subblock;
  }
  return chunk;
}

/// Kernels on host spaces read the caller's bytes in place, those on devices a copy.
template <class ExecutionSpace>
void Decoder<ExecutionSpace>::upload_payloads(std::span<const BlockParts> parts, const Chunk& chunk) {
  if constexpr (!is_host_space<ExecutionSpace>) {
    const auto bytes_of = [&](std::int64_t i) {
      return parts[(chunk.first + i) / subblocks()].subblocks[(chunk.first + i) % subblocks()].bytes;
    };
    const auto room = [&](std::int64_t i) { return round_up<std::int64_t>(bytes_of(i).size(), 8); };
    std::int64_t total = 0;
    for (std::int64_t i = 0; i < chunk.count; ++i) total += room(i);
    payloads_.reserve("seqkv::codec::payloads", total);
    std::int64_t at = 0;
    for (std::int64_t i = 0; i < chunk.count; ++i) {
      std::memcpy(payloads_.host() + at, bytes_of(i).data(), bytes_of(i).size());
      tasks_[task_at(i)].coded = payloads_.device() + at;
      at += room(i);
    }
    payloads_.to_device(space_, total);
  }
}

template <class ExecutionSpace>
void Decoder<ExecutionSpace>::decode(std::span<const BlockParts> parts, std::int64_t first, std::int64_t count) {
  const Chunk chunk = make_tasks(parts, first, count);
  upload_payloads(parts, chunk);
  tasks_.to_device(space_, count);
  if (predictive_) {
    for (std::int64_t number = 0; number < subblocks(); ++number) {
      predictive_->decode(number, tasks_.device() + number * blocks(), refers(parts, number));
    }
    predictive_->join();
  } else {
    std::visit([&](const auto& kernel) { decode_tasks(space_, kernel, chunk.largest, tasks_, count); },
               owner_.kernel());
  }
  tasks_.to_host(space_, count);
  values_.to_host(space_, places_.back().at + subblocks() * raw_bytes(shape_, places_.back().tokens));
  space_.fence("seqkv::codec::decode: values are checked on the host");
  Kokkos::parallel_for("seqkv::codec::hash", host_range(space_, count), [&](std::int64_t i) {
    const Task& task = tasks_[task_at(i)];
    const auto bytes = static_cast<std::size_t>(raw_bytes(shape_, task.subblock.tokens));
    hashes_[first + i] = xxh3_64({values_.host() + values_at(first + i), bytes});
    broken_[first + i] = task.bytes == not_codable ? 1 : 0;
  });
}

template <class ExecutionSpace>
std::vector<std::uint8_t> Decoder<ExecutionSpace>::refers(std::span<const BlockParts> parts,
                                                          std::int64_t number) const {
  std::vector<std::uint8_t> out(parts.size(), 0);
  for (std::size_t block = 0; block < parts.size(); ++block) {
    const bool says = parts[block].subblocks[static_cast<std::size_t>(number)].refers();
    out[block] = says && predictive_->may_refer(number, static_cast<std::int64_t>(block)) ? 1 : 0;
  }
  return out;
}

template <class ExecutionSpace>
Result<void> Decoder<ExecutionSpace>::start_prediction(std::span<const BlockParts> parts,
                                                       std::span<const ReferenceBlock> references) {
  for (std::size_t i = 1; i < parts.size(); ++i) {
    const bool fits = i + 1 < parts.size() ? parts[i].tokens == parts[0].tokens : parts[i].tokens <= parts[0].tokens;
    if (!fits) {
      return Error(ErrorCode::corrupt, fmt::format("{} tokens behind blocks of {}", parts[i].tokens, parts[0].tokens))
          .in_block(static_cast<std::int64_t>(i));
    }
  }
  std::vector<Token> ids;
  for (const BlockParts& block : parts) {
    const std::vector<Token> of_block = unpack_tokens(block);
    ids.insert(ids.end(), of_block.begin(), of_block.end());
  }
  const BlockGrid grid{places_.front().tokens, static_cast<std::int64_t>(ids.size()), blocks()};
  std::vector<RowReference> rows;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    for (const BlockReference& piece : parts[i].references) {
      const auto found = std::ranges::find(references, piece.hash, &ReferenceBlock::hash);
      if (found == references.end()) {
        return Error(ErrorCode::missing_reference,
                     fmt::format("predicted from a block that is not there, of the hash {:016x}", piece.hash))
            .in_block(static_cast<std::int64_t>(i));
      }
      if (!uses_references_ || piece.source + piece.count > found->values.tokens) {
        return Error(ErrorCode::corrupt, "a reference that the codec, or the block that it names, does not have")
            .in_block(static_cast<std::int64_t>(i));
      }
      rows.push_back({places_[i].first_token + piece.first, found->first_position + piece.source,
                      found->values.slice(piece.source, piece.count)});
    }
  }
  predictive_->start(grid, ids.data(), parts.front().first_position, rows);
  return {};
}

template <class ExecutionSpace>
Result<void> Decoder<ExecutionSpace>::check(std::span<const BlockParts> parts) const {
  for (std::size_t block = 0; block < parts.size(); ++block) {
    const auto number = static_cast<std::int64_t>(block);
    for (std::int64_t index = 0; index < subblocks(); ++index) {
      if (broken_[block * subblocks() + index] == 0) continue;
      return Error(ErrorCode::corrupt,
                   fmt::format("the {}s of layer {} do not decode", index % 2 == 0 ? "key" : "value", index / 2))
          .in_block(number);
    }
    const auto of_block = std::span(hashes_).subspan(block * subblocks(), subblocks());
    if (combine_hashes(of_block) != parts[block].decoded_hash) {
      return Error(ErrorCode::checksum_mismatch,
                   "the decoded values do not have the checksum stored with them (another codec or shape?)")
          .in_block(number);
    }
  }
  return {};
}

#define SEQKV_INSTANTIATE(Space) \
  template class Decoder<Space>; \
  template Result<std::vector<BlockParts>> parse_blocks(const Space&, const KvShape&, std::span<const CodedBlockView>);
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv::codec
