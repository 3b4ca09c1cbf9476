// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The encoder of one stream of symbols by 8 threads of a GPU; in backends/gpu/stream_decoder.hpp is the decoder.
#pragma once

#include <Kokkos_Core.hpp>

#include "backends/gpu/lanes.hpp"
#include "backends/gpu/team_memory.hpp"
#include "backends/gpu/word_window.hpp"
#include "core/detmath.hpp"

namespace seqkv::gpu {

/// A rans::Code as a step takes it. Logic is what a step has most of, so nothing is packed where there is room.
struct alignas(16) WideCode {
  std::uint32_t most;  ///< the largest state that gives no word
  std::uint32_t frequency;
  std::uint32_t start;
  float reciprocal;

  KOKKOS_DEFAULTED_FUNCTION WideCode() = default;
  explicit KOKKOS_INLINE_FUNCTION WideCode(const rans::Code& code)
      : most((std::uint32_t{code.frequency} << (32U - rans::probability_bits)) - 1U),
        frequency(code.frequency),
        start(code.start),
        reciprocal(code.reciprocal) {}
};

/// Where a lane finds codes: in memory of the device ...
struct CodesAsGiven {
  const rans::Code* codes;
  /// From number `first` on.
  KOKKOS_INLINE_FUNCTION CodesAsGiven from(std::uint32_t first) const { return {codes + first}; }
  KOKKOS_INLINE_FUNCTION WideCode at(std::uint32_t index) const {
    const std::uint64_t bits = reinterpret_cast<const EightBytes*>(codes)[index];
    const auto both = static_cast<std::uint32_t>(bits);
    return WideCode(rans::Code{static_cast<std::uint16_t>(both & 0xffffU), static_cast<std::uint16_t>(both >> 16U),
                               detmath::from_bits(static_cast<std::uint32_t>(bits >> 32U))});
  }
};

/// ... or in that of its team.
struct WideCodes {
  TeamMemory codes;
  KOKKOS_INLINE_FUNCTION WideCodes from(std::uint32_t first) const {
    return {codes.from(first * static_cast<std::uint32_t>(sizeof(WideCode)))};
  }
  KOKKOS_INLINE_FUNCTION WideCode at(std::uint32_t index) const {
    WideCode code;
    std::uint32_t reciprocal = 0;
    codes.four_words(index, code.most, code.frequency, code.start, reciprocal);
    code.reciprocal = detmath::from_bits(reciprocal);
    return code;
  }
};

/// A group of 32 symbols as a lane has it: four, the first in the lowest byte, and what codes them.
struct SymbolGroup {
  std::uint32_t symbols = 0;
  std::uint32_t escape = rans::symbols;
  WideCode codes[rans::steps];

  template <class Codes>
  KOKKOS_INLINE_FUNCTION SymbolGroup(std::uint32_t of_lane, const Codes& table, std::uint32_t from)
      : symbols(of_lane), escape(from) {
    SEQKV_UNROLL for (int t = 0; t < rans::steps; ++t) {
      const std::uint32_t s = byte_of(symbols, t);
      codes[t] = table.at(s < escape ? s : escape);
    }
  }

  KOKKOS_INLINE_FUNCTION bool has_escapes() const {
    std::uint32_t largest = 0;
    SEQKV_UNROLL for (int t = 0; t < rans::steps; ++t) {
      const std::uint32_t s = byte_of(symbols, t);
      largest = s > largest ? s : largest;
    }
    return largest >= escape;
  }
};

/// A stream on its way, as one of its 8 threads sees it. Symbols are taken from the last to the first: words and
/// escapes are written toward the front. All threads of a warp call its functions together.
class BlockEncoder {
 public:
  const Lane lane;
  std::byte* escapes;      ///< the last that has been written
  std::uint32_t seen = 0;  ///< bits of all symbols of this lane, by bytes

  /// `window` in memory of the team; `end` of the stream's room, an even address.
  KOKKOS_INLINE_FUNCTION BlockEncoder(int thread, WordWindow& window, std::byte* end, std::byte* end_of_escapes)
      : lane(thread),
        escapes(end_of_escapes),
        bytes_(window.bytes),
        window_(window.bytes),
        base_(end - reinterpret_cast<std::uintptr_t>(end) % WordWindow::size),
        at_(static_cast<std::int32_t>(end - base_)),
        end_(at_),
        chunk_(at_ / chunk_bytes) {}

  KOKKOS_INLINE_FUNCTION void add_whole(const SymbolGroup& group, bool takes = true) {
    SEQKV_UNROLL for (int t = rans::steps - 1; t >= 0; --t) step(group.codes[t], takes);
    if (takes) seen |= group.symbols;
    const bool has_escapes = takes && group.has_escapes();
    if (!any_of_warp(has_escapes || is_chunk_full())) return;
    write_chunk();
    if (any_of_warp(has_escapes)) keep_escapes(group, takes ? rans::group : 0);
  }

