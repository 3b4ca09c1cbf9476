# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""ReFrame: this machine as it is, and as a cluster under Slurm. A site has its own; then only checks.py is wanted."""

ENVIRONMENTS = ["seqkv"]

site_configuration = {
    "systems": [
        {
            "name": "here",
            "descr": "the machine at hand",
            "hostnames": [".*"],
            "partitions": [
                {
                    "name": "local",
                    "descr": "without a queue",
                    "scheduler": "local",
                    "launcher": "mpirun",
                    "environs": ENVIRONMENTS,
                    "max_jobs": 1,
                },
                {
                    # squeue: also where jobs leave no accounting.
                    "name": "slurm",
                    "descr": "through Slurm, ranks by mpirun",
                    "scheduler": "squeue",
                    "launcher": "mpirun",
                    "environs": ENVIRONMENTS,
                },
            ],
        }
    ],
    "environments": [{"name": environment} for environment in ENVIRONMENTS],
}
