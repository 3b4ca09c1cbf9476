// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Groups of 8 neighboring threads of a warp (CUDA) or a wavefront (HIP) that work on one thing: 4 of them in a warp, 8
/// in a wavefront of 64. Every function is to be called by all threads of the warp together. On a host they stand for
/// one thread alone and are never run.
#pragma once

#include <Kokkos_Core.hpp>
#include <cstdint>

#include "core/detmath.hpp"

namespace seqkv::gpu {

#if defined(__HIP_DEVICE_COMPILE__)
using WarpMask = std::uint64_t;
#else
using WarpMask = std::uint32_t;
#endif

/// 8 bytes of whatever type.
using EightBytes [[gnu::may_alias]] = std::uint64_t;

KOKKOS_INLINE_FUNCTION bool is_even(const void* at) { return reinterpret_cast<std::uintptr_t>(at) % 2 == 0; }

/// Threads in a group.
inline constexpr int group_lanes = 8;

/// Bit i: whether thread i of the warp says so.
KOKKOS_INLINE_FUNCTION WarpMask ballot(bool says) {
#if defined(__CUDA_ARCH__)
  return __ballot_sync(0xffffffffU, says);
#elif defined(__HIP_DEVICE_COMPILE__)
  return __ballot(says);
#else
  return says ? 1U : 0U;
#endif
}

KOKKOS_INLINE_FUNCTION bool any_of_warp(bool says) { return ballot(says) != 0; }

KOKKOS_INLINE_FUNCTION int count_bits(WarpMask mask) {
#if defined(__CUDA_ARCH__)
  return __popc(mask);
#elif defined(__HIP_DEVICE_COMPILE__)
  return __popcll(mask);
#else
  return static_cast<int>(mask & 1U);
#endif
}

/// The value of the thread whose number differs by `distance` (a power of two below the size of a warp).
KOKKOS_INLINE_FUNCTION std::uint32_t exchange(std::uint32_t value, int distance) {
#if defined(__CUDA_ARCH__)
  return __shfl_xor_sync(0xffffffffU, value, distance);
#elif defined(__HIP_DEVICE_COMPILE__)
  return __shfl_xor(value, distance);
#else
  return (void)distance, value;
#endif
}

KOKKOS_INLINE_FUNCTION float exchange_float(float value, int distance) {
  return detmath::from_bits(exchange(detmath::bits(value), distance));
}

/// The value of thread `thread` of the warp.
KOKKOS_INLINE_FUNCTION std::uint32_t value_of_thread(std::uint32_t value, unsigned thread) {
#if defined(__CUDA_ARCH__)
  return __shfl_sync(0xffffffffU, value, static_cast<int>(thread));
#elif defined(__HIP_DEVICE_COMPILE__)
  return __shfl(value, static_cast<int>(thread));
#else
  return (void)thread, value;
#endif
}

/// What threads of the warp have read and written before comes before what they read and write after.
KOKKOS_INLINE_FUNCTION void sync_warp() {
#if defined(__CUDA_ARCH__)
  __syncwarp();
#elif defined(__HIP_DEVICE_COMPILE__)
  __builtin_amdgcn_fence(__ATOMIC_ACQ_REL, "wavefront");
  __builtin_amdgcn_wave_barrier();
#endif
}

/// The largest value of the warp, for all of its threads.
KOKKOS_INLINE_FUNCTION std::uint32_t largest_of_warp(std::uint32_t value) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  return __reduce_max_sync(0xffffffffU, value);
#else
  for (int distance = 1; distance < static_cast<int>(8 * sizeof(WarpMask)); distance *= 2) {
    const std::uint32_t other = exchange(value, distance);
    value = other > value ? other : value;
  }
  return value;
#endif
}

/// A thread in its group of 8.
struct Lane {
  int number;          ///< 0 to 7
  WarpMask all;        ///< the threads of the group
  WarpMask below;      ///< those of lower number
  unsigned first_bit;  ///< of the group in the warp

  /// Of thread `thread` of a team whose size is a multiple of the warp's.
  explicit KOKKOS_INLINE_FUNCTION Lane(int thread) : number(thread % group_lanes) {
    constexpr unsigned warp = 8 * sizeof(WarpMask);
    first_bit = static_cast<unsigned>(thread) % warp / group_lanes * group_lanes;
    all = WarpMask{0xffU} << first_bit;
    below = ((WarpMask{1} << static_cast<unsigned>(number)) - 1U) << first_bit;
  }

  KOKKOS_INLINE_FUNCTION int count_in_group(WarpMask says) const { return count_bits(says & all); }
  KOKKOS_INLINE_FUNCTION int count_below(WarpMask says) const { return count_bits(says & below); }
  KOKKOS_INLINE_FUNCTION bool whole_group(bool says) const { return (ballot(says) & all) == all; }

  KOKKOS_INLINE_FUNCTION std::uint32_t sum(std::uint32_t value) const {
    for (int distance = 1; distance < group_lanes; distance *= 2) value += exchange(value, distance);
    return value;
  }
  KOKKOS_INLINE_FUNCTION std::uint64_t sum(std::uint64_t value) const {
    for (int distance = 1; distance < group_lanes; distance *= 2) {
      const std::uint32_t low = exchange(static_cast<std::uint32_t>(value), distance);
      const std::uint32_t high = exchange(static_cast<std::uint32_t>(value >> 32U), distance);
      value += std::uint64_t{high} << 32U | low;
    }
    return value;
  }
  KOKKOS_INLINE_FUNCTION std::uint32_t bits_of_any(std::uint32_t value) const {
    for (int distance = 1; distance < group_lanes; distance *= 2) value |= exchange(value, distance);
    return value;
  }
  /// The sum of the values of lower lanes. Values below 16.
  KOKKOS_INLINE_FUNCTION std::uint32_t sum_below(std::uint32_t value) const {
    std::uint32_t out = 0;
    for (unsigned bit = 0; bit < 4; ++bit) {
      out += static_cast<std::uint32_t>(count_below(ballot((value >> bit & 1U) != 0))) << bit;
    }
    return out;
  }
};

/// Byte t of a word.
KOKKOS_INLINE_FUNCTION std::uint32_t byte_of(std::uint32_t word, int t) {
#if defined(__CUDA_ARCH__)
  return __byte_perm(word, 0, 0x4440U + static_cast<unsigned>(t));
#else
  return word >> static_cast<unsigned>(8 * t) & 0xffU;
#endif
}

/// Bit 7 of every byte that is zero.
KOKKOS_INLINE_FUNCTION std::uint32_t zero_bytes(std::uint32_t bytes) {
  return ~(((bytes & 0x7f7f7f7fU) + 0x7f7f7f7fU) | bytes | 0x7f7f7f7fU);
}

}  // namespace seqkv::gpu
