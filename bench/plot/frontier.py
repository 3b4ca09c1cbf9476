# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Restore time over bandwidth, from results of `seqkv advise --json`: a line a codec, the fastest in bold.

    frontier.py --out PLOT.svg RESULT.json        also prints the table of docs/replay.md
"""

import argparse
import json
import pathlib

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy

BANDWIDTHS = [0.1, 1, 10, 100]  # GB/s


def seconds(row, tokens, bandwidth):
    return tokens * row["bits_per_token"] / 8e9 / bandwidth + row["compute_seconds"]


def table(result):
    tokens = result["tokens"]
    print("| codec | bits a token | KL | compute, ms |" + "".join(f" at {b:g} GB/s |" for b in BANDWIDTHS))
    print("|---|---:|---:|---:|" + "---:|" * len(BANDWIDTHS))
    for row in sorted(result["rows"], key=lambda row: row["bits_per_token"]):
        times = "".join(f" {1e3 * seconds(row, tokens, b):.3g} |" for b in BANDWIDTHS)
        print(f"| `{row['codec']}` | {row['bits_per_token']:.4g} | {row['kl_mean']:.2g} | "
              f"{1e3 * row['compute_seconds']:.3g} |{times}")


def plot(result, path):
    tokens = result["tokens"]
    bandwidths = numpy.logspace(-6, 2, 300)
    figure, axis = plt.subplots(figsize=(7.6, 4.4))
    rows = [row for row in result["rows"] if row["within_kl"]]
    times = {row["codec"]: [seconds(row, tokens, b) for b in bandwidths] for row in rows}
    best = numpy.min(list(times.values()), axis=0)
    axis.plot(bandwidths, best, color="black", linewidth=4, alpha=0.25, label="the fastest")
    for codec, values in times.items():
        axis.plot(bandwidths, values, linewidth=1.2, label=codec)
    for span in result["frontier"][1:]:
        axis.axvline(span["from_GBps"], color="gray", linewidth=0.6, linestyle=":")
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_ylim(best.min() / 2, None)
    axis.set_xlabel("bandwidth, GB/s")
    axis.set_ylabel(f"seconds to restore {tokens:,} tokens")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5))
    figure.tight_layout()
    plt.rcParams["svg.hashsalt"] = "seqkv"
    figure.savefig(path, metadata={"Date": None})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("result")
    arguments = parser.parse_args()
    result = json.loads(pathlib.Path(arguments.result).read_text())
    table(result)
    plot(result, arguments.out)


if __name__ == "__main__":
    main()
