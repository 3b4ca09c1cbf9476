// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// One stream of the entropy coder on 8 threads of a GPU, one a state. Its words come through a window in the memory of
/// the team, filled one chunk ahead of what is read from it.
#pragma once

#include "backends/gpu/lanes.hpp"
#include "backends/gpu/team_memory.hpp"
#include "backends/gpu/word_window.hpp"
#include "codec/entropy/rans.hpp"

namespace seqkv::gpu {

/// Tables are given to decoders as what says of a slot its symbol, in the lowest byte of `symbol`, and the step of the
/// state. This one has slots as they are ...
struct WideTable {
  const rans::Slot* slots;
  KOKKOS_INLINE_FUNCTION std::uint32_t find(std::uint32_t state, std::uint32_t& symbol) const {
    const rans::Slot slot = slots[state & (rans::total - 1)];
    symbol = slot >> 24U;
    return (slot >> rans::probability_bits & (rans::total - 1)) * (state >> rans::probability_bits) +
           (slot & (rans::total - 1));
  }
};

/// ... this one those that turned() gives, which take fewer operations ...
struct TurnedTable {
  TeamMemory slots;
  static KOKKOS_INLINE_FUNCTION std::uint32_t turned(rans::Slot slot) { return slot << 8U | slot >> 24U; }
  KOKKOS_INLINE_FUNCTION std::uint32_t find(std::uint32_t state, std::uint32_t& symbol) const {
    symbol = slots.word32(state & (rans::total - 1));
    return (symbol >> 20U) * (state >> rans::probability_bits) + (symbol >> 8U & (rans::total - 1));
  }
};

/// ... and this one less memory, for many tables: where symbols start, and of every 32 slots the first one's symbol and
/// where the next symbol starts among them. What is found without a loop is nearly all.
struct SearchTable {
  static constexpr std::uint32_t marked = 32;  ///< slots that share a mark
  std::uint16_t starts[rans::symbols + 1];     ///< 4096 behind the last symbol
  std::uint16_t marks[rans::total / marked];

  /// Of a symbol in the first of the slots from `slot` on. `next`: where the symbol behind it starts, from `slot` on.
  static KOKKOS_INLINE_FUNCTION std::uint16_t mark(std::uint32_t symbol, std::uint32_t next) {
    return static_cast<std::uint16_t>(symbol << 8U | (next < marked ? next : marked));
  }

  KOKKOS_INLINE_FUNCTION std::uint32_t find(std::uint32_t state, std::uint32_t& symbol) const {
    const std::uint32_t slot = state & (rans::total - 1);
    const std::uint32_t mark = marks[slot / marked];
    symbol = (mark >> 8U) + (slot % marked >= (mark & 0xffU) ? 1U : 0U);
    std::uint32_t start = starts[symbol];
    std::uint32_t next = starts[symbol + 1];
    while (next <= slot) {
      start = next;
      next = starts[++symbol + 1];
    }
    return (next - start) * (state >> rans::probability_bits) + slot - start;
  }
};

/// `word` with the lowest byte of `from` as its byte t.
KOKKOS_INLINE_FUNCTION std::uint32_t with_byte(std::uint32_t word, std::uint32_t from, int t) {
#if defined(__CUDA_ARCH__)
  return __byte_perm(word, from, t == 0 ? 0x3214U : t == 1 ? 0x3240U : t == 2 ? 0x3410U : 0x4210U);
#else
  const auto shift = static_cast<unsigned>(8 * t);
  return (word & ~(0xffU << shift)) | (from & 0xffU) << shift;
#endif
}

class StreamDecoder {
 public:
  const Lane lane;

  /// All threads of a warp. `window` in memory of the team. A stream has an even address and at least the bytes of its
  /// states; null: none.
  KOKKOS_INLINE_FUNCTION StreamDecoder(const Lane& of, WordWindow& window, const std::byte* stream, std::int64_t bytes)
      : lane(of), bytes_(window.bytes), window_(window.bytes) {
    if (stream != nullptr) {
      const auto* from = reinterpret_cast<const std::uint16_t*>(stream);
      state_ = from[2 * lane.number] | std::uint32_t{from[2 * lane.number + 1]} << 16U;
      const auto skipped = reinterpret_cast<std::uintptr_t>(stream) % lane_bytes;
      chunks_ = stream + rans::states_bytes - skipped;
      next_ = static_cast<std::uint32_t>(skipped);
      end_ = next_ + static_cast<std::uint32_t>(bytes - rans::states_bytes);
    }
    store(load(0), 0);
    store(load(1), 1);
    ahead_ = load(2);
    sync_warp();
  }

