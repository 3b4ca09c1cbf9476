// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// What tests under MPI share: the communicator of all ranks. In a test, all ranks do the same; checks that may fail on
/// one are EXPECT, or are agreed on, so that the others do not wait for it.
#pragma once

#include <optional>

#include "mpi/program.hpp"
#include "seqkv/mpi.hpp"
#include "support/result.hpp"

namespace seqkv::test {

inline std::optional<mpi::Communicator> no_world() { return std::nullopt; }

/// Made at first use; main() ends it.
struct World {
  std::optional<mpi::Communicator> communicator;
  int rank() { return get().rank(); }
  int size() { return get().size(); }
  mpi::Communicator& get() {
    if (!communicator) communicator = value_of(mpi::Communicator::duplicate(mpi::Program::world()));
    return *communicator;
  }
  World& operator=(std::optional<mpi::Communicator> other) {
    communicator.reset();
    if (other) communicator.emplace(std::move(*other));
    return *this;
  }
};

inline World& world() {
  static World world;
  return world;
}

}  // namespace seqkv::test
