#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""A LogGP-style model of batches and lookups on many ranks, fed with what bench/mpi/run measured.

    bench/mpi/model.py scale.json... [--out model.json] [--plot mpi-scale.svg] [--node-ranks 16] [--latency 2e-6] [--bandwidth 12e9]

Prints a table: measured against predicted on the machine of the file, then what the model says of 1 to 10,000 nodes
on a network of the latency and bandwidth given (a rank's share of it). docs/mpi.md has the equations. The plot needs matplotlib.
"""

import argparse
import json
import math
import sys

FAN_OUT = 8  # of a prefix on its way (mpi/plan.hpp)
KEY_BYTES = 16  # of a block in the plan
ROW_BYTES = 120  # of a block between ranks at a commit
ROUND = 65536  # queries of a rank in one exchange


class Machine:
    """Message of n bytes: L + n G. A rank's own work does not depend on the others but for `slowdown` of a full machine."""

    def __init__(self, latency, seconds_per_byte, slowdown):
        self.L = latency
        self.G = seconds_per_byte
        self.slowdown = slowdown  # by ranks of one node


def slowdown_of(runs, node_ranks):
    """What a token costs in the model and the codec when so many ranks share the machine, by what it costs alone."""
    def cost(run):
        ranks = run["report"]["ranks"]
        return sum(r["model_s"] + r["codec_s"] for r in ranks) / max(sum(r["new_tokens"] for r in ranks), 1)
    alone = cost(runs[min(runs)])
    known = {ranks: cost(run) / alone for ranks, run in runs.items()}
    return lambda ranks: known[max(r for r in known if r <= max(min(ranks, node_ranks), min(known)))]


class BatchModel:
    def __init__(self, runs, trie):
        """`runs`: of one kind, by ranks; `trie`: what bench_mpi_scale said of one rank."""
        first = runs[min(runs)]
        ranks = first["report"]["ranks"]
        self.ranks_of_first = len(ranks)
        self.token = sum(r["model_s"] + r["codec_s"] for r in ranks) / sum(r["new_tokens"] for r in ranks)
        self.read_per_session = max(r["read_s"] for r in ranks) / first["sessions"]
        self.blocks = first["report"]["store"]["stored_tokens"] / 256
        self.sessions = first["sessions"]
        index = [(run["report"]["ranks"][0]["index_s"], run["report"]["store"]["stored_tokens"] / 256)
                 for run in runs.values()]
        # The index: so much for the transaction, and so much a block.
        low, high = min(index, key=lambda x: x[1]), max(index, key=lambda x: x[1])
        self.block_row = max((high[0] - low[0]) / (high[1] - low[1]), 1e-7) if high[1] > low[1] else 1e-5
        self.transaction = max(low[0] - low[1] * self.block_row, 0)
        self.encode, self.decode = trie["encode_Bps"], trie["decode_Bps"]

    def seconds(self, machine, ranks, sessions, tokens_of_rank, preamble, bytes_per_token, preamble_computed_first):
        """`tokens_of_rank`: that the fullest rank computes."""
        blocks = self.blocks / self.sessions * sessions
        work = tokens_of_rank * self.token * machine.slowdown(ranks)
        # The plan: every rank hears of all sessions, and sorts them; it reads its own share.
        keys = blocks * KEY_BYTES + sessions * 25
        plan = self.read_per_session * (sessions / ranks) + sessions * 2e-7 * math.log2(max(sessions, 2))
        plan += math.log2(max(ranks, 2)) * machine.L + (keys * machine.G if ranks > 1 else 0)
        # The prefix of the last piece's neighbor: coded, passed on from few to few, decoded. Who waits for it waits for its
        # computation, too.
        hand = 0
        if ranks > 1:
            raw = preamble * bytes_per_token
            levels = max(math.ceil(math.log(ranks, FAN_OUT + 1)), 1) if preamble_computed_first else 1
            hand = raw / self.encode + raw / self.decode + levels * (machine.L + FAN_OUT * raw * machine.G)
            if preamble_computed_first:
                hand += preamble * self.token * machine.slowdown(ranks)
        # The commit: rows of all come to rank 0, one transaction.
        commit = ranks * machine.L + blocks * ROW_BYTES * machine.G + self.transaction + blocks * self.block_row
        commit += 3 * math.log2(max(ranks, 2)) * machine.L
        return {"work": work, "plan": plan, "hand_over": hand, "commit": commit,
                "seconds": work + plan + hand + commit}


def fullest(run):
    return max(r["new_tokens"] for r in run["report"]["ranks"])


def lookup_seconds(trie, machine, ranks, queries):
    """Batched: what one rank alone takes for its own, and two exchanges a round in which each sends to each."""
    local = trie["trie_weak"]["lookup_s"] / trie["queries_per_rank"]
    away = (ranks - 1) / ranks
    query, answer = 8 + 64, 32
    rounds = queries / ROUND
    exchange = 3 * rounds * (ranks - 1) * machine.L / 4 + 2 * rounds * 2 * math.log2(max(ranks, 2)) * machine.L
    return queries * (local * machine.slowdown(ranks) + away * (query + answer) * machine.G) + exchange


def predict(data, args):
    by_kind = {}
    for run in data["runs"]:
        by_kind.setdefault(run["kind"], {})[run["ranks"]] = run
    tries = by_kind.get("trie") or sys.exit("no run of the trie, which measures messages: bench/mpi/run without --only batch")
    one = tries[min(tries)]
    most = tries[max(tries)]
    here_latency = most["latency_s"] or 1e-6
    here_G = 1 / most["message_Bps"] if most["message_Bps"] else 1e-10
    rows = []
    node = max(tries)
    models = {}
    for kind in ("weak", "strong", "skew"):
        runs = by_kind.get(kind)
        if not runs:
            continue
        slow = slowdown_of(runs, node)
        machine = Machine(here_latency, here_G, slow)
        model = models[kind] = BatchModel(runs, one)
        preamble = 1024 if kind == "skew" else 512
        for ranks, run in sorted(runs.items()):
            said = model.seconds(machine, ranks, run["sessions"], fullest(run), preamble, 8192, kind == "skew")
            base = runs[min(runs)]
            work = run["seconds"] if kind == "weak" else run["seconds"] * ranks / min(runs)
            rows.append({"kind": kind, "ranks": ranks, "measured_s": run["seconds"], "predicted_s": said["seconds"],
                         "error": said["seconds"] / run["seconds"] - 1, "efficiency": base["seconds"] / work})
    far = []
    network = Machine(args.latency, 1 / args.bandwidth, slowdown_of(by_kind["weak"], node))
    base = None
    for nodes in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000):
        ranks = nodes * args.node_ranks
        weak_run = by_kind["weak"][max(by_kind["weak"])]
        sessions_of_rank = weak_run["sessions"] / weak_run["ranks"]
        tokens = fullest(weak_run)
        short = models["weak"].seconds(network, ranks, sessions_of_rank * ranks, tokens, 512, 8192, False)
        # The same work in sessions of an hour's job: a hundred times as many a rank.
        long = models["weak"].seconds(network, ranks, 100 * sessions_of_rank * ranks, 100 * tokens, 512, 8192, False)
        lookups = lookup_seconds(one, network, ranks, 1_000_000)
        base = base or (short["seconds"], long["seconds"], lookups)
        far.append({"nodes": nodes, "ranks": ranks, "short": short, "short_efficiency": base[0] / short["seconds"],
                    "long": long, "long_efficiency": base[1] / long["seconds"], "lookup_s": lookups,
                    "lookup_efficiency": base[2] / lookups})
    lookups = [{"ranks": ranks, "measured_s": run["trie_weak"]["lookup_s"],
                "predicted_s": lookup_seconds(one, Machine(here_latency, here_G, lambda r: 1.0), ranks,
                                              run["queries_per_rank"])} for ranks, run in sorted(tries.items())]
    return {"batch": rows, "lookups": lookups, "nodes": far}


