// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// One stream of the entropy coder on 8 threads of a GPU, one a state. Its words come through a window in the memory of
/// the team, filled one chunk ahead of what is read from it.
#pragma once

#include "backends/gpu/lanes.hpp"
#include "codec/entropy/rans.hpp"

namespace seqkv::gpu {

namespace rans = codec::rans;

/// 8 bytes of whatever type.
using EightBytes [[gnu::may_alias]] = std::uint64_t;

/// Two chunks of 32 words, as many as a group of symbols can need; chunk c is at c % 2.
struct alignas(8) WordWindow {
  static constexpr std::uint32_t chunk_words = rans::group;
  static constexpr std::uint32_t size = 2 * chunk_words;
  std::uint16_t words[size];
};

/// Slots of a table as they are ...
struct WideTable {
  const rans::Slot* slots;
  KOKKOS_INLINE_FUNCTION rans::Slot operator[](std::uint32_t i) const { return slots[i]; }
};

/// ... and in less memory: a symbol for each slot, and for each symbol its slot less that slot's number.
struct CompactTable {
  const std::uint8_t* symbols;      ///< [4096]
  const std::uint32_t* of_symbols;  ///< symbol << 24 | frequency << 12, less its start
  KOKKOS_INLINE_FUNCTION rans::Slot operator[](std::uint32_t i) const { return of_symbols[symbols[i]] + i; }
};

class StreamDecoder {
 public:
  const Lane lane;

  /// All threads of a warp. A stream has an even address and at least the bytes of its states; null: none.
  KOKKOS_INLINE_FUNCTION StreamDecoder(const Lane& of, WordWindow& window, const std::byte* stream, std::int64_t bytes)
      : lane(of), window_(window) {
    if (stream != nullptr) {
      const auto* from = reinterpret_cast<const std::uint16_t*>(stream);
      state_ = from[2 * lane.number] | std::uint32_t{from[2 * lane.number + 1]} << 16U;
      const auto skipped = reinterpret_cast<std::uintptr_t>(stream) % chunk_part;
      chunks_ = stream + rans::states_bytes - skipped;
      next_ = static_cast<std::uint32_t>(skipped / 2);
      end_ = next_ + static_cast<std::uint32_t>((bytes - rans::states_bytes) / 2);
    }
    store(load(0), 0);
    store(load(1), 1);
    ahead_ = load(2);
    sync_warp();
  }

  /// The lane's four symbols of a group, the first in the lowest byte.
  template <class Table>
  KOKKOS_INLINE_FUNCTION std::uint32_t whole_group(const Table& slots) {
    std::uint32_t symbols = 0;
    SEQKV_UNROLL for (int t = 0; t < rans::steps; ++t) {
      symbols |= step(slots, true) >> 24U << static_cast<unsigned>(8 * t);
    }
    turn_window();
    return symbols;
  }
  /// Of a group that has `count` symbols.
  template <class Table>
  KOKKOS_INLINE_FUNCTION std::uint32_t some(const Table& slots, int count) {
    std::uint32_t symbols = 0;
    for (int t = 0; t < rans::steps; ++t) {
      symbols |= step(slots, rans::steps * lane.number + t < count) >> 24U << static_cast<unsigned>(8 * t);
    }
    turn_window();
    return symbols;
  }

  /// Of this lane: whether it is where the encoder began, all words used and none missed.
  KOKKOS_INLINE_FUNCTION bool ended() const { return state_ == rans::lower_bound && next_ == end_; }

 private:
  static constexpr std::int64_t chunk_part = 8;  ///< bytes of a chunk that a lane brings

  template <class Table>
  KOKKOS_INLINE_FUNCTION rans::Slot step(const Table& slots, bool takes) {
    const rans::Slot slot = slots[state_ & (rans::total - 1)];
    const std::uint32_t x = (slot >> rans::probability_bits & (rans::total - 1)) * (state_ >> rans::probability_bits) +
                            (slot & (rans::total - 1));
    const bool needs = takes && x < rans::lower_bound;
    const WarpMask all = ballot(needs);
    const std::uint32_t at = next_ + static_cast<std::uint32_t>(lane.count_below(all));
    const std::uint32_t word = window_.words[at % WordWindow::size];
    if (takes) state_ = needs ? x << 16U | word : x;
    next_ += static_cast<std::uint32_t>(lane.count_in_group(all));
    return slot;
  }

  /// A lane's part of a chunk; zeros behind the end of the stream.
  KOKKOS_INLINE_FUNCTION std::uint64_t load(std::uint32_t chunk) const {
    constexpr std::uint32_t part_words = chunk_part / 2;
    const std::uint32_t first = chunk * WordWindow::chunk_words + static_cast<std::uint32_t>(lane.number) * part_words;
    const std::byte* from = chunks_ + 2 * std::int64_t{first};
    if (first + part_words <= end_) return *reinterpret_cast<const EightBytes*>(from);
    std::uint64_t part = 0;
    for (std::uint32_t i = 0; first + i < end_ && i < part_words; ++i) {
      part |= std::uint64_t{reinterpret_cast<const std::uint16_t*>(from)[i]} << (16 * i);
    }
    return part;
  }
  KOKKOS_INLINE_FUNCTION void store(std::uint64_t part, std::uint32_t chunk) const {
    *reinterpret_cast<EightBytes*>(
        &window_.words[chunk % 2 * WordWindow::chunk_words + static_cast<std::uint32_t>(lane.number) * 4U]) = part;
  }

  /// A group takes at most a chunk: then the next one replaces it.
  KOKKOS_INLINE_FUNCTION void turn_window() {
    const std::uint32_t chunk = next_ / WordWindow::chunk_words;
    const bool turns = chunk != chunk_;
    if (!any_of_warp(turns)) return;
    if (turns) {
      store(ahead_, chunk + 1);
      ahead_ = load(chunk + 2);
      chunk_ = chunk;
    }
    sync_warp();
  }

  WordWindow& window_;
  const std::byte* chunks_ = nullptr;  ///< where chunk 0 begins: words before the stream's are skipped
  std::uint64_t ahead_ = 0;            ///< the lane's part of the chunk behind the window
  std::uint32_t state_ = rans::lower_bound;
  std::uint32_t next_ = 0;  ///< word
  std::uint32_t end_ = 0;
  std::uint32_t chunk_ = 0;  ///< the first of the window
};

}  // namespace seqkv::gpu
