// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// A profile's matrices and tables where the kernels of a space can read them.
#pragma once

#include <Kokkos_Core.hpp>
#include <memory>
#include <span>
#include <vector>

#include "codec/predict/profile.hpp"
#include "codec/transform/transform.hpp"
#include "core/mirrored.hpp"

namespace seqkv::codec {

/// On hosts everything is the profile's own memory, which all coders share.
template <class ExecutionSpace>
class DeviceProfile {
 public:
  struct Subblock {
    kernels::PackedMatrix squeeze, predict;
    DiagonalMatrix forward, inverse;
    PredictiveModel model;
  };

  /// The profile must outlive it. Fences on devices.
  DeviceProfile(const ExecutionSpace& space, const Profile::Data& profile) {
    for (const auto& from : profile.subblocks) {
      Subblock to{place(space, from.squeeze),
                  place(space, from.predict),
                  {place(space, from.forward), from.forward.blocks},
                  {place(space, from.inverse), from.inverse.blocks},
                  {}};
      to.model.width = profile.width();
      to.model.coefficients = to.forward.outputs();
      std::copy(from.knots.begin(), from.knots.end(), to.model.knots);
      to.model.scales = place(space, std::span(from.scales));
      to.model.slope = from.slope;
      to.model.first_row = place(space, std::span(from.first_row));
      subblocks.push_back(to);
    }
    tokens = place(space, std::span(profile.tokens));
    const SymbolTables host = profile.tables->view();
    const auto count = static_cast<std::size_t>(host.tables);
    tables.slots = place(space, std::span(host.slots, count * rans::total));
    tables.codes = place(space, std::span(host.codes, count * rans::symbols));
    tables.intervals = place(space, std::span(host.intervals, count));
    tables.costs = place(space, std::span(host.costs, count * rans::symbols));
    tables.alphabets = place(space, std::span(host.alphabets, count));
    tables.tables = host.tables;
    if constexpr (!is_host_space<ExecutionSpace>)
      space.fence("seqkv::codec::upload_profile: host memory is the profile's");
  }

  std::vector<Subblock> subblocks;
  const float* tokens = nullptr;
  SymbolTables tables{};

 private:
  using Memory = Kokkos::View<std::byte*, typename ExecutionSpace::memory_space>;

  template <class T>
  const T* place(const ExecutionSpace& space, std::span<const T> from) {
    if constexpr (is_host_space<ExecutionSpace>) {
      return from.data();
    } else {
      using Host = Kokkos::View<const std::byte*, Kokkos::HostSpace, Kokkos::MemoryUnmanaged>;
      memory_.emplace_back(Kokkos::view_alloc(space, Kokkos::WithoutInitializing, "seqkv::codec::profile"),
                           from.size_bytes());
      Kokkos::deep_copy(space, memory_.back(),
                        Host(reinterpret_cast<const std::byte*>(from.data()), from.size_bytes()));
      return reinterpret_cast<const T*>(memory_.back().data());
    }
  }
  kernels::PackedMatrix place(const ExecutionSpace& space, const PackedFloats& from) {
    return from.view(place(space, std::span(from.panels)));
  }
  template <class T>
  const T* place(const ExecutionSpace& space, std::span<T> from) {
    return place(space, std::span<const T>(from));
  }

  std::vector<Memory> memory_;
};

}  // namespace seqkv::codec
