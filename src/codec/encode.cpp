// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>
#include <Kokkos_Core.hpp>

#include <algorithm>
#include <atomic>
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
#include "seqkv/hash.hpp"
#include "seqkv/limits.hpp"

namespace seqkv {
namespace {

using codec::Subblock;
using codec::SubblockPayload;
using codec::Task;
using codec::Tasks;
using HostRange = Kokkos::RangePolicy<Kokkos::DefaultHostExecutionSpace, Kokkos::IndexType<std::int64_t>>;

/// What one batch of blocks is made of; the last block may be shorter than the others.
struct Layout {
  KvShape shape;
  std::int64_t tokens = 0;
  std::int64_t block_tokens = 0;

  std::int64_t blocks() const { return divide_up(tokens, block_tokens); }
  std::int64_t subblocks() const { return 2 * shape.layers; }
  std::int64_t tokens_of(std::int64_t block) const { return std::min(block_tokens, tokens - block * block_tokens); }
  std::int64_t raw_bytes(std::int64_t block) const { return codec::raw_bytes(shape, tokens_of(block)); }
  /// Where the values of a sub-block start in the batch's buffer.
  std::int64_t values_at(std::int64_t block, std::int64_t subblock) const {
    return block * subblocks() * codec::raw_bytes(shape, block_tokens) + subblock * raw_bytes(block);
  }
  std::int64_t bytes() const { return subblocks() * codec::raw_bytes(shape, tokens); }
  Subblock subblock(std::int64_t block, std::int64_t index) const {
    return {shape.kv_heads, tokens_of(block), shape.head_dim, shape.dtype, index % 2 == 0, block * block_tokens};
  }
};

/// Copies a slice of the cache into [block][layer][K|V][head][token][component].
Result<void> gather(const ConstKvView& kv, const Layout& layout, std::byte* values) {
  for (std::int64_t block = 0; block < layout.blocks(); ++block) {
    const ConstKvView from = kv.slice(block * layout.block_tokens, layout.tokens_of(block));
    KvView to{layout.shape, from.tokens, {}, {}, MemorySpace::host};
    to.strides.fill({from.tokens * layout.shape.head_dim, layout.shape.head_dim, 1});
    for (std::int64_t i = 0; i < layout.subblocks(); ++i) to.tensors.push_back(values + layout.values_at(block, i));
    SEQKV_TRY(copy(from, to));
  }
  return {};
}

/// Blocks coded together: enough to keep every thread busy, bounded in memory.
std::int64_t blocks_per_batch(std::int64_t concurrency, const KvShape& shape, std::int64_t block_tokens) {
  constexpr std::int64_t most_bytes = 256LL << 20;
  const std::int64_t bytes = 2 * shape.layers * codec::raw_bytes(shape, block_tokens);
  const std::int64_t wanted = divide_up(8 * concurrency, 2 * shape.layers);
  return std::clamp<std::int64_t>(wanted, 1, std::max<std::int64_t>(1, most_bytes / bytes));
}

template <class ExecutionSpace>
class BatchEncoder {
 public:
  BatchEncoder(const ExecutionSpace& space, const Codec& codec, codec::KernelOwner<ExecutionSpace> owner)
      : space_(space), codec_(codec), owner_(std::move(owner)) {}

  Result<void> run(const ConstKvView& kv, TokenSpan tokens, std::int64_t first_position, std::int64_t block_tokens,
                   std::vector<CodedBlock>& out) {
    layout_ = {kv.shape, kv.tokens, block_tokens};
    values_.reserve("seqkv::codec::values", layout_.bytes());
    SEQKV_TRY(gather(kv, layout_, values_.host()));
    owner_.set_positions(space_, first_position, kv.tokens);
    std::visit([this](const auto& kernel) { this->code(kernel); }, owner_.kernel());

    const std::size_t before = out.size();
    out.resize(before + layout_.blocks());
    std::atomic<bool> memory_is_short{false};
    Kokkos::parallel_for("seqkv::codec::assemble", HostRange(0, layout_.blocks()), [&](std::int64_t block) {
      const std::int64_t first = block * block_tokens;
      try {
        out[before + block] = assemble(block, tokens.subspan(first, layout_.tokens_of(block)), first_position + first);
      } catch (const std::bad_alloc&) {
        memory_is_short = true;
      }
    });
    if (memory_is_short) throw std::bad_alloc();
    return {};
  }

 private:
  template <class Kernel>
  void code(const Kernel& kernel) {
    const std::int64_t count = layout_.blocks() * layout_.subblocks();
    const Subblock largest = layout_.subblock(0, 0);
    slot_ = round_up<std::int64_t>(kernel.size(largest), 16);
    slots_.reserve("seqkv::codec::slots", count * slot_);
    tasks_.reserve("seqkv::codec::tasks", count);
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t block = i / layout_.subblocks();
      const std::int64_t index = i % layout_.subblocks();
      tasks_[i] = {layout_.subblock(block, index),
                   static_cast<std::uint64_t>(index),
                   values_.device() + layout_.values_at(block, index),
                   slots_.device() + i * slot_,
                   codec::not_codable,
                   false};
    }
    if constexpr (std::is_same_v<Kernel, codec::RawKernel>) return;
    values_.to_device(space_, layout_.bytes());
    tasks_.to_device(space_, count);
    codec::encode_tasks(space_, kernel, largest, tasks_, count);
    tasks_.to_host(space_, count);
    slots_.to_host(space_, count * slot_);
    space_.fence("seqkv::codec::encode: sizes and bytes are read on the host");
    if constexpr (std::is_same_v<Kernel, kokkos::TurboQuant>) reconstruct(kernel, largest, count);
  }

