#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""What references are worth: bits against KL, and what they spare by distance from the boundary, as an SVG; and the bits at a
KL of 0.010, between steps.

    python bench/plot/reference.py --out docs/reference.svg docs-7m=bench/results/reference-docs-7m.json ...

Needs matplotlib. The files are what bench_reference_pairs prints (bench/README.md has the commands).
"""

import argparse
import json
import math
import pathlib

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

TARGET = 0.010


def bits_at(points, kl):
    """Along straight lines between logarithms; None outside."""
    points = sorted(points)
    for (bits, above), (more, below) in zip(points, points[1:]):
        if below <= kl <= above:
            part = math.log(above / kl) / math.log(above / below)
            return bits * (more / bits) ** part
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True)
    parser.add_argument("results", nargs="+", metavar="TITLE=FILE")
    arguments = parser.parse_args()
    figure, (rate, distance) = plt.subplots(1, 2, figsize=(11, 4.2))
    for color, named in enumerate(arguments.results):
        title, _, file = named.partition("=")
        found = json.loads(pathlib.Path(file).read_text())
        style = dict(color=f"C{color}", marker="o", markersize=3)
        kinds = {}
        for kind, line in (("linear", "--"), ("reference", "-")):
            points = kinds[kind] = [(row[kind + "_bits"], row[kind + "_kl"]) for row in found["rows"]]
            rate.plot(*zip(*sorted(points)), line, label=f"{title}, {'linear+ref' if kind == 'reference' else kind}", **style)
        both = [bits_at(kinds[kind], TARGET) for kind in ("linear", "reference")]
        print(title, f"bits at a KL of {TARGET}: linear, linear+ref:", both, "ratio", both[0] and both[1] and both[1] / both[0])
        row = found["rows"][0]
        bounds = found["bounds"]
        middles = [(a + b) / 2 for a, b in zip(bounds, bounds[1:])]
        distance.plot(middles, row["spared_bits"], "-", label=f"{title}, step {row['step']}", **style)
        distance.axhline(row["linear_bits"], color=f"C{color}", linestyle=":", linewidth=1)
    rate.axhline(TARGET, color="gray", linewidth=0.8)
    rate.set(xscale="log", yscale="log", xlabel="bits a component of the document, all bytes counted",
             ylabel="KL(exact || restored), nats")
    distance.axhline(0, color="gray", linewidth=0.8)
    distance.set(xscale="log", xlabel="tokens from the boundary",
                 ylabel="bits a component spared by references\n(dotted: what linear takes in the mean)")
    for axis in (rate, distance):
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.tight_layout()
    plt.rcParams["svg.hashsalt"] = "seqkv"
    figure.savefig(arguments.out, metadata={"Date": None})


if __name__ == "__main__":
    main()
