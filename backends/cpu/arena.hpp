// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Memory of the caller, handed out piece by piece. Only for the translation units that define SEQKV_ISA (see
/// simd.hpp).
#pragma once

#include <cstddef>
#include <cstdint>

namespace seqkv::cpu::SEQKV_ISA {

/// From a 64-byte aligned start on; every piece is aligned like it.
struct Arena {
  std::byte* next;

  template <class T>
  T* take(std::int64_t count) {
    auto* here = reinterpret_cast<T*>(next);
    next += size<T>(count);
    return here;
  }

  /// Bytes that a piece takes.
  template <class T>
  static constexpr std::int64_t size(std::int64_t count) {
    return (count * static_cast<std::int64_t>(sizeof(T)) + 63) / 64 * 64;
  }
};

}  // namespace seqkv::cpu::SEQKV_ISA
