# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
# shellcheck shell=bash disable=SC2154
#
# A cluster of CPU nodes, one rank for 8 cores. An example: copy it, and change what is not so at your site.
#
#   SITE=cpu sbatch --partition=compute --nodes=4 --ntasks-per-node=16 --cpus-per-task=8 slurm/batch.sbatch ...

# module load gcc/12 openmpi/4.1 cmake
: "${LAUNCHER:=mpirun}"  # srun where Slurm has PMIx (srun --mpi=list): then also LAUNCHER_OPTIONS=--mpi=pmix
: "${BIND:=core}"  # each rank on its own cores; its threads are as many as SLURM_CPUS_PER_TASK
: "${STAGE:=model}"  # the model is copied to every node once, and read there
# SCRATCH_NODE=/local/$USER   # a disk of the node; default TMPDIR, or /tmp
# RESULTS=/project/$USER/seqkv-results
