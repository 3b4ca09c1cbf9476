# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
# shellcheck shell=bash disable=SC2154
#
# Nodes with four A100 or H100, one rank a GPU. An example: copy it, and change what is not so at your site.
#
#   SITE=a100-h100 sbatch --partition=gpu --nodes=2 --gpus-per-node=4 --ntasks-per-node=4 --cpus-per-task=16 slurm/batch.sbatch ...
#
# H100: scripts/build cuda-sm90 -DSEQKV_ENABLE_MPI=ON. A100: the same preset with a Kokkos for sm_80 in Kokkos_ROOT
# (-DKokkos_ARCH_AMPERE80=ON) and -B build/cuda-sm80.

# module load cuda/13 openmpi/4.1-cuda
: "${SEQKV:=$root/build/cuda-sm90/bin/seqkv}"
: "${LAUNCHER:=srun}"
: "${LAUNCHER_OPTIONS:=--mpi=pmix}"
: "${BIND:=core}"
: "${STAGE:=model}"
# SCRATCH_NODE=/raid/$USER
# An MPI that takes addresses of the device says so; where it does not and can: export SEQKV_GPU_AWARE_MPI=on
