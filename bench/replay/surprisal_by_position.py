# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""What a token costs by its position: the model's surprisal in bits, averaged over documents and ranges of positions.

    surprisal_by_position.py MODEL TEXT [--tokens 8192] [--docs 8] [--seqkv PROGRAM] [--out RESULT.json] [--svg PLOT.svg]
TEXT is .jsonl or .jsonl.xz; documents with fewer tokens are passed over. Needs numpy, for the plot matplotlib.
"""

import argparse
import json
import lzma
import pathlib
import platform
import struct
import subprocess
import sys
import tempfile

import numpy


def tensor(path, name):
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        entry = json.loads(file.read(size))[name]
        begin, end = entry["data_offsets"]
        file.seek(8 + size + begin)
        kind = {"F32": "<f4", "I32": "<i4"}[entry["dtype"]]
        return numpy.frombuffer(file.read(end - begin), kind).reshape(entry["shape"])


def surprisals(arguments, text):
    """-log2 P of tokens 1, 2, ... given those before; None if there are too few."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = pathlib.Path(folder) / "text.txt", pathlib.Path(folder) / "kv.safetensors"
        source.write_text(text)
        program = [arguments.seqkv, "--quiet"]
        ids = pathlib.Path(folder) / "ids.npy"
        subprocess.run([*program, "tokenize", "--model", arguments.model, "--text", source, "--out", ids], check=True,
                       stdout=subprocess.DEVNULL)
        if len(numpy.load(ids)) < arguments.tokens:
            return None
        subprocess.run([*program, "prefill", "--model", arguments.model, "--tokens", ids, "--out", out, "--max-tokens",
                        str(arguments.tokens), "--logits", str(arguments.tokens)], check=True, stdout=subprocess.DEVNULL)
        ids, logits = tensor(out, "input_ids"), tensor(out, "logits")
    largest = logits.max(axis=1)
    sums = numpy.log(numpy.exp(logits - largest[:, None]).sum(axis=1, dtype=numpy.float64))
    chosen = logits[numpy.arange(len(ids) - 1), ids[1:]]
    return (sums[:-1] + largest[:-1] - chosen) / numpy.log(2)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("text")
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--docs", type=int, default=8)
    parser.add_argument("--seqkv", default="build/release/bin/seqkv")
    parser.add_argument("--out")
    parser.add_argument("--svg")
    arguments = parser.parse_args()
    rows = []
    for line in (lzma.open if arguments.text.endswith(".xz") else open)(arguments.text, "rt"):
        text = json.loads(line)["text"]
        if len(text) < 2 * arguments.tokens or len(rows) == arguments.docs:
            continue
        bits = surprisals(arguments, text)
        if bits is not None:
            rows.append(bits)
    bits = numpy.stack(rows)
    edges = [1, 64, *[128 << i for i in range(20) if 128 << i < arguments.tokens], arguments.tokens]
    table = [
        {"from": first, "to": last, "bits_per_token": float(bits[:, first - 1 : last - 1].mean()),
         "standard_error": float(bits[:, first - 1 : last - 1].mean(axis=1).std(ddof=1) / len(rows) ** 0.5)}
        for first, last in zip(edges, edges[1:])
    ]
    result = {"command": sys.argv, "machine": platform.machine(), "documents": len(rows), "rows": table}
    print(json.dumps(result, indent=1))
    if arguments.out:
        pathlib.Path(arguments.out).write_text(json.dumps(result, indent=1) + "\n")
    if arguments.svg:
        plot(table, len(rows), arguments.svg)


def plot(table, documents, path):
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6, 3.4))
    middle = [(row["from"] * row["to"]) ** 0.5 for row in table]
    axis.errorbar(middle, [r["bits_per_token"] for r in table], [r["standard_error"] for r in table], marker="o", capsize=3)
    axis.set_xscale("log", base=2)
    axis.set_xlabel("position of the token")
    axis.set_ylabel(f"bits a token, {documents} documents")
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
    figure.tight_layout()
    plt.rcParams["svg.hashsalt"] = "seqkv"
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
