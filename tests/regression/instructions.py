#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Instructions of the main kernels (callgrind) against instructions.csv: within 5 %.

    instructions.py BUILD/bin/test_regression_kernels [--update]

A count does not depend on the machine and its load as a time does, but on the compiler: where that is another one than the
file names, or there is no valgrind, nothing is checked (exit code 77). AVX-512 is not counted, for valgrind has none. The C
library copies by instructions that repeat themselves, up to sizes that depend on the machine's caches; not here.
"""

import csv
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

STORED = pathlib.Path(__file__).with_name("instructions.csv")
TOLERANCE = 0.05
SKIPPED = 77
CPU = "avx2"
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "SEQKV_CPU": CPU, "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-ERMS,-FSRM"}


def skip(why):
    print(f"skipped: {why}")
    sys.exit(SKIPPED)


def count(program):
    """Instructions by kernel, the kernels' name and the compiler."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "callgrind"
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--toggle-collect=measured_*", program],
            capture_output=True, text=True, env={**os.environ, **ENVIRONMENT})
        if done.returncode != 0:
            sys.exit(f"valgrind: exit code {done.returncode}\n{done.stderr}")
        words = dict(line.split(" ", 1) for line in done.stdout.splitlines())
        table = subprocess.run(["callgrind_annotate", "--inclusive=yes", "--threshold=100", out], capture_output=True,
                               text=True, check=True).stdout
    counts = {}
    for instructions, name in re.findall(r"^ *([\d,]+) .*?\bmeasured_(\w+)", table, re.MULTILINE):
        counts[name] = max(counts.get(name, 0), int(instructions.replace(",", "")))
    return counts, words["cpu_kernels"], words["compiler"]


def main():
    program, update = sys.argv[1], "--update" in sys.argv[2:]
    if shutil.which("valgrind") is None:
        skip("no valgrind here")
    with open(STORED, newline="") as file:
        stored = {row["kernel"]: int(row["instructions"]) for row in csv.DictReader(filter(lambda l: l[0] != "#", file))}
        file.seek(0)
        compiler = file.readline().removeprefix("# compiler ").strip()
    counts, kernels, found = count(program)
    if update:
        rows = "".join(f"{name},{instructions}\n" for name, instructions in sorted(counts.items()))
        STORED.write_text(f"# compiler {found}\nkernel,instructions\n{rows}")
        return
    if kernels != CPU:
        skip(f"{kernels} kernels instead of {CPU} on this machine")
    if found != compiler:
        skip(f"compiled by {found}; {STORED.name} is of {compiler}")
    wrong = sorted(stored.keys() ^ counts.keys())
    print(f"{'kernel':20} {'instructions':>14} {'stored':>14}  ratio")
    for name in sorted(stored.keys() & counts.keys()):
        ratio = counts[name] / stored[name]
        print(f"{name:20} {counts[name]:14,} {stored[name]:14,} {ratio:6.3f}")
        if abs(ratio - 1) > TOLERANCE:
            wrong.append(name)
    if wrong:
        sys.exit(f"more than {TOLERANCE:.0%} from {STORED.name}, or only on one side: {', '.join(wrong)}\n"
                 f"where that is meant: {sys.argv[0]} {program} --update")


if __name__ == "__main__":
    main()
