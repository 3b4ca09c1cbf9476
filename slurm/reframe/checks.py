# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""What a site runs after an installation: a batch on ranks, its store verified, and how fast that was.

    pip install reframe-hpc
    reframe -C slurm/reframe/settings.py -c slurm/reframe/checks.py --system=here:local -r
    reframe -C slurm/reframe/settings.py -c slurm/reframe/checks.py --system=here:slurm -r

SEQKV names the program (default build/mpi/bin/seqkv), SEQKV_RANKS the numbers of ranks (default "1 2").
"""

import os
import pathlib

import reframe as rfm
import reframe.utility.sanity as sn
from reframe.core.builtins import parameter, performance_function, run_after, run_before, sanity_function

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("SEQKV", str(ROOT / "build" / "mpi" / "bin" / "seqkv"))
RANKS = [int(ranks) for ranks in os.environ.get("SEQKV_RANKS", "1 2").split()]


@rfm.simple_test
class BatchCheck(rfm.RunOnlyRegressionTest):
    """Sessions of this project's own pages: exact, restored as they were, each shared prefix once."""

    descr = "seqkv batch on ranks, verified"
    ranks = parameter(RANKS)
    codec = parameter(["none+lossless", "none+turboquant:4"])
    valid_systems = ["*"]
    valid_prog_environs = ["*"]
    time_limit = "10m"
    maintainers = ["the seqkv authors"]

    @run_after("init")
    def say_what_runs(self):
        self.num_tasks = self.ranks
        self.executable = PROGRAM
        self.executable_opts = ["batch", "sessions.jsonl", "--store", "store", "--model", str(ROOT / "models" / "docs-7m"),
                                "--codec", self.codec, "--threads", "1", "--json"]
        self.prerun_cmds = [f"python3 {ROOT}/scripts/quickstart_manifest.py > sessions.jsonl"]
        self.postrun_cmds = [f"{PROGRAM} verify --store store", f"{PROGRAM} ls --store store --json > ls.json"]
        self.env_vars = {"OMP_PROC_BIND": "false", "OMP_WAIT_POLICY": "passive"}

    @run_before("run")
    def more_ranks_than_cores(self):
        if self.current_partition.scheduler.registered_name == "local":
            self.job.launcher.options = ["--oversubscribe"]

    @sanity_function
    def all_is_stored(self):
        wanted = sn.count(sn.findall(r'"session":', "sessions.jsonl"))
        return sn.all([
            sn.assert_found(r"^ok\s+yes", self.stdout),
            sn.assert_found(r'"interrupted": false', self.stdout),
            sn.assert_eq(sn.count(sn.findall(r'"session":', "ls.json")), wanted),
        ])

    @performance_function("tokens/s")
    def computed_tokens(self):
        """Tokens that went through the model and the codec, in the time of the slowest rank."""
        tokens = sn.extractsingle(r'^  "new_tokens": (\d+)', self.stdout, 1, float)
        return tokens / sn.max(sn.extractall(r'"total_s": ([\d.e+-]+)', self.stdout, 1, float))

    @performance_function("ratio")
    def ratio_to_bf16(self):
        return sn.extractsingle(r'^    "ratio_bf16": ([\d.]+)', self.stdout, 1, float)
