// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Memory of a team of threads of a GPU: how kernels get it, and how they reach it.
#pragma once

#include <Kokkos_Core.hpp>
#include <cstddef>
#include <cstdint>

namespace seqkv::gpu {

/// An array in the memory of a team, from what its policy has set aside; all threads ask alike. It begins where vectors
/// of 16 bytes may, whatever it is an array of.
template <class T, class Team>
KOKKOS_INLINE_FUNCTION T* team_array(const Team& team, std::int64_t count) {
  constexpr std::size_t alignment = alignof(T) > 16 ? alignof(T) : 16;
  return static_cast<T*>(
      team.team_scratch(0).get_shmem_aligned(static_cast<std::size_t>(count) * sizeof(T), alignment));
}

/// Memory of a team, which CUDA reaches by addresses of 32 bits; the compiler, with pointers, takes an operation more.
class TeamMemory {
 public:
  KOKKOS_DEFAULTED_FUNCTION TeamMemory() = default;
#if defined(__CUDA_ARCH__)
  explicit KOKKOS_INLINE_FUNCTION TeamMemory(void* begin)
      : begin_(static_cast<std::uint32_t>(__cvta_generic_to_shared(begin))) {}
  KOKKOS_INLINE_FUNCTION TeamMemory from(std::uint32_t bytes) const {
    TeamMemory memory;
    memory.begin_ = begin_ + bytes;
    return memory;
  }
  KOKKOS_INLINE_FUNCTION std::uint32_t word32(std::uint32_t index) const {
    std::uint32_t word = 0;
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(word) : "r"(begin_ + 4 * index));
    return word;
  }
  /// The words 4 index to 4 index + 3.
  KOKKOS_INLINE_FUNCTION void four_words(std::uint32_t index, std::uint32_t& a, std::uint32_t& b, std::uint32_t& c,
                                         std::uint32_t& d) const {
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(a), "=r"(b), "=r"(c), "=r"(d)
                 : "r"(begin_ + 16 * index));
  }
  /// This and the next where the memory begins at a multiple of a power of two above the offset in bytes.
  KOKKOS_INLINE_FUNCTION std::uint32_t word16_inside(std::uint32_t offset) const {
    std::uint16_t word = 0;
    asm volatile("ld.shared.u16 %0, [%1];" : "=h"(word) : "r"(begin_ | offset) : "memory");
    return word;
  }
  KOKKOS_INLINE_FUNCTION void store16_inside(std::uint32_t offset, std::uint32_t word) const {
    asm volatile("st.shared.u16 [%0], %1;"
                 :
                 : "r"(begin_ | offset), "h"(static_cast<std::uint16_t>(word & 0xffffU))
                 : "memory");
  }

 private:
  std::uint32_t begin_ = 0;
#else
  explicit KOKKOS_INLINE_FUNCTION TeamMemory(void* begin) : begin_(static_cast<std::byte*>(begin)) {}
  KOKKOS_INLINE_FUNCTION TeamMemory from(std::uint32_t bytes) const { return TeamMemory(begin_ + bytes); }
  KOKKOS_INLINE_FUNCTION std::uint32_t word32(std::uint32_t index) const {
    return reinterpret_cast<const std::uint32_t*>(begin_)[index];
  }
  KOKKOS_INLINE_FUNCTION void four_words(std::uint32_t index, std::uint32_t& a, std::uint32_t& b, std::uint32_t& c,
                                         std::uint32_t& d) const {
    a = word32(4 * index);
    b = word32(4 * index + 1);
    c = word32(4 * index + 2);
    d = word32(4 * index + 3);
  }
  KOKKOS_INLINE_FUNCTION std::uint32_t word16_inside(std::uint32_t offset) const {
    return *reinterpret_cast<const std::uint16_t*>(begin_ + offset);
  }
  KOKKOS_INLINE_FUNCTION void store16_inside(std::uint32_t offset, std::uint32_t word) const {
    *reinterpret_cast<std::uint16_t*>(begin_ + offset) = static_cast<std::uint16_t>(word & 0xffffU);
  }

 private:
  std::byte* begin_ = nullptr;
#endif
};

}  // namespace seqkv::gpu
