// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// memmove on host and device.
#pragma once

#include <cstddef>
#include <cstdint>

#include "seqkv/inline.hpp"

namespace seqkv {

/// Toward lower addresses, or to memory that does not overlap.
SEQKV_INLINE void move_bytes_down(std::byte* to, const std::byte* from, std::int64_t count) {
#if defined(__CUDA_ARCH__) || defined(__HIP_DEVICE_COMPILE__)
  for (std::int64_t i = 0; i < count; ++i) to[i] = from[i];
#else
  __builtin_memmove(to, from, static_cast<std::size_t>(count));
#endif
}

}  // namespace seqkv
