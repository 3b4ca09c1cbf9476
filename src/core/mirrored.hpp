// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Arrays in the memory of an execution space with a twin on the host; on host spaces both are the same memory.
#pragma once

#include <Kokkos_Core.hpp>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>

namespace seqkv {

/// Whether the host can read and write the memory of an execution space directly.
template <class ExecutionSpace>
inline constexpr bool is_host_space =
    Kokkos::SpaceAccessibility<Kokkos::HostSpace, typename ExecutionSpace::memory_space>::accessible;

/// Views of pointers would be views of more dimensions. Not a part of Mirrored: nvcc names it where all can see it.
template <class T>
struct MirroredPointer {
  T value;
};

template <class ExecutionSpace, class T>
class Mirrored {
 public:
  /// At least `count` elements; their content is undefined when the array grows. Throws where memory is
  /// short (core/guard_memory.hpp).
  void reserve(const std::string& label, std::int64_t count) {
    if (static_cast<std::int64_t>(device_.extent(0)) >= count) return;
    host_ = {};
    device_ = Device(Kokkos::view_alloc(Kokkos::WithoutInitializing, label), static_cast<std::size_t>(count));
    if constexpr (is_host_space<ExecutionSpace>) {
      host_ = Host(device_.data(), static_cast<std::size_t>(count));
    } else {
      owned_ = Owned(Kokkos::view_alloc(Kokkos::WithoutInitializing, label), static_cast<std::size_t>(count));
      host_ = owned_;
    }
  }

  /// Host memory that it holds.
  std::int64_t bytes() const { return static_cast<std::int64_t>(host_.extent(0) * sizeof(T)); }

  T* device() const { return reinterpret_cast<T*>(device_.data()); }
  T* host() const { return reinterpret_cast<T*>(host_.data()); }
  T& operator[](std::int64_t i) const { return host()[i]; }

  /// The first `count` elements. The host side must not change, or be read, before a fence.
  void to_device(const ExecutionSpace& space, std::int64_t count) const {
    if constexpr (!is_host_space<ExecutionSpace>) {
      Kokkos::deep_copy(space, Kokkos::subview(device_, range(count)), Kokkos::subview(host_, range(count)));
    }
  }
  void to_host(const ExecutionSpace& space, std::int64_t count) const {
    if constexpr (!is_host_space<ExecutionSpace>) {
      Kokkos::deep_copy(space, Kokkos::subview(host_, range(count)), Kokkos::subview(device_, range(count)));
    }
  }

 private:
  using Element = std::conditional_t<std::is_pointer_v<T>, MirroredPointer<T>, T>;
  using Device = Kokkos::View<Element*, typename ExecutionSpace::memory_space>;
  using Owned = Kokkos::View<Element*, Kokkos::HostSpace>;
  using Host = Kokkos::View<Element*, Kokkos::HostSpace, Kokkos::MemoryUnmanaged>;

  static std::pair<std::size_t, std::size_t> range(std::int64_t count) { return {0, static_cast<std::size_t>(count)}; }

  Device device_;
  Owned owned_;
  Host host_;
};

}  // namespace seqkv
