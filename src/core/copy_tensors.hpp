// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Copying tensors of caches in the memory of a device, whatever their strides and dtypes.
#pragma once

#include <Kokkos_Core.hpp>
#include <algorithm>
#include <cstdint>

#include "core/float16.hpp"
#include "core/mirrored.hpp"
#include "seqkv/kv.hpp"

namespace seqkv {

/// One tensor [heads][tokens][dim], and where it goes; both in the memory of the device.
struct TensorCopy {
  const std::byte* from = nullptr;
  std::byte* to = nullptr;
  KvStrides from_stride, to_stride;
  std::int64_t tokens = 0;
};

/// A thread a component. Not a part of CopyTensors: nvcc names it where all can see it.
struct CopyComponent {
  const TensorCopy* tensors;
  std::int64_t heads, tokens, dim;
  DType from_dtype, to_dtype;

  KOKKOS_FUNCTION void operator()(const std::int64_t i) const {
    const std::int64_t row = i / dim;
    const std::int64_t c = i % dim;
    const std::int64_t token = row % tokens;
    const std::int64_t head = row / tokens % heads;
    const TensorCopy& tensor = tensors[row / (tokens * heads)];
    if (token >= tensor.tokens) return;
    const auto at = [&](const KvStrides& s) { return head * s.head + token * s.token + c * s.component; };
    copy_element(tensor.from, from_dtype, at(tensor.from_stride), tensor.to, to_dtype, at(tensor.to_stride));
  }
};

/// A list of tensors that keeps its memory from call to call.
template <class ExecutionSpace>
class CopyTensors {
 public:
  void reserve(std::int64_t count) { tensors_.reserve("seqkv::core::tensors", count); }
  TensorCopy& operator[](std::int64_t i) const { return tensors_[i]; }

  /// The first `count` of the list. Does not fence: the list must not change before a fence.
  void run(const ExecutionSpace& space, std::int64_t count, const KvShape& shape, DType from, DType to) const {
    std::int64_t tokens = 0;
    for (std::int64_t i = 0; i < count; ++i) tokens = std::max(tokens, tensors_[i].tokens);
    if (tokens == 0) return;
    tensors_.to_device(space, count);
    using Policy = Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<std::int64_t>>;
    Kokkos::parallel_for("seqkv::core::copy_tensors",
                         Policy(space, 0, count * shape.kv_heads * tokens * shape.head_dim),
                         CopyComponent{tensors_.device(), shape.kv_heads, tokens, shape.head_dim, from, to});
  }

 private:
  Mirrored<ExecutionSpace, TensorCopy> tensors_;
};

}  // namespace seqkv
