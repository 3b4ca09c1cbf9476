#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Prefill of one model by seqkv and by transformers (fp32), by turns on the same threads or GPU, as a ratio.

    scripts/build bench
    python bench/prefill_vs_torch.py --model models/docs-7m --threads 1 2 --out bench/results/prefill-vs-torch.json
    scripts/build cuda-sm90 -DSEQKV_ENABLE_BENCHMARKS=ON
    python bench/prefill_vs_torch.py --device cuda --attention eager --bench build/cuda-sm90/bin/bench_model_forward

Needs torch and transformers. Both compute the logits of the last row. A figure is the median over the rounds; the
ratio is the median of the rounds' ratios, so that a machine that slows down slows down both.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=str(ROOT / "models/docs-7m"))
    parser.add_argument("--tokens", type=int, default=2048, choices=[512, 2048])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="where torch runs; --bench is to be built for it")
    parser.add_argument("--attention", default="sdpa", choices=["sdpa", "eager"])
    parser.add_argument("--bench", default=str(ROOT / "build/bench/bin/bench_model_forward"))
    parser.add_argument("--out", help="JSON file to write")
    return parser.parse_args()


def cpu_name():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def seqkv_speed(arguments, threads):
    """Tokens per second and the kernels in use."""
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads), OMP_PROC_BIND="false", SEQKV_MODEL=arguments.model)
    command = [arguments.bench, f"--benchmark_filter=prefill/tokens:{arguments.tokens}/", "--benchmark_format=json"]
    result = json.loads(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)
    return result["benchmarks"][0]["tokens_per_second"], result["context"]["cpu_kernels"]


def torch_speed(model, tokens, threads):
    import torch

    torch.set_num_threads(threads)
    with torch.inference_mode():
        started = time.perf_counter()
        runs = 0
        while runs < 2 or time.perf_counter() - started < 0.5:
            model(tokens, use_cache=True, logits_to_keep=1)
            runs += 1
            if tokens.is_cuda:
                torch.cuda.synchronize()
        return runs * tokens.shape[1] / (time.perf_counter() - started)


def main():
    arguments = parse_arguments()
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(
        arguments.model, dtype=torch.float32, attn_implementation=arguments.attention).eval().to(arguments.device)
    tokens = torch.randint(0, model.config.vocab_size, (1, arguments.tokens), generator=torch.Generator().manual_seed(1))
    tokens = tokens.to(arguments.device)
    rows = []
    for threads in arguments.threads:
        torch_speed(model, tokens, threads)  # warm up
        ours, theirs = [], []
        for _ in range(arguments.rounds):
            speed, kernels = seqkv_speed(arguments, threads)
            ours.append(speed)
            theirs.append(torch_speed(model, tokens, threads))
        ratio = statistics.median(a / b for a, b in zip(ours, theirs))
        rows.append(dict(threads=threads, tokens=arguments.tokens, cpu_kernels=kernels,
                         seqkv_tokens_per_second=round(statistics.median(ours)),
                         torch_tokens_per_second=round(statistics.median(theirs)), ratio=round(ratio, 3)))
        print(f"{threads} threads: seqkv {rows[-1]['seqkv_tokens_per_second']} tokens/s ({kernels}), "
              f"torch {rows[-1]['torch_tokens_per_second']} tokens/s, ratio {ratio:.2f}")
    if arguments.out:
        report = dict(machine=cpu_name(), cores=os.cpu_count(), command=" ".join(["python", *sys.argv]),
                      torch=torch.__version__, transformers=transformers.__version__, rounds=arguments.rounds, rows=rows)
        pathlib.Path(arguments.out).write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
