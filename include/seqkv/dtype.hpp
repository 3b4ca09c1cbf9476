// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Number types of KV caches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace seqkv {

/// The numbers are part of the frame format.
enum class DType : std::uint8_t { bf16 = 1, f16 = 2, f32 = 3 };

constexpr std::size_t size_of(DType dtype) noexcept { return dtype == DType::f32 ? 4 : 2; }

/// "bf16", "f16" or "f32".
constexpr std::string_view to_string(DType dtype) noexcept {
  switch (dtype) {
    case DType::bf16:
      return "bf16";
    case DType::f16:
      return "f16";
    case DType::f32:
      return "f32";
  }
  return "?";
}

constexpr bool parse(std::string_view name, DType& out) noexcept {
  for (DType dtype : {DType::bf16, DType::f16, DType::f32}) {
    if (name == to_string(dtype)) {
      out = dtype;
      return true;
    }
  }
  return false;
}

}  // namespace seqkv
