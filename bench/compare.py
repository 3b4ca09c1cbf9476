#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Two results of benchmarks side by side: time of the second over that of the first, the slower ones first.

    bench/compare.py before.json after.json [--limit 1.1]

Takes what bench/run writes, or Google Benchmark itself. Medians are compared where there are repetitions, else the mean of what there
is. Results of different machines, threads or kernels are refused unless --anyway. Exit code 1 if a benchmark takes more than
--limit times as long, or if the two have none in common.
"""

import argparse
import json
import math
import pathlib
import statistics
import sys

UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}


def load(path):
    try:
        result = json.loads(pathlib.Path(path).read_text())
        return result, result["benchmarks"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.exit(f"{path}: no result of benchmarks ({error!r})")


def times(rows):
    """Seconds by name."""
    medians, single = {}, {}
    for row in rows:
        if row.get("error_occurred") or "real_time" not in row:
            continue
        seconds = row["real_time"] * UNITS[row.get("time_unit", "ns")]
        name = row.get("run_name", row["name"])
        if row.get("run_type") == "aggregate":
            if row.get("aggregate_name") == "median":
                medians[name] = seconds
        else:
            single.setdefault(name, []).append(seconds)
    return {**{name: statistics.fmean(values) for name, values in single.items()}, **medians}


def circumstances(result):
    context = result.get("context", {})
    found = {key: context.get(key) for key in ("backend", "threads", "cpu_kernels")}
    machine = result.get("machine")
    found["cpu"] = machine.get("cpu") if isinstance(machine, dict) else machine
    return found


def readable(seconds):
    for unit, size in (("s", 1), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.4g} {unit}"
    return f"{seconds * 1e9:.4g} ns"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("--limit", type=float, default=math.inf, help="largest ratio that is no error")
    parser.add_argument("--anyway", action="store_true", help="compare what ran under different circumstances")
    args = parser.parse_args()
    first, second = load(args.before), load(args.after)
    here, there = circumstances(first[0]), circumstances(second[0])
    for key in here:
        if here[key] != there[key] and None not in (here[key], there[key]) and not args.anyway:
            sys.exit(f"{key}: {here[key]} and {there[key]} are not to be compared (--anyway does)")
    before, after = times(first[1]), times(second[1])
    both = sorted(before.keys() & after.keys(), key=lambda name: before[name] / after[name])
    if not both:
        sys.exit("no benchmark is in both")
    width = max(map(len, both))
    print(f"{'':{width}} {'before':>10} {'after':>10}  ratio")
    for name in both:
        ratio = after[name] / before[name]
        mark = "  slower" if ratio > args.limit else ""
        print(f"{name:{width}} {readable(before[name]):>10} {readable(after[name]):>10} {ratio:6.3f}{mark}")
    mean = math.exp(statistics.fmean(math.log(after[name] / before[name]) for name in both))
    print(f"{len(both)} in both, geometric mean {mean:.3f}; "
          f"{len(before.keys() - after.keys())} only before, {len(after.keys() - before.keys())} only after")
    sys.exit(1 if any(after[name] / before[name] > args.limit for name in both) else 0)


if __name__ == "__main__":
    main()
