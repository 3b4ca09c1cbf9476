// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/kv.hpp"

#include <fmt/format.h>
#include <Kokkos_Core.hpp>

#include <algorithm>
#include <cstring>
#include <limits>

#include "core/bytes.hpp"
#include "core/check_memory.hpp"
#include "core/copy_rows.hpp"
#include "core/copy_tensors.hpp"
#include "core/execution_spaces.hpp"
#include "core/guard_memory.hpp"
#include "core/host_range.hpp"
#include "core/try.hpp"
#include "seqkv/limits.hpp"

namespace seqkv {
namespace {

Result<void> check_range(const char* name, std::int64_t value, std::int64_t limit, std::int64_t least = 1) {
  if (value >= least && value <= limit) return {};
  return Error(value < least ? ErrorCode::invalid_argument : ErrorCode::limit_exceeded,
               fmt::format("is {}, expected {} to {}", value, least, limit))
      .at_field(name);
}

Result<void> check_positive(const char* name, double value) {
  if (value > 0 && value <= std::numeric_limits<double>::max()) return {};
  return Error(ErrorCode::invalid_argument, fmt::format("is {}, expected a positive number", value)).at_field(name);
}

/// A rotation without division by zero: what its fields say may come from a file.
Result<void> check_rope(const RopeConfig& rope, std::int64_t head_dim) {
  if (rope.dim < 0 || rope.dim > head_dim || rope.dim % 2 != 0) {
    return Error(ErrorCode::invalid_argument,
                 fmt::format("is {}, expected an even number up to head_dim {}", rope.dim, head_dim))
        .at_field("rope.dim");
  }
  SEQKV_TRY(check_positive("rope.theta", rope.theta));
  // Unused without llama3, yet frames and stores hold it.
  const std::int64_t least = rope.scaling == RopeScaling::llama3 ? 1 : 0;
  SEQKV_TRY(check_range("rope.original_max_positions", rope.original_max_positions, limits::max_tokens, least));
  if (rope.scaling == RopeScaling::none) return {};
  SEQKV_TRY(check_positive("rope.factor", rope.factor));
  if (rope.scaling == RopeScaling::linear) return {};
  SEQKV_TRY(check_positive("rope.low_freq_factor", rope.low_freq_factor));
  SEQKV_TRY(check_positive("rope.high_freq_factor", rope.high_freq_factor));
  if (rope.low_freq_factor == rope.high_freq_factor) {
    return Error(ErrorCode::invalid_argument, "equals low_freq_factor").at_field("rope.high_freq_factor");
  }
  return {};
}

Result<void> check_tensors(std::size_t tensors, const KvShape& shape) {
  if (static_cast<std::int64_t>(tensors) == 2 * shape.layers) return {};
  return Error(ErrorCode::invalid_argument, fmt::format("{} tensors in a view of {} layers", tensors, shape.layers));
}

}  // namespace

Result<void> KvShape::check() const {
  SEQKV_TRY(check_range("layers", layers, limits::max_layers));
  SEQKV_TRY(check_range("kv_heads", kv_heads, limits::max_kv_heads));
  SEQKV_TRY(check_range("head_dim", head_dim, limits::max_head_dim));
  return check_rope(rope, head_dim);
}

std::string KvShape::describe() const {
  return fmt::format("{} layers x {} KV heads x {} ({})", layers, kv_heads, head_dim, to_string(dtype));
}

namespace {

template <class ExecutionSpace>
void copy_on_host(const ExecutionSpace& space, const ConstKvView& from, const KvView& to) {
  const std::int64_t heads = from.shape.kv_heads;
  Kokkos::parallel_for("seqkv::core::copy", host_range(space, 2 * from.shape.layers * heads), [&](std::int64_t i) {
    copy_rows(rows_of(from, i / heads, i % heads), rows_of(to, i / heads, i % heads), from.tokens, from.shape.head_dim);
  });
}

/// A tensor at a time, through memory of the host and of the device of the size of one where a side is on the host.
template <class ExecutionSpace>
class DeviceCopier {
 public:
  DeviceCopier(const ExecutionSpace& space, const ConstKvView& from, const KvView& to)
      : space_(space), from_(from), to_(to), row_{from.tokens * from.shape.head_dim, from.shape.head_dim, 1} {
    list_.reserve(std::ssize(from.tensors));
    if (from.memory == to.memory) return;
    const DType dtype = from.memory == MemorySpace::host ? from.shape.dtype : to.shape.dtype;
    const std::int64_t bytes = from.shape.kv_heads * row_.head * static_cast<std::int64_t>(size_of(dtype));
    staging_.reserve("seqkv::core::staging", bytes);
    bytes_ = bytes;
  }

  void run() {
    const std::int64_t tensors = std::ssize(from_.tensors);
    if (from_.memory == to_.memory) {
      for (std::int64_t i = 0; i < tensors; ++i) list_[i] = whole(i);
      list_.run(space_, tensors, from_.shape, from_.shape.dtype, to_.shape.dtype);
    }
    for (std::int64_t i = 0; from_.memory != to_.memory && i < tensors; ++i) {
      from_.memory == MemorySpace::host ? to_device(i) : to_host(i);
    }
    space_.fence("seqkv::core::copy: memory is the caller's");
  }

