# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
# shellcheck shell=bash disable=SC2154
#
# Nodes with four MI250X, that is eight devices (GCDs), one rank a device, on Cray systems. An example: copy it, and
# change what is not so at your site. The HIP build compiles and links in CI; seqkv has not run on this device.
#
#   SITE=mi250x sbatch --partition=standard-g --nodes=2 --gpus-per-node=8 --ntasks-per-node=8 --cpus-per-task=7 slurm/batch.sbatch ...

# module load PrgEnv-amd craype-accel-amd-gfx90a rocm
: "${SEQKV:=$root/build/hip-gfx90a/bin/seqkv}"  # scripts/build hip-gfx90a -DSEQKV_ENABLE_MPI=ON
: "${LAUNCHER:=srun}"
# Device d of these nodes is nearest to cores that are not the d-th group: the site's own map belongs here.
# LAUNCHER_OPTIONS=--cpu-bind=mask_cpu:fe000000000000,fe00000000000000,fe0000,fe000000,fe,fe00,fe00000000,fe0000000000
# BIND=none
: "${STAGE:=model}"
export MPICH_GPU_SUPPORT_ENABLED=1
# SCRATCH_NODE=/tmp     # is memory on nodes without a disk
