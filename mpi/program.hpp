// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// MPI in a program: what only a main function may do. Not part of the library, which knows no MPI_COMM_WORLD.
#pragma once

namespace seqkv::mpi {

/// MPI from the start of a program to its end, which is collective. Before Kokkos, and after it.
class Program {
 public:
  Program();
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  /// All ranks, for Communicator::duplicate.
  static int world();
  /// This rank alone.
  static int self();
  /// Whether mpirun or srun started this process.
  static bool launched();
  /// Seconds on the clock of MPI.
  static double now();
  /// Threads for this rank: its share of the cores that the ranks of its node have together. Collective.
  static int threads();
};

}  // namespace seqkv::mpi
