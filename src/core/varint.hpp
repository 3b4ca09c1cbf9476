// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Numbers in 7 bits a byte, the lowest first, the top bit of a byte set where another follows.
#pragma once

#include <cstdint>

#include "core/bytes.hpp"

namespace seqkv {

inline void put_varint(ByteWriter& out, std::uint64_t value) {
  for (; value >= 0x80U; value >>= 7U) out.put(static_cast<std::uint8_t>(value | 0x80U));
  out.put(static_cast<std::uint8_t>(value));
}

/// Sets `good` to false for what put_varint does not write: more bytes than the number needs, or than 64 bits need.
inline std::uint64_t get_varint(ByteReader& in, bool& good) {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    const auto byte = in.get<std::uint8_t>();
    value |= std::uint64_t{byte & 0x7fU} << shift;
    if (byte >= 0x80U) continue;
    if ((byte == 0 && shift > 0) || (shift == 63 && byte > 1)) good = false;
    return value;
  }
  good = false;
  return 0;
}

}  // namespace seqkv
