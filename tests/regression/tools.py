#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""bench/compare.py on small results, and bench/run on programs that only pretend: names, filters, one JSON."""

import copy
import json
import os
import pathlib
import subprocess
import sys
import tempfile

BENCH = pathlib.Path(__file__).resolve().parents[2] / "bench"

PROGRAM = r"""#!/usr/bin/env python3
import json, re, sys
names = ["encode/1", "encode/12", "decode/1"]
options = dict(word.lstrip("-").partition("=")[::2] for word in sys.argv[1:])
if "benchmark_list_tests" in options:
    print(*names, sep="\n")
    sys.exit()
wanted = [name for name in names if re.search(options.get("benchmark_filter", "."), name)]
context = {"seqkv": "test", "backend": "none", "threads": "1", "cpu_kernels": "portable"}
rows = [{"name": name, "run_name": name, "real_time": 2.0, "time_unit": "ms", "run_type": "iteration"} for name in wanted]
json.dump({"context": context, "benchmarks": rows}, open(options["benchmark_out"], "w"))
"""


def run(tool, *words):
    return subprocess.run([sys.executable, BENCH / tool, *map(str, words)], capture_output=True, text=True)


def expect(condition, what, done):
    if not condition:
        sys.exit(f"{what}\nexit code {done.returncode}\n{done.stdout}{done.stderr}")


def test_run(folder):
    program = folder / "bench_area_name"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    done = run("run", "--bin", folder, "--list")
    expect(done.stdout.split() == ["area/name/encode/1", "area/name/encode/12", "area/name/decode/1"], "--list", done)
    out = folder / "out.json"
    done = run("run", "--bin", folder, "--filter", "encode/1$", "--out", out)
    expect(done.returncode == 0, "run", done)
    result = json.loads(out.read_text())
    names = [row["name"] for row in result["benchmarks"]]
    expect(names == ["area/name/encode/1"], f"a filter gives {names}", done)
    expect("--filter" in result["command"] and result["machine"]["cores"] == len(os.sched_getaffinity(0)), "command, machine", done)
    done = run("run", "--bin", folder, "--filter", "nothing")
    expect(done.returncode != 0 and "nothing" in done.stderr, "a name that is not there", done)
    return result


def test_compare(folder, result):
    before, after = folder / "before.json", folder / "after.json"
    before.write_text(json.dumps(result))
    slower = copy.deepcopy(result)
    slower["benchmarks"][0].update(real_time=3000.0, time_unit="us")
    after.write_text(json.dumps(slower))
    done = run("compare.py", before, after, "--limit", "1.6")
    expect(done.returncode == 0 and "1.500" in done.stdout, "1.5 times is within 1.6", done)
    done = run("compare.py", before, after, "--limit", "1.4")
    expect(done.returncode == 1 and "slower" in done.stdout, "1.5 times is above 1.4", done)
    slower["context"]["threads"] = "2"
    after.write_text(json.dumps(slower))
    done = run("compare.py", before, after)
    expect(done.returncode == 1 and "threads" in done.stderr, "other threads", done)
    expect(run("compare.py", before, after, "--anyway").returncode == 0, "--anyway", done)


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        test_compare(folder, test_run(folder))
    print("bench/run and bench/compare.py do what they say")


if __name__ == "__main__":
    main()
