// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// What a Sequence holds.
#pragma once

#include "model/kernels.hpp"
#include "seqkv/forward.hpp"

namespace seqkv {

template <class ExecutionSpace>
struct Sequence<ExecutionSpace>::State {
  using Floats = Kokkos::View<float*, typename ExecutionSpace::memory_space>;

  kernels::HeadShape heads;
  std::int64_t layers = 0;
  std::int64_t tokens = 0;
  std::int64_t capacity = 0;  ///< a multiple of kernels::key_tile
  Floats keys;
  Floats values;

  /// KV heads over all layers: each has its own run of tiles and of value rows.
  std::int64_t runs() const { return layers * heads.kv_heads; }
  kernels::CacheTable table() const { return {keys.data(), values.data(), capacity}; }
};

}  // namespace seqkv
