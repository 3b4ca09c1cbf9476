#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Every command of README.md and docs/quickstart.md runs, the README's C++ lines are lines of tests/downstream, and links of all
pages lead somewhere.

    readme.py BUILD/bin/seqkv

Commands of a build with MPI run where the program has it. scripts/ are left to .ci/run, sbatch to tests/slurm.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parents[2]
# What stands for a user's own folder or file, or is another test's.
NOT_HERE = ("scripts/", "sbatch ", "git clone", "DIR", "cmake ")


def blocks(page, heading=None):
    """Indented lines, of the section or of all."""
    text = (SOURCE / page).read_text(encoding="utf-8")
    if heading:
        text = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)[1]
    return [line[4:] for line in text.splitlines() if line.startswith("    ")]


def is_command(line):
    return re.match(r"(build/|mpirun |echo |seqkv=|\$seqkv )", line) and not any(word in line for word in NOT_HERE)


def run_page(page, program, with_mpi):
    commands = [line for line in blocks(page) if is_command(line) and (with_mpi or not line.startswith("mpirun"))]
    if len(commands) < 5:
        sys.exit(f"{page}: only {len(commands)} commands were found")
    environment = {"OMP_WAIT_POLICY": "passive", "OMP_PROC_BIND": "false", **os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1",
                   "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_rmaps_base_oversubscribe": "1"}
    with tempfile.TemporaryDirectory() as folder:
        here = pathlib.Path(folder)
        for name in ("models", "docs", "README.md", "LICENSE"):
            (here / name).symlink_to(SOURCE / name)
        for preset in ("release", "mpi"):
            (here / "build" / preset / "bin").mkdir(parents=True)
            (here / "build" / preset / "bin" / "seqkv").symlink_to(program)
        script = "\n".join(["set -ex", *commands])
        done = subprocess.run(["bash", "-c", script], cwd=here, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{page}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    print(f"{page}: {len(commands)} commands run")
    return done.stdout


def check_number(out):
    """What the README says of its first command."""
    text = (SOURCE / "README.md").read_text(encoding="utf-8")
    bits, kl, theirs, their_kl = re.search(r"\*\*([\d.]+) bits for .*?\(KL\) of ([\d.]+) nats.*?TurboQuant takes ([\d.]+) bits at ([\d.]+)\.",
                                           text, re.DOTALL).groups()
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line}
    for codec, said in (("linear+ecsq:step=1", (bits, kl)), ("none+turboquant:4", (theirs, their_kl))):
        found = (f"{float(rows[codec][1]):.3f}", f"{float(rows[codec][4]):.4f}")
        if found != said:
            sys.exit(f"README.md says {said} of {codec}, the command {found}")


def check_lines():
    program = {line.strip() for line in (SOURCE / "tests/downstream/main.cpp").read_text(encoding="utf-8").splitlines()}
    lines = blocks("README.md", "C++")
    if len(lines) != 5 or not set(lines) <= program:
        sys.exit(f"README.md, C++: not lines of tests/downstream/main.cpp: {[line for line in lines if line not in program]}")


def anchors(page):
    found = set()
    for heading in re.findall(r"^#+ (.*)", page.read_text(encoding="utf-8"), re.MULTILINE):
        found.add(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-"))
    return found


def check_links():
    wrong = []
    pages = [SOURCE / name for name in ("README.md", "SECURITY.md", "CHANGELOG.md")]
    pages += [*(SOURCE / "docs").rglob("*.md"), *(SOURCE / "bench").rglob("*.md"), *(SOURCE / "models").rglob("*.md")]
    for page in pages:
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            name, _, anchor = link.partition("#")
            if "://" in name:
                continue
            to = (page.parent / name).resolve() if name else page
            if not to.exists() or (anchor and to.suffix == ".md" and anchor not in anchors(to)):
                wrong.append(f"{page.relative_to(SOURCE)}: {link}")
    if wrong:
        sys.exit("links that lead nowhere:\n" + "\n".join(wrong))
    print(f"{len(pages)} pages, all links lead somewhere")


def main():
    program = pathlib.Path(sys.argv[1]).resolve()
    with_mpi = json.loads(subprocess.run([program, "info", "--json"], capture_output=True, text=True, check=True).stdout)["mpi"]
    check_links()
    check_lines()
    check_number(run_page("README.md", program, with_mpi and shutil.which("mpirun")))
    run_page("docs/quickstart.md", program, with_mpi)


if __name__ == "__main__":
    main()
