// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "mpi/program.hpp"

#include <mpi.h>
#include <sched.h>

#include <algorithm>
#include <cstdlib>

#include "seqkv/cores.hpp"

namespace seqkv::mpi {

Program::Program() {
  int provided = 0;
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
}

Program::~Program() { MPI_Finalize(); }

int Program::world() { return MPI_Comm_c2f(MPI_COMM_WORLD); }
int Program::self() { return MPI_Comm_c2f(MPI_COMM_SELF); }

bool Program::launched() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMI_RANK", "PMIX_RANK"}) {
    if (std::getenv(name) != nullptr) return true;
  }
  return false;
}

double Program::now() { return MPI_Wtime(); }

int Program::threads() {
  MPI_Comm node = MPI_COMM_NULL;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
  int ranks = 1;
  MPI_Comm_size(node, &ranks);
  cpu_set_t mine;
  CPU_ZERO(&mine);
  sched_getaffinity(0, sizeof(mine), &mine);
  cpu_set_t all = mine;
  MPI_Allreduce(&mine, &all, static_cast<int>(sizeof(mine)), MPI_BYTE, MPI_BOR, node);
  MPI_Comm_free(&node);
  return std::clamp(std::min(CPU_COUNT(&all), ranks * available_cores()) / ranks, 1, available_cores());
}

}  // namespace seqkv::mpi
