// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Memory of any space from rank to rank: addresses of devices where MPI takes them, else through the host.
#pragma once

#include <Kokkos_Core.hpp>
#include <span>

#include "seqkv/mpi.hpp"

namespace seqkv::mpi {

/// Bytes in one piece.
template <class MemorySpace>
using ByteView = Kokkos::View<std::byte*, MemorySpace>;

/// Whether MPI gets the address of memory in this space.
template <class MemorySpace>
bool sends_directly(const Communicator& communicator) {
  return Kokkos::SpaceAccessibility<Kokkos::DefaultHostExecutionSpace, MemorySpace>::accessible ||
         communicator.sends_from_devices();
}

/// As Communicator::send. Work on `space` that fills the view is waited for.
template <class ExecutionSpace, class MemorySpace>
Result<void> send(const ExecutionSpace& space, const Communicator& communicator, const ByteView<MemorySpace>& view,
                  int to, int tag) {
  space.fence("seqkv::mpi::send: MPI reads the view");
  if (sends_directly<MemorySpace>(communicator)) return communicator.send({view.data(), view.size()}, to, tag);
  const auto host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), view);
  return communicator.send({host.data(), host.size()}, to, tag);
}

/// As Communicator::receive; the view is filled on return.
template <class ExecutionSpace, class MemorySpace>
Result<void> receive(const ExecutionSpace& space, const Communicator& communicator, const ByteView<MemorySpace>& view,
                     int from, int tag) {
  if (sends_directly<MemorySpace>(communicator)) return communicator.receive({view.data(), view.size()}, from, tag);
  const auto host =
      Kokkos::create_mirror_view(Kokkos::view_alloc(Kokkos::WithoutInitializing, Kokkos::HostSpace()), view);
  if (auto status = communicator.receive({host.data(), host.size()}, from, tag); !status) return status;
  Kokkos::deep_copy(space, view, host);
  space.fence("seqkv::mpi::receive: the view is the caller's");
  return {};
}

}  // namespace seqkv::mpi
