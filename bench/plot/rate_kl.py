#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Bits a component against KL for all codecs of evaluate runs, as an SVG.

    python bench/plot/rate_kl.py --out docs/rate-kl.svg docs-7m=bench/results/rate-kl-docs-7m.json

Needs matplotlib. The files are what `seqkv evaluate --json` prints (bench/README.md has the commands).
"""

import argparse
import json
import pathlib

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

FAMILIES = {
    "linear+ecsq": "seqkv linear+ecsq",
    "none+turboquant": "TurboQuant",
    "kvtc": "KVTC",
    "kvtc-profile": "KVTC, steps of the profile",
    "aqua": "AQUA-KV",
    "kivi": "KIVI, no window",
    "cachegen": "CacheGen",
}


def family_of(codec):
    if codec.startswith("kvtc") and "profile" in codec:
        return "kvtc-profile"
    for family in FAMILIES:
        if codec.startswith(family):
            return family
    return None


def curves(rows):
    found = {}
    for row in rows:
        family = family_of(row["codec"])
        if family:
            found.setdefault(family, []).append((row["bits_per_component"], row["kl_mean"]))
    return {family: sorted(points) for family, points in found.items()}


def draw(axis, title, rows):
    for family, points in curves(rows).items():
        style = dict(linewidth=2.5, color="black") if family.startswith("linear") else dict(linewidth=1.2)
        axis.plot(*zip(*points), marker="o", markersize=3, label=FAMILIES[family], **style)
    axis.set(title=title, xscale="log", yscale="log", xlabel="bits a component, all bytes counted",
             ylabel="KL(exact || restored), nats")
    axis.minorticks_off()
    axis.set_xticks([0.125, 0.25, 0.5, 1, 2, 4, 8], ["1/8", "1/4", "1/2", "1", "2", "4", "8"])
    axis.grid(which="major", alpha=0.3)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True)
    parser.add_argument("results", nargs="+", metavar="TITLE=FILE")
    arguments = parser.parse_args()
    figure, axes = plt.subplots(1, len(arguments.results), figsize=(5.2 * len(arguments.results) + 2.4, 4.2), squeeze=False)
    for axis, named in zip(axes[0], arguments.results):
        title, _, file = named.partition("=")
        draw(axis, title, json.loads(pathlib.Path(file).read_text())["rows"])
    axes[0][-1].legend(fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5))
    figure.tight_layout()
    plt.rcParams["svg.hashsalt"] = "seqkv"
    figure.savefig(arguments.out, metadata={"Date": None})


if __name__ == "__main__":
    main()
