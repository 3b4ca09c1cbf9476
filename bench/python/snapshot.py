# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""What the Python layer costs beside the program, and snapshots beside torch.save and safetensors.

    python bench/python/snapshot.py [--tokens 65536] [--runs 5] [--cli build/release/bin/seqkv] [--out FILE.json]

The cache: one of model A's shape repeated along its tokens, 4 KiB a token in bfloat16: 262144 tokens are 1 GiB. Files
go to the folder of --work, /dev/shm by default: the disk is not what is measured. Best of the runs, all of them turn by
turn. Needs torch, transformers, safetensors.
"""

import argparse
import json
import pathlib
import platform
import resource
import subprocess
import sys
import tempfile
import time

import torch
from safetensors.torch import load_file, save_file
from transformers import DynamicCache

import seqkv
import seqkv.hf

SOURCE = pathlib.Path(__file__).resolve().parents[2]
MODEL = SOURCE / "models" / "docs-7m"


def make_cache(tokens):
    """A real cache over and over: bits as of a real one."""
    model = seqkv.Model.load(MODEL)
    ids = model.encode((SOURCE / "docs" / "format.md").read_text())[:2048]
    layers = seqkv.prefill(model, ids, framework="torch")
    times = -(-tokens // len(ids))
    cache = DynamicCache()
    for number, (key, value) in enumerate(layers):
        cache.update(key.repeat(1, times, 1)[None, :, :tokens].contiguous(),
                     value.repeat(1, times, 1)[None, :, :tokens].contiguous(), number)
    return torch.tensor(ids).repeat(times)[:tokens], cache


def best(runs, actions):
    """Seconds of each action, the runs taking turns."""
    seconds = {name: float("inf") for name in actions}
    for _ in range(runs):
        for name, action in actions.items():
            start = time.perf_counter()
            action()
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=65536)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--codecs", nargs="+", default=["none+lossless", "none+turboquant:4"])
    parser.add_argument("--cli", default=str(SOURCE / "build" / "release" / "bin" / "seqkv"))
    parser.add_argument("--work", default="/dev/shm")
    parser.add_argument("--out")
    arguments = parser.parse_args()
    ids, cache = make_cache(arguments.tokens)
    layers = [(layer.keys[0], layer.values[0]) for layer in cache.layers]
    raw = sum(part.nbytes for pair in layers for part in pair)
    rows = []
    with tempfile.TemporaryDirectory(dir=arguments.work) as folder:
        work = pathlib.Path(folder)
        tensors = {"input_ids": ids.int()}
        for number, (key, value) in enumerate(layers):
            tensors |= {f"layers.{number}.key": key, f"layers.{number}.value": value}
        save_file(tensors, work / "kv.safetensors")

        def program(*words):
            subprocess.run([arguments.cli, *map(str, words), "--quiet"], check=True, stdout=subprocess.DEVNULL)

        plain = {
            "torch.save": lambda: torch.save(tensors, work / "kv.pt"),
            "torch.load": lambda: torch.load(work / "kv.pt"),
            "safetensors save": lambda: save_file(tensors, work / "other.safetensors"),
            "safetensors load": lambda: load_file(work / "other.safetensors"),
        }
        for name, seconds in best(arguments.runs, plain).items():
            rows.append({"what": name, "seconds": seconds, "bytes": raw})
        out = [tuple(torch.empty_like(part) for part in pair) for pair in layers]
        for codec in arguments.codecs:
            frame = work / "kv.sqkv"
            # The program reads a file and writes one; the module is given memory and gives memory.
            seconds = best(arguments.runs, {
                "program: compress": lambda: program("compress", work / "kv.safetensors", frame, "--codec", codec),
                "module: compress": lambda: seqkv.compress(ids, layers, codec, path=frame),
                "program: decompress": lambda: program("decompress", frame, work / "back.safetensors"),
                "module: decompress": lambda: seqkv.decompress(frame, out=out),
                "snapshot": lambda: seqkv.hf.snapshot(cache, ids, codec, path=frame),
                "restore": lambda: seqkv.hf.restore(frame),
            })
            for name, value in seconds.items():
                rows.append({"what": name, "codec": codec, "seconds": value, "bytes": frame.stat().st_size})
    report = {
        "machine": platform.node(), "processor": platform.processor() or platform.machine(),
        "threads": seqkv.threads(), "kernels": seqkv.cpu_kernels(), "tokens": arguments.tokens, "cache_bytes": raw,
        "peak_resident_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "command": " ".join(["python", *sys.argv]), "rows": rows,
    }
    for row in rows:
        print(f"{row['what']:22} {row.get('codec', ''):20} {row['seconds']:8.3f} s {raw / row['seconds'] / 1e9:6.2f} GB/s"
              f" {row['bytes'] / 1e6:9.1f} MB")
    if arguments.out:
        pathlib.Path(arguments.out).write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
