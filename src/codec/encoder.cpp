// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "codec/encoder.hpp"

#include <Kokkos_Core.hpp>

#include <algorithm>

#include "codec/batch.hpp"
#include "core/bytes.hpp"
#include "core/copy_rows.hpp"
#include "core/execution_spaces.hpp"
#include "core/host_range.hpp"
#include "core/try.hpp"
#include "seqkv/hash.hpp"

namespace seqkv::codec {
template <class ExecutionSpace>
Result<Encoder<ExecutionSpace>> Encoder<ExecutionSpace>::create(const ExecutionSpace& space, const Codec& codec,
                                                                const KvShape& shape) {
  if (!codec.is_settled()) {
    return Error(ErrorCode::invalid_argument, codec.spec() + " is a target: settle it first (seqkv/transfer.hpp)");
  }
  SEQKV_TRY(check_no_model(codec));
  SEQKV_ASSIGN(auto owner, KernelOwner<ExecutionSpace>::create(space, codec, shape));
  Encoder encoder(space, codec, shape, std::move(owner));
  if (codec.needs_profile()) {
    SEQKV_TRY(check_profile(codec, shape));
    encoder.predictive_.emplace(space, codec, encoder.owner_.kernel());
  }
  return encoder;
}

template <class ExecutionSpace>
void Encoder<ExecutionSpace>::reserve(std::int64_t blocks, std::int64_t block_tokens) {
  block_tokens_ = block_tokens;
  tokens_ = blocks * block_tokens;
  lay_out(0, together());
}

template <class ExecutionSpace>
void Encoder<ExecutionSpace>::run(std::span<const ConstKvView> blocks, TokenSpan tokens, std::int64_t first_position,
                                  std::span<CodedBlock> out, const References& references) {
  const auto count = static_cast<std::int64_t>(blocks.size());
  block_tokens_ = blocks.front().tokens;
  tokens_ = static_cast<std::int64_t>(tokens.size());
  is_on_device_ = blocks.front().memory == MemorySpace::device;
  writers_.resize(blocks.size());
  hashes_.resize(blocks.size() * subblocks());
  named_.assign(blocks.size(), {});
  if (predictive_) start_prediction(tokens, first_position, references);
  for (std::int64_t block = 0; block < count; ++block) {
    const std::int64_t first = block * block_tokens_;
    writers_[block].start(std::move(out[block]), first_position + first, tokens.subspan(first, tokens_of(block)),
                          named_[block], subblocks());
  }
  owner_.set_positions(space_, first_position, tokens_);
  const std::int64_t all = count * subblocks();
  for (std::int64_t first = 0; first < all; first += together()) {
    const Chunk chunk = lay_out(first, std::min(together(), all - first));
    gather(blocks, chunk);
    if (predictive_) {
      code_predictively(chunk);
    } else {
      std::visit([&](const auto& kernel) { code(kernel, chunk); }, owner_.kernel());
    }
    hash(chunk);
    append(chunk);
  }
  Kokkos::parallel_for("seqkv::codec::finish", host_range(space_, count), [&](std::int64_t block) {
    const auto hashes = std::span(hashes_).subspan(block * subblocks(), subblocks());
    out[block] = writers_[block].finish(combine_hashes(hashes));
  });
}

/// References are cut where blocks end.
template <class ExecutionSpace>
void Encoder<ExecutionSpace>::start_prediction(TokenSpan tokens, std::int64_t first_position,
                                               const References& references) {
  std::vector<RowReference> rows;
  for (const ReferenceSpan& span : codec_.uses_references() ? references.spans : std::vector<ReferenceSpan>()) {
    const ReferenceBlock& from = references.blocks[static_cast<std::size_t>(span.block)];
    for (std::int64_t done = 0; done < span.count;) {
      const std::int64_t first = span.first + done;
      const std::int64_t block = first / block_tokens_;
      const std::int64_t count = std::min(span.count - done, (block + 1) * block_tokens_ - first);
      const std::int64_t source = span.source + done;
      rows.push_back({first, from.first_position + source, from.values.slice(source, count)});
      named_[block].push_back({first - block * block_tokens_, count, from.hash, source});
      done += count;
    }
  }
  predictive_->start({block_tokens_, tokens_, blocks()}, tokens.data(), first_position, rows);
}

template <class ExecutionSpace>
Subblock Encoder<ExecutionSpace>::subblock(std::int64_t index) const {
  const std::int64_t block = index / subblocks();
  return {shape_.kv_heads, tokens_of(block), shape_.head_dim, shape_.dtype, index % 2 == 0, block * block_tokens_};
}

template <class ExecutionSpace>
std::int64_t Encoder<ExecutionSpace>::together() const {
  const std::int64_t all = blocks() * subblocks();
  return predictive_ ? all : subblocks_together(space_, subblock(0), all);
}

template <class ExecutionSpace>
typename Encoder<ExecutionSpace>::Chunk Encoder<ExecutionSpace>::lay_out(std::int64_t first, std::int64_t count) {
  Chunk chunk{first, count, 0, 0, subblock(first)};
  const std::int64_t last = first + count - 1;
  chunk.bytes = at(chunk, last) + raw_bytes(shape_, subblock(last).tokens);
  std::int64_t payload = 0;  // assigned, not chosen by an expression, on which nvcc 13.0 fails
  if (predictive_) {
    payload = predictive_->payload_bytes(block_tokens_, shape_.dtype);
  } else {
    std::visit([&](const auto& kernel) { payload = kernel.size(chunk.largest); }, owner_.kernel());
  }
  chunk.slot = round_up<std::int64_t>(payload, 16);
  sources_.resize(static_cast<std::size_t>(count));
  values_.reserve("seqkv::codec::values", chunk.bytes);
  slots_.reserve("seqkv::codec::slots", count * chunk.slot);
  tasks_.reserve("seqkv::codec::tasks", count);
  if (predictive_) predictive_->reserve(block_tokens_, blocks());
  if (codec_.is_exact()) return chunk;
  decoded_.reserve("seqkv::codec::decoded", chunk.bytes);
  decoded_at_.reserve("seqkv::codec::decoded_at", count);
  decode_.reserve("seqkv::codec::tasks", count);
  return chunk;
}

/// Where a sub-block is in a buffer of values. All blocks have the same size but the last.
template <class ExecutionSpace>
std::int64_t Encoder<ExecutionSpace>::at(const Chunk& chunk, std::int64_t index) const {
  const auto start = [this](std::int64_t i) {
    const std::int64_t block = i / subblocks();
    return block * subblocks() * raw_bytes(shape_, block_tokens_) +
           i % subblocks() * raw_bytes(shape_, tokens_of(block));
  };
  return start(index) - start(chunk.first);
}

/// The caller's values where a kernel can read them as they are, or null.
template <class ExecutionSpace>
const std::byte* Encoder<ExecutionSpace>::in_place(std::span<const ConstKvView> blocks, std::int64_t index) const {
  const ConstKvView& kv = blocks[index / subblocks()];
  const KvStrides& stride = kv.strides[index % 2];
  const bool contiguous =
      stride.component == 1 && stride.token == shape_.head_dim && stride.head == kv.tokens * shape_.head_dim;
  return is_host_space<ExecutionSpace> && contiguous ? kv.tensors[index % subblocks()] : nullptr;
}

/// Values as [head][token][component].
template <class ExecutionSpace>
void Encoder<ExecutionSpace>::gather(std::span<const ConstKvView> blocks, const Chunk& chunk) {
  if (is_on_device_) return gather_on_device(blocks, chunk);
  const std::int64_t heads = shape_.kv_heads;
  for (std::int64_t i = 0; i < chunk.count; ++i) {
    const std::byte* values = in_place(blocks, chunk.first + i);
    sources_[i] = values != nullptr ? values : values_.host() + at(chunk, chunk.first + i);
  }
  Kokkos::parallel_for("seqkv::codec::gather", host_range(space_, chunk.count * heads), [&](std::int64_t i) {
    const std::int64_t index = chunk.first + i / heads;
    if (in_place(blocks, index) != nullptr) return;
    const ConstKvView& kv = blocks[index / subblocks()];
    std::byte* to = values_.host() + at(chunk, index) + i % heads * (raw_bytes(shape_, kv.tokens) / heads);
    copy_rows(rows_of(kv, index % subblocks(), i % heads), {to, {0, shape_.head_dim, 1}, shape_.dtype}, kv.tokens,
              shape_.head_dim);
  });
}

/// The same from the memory of the device into that of the device; the host needs them for checksums, and to store what
/// is not codable.
template <class ExecutionSpace>
void Encoder<ExecutionSpace>::gather_on_device(std::span<const ConstKvView> blocks, const Chunk& chunk) {
  copies_.reserve(chunk.count);
  for (std::int64_t i = 0; i < chunk.count; ++i) {
    const std::int64_t index = chunk.first + i;
    const ConstKvView& kv = blocks[index / subblocks()];
    copies_[i] = {kv.tensors[index % subblocks()],
                  values_.device() + at(chunk, index),
                  kv.strides[index % 2],
                  {kv.tokens * shape_.head_dim, shape_.head_dim, 1},
                  kv.tokens};
    sources_[i] = values_.host() + at(chunk, index);
  }
  copies_.run(space_, chunk.count, shape_, shape_.dtype, shape_.dtype);
  values_.to_host(space_, chunk.bytes);
  space_.fence("seqkv::codec::gather: values are hashed on the host");
}

template <class ExecutionSpace>
void Encoder<ExecutionSpace>::make_tasks(const Chunk& chunk) {
  for (std::int64_t i = 0; i < chunk.count; ++i) {
    const std::int64_t index = chunk.first + i;
    Task& task = tasks_[task_at(i)];
    task = {subblock(index),
            static_cast<std::uint64_t>(index % subblocks()),
            values_.device() + at(chunk, index),
            slots_.device() + i * chunk.slot,
            not_codable,
            false};
    if constexpr (is_host_space<ExecutionSpace>) task.values = const_cast<std::byte*>(sources_[i]);  // it only reads
    if (index % subblocks() >= given_) continue;
    task.coded = task.values;
    task.values = decoded_.device() + at(chunk, index);
    task.bytes = raw_bytes(shape_, task.subblock.tokens);
    task.raw = true;
  }
}

template <class ExecutionSpace>
template <class Kernel>
void Encoder<ExecutionSpace>::code(const Kernel& kernel, const Chunk& chunk) {
  make_tasks(chunk);
  if constexpr (std::is_same_v<Kernel, RawKernel>) return;
  if (!is_on_device_) values_.to_device(space_, chunk.bytes);
  tasks_.to_device(space_, chunk.count);
  encode_tasks(space_, kernel, chunk.largest, tasks_, chunk.count);
  tasks_.to_host(space_, chunk.count);
  slots_.to_host(space_, chunk.count * chunk.slot);
  space_.fence("seqkv::codec::encode: sizes and bytes are read on the host");
  if constexpr (std::is_same_v<Kernel, kokkos::TurboQuant>) reconstruct(kernel, chunk);
}

/// All sub-blocks of all blocks: each needs what has been decoded below it.
template <class ExecutionSpace>
void Encoder<ExecutionSpace>::code_predictively(const Chunk& chunk) {
  make_tasks(chunk);
  const bool restores = !codec_.is_exact();  // for checksums
  for (std::int64_t i = 0; restores && i < chunk.count; ++i) {
    decoded_at_[task_at(i)] = decoded_.device() + at(chunk, i);
  }
  if (!is_on_device_) values_.to_device(space_, chunk.bytes);
  tasks_.to_device(space_, chunk.count);
  if (restores) decoded_at_.to_device(space_, chunk.count);
  for (std::int64_t number = 0; number < subblocks(); ++number) {
    const std::int64_t first = number * blocks();
    if (number < given_) {
      predictive_->decode(number, tasks_.device() + first, {});
      continue;
    }
    predictive_->encode(number, tasks_.device() + first, restores ? decoded_at_.device() + first : nullptr);
  }
  predictive_->join();
  tasks_.to_host(space_, chunk.count);
  slots_.to_host(space_, chunk.count * chunk.slot);
  if (restores) decoded_.to_host(space_, chunk.bytes);
  space_.fence("seqkv::codec::encode: sizes, bytes and values are read on the host");
}

/// What a decoder will see, for its checksum.
template <class ExecutionSpace>
template <class Kernel>
void Encoder<ExecutionSpace>::reconstruct(const Kernel& kernel, const Chunk& chunk) {
  for (std::int64_t i = 0; i < chunk.count; ++i) {
    Task task = tasks_[i];
    task.raw = task.bytes == not_codable;
    if (task.raw) {
      task.coded = task.values;
      task.bytes = raw_bytes(shape_, task.subblock.tokens);
    }
    task.values = decoded_.device() + at(chunk, chunk.first + i);
    decode_[i] = task;
  }
  decode_.to_device(space_, chunk.count);
  decode_tasks(space_, kernel, chunk.largest, decode_, chunk.count);
  decoded_.to_host(space_, chunk.bytes);
  space_.fence("seqkv::codec::reconstruct: the values are hashed on the host");
}

/// Whether sub-block `number` of the chunk is stored as it is.
template <class ExecutionSpace>
bool Encoder<ExecutionSpace>::is_raw(std::int64_t number) const {
  const Task& task = tasks_[task_at(number)];
  return task.bytes == not_codable || task.bytes >= raw_bytes(shape_, task.subblock.tokens);
}

template <class ExecutionSpace>
void Encoder<ExecutionSpace>::hash(const Chunk& chunk) {
  Kokkos::parallel_for("seqkv::codec::hash", host_range(space_, chunk.count), [&](std::int64_t i) {
    const bool same = is_raw(i) || codec_.is_exact();
    const std::byte* decoded = same ? sources_[i] : decoded_.host() + at(chunk, chunk.first + i);
    const auto bytes = static_cast<std::size_t>(raw_bytes(shape_, tasks_[task_at(i)].subblock.tokens));
    hashes_[chunk.first + i] = xxh3_64({decoded, bytes});
  });
}

template <class ExecutionSpace>
SubblockPayload Encoder<ExecutionSpace>::payload(const Chunk& chunk, std::int64_t index) const {
  const std::int64_t i = index - chunk.first;
  const Task& task = tasks_[task_at(i)];
  if (index % subblocks() < given_) return {};
  if (is_raw(i)) return {{sources_[i], static_cast<std::size_t>(raw_bytes(shape_, task.subblock.tokens))}, true};
  return {{slots_.host() + i * chunk.slot, static_cast<std::size_t>(task.bytes)}, false};
}

template <class ExecutionSpace>
void Encoder<ExecutionSpace>::append(const Chunk& chunk) {
  const std::int64_t first = chunk.first / subblocks();
  const std::int64_t behind = divide_up(chunk.first + chunk.count, subblocks());
  for_each_allocating("seqkv::codec::assemble", host_range(space_, behind - first), [&](std::int64_t i) {
    const std::int64_t block = first + i;
    const std::int64_t begin = std::max(chunk.first, block * subblocks());
    const std::int64_t end = std::min(chunk.first + chunk.count, (block + 1) * subblocks());
    std::int64_t bytes = 0;
    for (std::int64_t k = begin; k < end; ++k) bytes += round_up<std::int64_t>(payload(chunk, k).bytes.size(), 8);
    if (end - begin == subblocks()) writers_[block].reserve(bytes);  // parts let the memory grow as usual
    for (std::int64_t k = begin; k < end; ++k) writers_[block].append(payload(chunk, k));
  });
}

#define SEQKV_INSTANTIATE(Space) template class Encoder<Space>;
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv::codec
