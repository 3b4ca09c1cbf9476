// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Three ways to look a register full of numbers up in the tables of rANS, with the same results: the machine's
/// gathers, scalar loads for machines whose gathers are slow, and, on AVX-512, permutes of registers for tables of at
/// most 32 symbols. Only for the translation units that define SEQKV_ISA (see simd.hpp).
#pragma once

#include "backends/cpu/rans_vectors.hpp"

namespace seqkv::cpu::SEQKV_ISA {

/// Which tables the streams of one register use.
struct TablesOfRegister {
  std::int64_t number[register_streams];
};

/// What a state's slot tells.
struct Found {
  Register symbol;  ///< in the highest byte of a lane; the other bytes are zero
  Register frequency;
  Register offset;  ///< slot - start
};

/// What a symbol is coded with.
struct CodeOf {
  Register frequency;
  Register start;
  Register reciprocal;
};

/// table[index] of 32-bit elements that stand `Stride` elements apart.
struct HardwareGather {
  template <int Stride>
  static SEQKV_INLINE Register from(const void* table, Register index) {
    // The compiler must not know that the mask is full: it would take the form that keeps the destination's old value,
    // and with it wait for a register that has nothing to do with the result.
#if defined(__AVX512F__)
    __mmask16 all = 0xffff;
    asm("" : "+Yk"(all));
    return _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), all, index, table, 4 * Stride);
#else
    Register all = broadcast_u32(~0U);
    asm("" : "+x"(all));
    return _mm256_mask_i32gather_epi32(_mm256_setzero_si256(), static_cast<const int*>(table), index, all, 4 * Stride);
#endif
  }
};

struct ScalarGather {
  template <int Stride>
  static SEQKV_INLINE Register from(const void* table, Register index) {
    alignas(64) std::uint32_t at[rans::lanes * register_streams];
    store_register(at, index);
    // Inserted one by one: a vector load of what scalar stores have just written waits for all of them.
    const auto element = [&](int i) { return static_cast<const int*>(table)[std::size_t{at[i]} * Stride]; };
    const auto eight = [&](int i) {
      return _mm256_setr_epi32(element(i), element(i + 1), element(i + 2), element(i + 3), element(i + 4),
                               element(i + 5), element(i + 6), element(i + 7));
    };
#if defined(__AVX512F__)
    return _mm512_inserti64x4(_mm512_castsi256_si512(eight(0)), eight(8), 1);
#else
    return eight(0);
#endif
  }
};

/// `value` of each stream's table in its lanes.
template <class Value>
SEQKV_INLINE Register broadcast_to_streams(const TablesOfRegister& tables, const Value& value) {
#if defined(__AVX512F__)
  const auto half = [&](int i) { return _mm256_set1_epi32(static_cast<int>(value(tables.number[i]))); };
  return _mm512_inserti64x4(_mm512_castsi256_si512(half(0)), half(1), 1);
#else
  return broadcast_u32(static_cast<std::uint32_t>(value(tables.number[0])));
#endif
}

template <class Gather>
class SlotLookup {
 public:
  SEQKV_INLINE void use(const rans::DecodeTables& all, const TablesOfRegister& tables) {
    slots_ = all.slots;
    first_ = broadcast_to_streams(tables, [](std::int64_t table) { return table * rans::total; });
  }
  SEQKV_INLINE Found find(Register x) const {
    const Register twelve_bits = broadcast_u32(rans::total - 1);
    const Register slot = Gather::template from<1>(slots_, bit_or(bit_and(x, twelve_bits), first_));
    return {bit_and(slot, broadcast_u32(0xff000000U)), bit_and(shift_right<rans::probability_bits>(slot), twelve_bits),
            bit_and(slot, twelve_bits)};
  }

 private:
  const rans::Slot* slots_;
  Register first_;
};

template <class Gather>
class CodeLookup {
 public:
  SEQKV_INLINE void use(const rans::EncodeTables& all, const TablesOfRegister& tables) {
    static_assert(sizeof(rans::Code) == 8 && offsetof(rans::Code, start) == 2 && offsetof(rans::Code, reciprocal) == 4);
    codes_ = all.codes;
    first_ = broadcast_to_streams(tables, [](std::int64_t table) { return table * rans::symbols; });
  }
  SEQKV_INLINE CodeOf find(Register symbol) const {
    const Register index = bit_or(symbol, first_);
    const Register code = Gather::template from<2>(codes_, index);
    return {bit_and(code, broadcast_u32(0xffff)), shift_right<16>(code),
            Gather::template from<2>(&codes_->reciprocal, index)};
  }

 private:
  const rans::Code* codes_;
  Register first_;
};

#if defined(__AVX512F__)

/// Element `index` of 32; the bits of an index above the fifth do not count.
SEQKV_INLINE Register permute(const void* of, Register index) {
  const auto* elements = static_cast<const std::uint32_t*>(of);
  return _mm512_permutex2var_epi32(load_register(elements), index, load_register(elements + 16));
}

/// A binary search for the symbol whose interval holds the slot. Both streams must use one table.
class IntervalLookup {
 public:
  static SEQKV_INLINE bool fits(const rans::DecodeTables& all, const TablesOfRegister& tables) {
    return all.intervals != nullptr && tables.number[0] == tables.number[1] && all.intervals[tables.number[0]].usable();
  }
  SEQKV_INLINE void use(const rans::DecodeTables& all, const TablesOfRegister& tables) {
    intervals_ = all.intervals + tables.number[0];
  }
  SEQKV_INLINE Found find(Register x) const {
    const Register slot = bit_and(x, broadcast_u32(rans::total - 1));
    Register symbol =
        _mm512_maskz_mov_epi32(_mm512_cmpge_epu32_mask(slot, broadcast_u32(intervals_->start[16])), broadcast_u32(16));
#pragma GCC unroll 4
    for (std::uint32_t half = 8; half > 0; half /= 2) {
      const Register higher = bit_or(symbol, broadcast_u32(half));
      const __mmask16 at_or_above = _mm512_cmpge_epu32_mask(slot, permute(intervals_->start, higher));
      symbol = _mm512_mask_mov_epi32(symbol, at_or_above, higher);
    }
    return {shift_left<24>(symbol), permute(intervals_->frequency, symbol),
            _mm512_sub_epi32(slot, permute(intervals_->start, symbol))};
  }

 private:
  const rans::Intervals* intervals_;
};

/// Codes of both streams' tables.
class CodePermute {
 public:
  static SEQKV_INLINE bool fits(const rans::EncodeTables& all, const TablesOfRegister& tables) {
    return all.intervals != nullptr && all.intervals[tables.number[0]].usable() &&
           all.intervals[tables.number[1]].usable();
  }
  SEQKV_INLINE void use(const rans::EncodeTables& all, const TablesOfRegister& tables) {
    for (int i = 0; i < 2; ++i) intervals_[i] = all.intervals + tables.number[i];
  }
  SEQKV_INLINE CodeOf find(Register symbol) const {
    const auto both = [&](const void* first, const void* second) {
      return _mm512_mask_blend_epi32(0xff00, permute(first, symbol), permute(second, symbol));
    };
    return {both(intervals_[0]->frequency, intervals_[1]->frequency), both(intervals_[0]->start, intervals_[1]->start),
            both(intervals_[0]->reciprocal, intervals_[1]->reciprocal)};
  }

 private:
  const rans::Intervals* intervals_[2];
};

#endif

}  // namespace seqkv::cpu::SEQKV_ISA
