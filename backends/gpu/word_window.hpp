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

}  // namespace seqkv::gpu