def plot(result, path):
    import matplotlib
    matplotlib.use("svg")
    import matplotlib.pyplot as plt
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    for kind in ("weak", "strong", "skew"):
        rows = [row for row in result["batch"] if row["kind"] == kind]
        if rows:
            line, = left.plot([r["ranks"] for r in rows], [r["measured_s"] for r in rows], "o-", label=f"{kind}, measured")
            left.plot([r["ranks"] for r in rows], [r["predicted_s"] for r in rows], "x--", color=line.get_color(),
                      label=f"{kind}, model")
    left.set(xscale="log", yscale="log", xlabel="ranks of one machine", ylabel="seconds of a batch")
    left.legend(fontsize=8)
    nodes = [row["nodes"] for row in result["nodes"]]
    for name, label in (("short", "batch of seconds"), ("long", "the same, 100 times the sessions"),
                        ("lookup", "10^6 lookups a rank")):
        right.plot(nodes, [row[f"{name}_efficiency"] for row in result["nodes"]], "--", label=f"{label}, model")
    right.set(xscale="log", xlabel="nodes", ylabel="weak efficiency, predicted", ylim=(0, 1.1))
    right.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path)


def options(words=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", help="of several, as slurm/scaling.sbatch leaves them, all runs count")
    parser.add_argument("--out")
    parser.add_argument("--plot")
    parser.add_argument("--node-ranks", type=int, default=16)
    parser.add_argument("--latency", type=float, default=2e-6, help="seconds of a message of the network")
    parser.add_argument("--bandwidth", type=float, default=1.5e9, help="bytes a second for each rank")
    return parser.parse_args(words)


def main():
    args = options()
    data = {"runs": []}
    for name in args.files:
        with open(name) as file:
            data["runs"] += json.load(file)["runs"]
    result = predict(data, args)
    print("| batch | ranks | measured, s | model, s | error | efficiency |\n|---|---:|---:|---:|---:|---:|")
    for r in result["batch"]:
        print(f"| {r['kind']} | {r['ranks']} | {r['measured_s']:.2f} | {r['predicted_s']:.2f} | {r['error']:+.0%} | "
              f"{r['efficiency']:.2f} |")
    print("\n| lookups, ranks | measured, s | model, s |\n|---:|---:|---:|")
    for r in result["lookups"]:
        print(f"| {r['ranks']} | {r['measured_s']:.3f} | {r['predicted_s']:.3f} |")
    print("\n| nodes | batch, s | efficiency | 100 times the sessions, s | efficiency | of that commits | lookups |"
          "\n|---:|---:|---:|---:|---:|---:|---:|")
    for r in result["nodes"]:
        print(f"| {r['nodes']} | {r['short']['seconds']:.2f} | {r['short_efficiency']:.2f} | {r['long']['seconds']:.1f} | "
              f"{r['long_efficiency']:.2f} | {r['long']['commit'] / r['long']['seconds']:.0%} | {r['lookup_efficiency']:.2f} |")
    if args.out:
        with open(args.out, "w") as file:
            json.dump(result, file, indent=1)
            file.write("\n")
    if args.plot:
        plot(result, args.plot)


if __name__ == "__main__":
    main()