  /// The lane's four symbols of a group, the first in the lowest byte; none where it takes none. Where any of the warp
  /// is behind its window then, all have to turn theirs.
  template <class Table>
  KOKKOS_INLINE_FUNCTION std::uint32_t whole_group(const Table& table, bool takes = true) {
    std::uint32_t symbols = 0;
    SEQKV_UNROLL for (int t = 0; t < rans::steps; ++t) symbols = with_byte(symbols, step(table, takes), t);
    return symbols;
  }
  KOKKOS_INLINE_FUNCTION bool is_behind_window() const { return next_ / WordWindow::chunk_bytes != chunk_; }
  /// A group takes at most a chunk: then the next one replaces it.
  KOKKOS_INLINE_FUNCTION void turn_window() {
    const bool turns = is_behind_window();
    if (!any_of_warp(turns)) return;
    if (turns) {
      const std::uint32_t chunk = next_ / WordWindow::chunk_bytes;
      store(ahead_, chunk + 1);
      ahead_ = load(chunk + 2);
      chunk_ = chunk;
    }
    sync_warp();
  }
  /// Of a group that has `count` symbols.
  template <class Table>
  KOKKOS_INLINE_FUNCTION std::uint32_t some(const Table& table, int count) {
    std::uint32_t symbols = 0;
    SEQKV_UNROLL for (int t = 0; t < rans::steps; ++t) {
      symbols = with_byte(symbols, step(table, rans::steps * lane.number + t < count), t);
    }
    turn_window();
    return symbols;
  }

  /// Of this lane: whether it is where the encoder began, all words used and none missed.
  KOKKOS_INLINE_FUNCTION bool ended() const { return state_ == rans::lower_bound && next_ == end_; }

 private:
  using Part = WordWindow::Part;
  static constexpr std::uint32_t lane_bytes = WordWindow::lane_bytes;

  template <class Table>
  KOKKOS_INLINE_FUNCTION std::uint32_t step(const Table& table, bool takes) {
    std::uint32_t symbol = 0;
    const std::uint32_t x = table.find(state_, symbol);
    const bool needs = takes && x < rans::lower_bound;
    const WarpMask all = ballot(needs);
    const std::uint32_t at = next_ + 2 * static_cast<std::uint32_t>(lane.count_below(all));
    const std::uint32_t word = window_.word16_inside(at & (WordWindow::size - 1));
    if (takes) state_ = needs ? x << 16U | word : x;
    next_ += 2 * static_cast<std::uint32_t>(lane.count_in_group(all));
    return symbol;
  }

  /// A lane's part of a chunk; zeros behind the end of the stream.
  KOKKOS_INLINE_FUNCTION Part load(std::uint32_t chunk) const {
    const std::uint32_t first = chunk * WordWindow::chunk_bytes + static_cast<std::uint32_t>(lane.number) * lane_bytes;
    const std::byte* from = chunks_ + first;
    if (first + lane_bytes <= end_) return *reinterpret_cast<const Part*>(from);
    Part part{0, 0};
    for (std::uint32_t i = 0; first + i < end_ && i < lane_bytes; ++i) {
      (i < 8 ? part.first : part.second) |= static_cast<std::uint64_t>(from[i]) << (8 * (i % 8));
    }
    return part;
  }
  KOKKOS_INLINE_FUNCTION void store(const Part& part, std::uint32_t chunk) const {
    const std::uint32_t at = chunk % 2 * WordWindow::chunk_bytes + static_cast<std::uint32_t>(lane.number) * lane_bytes;
    *reinterpret_cast<Part*>(bytes_ + at) = part;
  }

  std::byte* bytes_;  ///< of the window
  TeamMemory window_;
  const std::byte* chunks_ = nullptr;  ///< where chunk 0 begins: what is before the stream's words is skipped
  Part ahead_{0, 0};                   ///< the lane's part of the chunk behind the window
  std::uint32_t state_ = rans::lower_bound;
  std::uint32_t next_ = 0;  ///< byte
  std::uint32_t end_ = 0;
  std::uint32_t chunk_ = 0;  ///< the first of the window
};

}  // namespace seqkv::gpu
