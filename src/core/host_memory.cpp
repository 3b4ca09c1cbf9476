// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "core/host_memory.hpp"

#include <sys/mman.h>

#include <cstdlib>
#include <new>

#include "core/bytes.hpp"

namespace seqkv {

std::shared_ptr<std::byte> allocate_host(std::size_t bytes) {
  constexpr std::size_t cache_line = 64;
  constexpr std::size_t huge_page = std::size_t{2} << 20U;
  const bool large = bytes >= 2 * huge_page;
  const std::size_t alignment = large ? huge_page : cache_line;
  if (bytes > SIZE_MAX - huge_page) throw std::bad_alloc();
  void* memory = std::aligned_alloc(alignment, round_up(bytes + 1, alignment));
  if (memory == nullptr) throw std::bad_alloc();
#if defined(MADV_HUGEPAGE)
  if (large) ::madvise(memory, bytes, MADV_HUGEPAGE);  // a wish: nothing is lost where it is not granted
#endif
  return {static_cast<std::byte*>(memory), [](std::byte* p) { std::free(p); }};
}

}  // namespace seqkv
