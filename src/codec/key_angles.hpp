// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The angles by which keys are turned back to position 0, in the memory of a kernel.
#pragma once

#include <Kokkos_Core.hpp>
#include <vector>

#include "core/host_range.hpp"
#include "core/mirrored.hpp"
#include "core/rope_table.hpp"

namespace seqkv::codec {

template <class ExecutionSpace>
class KeyAngles {
 public:
  KeyAngles() = default;
  explicit KeyAngles(const RopeConfig& rope) : frequencies_(inverse_frequencies(rope)) {}

  /// Components that are turned together, in pairs.
  std::int64_t pairs() const { return static_cast<std::int64_t>(frequencies_.size()); }

  /// Makes cosine() and sine() for positions [first, first + count).
  void set_positions(const ExecutionSpace& space, std::int64_t first, std::int64_t count) {
    if (pairs() == 0) return;
    cosine_.reserve("seqkv::codec::cosine", count * pairs());
    sine_.reserve("seqkv::codec::sine", count * pairs());
    Kokkos::parallel_for("seqkv::codec::angles", host_range(space, count), [&](std::int64_t t) {
      rope_angles(frequencies_, first + t, cosine_.host() + t * pairs(), sine_.host() + t * pairs());
    });
    cosine_.to_device(space, count * pairs());
    sine_.to_device(space, count * pairs());
  }

  /// [position][pair]
  const float* cosine() const { return cosine_.device(); }
  const float* sine() const { return sine_.device(); }

 private:
  std::vector<float> frequencies_;
  Mirrored<ExecutionSpace, float> cosine_, sine_;
};

}  // namespace seqkv::codec
