// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The program under mpirun or srun: MPI before Kokkos, and one rank that talks. In builds without MPI, whether it was
/// started so.
#pragma once

#include <memory>
#include <optional>

#include "cli/report.hpp"
#include "seqkv/result.hpp"

namespace seqkv::mpi {
class Communicator;
struct BatchReport;
}  // namespace seqkv::mpi

namespace seqkv::cli {

/// Whether this build has MPI, and which.
bool has_mpi();
std::string mpi_version();

class Ranks {
 public:
  /// Starts MPI if the program was started by a launcher. Errors: unsupported (several processes, and no MPI in this
  /// build).
  static Result<Ranks> start();
  Ranks(Ranks&&) noexcept;
  ~Ranks();

  /// Null where no launcher was.
  const mpi::Communicator* communicator() const;
  /// Whether this process is the one that prints.
  bool talk() const;
  bool are_many() const;
  /// Cores for this process, and its device where there are so many.
  int threads() const;
  std::optional<int> device(int devices) const;

 private:
  struct State;
  explicit Ranks(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// What ranks did, as fields of the report of a batch.
void add_ranks(Report& report, const mpi::BatchReport& batch);

}  // namespace seqkv::cli
