#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Measures on calibration text what kvtc, aqua and cachegen:profile need to know of a model.

    python bench/baselines/calibrate.py --seqkv build/release/bin/seqkv --model DIR --text calibration.jsonl.xz \\
        --docs 64 --out FILE.npz

The program's prefill makes the KV caches. Keep evaluation text out of it. Needs numpy, and memory for all caches in
fp32 several times over.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

import aqua
import cachegen
import kvfile
import kvtc
import rope

KVTC_SAMPLE = 512  # tokens on which bits are allotted
AQUA_BITS = (2, 3, 4)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seqkv", required=True, help="the program")
    parser.add_argument("--model", required=True, help="model folder")
    parser.add_argument("--text", required=True, help="documents (.jsonl, .jsonl.xz, .jsonl.zst)")
    parser.add_argument("--docs", type=int, default=64, help="use this many, from the first on")
    parser.add_argument("--max-tokens", type=int, default=768, help="of each document")
    parser.add_argument("--out", required=True, help="file to write (.npz)")
    return parser.parse_args()


def prefill(arguments, index, path):
    command = [arguments.seqkv, "prefill", "--model", arguments.model, "--text", arguments.text, "--index", str(index)]
    command += ["--max-tokens", str(arguments.max_tokens), "--dtype", "bf16", "--out", path, "--quiet"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def read_documents(arguments):
    """Caches of the documents, and the RoPE of the model."""
    caches = []
    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder) / "kv.safetensors")
        for index in range(arguments.docs):
            prefill(arguments, index, path)
            cache, config = kvfile.read(path)
            caches.append(cache.kv)
    print(f"{len(caches)} documents, {sum(kv.shape[3] for kv in caches)} tokens", file=sys.stderr)
    return caches, config


def cachegen_counts(caches):
    return sum(cachegen.histogram(cachegen.quantize(kv)[1]).astype(np.uint32) for kv in caches)


def principal_components(x):
    """Mean, and basis with the largest variance first."""
    mean = x.mean(0, dtype=np.float64).astype(np.float32)
    gram = 0
    for first in range(0, len(x), 8192):
        part = x[first : first + 8192] - mean
        gram = gram + (part.T @ part).astype(np.float64)
    return mean, np.ascontiguousarray(np.linalg.eigh(gram)[1][:, ::-1].astype(np.float32))


def kvtc_tables(documents, kind):
    """Mean and basis from seven eighths of the documents, groups and bits from tokens of the others."""
    held = max(1, len(documents) // 8)
    mean, basis = principal_components(np.concatenate(documents[:-held] or documents))
    rest = np.concatenate(documents[-held:])
    sample = rest[np.random.default_rng(0).permutation(len(rest))[:KVTC_SAMPLE]]
    x = (sample - mean) @ basis
    deviations = np.maximum(x.std(0), 1e-6)
    tables = {f"kvtc.{kind}.mean": mean, f"kvtc.{kind}.basis": basis, f"kvtc.{kind}.deviations": deviations}
    table, fixed = kvtc.error_table(x), kvtc.fixed_error_table(x, deviations)
    for ratio in kvtc.RATIOS:
        groups = kvtc.allocate(x, table, ratio)
        print(f"kvtc:{ratio} {kind} {groups}", file=sys.stderr)
        tables[f"kvtc.{kind}.groups.{ratio}"] = np.array(groups)
        tables[f"kvtc.{kind}.bits.{ratio}"] = np.array(kvtc.allocate(x, fixed, ratio, kvtc.fixed_cost, 1))
    return tables


def through(quantizer, x, prediction):
    """What a decoder restores of x."""
    residual = x - prediction
    return prediction + quantizer.restore(*quantizer.quantize(residual), residual.shape)


def aqua_predictors(keys, values, grids, bits):
    """Predictors of all layers but the first; keys and values are lists, by layer, of [tokens, channels]."""
    first, other = (aqua.Quantizer(grids[f"aqua.grid.{width}"]) for width in (aqua.FIRST_BITS, bits))
    key, value = through(first, keys[0], 0), through(first, values[0], 0)
    weights = [], []
    for layer in range(1, len(keys)):
        weights[0].append(aqua.fit(key, keys[layer]))
        key = through(other, keys[layer], aqua.predict(key, weights[0][-1]))
        inputs = np.hstack([key, value])
        weights[1].append(aqua.fit(inputs, values[layer]))
        value = through(other, values[layer], aqua.predict(inputs, weights[1][-1]))
    return {f"aqua.{bits}.{kind}": np.array(w) for kind, w in zip(kvfile.KINDS, weights)}


def measure(caches, config, grid_rounds=aqua.GRID_ROUNDS):
    """All tables, of caches [2, layers, heads, tokens, dim] (whose keys are turned back in place)."""
    tables = {"rope": np.array(json.dumps(config)), "cachegen.counts": cachegen_counts(caches)}
    for kv in caches:
        kv[0] = rope.rotate(kv[0], 0, config, -1)
    for number, kind in enumerate(kvfile.KINDS):
        tables |= kvtc_tables([kvtc.flatten(kv[number]) for kv in caches], kind)
    layers = range(caches[0].shape[1])
    keys, values = (
        [np.concatenate([aqua.merge_heads(kv[number, layer]) for kv in caches]) for layer in layers]
        for number in (0, 1)
    )
    tables |= {f"aqua.grid.{bits}": aqua.make_grid(bits, grid_rounds) for bits in AQUA_BITS}
    for bits in AQUA_BITS:
        tables |= aqua_predictors(keys, values, tables, bits)
    return tables


def main():
    arguments = parse_arguments()
    np.savez(arguments.out, **measure(*read_documents(arguments)))


if __name__ == "__main__":
    main()