  /// `count` of the group are symbols.
  KOKKOS_INLINE_FUNCTION void add_some(const SymbolGroup& group, int count) {
    seen |= group.symbols;
    for (int t = rans::steps - 1; t >= 0; --t) step(group.codes[t], rans::steps * lane.number + t < count);
    write_chunk();
    keep_escapes(group, count);
  }

  /// Writes the states in front of the words, if there is a stream, and what is not written yet. The stream is read by
  /// other threads behind a barrier of the warp.
  KOKKOS_INLINE_FUNCTION void finish(bool works) {
    if (works) {
      at_ -= rans::states_bytes;
      put(4 * lane.number, state_);
      put(4 * lane.number + 2, state_ >> 16U);
    }
    sync_warp();
    const std::int32_t top = (chunk_ + 1) * chunk_bytes;
    write(at_, top < end_ ? top : end_);
  }

  /// Where the stream begins.
  KOKKOS_INLINE_FUNCTION std::byte* begin() const { return base_ + at_; }

 private:
  static constexpr auto chunk_bytes = static_cast<std::int32_t>(WordWindow::chunk_bytes);
  using Word = std::uint16_t;

  /// What comes out is what rans::Encoder::add_symbol makes. The quotient is at least 16 and below 2^20, so that adding
  /// 2^23 brings it to the lowest bits; less 1/2 it is rounded down, as the reciprocal is, to what is at most 1 too
  /// few.
  KOKKOS_INLINE_FUNCTION void step(const WideCode& code, bool takes) {
    constexpr float rounded_down = 8388608.0F - 0.5F;
    const std::uint32_t frequency = code.frequency;
    const bool is_full = takes && state_ > code.most;
    const WarpMask all = ballot(is_full);
    at_ -= 2 * lane.count_in_group(all);
    if (is_full) put(2 * lane.count_below(all), state_);
    const std::uint32_t x = is_full ? state_ >> 16U : state_;
    const std::uint32_t quotient =
        detmath::bits(detmath::fma(static_cast<float>(x), code.reciprocal, rounded_down)) & 0x7fffffU;
    const std::uint32_t rest = x - quotient * frequency;
    const std::uint32_t added = rest >= frequency ? rans::total - frequency : 0U;
    if (takes) state_ = (quotient << rans::probability_bits) + rest + code.start + added;
  }

  /// A word so many bytes behind the first.
  KOKKOS_INLINE_FUNCTION void put(std::int32_t behind, std::uint32_t word) const {
    window_.store16_inside(static_cast<std::uint32_t>(at_ + behind) % WordWindow::size, word);
  }

  KOKKOS_INLINE_FUNCTION bool is_chunk_full() const { return at_ < chunk_ * chunk_bytes; }

  /// A group fills at most half a chunk: the one behind it has been written by then.
  KOKKOS_INLINE_FUNCTION void write_chunk() {
    sync_warp();
    if (is_chunk_full()) {
      const std::int32_t from = chunk_ * chunk_bytes;
      if (from + chunk_bytes <= end_) {
        using Part = WordWindow::Part;
        const auto part = static_cast<std::int32_t>(WordWindow::lane_bytes) * lane.number;
        *reinterpret_cast<Part*>(base_ + from + part) =
            *reinterpret_cast<const Part*>(bytes_ + static_cast<std::uint32_t>(from) % WordWindow::size + part);
      } else {
        write(from, end_);
      }
      --chunk_;
    }
    sync_warp();
  }

  KOKKOS_INLINE_FUNCTION void write(std::int32_t from, std::int32_t to) const {
    for (std::int32_t i = from + 2 * lane.number; i < to; i += 2 * group_lanes) {
      *reinterpret_cast<Word*>(base_ + i) =
          *reinterpret_cast<const Word*>(bytes_ + static_cast<std::uint32_t>(i) % WordWindow::size);
    }
  }

  KOKKOS_INLINE_FUNCTION void keep_escapes(const SymbolGroup& group, int count) {
    const auto escapes_at = [&](int t) {
      return rans::steps * lane.number + t < count && byte_of(group.symbols, t) >= group.escape;
    };
    std::uint32_t found = 0;
    SEQKV_UNROLL for (int t = 0; t < rans::steps; ++t) found += escapes_at(t) ? 1U : 0U;
    escapes -= lane.sum(found);
    std::byte* to = escapes + lane.sum_below(found);
    SEQKV_UNROLL for (int t = 0; t < rans::steps; ++t) {
      if (escapes_at(t)) *to++ = static_cast<std::byte>(byte_of(group.symbols, t) - group.escape);
    }
  }

  std::byte* bytes_;  ///< of the window
  TeamMemory window_;
  std::byte* base_;   ///< an address that is a multiple of the window's size; where the stream is, counted from there:
  std::int32_t at_;   ///< its first byte
  std::int32_t end_;  ///< behind its last
  std::int32_t chunk_;  ///< the one that is being filled
  std::uint32_t state_ = rans::lower_bound;
};

}  // namespace seqkv::gpu