 private:
  TensorCopy whole(std::int64_t i) const {
    const auto at = static_cast<std::size_t>(i);
    return {from_.tensors[at], to_.tensors[at], from_.strides[at % 2], to_.strides[at % 2], from_.tokens};
  }
  Rows<std::byte> staged(std::int64_t head, DType dtype) const {
    return {staging_.host() + head * row_.head * static_cast<std::int64_t>(size_of(dtype)), row_, dtype};
  }
  void to_device(std::int64_t i) {
    space_.fence("seqkv::core::copy: the staging memory is used again");
    for (std::int64_t head = 0; head < from_.shape.kv_heads; ++head) {
      copy_rows(rows_of(from_, i, head), staged(head, from_.shape.dtype), from_.tokens, from_.shape.head_dim);
    }
    staging_.to_device(space_, bytes_);
    TensorCopy& copy = list_[0] = whole(i);
    copy.from = staging_.device();
    copy.from_stride = row_;
    list_.run(space_, 1, from_.shape, from_.shape.dtype, to_.shape.dtype);
  }
  void to_host(std::int64_t i) {
    TensorCopy& copy = list_[0] = whole(i);
    copy.to = staging_.device();
    copy.to_stride = row_;
    list_.run(space_, 1, from_.shape, from_.shape.dtype, to_.shape.dtype);
    staging_.to_host(space_, bytes_);
    space_.fence("seqkv::core::copy: the host reads");
    for (std::int64_t head = 0; head < from_.shape.kv_heads; ++head) {
      const Rows<std::byte> rows = staged(head, to_.shape.dtype);
      copy_rows({rows.data, rows.stride, rows.dtype}, rows_of(to_, i, head), to_.tokens, to_.shape.head_dim);
    }
  }

  ExecutionSpace space_;
  const ConstKvView& from_;
  const KvView& to_;
  KvStrides row_;  ///< of the staging memory
  std::int64_t bytes_ = 0;
  CopyTensors<ExecutionSpace> list_;
  Mirrored<ExecutionSpace, std::byte> staging_;
};

}  // namespace

template <class ExecutionSpace>
Result<void> copy(const ExecutionSpace& space, const ConstKvView& from, const KvView& to) {
  if (from.shape.layers != to.shape.layers || from.shape.kv_heads != to.shape.kv_heads ||
      from.shape.head_dim != to.shape.head_dim || from.tokens != to.tokens) {
    return Error(ErrorCode::shape_mismatch, fmt::format("{} tokens of {} do not fit {} tokens of {}", from.tokens,
                                                        from.shape.describe(), to.tokens, to.shape.describe()));
  }
  SEQKV_TRY(check_tensors(from.tensors.size(), from.shape));
  SEQKV_TRY(check_tensors(to.tensors.size(), to.shape));
  if (from.memory == MemorySpace::host && to.memory == MemorySpace::host) {
    copy_on_host(space, from, to);
    return {};
  }
  SEQKV_TRY(check_memory<ExecutionSpace>(MemorySpace::device));
  return guard_memory("to copy a cache on a device", [&]() -> Result<void> {
    if constexpr (!is_host_space<ExecutionSpace>) DeviceCopier<ExecutionSpace>(space, from, to).run();
    return {};
  });
}

Result<void> copy(const ConstKvView& from, const KvView& to) {
  return copy(Kokkos::DefaultHostExecutionSpace(), from, to);
}

#define SEQKV_INSTANTIATE(Space) template Result<void> copy(const Space&, const ConstKvView&, const KvView&);
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

Result<KvCache> KvCache::create(const KvShape& shape, std::int64_t tokens) {
  SEQKV_TRY(shape.check());
  if (tokens < 0 || tokens > limits::max_tokens) {
    return Error(tokens < 0 ? ErrorCode::invalid_argument : ErrorCode::limit_exceeded,
                 fmt::format("{} tokens, expected 0 to {}", tokens, limits::max_tokens));
  }
  const std::int64_t per_token = shape.components_per_token() * static_cast<std::int64_t>(size_of(shape.dtype));
  std::int64_t total = 0;
  if (!checked_multiply(per_token, tokens, total)) {
    return Error(ErrorCode::limit_exceeded, fmt::format("{} tokens of {} bytes each", tokens, per_token));
  }
  KvCache cache;
  cache.view_.shape = shape;
  cache.view_.tokens = tokens;
  const auto bytes = static_cast<std::size_t>(total);
  const auto allocated = round_up(std::max<std::size_t>(bytes, 1), std::size_t{64});
  cache.memory_.reset(static_cast<std::byte*>(std::aligned_alloc(64, allocated)));
  if (cache.memory_ == nullptr) {
    return Error(ErrorCode::out_of_memory, fmt::format("no memory for a KV cache of {} bytes", bytes));
  }
  std::memset(cache.memory_.get(), 0, allocated);
  const std::int64_t per_tensor =
      shape.kv_heads * tokens * shape.head_dim * static_cast<std::int64_t>(size_of(shape.dtype));
  for (std::int64_t i = 0; i < 2 * shape.layers; ++i) {
    cache.view_.tensors.push_back(cache.memory_.get() + i * per_tensor);
  }
  cache.view_.strides.fill({tokens * shape.head_dim, shape.head_dim, 1});
  return cache;
}

}  // namespace seqkv
