// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// How many cores this process was given.
#pragma once

namespace seqkv {

/// Cores that this process may keep busy, at least 1: KOKKOS_NUM_THREADS or OMP_NUM_THREADS where the user has set one,
/// else the least of
/// - the CPUs that its threads may run on (sched_getaffinity),
/// - the CPU quota of its cgroup and of every one above it, v1 and v2, rounded up,
/// - SLURM_CPUS_PER_TASK inside a Slurm job.
int available_cores();

}  // namespace seqkv
