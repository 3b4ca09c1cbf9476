// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// A part of a stream of words of 16 bits in the memory of a team, from where 8 threads take them one by one, or where
/// they put them; between there and the memory of the device they move by chunks.
#pragma once

#include "backends/gpu/lanes.hpp"
#include "codec/entropy/rans.hpp"

namespace seqkv::gpu {

namespace rans = codec::rans;

/// Two chunks of 64 words, twice as many as a group of symbols can need; chunk c is at c % 2.
struct alignas(256) WordWindow {
  static constexpr std::uint32_t chunk_bytes = 4 * rans::group;
  static constexpr std::uint32_t size = 2 * chunk_bytes;
  static constexpr std::uint32_t lane_bytes = chunk_bytes / group_lanes;

  /// That a lane moves of a chunk.
  struct alignas(lane_bytes) Part {
    EightBytes first, second;
  };
  static_assert(sizeof(Part) == lane_bytes);

  std::byte bytes[size];
};

/// Eight words from an even address.
KOKKOS_INLINE_FUNCTION WordWindow::Part load_words(const std::uint16_t* from) {
  using TwoWords [[gnu::may_alias]] = std::uint32_t;
  const auto join = [](std::uint32_t low, std::uint32_t high) { return std::uint64_t{high} << 32U | low; };
  if (reinterpret_cast<std::uintptr_t>(from) % sizeof(TwoWords) == 0) {
    const auto* pairs = reinterpret_cast<const TwoWords*>(from);
    return {join(pairs[0], pairs[1]), join(pairs[2], pairs[3])};
  }
  const auto* pairs = reinterpret_cast<const TwoWords*>(from + 1);
  const std::uint32_t inner[] = {pairs[0], pairs[1], pairs[2]};
  return {join(from[0] | inner[0] << 16U, inner[0] >> 16U | inner[1] << 16U),
          join(inner[1] >> 16U | inner[2] << 16U, inner[2] >> 16U | std::uint32_t{from[7]} << 16U)};
}

/// Moves words toward the front, by `size` threads of which this is number `rank`; all have read what any of them
/// overwrites: `sync` waits for them. `rounds`: as many as the one of them that moves most needs, of_rounds().
template <class Sync>
struct WordMover {
  int rank;
  int size;
  Sync sync;

  KOKKOS_INLINE_FUNCTION std::uint32_t of_rounds(std::int64_t count) const {
    return static_cast<std::uint32_t>(count / (words * size) + 1);
  }
  KOKKOS_INLINE_FUNCTION void move(std::uint16_t* to, const std::uint16_t* from, std::int64_t count,
                                   std::uint32_t rounds) const {
    const auto unaligned = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(to) / 2 % words);
    const std::int64_t to_align = (words - unaligned) % words;
    const std::int64_t head = count < to_align ? count : to_align;
    move_few(to, from, head);
    const std::int64_t parts = (count - head) / words;
    for (std::uint32_t round = 0; round < rounds; ++round) {
      const std::int64_t i = std::int64_t{round} * size + rank;
      WordWindow::Part part{0, 0};
      if (i < parts) part = load_words(from + head + words * i);
      sync();
      if (i < parts) *reinterpret_cast<WordWindow::Part*>(to + head + words * i) = part;
      sync();
    }
    const std::int64_t moved = head + words * parts;
    move_few(to + moved, from + moved, count - moved);
  }

 private:
  static constexpr std::int64_t words = WordWindow::lane_bytes / 2;

  /// Fewer words than threads.
  KOKKOS_INLINE_FUNCTION void move_few(std::uint16_t* to, const std::uint16_t* from, std::int64_t count) const {
    std::uint16_t word = 0;
    if (rank < count) word = from[rank];
    sync();
    if (rank < count) to[rank] = word;
    sync();
  }
};

}  // namespace seqkv::gpu
