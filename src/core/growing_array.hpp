// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// An array in the memory of an execution space that grows and is used again.
#pragma once

#include <Kokkos_Core.hpp>
#include <cstdint>
#include <string>

namespace seqkv {

template <class ExecutionSpace, class T>
class GrowingArray {
 public:
  /// At least `count` elements; their content is undefined when the array grows. Throws where memory is short
  /// (core/guard_memory.hpp).
  void reserve(const ExecutionSpace& space, const std::string& label, std::int64_t count) {
    if (static_cast<std::int64_t>(array_.extent(0)) >= count) return;
    array_ = {};
    array_ = Array(Kokkos::view_alloc(space, Kokkos::WithoutInitializing, label), static_cast<std::size_t>(count));
  }

  T* data() const { return array_.data(); }
  std::int64_t bytes() const { return static_cast<std::int64_t>(array_.extent(0) * sizeof(T)); }

 private:
  using Array = Kokkos::View<T*, typename ExecutionSpace::memory_space>;
  Array array_;
};

}  // namespace seqkv
