// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// How often each byte occurs. Only for the translation units that define SEQKV_ISA (see simd.hpp).
#pragma once

#include <cstdint>

#include "codec/entropy/rans.hpp"

namespace seqkv::cpu::SEQKV_ISA {

/// Four counters a symbol, so that equal neighbors do not wait for one another.
class SymbolCounter {
 public:
  void add(const std::uint8_t* symbols, std::int64_t count) {
    std::int64_t i = 0;
    for (; i + 8 <= count; i += 8) {
      std::uint64_t eight;
      __builtin_memcpy(&eight, symbols + i, sizeof(eight));
#pragma GCC unroll 8
      for (unsigned b = 0; b < 8; ++b) ++parts_[b % 4][eight >> (8 * b) & 0xffU];
    }
    for (; i < count; ++i) ++parts_[0][symbols[i]];
  }

  void sum(std::uint32_t* counts) const {
    for (int s = 0; s < codec::rans::symbols; ++s) {
      counts[s] = parts_[0][s] + parts_[1][s] + parts_[2][s] + parts_[3][s];
    }
  }

 private:
  std::uint32_t parts_[4][codec::rans::symbols] = {};
};

}  // namespace seqkv::cpu::SEQKV_ISA
