// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// A profile's matrices and tables where the kernels of a space can read them.
#pragma once

#include <Kokkos_Core.hpp>
#include <algorithm>
#include <memory>
#include <optional>
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
  struct Transform {
    DiagonalMatrix forward, inverse;
    PredictiveModel model;
  };
  struct Subblock : Transform {
    kernels::PackedMatrix squeeze, predict;
    std::optional<Transform> reference;
    kernels::PackedMatrix below, within;  ///< of lossless coding
    const std::int16_t* lossless_scales = nullptr;
  };

  /// The profile must outlive it. Fences on devices.
  DeviceProfile(const ExecutionSpace& space, const Profile::Data& profile) {
    for (const auto& from : profile.subblocks) {
      Subblock to;
      to.squeeze = place(space, from.squeeze);
      to.predict = place(space, from.predict);
      place(space, profile, from, from, to);
      if (from.reference) place(space, profile, from, *from.reference, to.reference.emplace());
      to.below = place(space, from.below);
      to.within = place(space, from.within);
      to.lossless_scales = place(space, std::span(from.lossless_scales));
      subblocks.push_back(to);
    }
    tokens = place(space, std::span(profile.tokens));
    tables = place(space, profile.tables->view());
    if (profile.lossless_tables) lossless_tables = place(space, profile.lossless_tables->view());
    if constexpr (!is_host_space<ExecutionSpace>)
      space.fence("seqkv::codec::upload_profile: host memory is the profile's");
  }

  std::vector<Subblock> subblocks;
  const float* tokens = nullptr;
  SymbolTables tables{};
  SymbolTables lossless_tables{};  ///< none, unless the profile is made for it

 private:
  using Memory = Kokkos::View<std::byte*, typename ExecutionSpace::memory_space>;

  void place(const ExecutionSpace& space, const Profile::Data& profile, const Profile::Data::Subblock& subblock,
             const Profile::Data::Transform& from, Transform& to) {
    to.forward = {place(space, from.forward), from.forward.blocks};
    to.inverse = {place(space, from.inverse), from.inverse.blocks};
    to.model.width = profile.width();
    to.model.coefficients = to.forward.outputs();
    std::copy(subblock.knots.begin(), subblock.knots.end(), to.model.knots);
    to.model.scales = place(space, std::span(from.scales));
    to.model.slope = from.slope;
    to.model.first_row = place(space, std::span(subblock.first_row));
  }
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

  SymbolTables place(const ExecutionSpace& space, const SymbolTables& host) {
    const auto count = static_cast<std::size_t>(host.tables);
    SymbolTables out{};
    out.slots = place(space, std::span(host.slots, count * rans::total));
    out.codes = place(space, std::span(host.codes, count * rans::symbols));
    out.intervals = place(space, std::span(host.intervals, count));
    out.costs = place(space, std::span(host.costs, count * rans::symbols));
    out.alphabets = place(space, std::span(host.alphabets, count));
    out.tables = host.tables;
    return out;
  }

  std::vector<Memory> memory_;
};

}  // namespace seqkv::codec
