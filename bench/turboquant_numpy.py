#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""TurboQuant by seqkv and by numpy, on one thread each and by turns, in bytes of bf16 a second and as a ratio.

    scripts/build bench
    python bench/turboquant_numpy.py --out bench/results/turboquant-vs-numpy.json

Needs numpy. Its version is the straightforward one: the rotation is a matrix product (BLAS), cells are found by
searchsorted, planes are packbits; norms in 16 bits. Figures are medians over the rounds; the ratio is the median of the
rounds' ratios, so that a machine that slows down slows down both.
"""

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import argparse
import json
import pathlib
import platform
import statistics
import subprocess
import sys
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dims", type=int, nargs="+", default=[64, 128], choices=[64, 128])
    parser.add_argument("--bits", type=int, nargs="+", default=[2, 3, 4], choices=[2, 3, 4])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--bench", default=str(ROOT / "build/bench/bin/bench_codec_turboquant"))
    parser.add_argument("--out", help="JSON file to write")
    return parser.parse_args()


def cpu_name():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


class NumpyTurboQuant:
    """Vectors of bf16, as uint16 [vectors, dim]."""

    def __init__(self, bits, dim):
        self.bits, self.dim = bits, dim
        hadamard = np.ones((1, 1), np.float32)
        while len(hadamard) < dim:
            hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
        signs = np.random.default_rng(0).choice(np.float32([-1, 1]), dim)
        self.rotation = np.ascontiguousarray(signs[:, None] * hadamard / np.sqrt(np.float32(dim)))
        self.centroids = self.lloyd_max().astype(np.float32)
        self.thresholds = (self.centroids[1:] + self.centroids[:-1]) / 2

    def lloyd_max(self):
        """Centroids for a component of a random unit vector, by sampling its density."""
        x = np.linspace(-1, 1, 200001)
        weight = np.maximum(1 - x * x, 0) ** ((self.dim - 3) / 2)
        centroids = np.linspace(-1, 1, 2**self.bits + 2)[1:-1] * 3 / np.sqrt(self.dim)
        for _ in range(300):
            cell = np.searchsorted((centroids[1:] + centroids[:-1]) / 2, x)
            mass = np.maximum(np.bincount(cell, weight, 2**self.bits), 1e-300)
            centroids = np.bincount(cell, weight * x, 2**self.bits) / mass
        return centroids

    def encode(self, values):
        x = (values.astype(np.uint32) << 16).view(np.float32)
        norms = np.sqrt(np.einsum("ij,ij->i", x, x)).astype(np.float16)
        y = (x @ self.rotation) / norms.astype(np.float32)[:, None]
        index = np.searchsorted(self.thresholds, y.ravel()).astype(np.uint8).reshape(y.shape)
        planes = [np.packbits(index >> b & 1, axis=1, bitorder="little") for b in range(self.bits)]
        return norms, planes

    def decode(self, norms, planes):
        index = np.zeros((len(norms), self.dim), np.uint8)
        for b, plane in enumerate(planes):
            index |= np.unpackbits(plane, axis=1, bitorder="little") << b
        x = (self.centroids[index] @ self.rotation.T) * norms.astype(np.float32)[:, None]
        u = x.view(np.uint32)
        return ((u + 0x7FFF + (u >> 16 & 1)) >> 16).astype(np.uint16)


def speed_of(work, values):
    """Bytes of values per second."""
    started, runs = time.perf_counter(), 0
    while time.perf_counter() - started < 0.3:
        work()
        runs += 1
    return runs * values.nbytes / (time.perf_counter() - started)


def numpy_speed(codec, what, values):
    coded = codec.encode(values)
    return speed_of(lambda: codec.encode(values) if what == "encode" else codec.decode(*coded), values)


def seqkv_speed(arguments, what, bits, dim):
    """Bytes per second of the best kernels of this machine, and their name."""
    for kind in ("avx512", "avx2"):
        command = [arguments.bench, f"--benchmark_filter={what}/{kind}/turboquant:{bits}/dim:{dim}/MiB:1/",
                   "--benchmark_format=json"]
        output = subprocess.run(command, check=True, capture_output=True).stdout
        for row in json.loads(output)["benchmarks"]:
            if row.get("aggregate_name") == "median" and "bytes_per_second" in row:
                return row["bytes_per_second"], kind
    sys.exit("this machine has no kernels but the portable ones")


def compare(arguments, bits, dim):
    codec = NumpyTurboQuant(bits, dim)
    # 256 KiB: numpy is slower on more, which its temporary arrays carry out of the caches.
    x = np.random.default_rng(1).standard_normal((2**17 // dim, dim), np.float32)
    values = (x.view(np.uint32) >> 16).astype(np.uint16)
    restored = codec.decode(*codec.encode(values))
    as_float = [(part.astype(np.uint32) << 16).view(np.float32) for part in (values, restored)]
    error = float(np.sum((as_float[1] - as_float[0]) ** 2) / np.sum(as_float[0] ** 2))
    rows = {}
    for _ in range(arguments.rounds):
        for what in ("encode", "decode"):
            ours, kind = seqkv_speed(arguments, what, bits, dim)
            rows.setdefault(what, []).append((ours, numpy_speed(codec, what, values)))
    for what, pairs in rows.items():
        ours, theirs = (statistics.median(pair[i] for pair in pairs) / 1e9 for i in (0, 1))
        ratio = statistics.median(pair[0] / pair[1] for pair in pairs)
        print(f"{what} {bits} bits, dim {dim}: seqkv {ours:.2f} GB/s ({kind}), numpy {theirs:.3f} GB/s, {ratio:.0f}x")
        yield dict(what=what, bits=bits, dim=dim, cpu_kernels=kind, seqkv_GBps=round(ours, 3),
                   numpy_GBps=round(theirs, 4), ratio=round(ratio, 1), numpy_error=round(error, 5))


def main():
    arguments = parse_arguments()
    rows = [row for dim in arguments.dims for bits in arguments.bits for row in compare(arguments, bits, dim)]
    if arguments.out:
        report = dict(machine=cpu_name(), cores=os.cpu_count(), command=" ".join(["python", *sys.argv]),
                      numpy=np.__version__, rounds=arguments.rounds, rows=rows)
        pathlib.Path(arguments.out).write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