  /// What a decoder will see, for its checksum.
  template <class Kernel>
  void reconstruct(const Kernel& kernel, const Subblock& largest, std::int64_t count) {
    decoded_.reserve("seqkv::codec::decoded", layout_.bytes());
    decode_.reserve("seqkv::codec::tasks", count);
    for (std::int64_t i = 0; i < count; ++i) {
      Task task = tasks_[i];
      task.raw = task.bytes == codec::not_codable;
      if (task.raw) {
        task.coded = task.values;
        task.bytes = task.subblock.values() * static_cast<std::int64_t>(size_of(task.subblock.dtype));
      }
      task.values = decoded_.device() + (task.values - values_.device());
      decode_[i] = task;
    }
    decode_.to_device(space_, count);
    codec::decode_tasks(space_, kernel, largest, decode_, count);
    decoded_.to_host(space_, layout_.bytes());
    space_.fence("seqkv::codec::reconstruct: the values are hashed on the host");
  }

  CodedBlock assemble(std::int64_t block, TokenSpan tokens, std::int64_t position) const {
    const auto whole = static_cast<std::size_t>(layout_.raw_bytes(block));
    std::vector<SubblockPayload> payloads;
    std::vector<std::uint64_t> hashes;
    for (std::int64_t index = 0; index < layout_.subblocks(); ++index) {
      const std::int64_t i = block * layout_.subblocks() + index;
      const std::int64_t bytes = tasks_[i].bytes;
      const std::int64_t at = layout_.values_at(block, index);
      const bool raw = bytes == codec::not_codable || bytes >= static_cast<std::int64_t>(whole);
      const std::byte* decoded = raw || codec_.is_exact() ? values_.host() + at : decoded_.host() + at;
      hashes.push_back(xxh3_64({decoded, whole}));
      if (raw) {
        payloads.push_back({{values_.host() + at, whole}, true});
      } else {
        payloads.push_back({{slots_.host() + i * slot_, static_cast<std::size_t>(bytes)}, false});
      }
    }
    return codec::assemble_block(position, tokens, payloads, codec::combine_hashes(hashes));
  }

  const ExecutionSpace& space_;
  const Codec& codec_;
  codec::KernelOwner<ExecutionSpace> owner_;
  Layout layout_;
  std::int64_t slot_ = 0;
  Mirrored<ExecutionSpace, std::byte> values_, slots_, decoded_;
  Tasks<ExecutionSpace> tasks_, decode_;
};

Result<void> check_arguments(const ConstKvView& kv, TokenSpan tokens, std::int64_t first_position,
                             std::int64_t block_tokens) {
  SEQKV_TRY(kv.shape.check());
  const auto ids = static_cast<std::int64_t>(tokens.size());
  if (kv.tokens != ids) {
    return Error(ErrorCode::shape_mismatch, fmt::format("{} token ids for a cache of {} tokens", ids, kv.tokens));
  }
  if (kv.memory != MemorySpace::host) return Error(ErrorCode::invalid_argument, "host memory is expected");
  if (block_tokens < limits::min_block_tokens || block_tokens > limits::max_block_tokens) {
    return Error(ErrorCode::invalid_argument, fmt::format("blocks of {} tokens, expected {} to {}", block_tokens,
                                                          limits::min_block_tokens, limits::max_block_tokens));
  }
  if (first_position < 0 || first_position > limits::max_tokens - kv.tokens) {
    return Error(ErrorCode::invalid_argument, fmt::format("first position {}", first_position));
  }
  if (codec::raw_bytes(kv.shape, block_tokens) > limits::max_subblock_bytes) {
    return Error(ErrorCode::limit_exceeded,
                 fmt::format("a block of {} tokens of {} is too large", block_tokens, kv.shape.describe()));
  }
  return {};
}

}  // namespace

template <class ExecutionSpace>
Result<std::vector<CodedBlock>> encode(const ExecutionSpace& space, const Codec& codec, const ConstKvView& kv,
                                       TokenSpan tokens, std::int64_t first_position, std::int64_t block_tokens) {
  SEQKV_TRY(check_arguments(kv, tokens, first_position, block_tokens));
  return guard_memory("to code a batch of blocks", [&]() -> Result<std::vector<CodedBlock>> {
    SEQKV_ASSIGN(auto owner, codec::KernelOwner<ExecutionSpace>::create(space, codec, kv.shape));
    std::vector<CodedBlock> out;
    BatchEncoder<ExecutionSpace> encoder(space, codec, std::move(owner));
    const std::int64_t batch = block_tokens * blocks_per_batch(space.concurrency(), kv.shape, block_tokens);
    for (std::int64_t first = 0; first < kv.tokens; first += batch) {
      const std::int64_t count = std::min(batch, kv.tokens - first);
      SEQKV_TRY(
          encoder.run(kv.slice(first, count), tokens.subspan(first, count), first_position + first, block_tokens, out));
    }
    return out;
  });
}

#define SEQKV_INSTANTIATE(Space)                                                                             \
  template Result<std::vector<CodedBlock>> encode(const Space&, const Codec&, const ConstKvView&, TokenSpan, \
                                                  std::int64_t, std::int64_t);
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)

}  // namespace seqkv
