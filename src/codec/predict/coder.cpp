// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "codec/predict/coder.hpp"

#include "core/execution_spaces.hpp"

namespace seqkv::codec {

template <class ExecutionSpace>
PredictiveCoder<ExecutionSpace>::PredictiveCoder(const ExecutionSpace& space, const Codec& codec,
                                                 const typename KernelOwner<ExecutionSpace>::Kernel& kernel)
    : spaces_{space} {
  if constexpr (on_device) spaces_.push_back(Kokkos::Experimental::partition_space(space, 1)[0]);
  const auto device = std::make_shared<const DeviceProfile<ExecutionSpace>>(space, codec.profile()->data());
  for (const ExecutionSpace& of_part : spaces_) {
    parts_.push_back(std::make_unique<Part>(of_part, codec, device, kernel));
  }
}

template <class ExecutionSpace>
template <class Work>
void PredictiveCoder<ExecutionSpace>::for_each_part(std::int64_t blocks, const Work& work) const {
  const std::int64_t count = parts_of(blocks);
  for (std::int64_t p = 0; p < count; ++p) {
    const std::int64_t first = blocks * p / count;
    work(*parts_[static_cast<std::size_t>(p)], first, blocks * (p + 1) / count - first);
  }
}

template <class ExecutionSpace>
void PredictiveCoder<ExecutionSpace>::reserve(std::int64_t block_tokens, std::int64_t blocks) {
  for_each_part(blocks, [&](Part& part, std::int64_t, std::int64_t count) { part.reserve(block_tokens, count); });
}

template <class ExecutionSpace>
void PredictiveCoder<ExecutionSpace>::start(const BlockGrid& grid, const Token* ids, std::int64_t first_position,
                                            std::span<const RowReference> references) {
  blocks_ = grid.blocks;
  for_each_part(blocks_, [&](Part& part, std::int64_t first, std::int64_t count) {
    const std::int64_t token = first * grid.block_tokens;
    const std::int64_t end = first + count == blocks_ ? grid.tokens : (first + count) * grid.block_tokens;
    std::vector<RowReference> own;
    for (RowReference reference : references) {
      if (reference.first < token || reference.first >= end) continue;
      reference.first -= token;
      own.push_back(reference);
    }
    part.start({grid.block_tokens, end - token, count}, ids + token, first_position + token, own);
  });
}

/// Other streams than that of the space do not wait for what it brings.
template <class ExecutionSpace>
void PredictiveCoder<ExecutionSpace>::await_tasks(std::int64_t number) const {
  if (number == 0 && parts_of(blocks_) > 1)
    spaces_.front().fence("seqkv::codec::await_tasks: parts have streams of their own");
}

template <class ExecutionSpace>
void PredictiveCoder<ExecutionSpace>::encode(std::int64_t number, Task* tasks, std::byte* const* decoded) {
  await_tasks(number);
  for_each_part(blocks_, [&](Part& part, std::int64_t first, std::int64_t) {
    part.encode(number, tasks + first, decoded == nullptr ? nullptr : decoded + first);
  });
}

template <class ExecutionSpace>
void PredictiveCoder<ExecutionSpace>::decode(std::int64_t number, Task* tasks, std::span<const std::uint8_t> refers) {
  await_tasks(number);
  for_each_part(blocks_, [&](Part& part, std::int64_t first, std::int64_t count) {
    part.decode(
        number, tasks + first,
        refers.empty() ? refers : refers.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count)));
  });
}

template <class ExecutionSpace>
void PredictiveCoder<ExecutionSpace>::join() const {
  for (std::int64_t p = 1; p < parts_of(blocks_); ++p) {
    spaces_[static_cast<std::size_t>(p)].fence("seqkv::codec::join: the space goes on behind all parts");
  }
}

template <class ExecutionSpace>
bool PredictiveCoder<ExecutionSpace>::may_refer(std::int64_t number, std::int64_t block) const {
  bool may = false;
  for_each_part(blocks_, [&](const Part& part, std::int64_t first, std::int64_t count) {
    if (block >= first && block < first + count) may = part.may_refer(number, block - first);
  });
  return may;
}

template <class ExecutionSpace>
std::int64_t PredictiveCoder<ExecutionSpace>::bytes() const {
  std::int64_t bytes = 0;
  for (const auto& part : parts_) bytes += part->bytes();
  return bytes;
}

#define SEQKV_INSTANTIATE(Space) template class PredictiveCoder<Space>;
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv::codec
