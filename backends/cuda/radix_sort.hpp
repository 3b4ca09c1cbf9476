// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Sorting window keys by CUB.
#pragma once

#include <Kokkos_Core.hpp>
#include <cstdint>
#include <cub/device/device_radix_sort.cuh>
#include <cuda/std/tuple>
#include <new>
#include <tuple>
#include <utility>

#include "trie/window_key.hpp"

namespace seqkv::cuda {

/// A key as CUB takes it: numbers, the most significant first.
template <int Words>
struct WordsOfKey {
  __host__ __device__ auto operator()(trie::WindowKey<Words>& key) const {
    return tie(key, std::make_integer_sequence<int, Words>());
  }
  template <int... W>
  static __host__ __device__ auto tie(trie::WindowKey<Words>& key, std::integer_sequence<int, W...>) {
    return ::cuda::std::tie(key.word[W]...);
  }
};

/// Only the bits that windows of the format have. Throws std::bad_alloc where CUB has no memory.
template <int Words>
trie::WindowKey<Words>* sort_keys(const Kokkos::Cuda& space, const trie::KeyFormat& format,
                                  trie::WindowKey<Words>* keys, trie::WindowKey<Words>* scratch, std::int64_t count) {
  const int unused_below = (Words * format.symbols_per_word - format.depth) * format.symbol_bits;
  const int unused_above = 64 - format.symbols_per_word * format.symbol_bits;
  cub::DoubleBuffer<trie::WindowKey<Words>> both(keys, scratch);
  Kokkos::View<std::byte*, Kokkos::CudaSpace> memory;
  std::size_t bytes = 0;
  const auto sort = [&] {
    // 32 bits of places are enough, and faster.
    return cub::DeviceRadixSort::SortKeys(memory.data(), bytes, both, static_cast<std::uint32_t>(count),
                                          WordsOfKey<Words>(), unused_below, 64 * Words - unused_above,
                                          space.cuda_stream());
  };
  if (sort() != cudaSuccess) throw std::bad_alloc();  // it has asked how much memory it takes
  memory = Kokkos::View<std::byte*, Kokkos::CudaSpace>(
      Kokkos::view_alloc(space, Kokkos::WithoutInitializing, "seqkv::trie::sort"), bytes > 0 ? bytes : 1);
  if (sort() != cudaSuccess) throw std::bad_alloc();
  space.fence("seqkv::trie::sort: its memory is local");
  return both.Current();
}

}  // namespace seqkv::cuda
