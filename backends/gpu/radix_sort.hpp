// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Sorting window keys on a GPU: CUB's radix sort on CUDA, the portable one elsewhere, and for the longest keys.
#pragma once

#include <Kokkos_Core.hpp>
#include <cstdint>
#include <type_traits>

#include "backends/kokkos/radix_sort.hpp"
#include "trie/window_key.hpp"

#if defined(KOKKOS_ENABLE_CUDA) && defined(__CUDACC__)
#define SEQKV_HAVE_CUB
#include "backends/cuda/radix_sort.hpp"
#endif

namespace seqkv::gpu {

/// Sorts `count` < 2^32 keys; `scratch` has room for as many. Returns where the sorted keys are: `keys` or `scratch`.
template <class ExecutionSpace, int Words>
trie::WindowKey<Words>* sort_keys(const ExecutionSpace& space, const trie::KeyFormat& format,
                                  trie::WindowKey<Words>* keys, trie::WindowKey<Words>* scratch, std::int64_t count) {
#if defined(SEQKV_HAVE_CUB)
  // CUB counts all digits of a key in 48 KiB at most: those of 48 bytes.
  if constexpr (std::is_same_v<ExecutionSpace, Kokkos::Cuda> && Words <= 6) {
    return cuda::sort_keys(space, format, keys, scratch, count);
  }
#endif
  return kokkos::sort_keys(space, format, keys, scratch, count);
}

}  // namespace seqkv::gpu
