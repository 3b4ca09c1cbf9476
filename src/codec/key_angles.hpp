// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The angles by which keys are turned back to position 0, in the memory of a kernel.
#pragma once

#include <Kokkos_Core.hpp>
#include <algorithm>
#include <cstdint>
#include <iterator>
#include <vector>

#include "core/growing_array.hpp"
#include "core/mirrored.hpp"
#include "core/rope_table.hpp"

namespace seqkv::codec {

/// A thread a pair of a position. Not a part of KeyAngles: nvcc names it where all can see it.
struct TurnPair {
  const float* frequencies;
  std::int64_t pairs, first_position;
  float* cosine;
  float* sine;

  KOKKOS_FUNCTION void operator()(const std::int64_t i) const {
    rope_angle(frequencies[i % pairs], first_position + i / pairs, cosine[i], sine[i]);
  }
};

template <class ExecutionSpace>
class KeyAngles {
 public:
  KeyAngles() = default;
  KeyAngles(const ExecutionSpace& space, const RopeConfig& rope) {
    const std::vector<float> frequencies = inverse_frequencies(rope);
    pairs_ = std::ssize(frequencies);
    frequencies_.reserve("seqkv::codec::frequencies", pairs_);
    std::ranges::copy(frequencies, frequencies_.host());
    frequencies_.to_device(space, pairs_);
  }

  /// Components that are turned together, in pairs.
  std::int64_t pairs() const { return pairs_; }

  /// Makes cosine() and sine() for positions [first, first + count). Does not fence.
  void set_positions(const ExecutionSpace& space, std::int64_t first, std::int64_t count) {
    if (pairs_ == 0) return;
    cosine_.reserve(space, "seqkv::codec::cosine", count * pairs_);
    sine_.reserve(space, "seqkv::codec::sine", count * pairs_);
    using Policy = Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<std::int64_t>>;
    Kokkos::parallel_for("seqkv::codec::angles", Policy(space, 0, count * pairs_),
                         TurnPair{frequencies_.device(), pairs_, first, cosine_.data(), sine_.data()});
  }

  /// [position][pair]
  const float* cosine() const { return cosine_.data(); }
  const float* sine() const { return sine_.data(); }

 private:
  std::int64_t pairs_ = 0;
  Mirrored<ExecutionSpace, float> frequencies_;
  GrowingArray<ExecutionSpace, float> cosine_, sine_;
};

}  // namespace seqkv::codec
