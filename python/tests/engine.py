# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""A small engine around the planner and its workers: paged caches, one step at a time.

What a token's key and value are is a function of all tokens up to it, so that a wrong one is seen.
"""

import hashlib

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from seqkv.paged import Pages  # noqa: E402
from seqkv.serving import Planner, Settings, Worker  # noqa: E402

LAYERS, HEADS, DIM, BLOCK, BLOCKS = 3, 4, 16, 16, 64
STORE_BLOCK = 32
MODEL = hashlib.sha256(b"a model").hexdigest()


def values_of(tokens, heads=slice(None)):
    """The cache of tokens, [heads, tokens, DIM] a layer and kind."""
    state, states = 0, []
    for token in tokens:
        state = (state * 6364136223846793005 + int(token) * 1442695040888963407 + 1) % 2**64
        states.append(state)
    out = []
    for layer in range(LAYERS):
        pair = []
        for kind in range(2):
            rows = [np.random.Generator(np.random.PCG64([s, layer, kind])).standard_normal((HEADS, DIM)) for s in states]
            value = np.stack(rows) if rows else np.zeros((0, HEADS, DIM))
            pair.append(torch.tensor(value, dtype=torch.bfloat16).transpose(0, 1)[heads])
        out.append(tuple(pair))
    return out


class Engine:
    """What an engine does around a planner and its workers: one step at a time, all requests of a batch together."""

    def __init__(self, path, workers=1, layout="2BNHD", async_tail=False, **options):
        self.settings = Settings.of({"path": str(path), **{"block_tokens": STORE_BLOCK, **options}})
        self.planner = Planner(self.settings, workers, BLOCK)
        self.caches, self.workers = [], []
        share = HEADS // workers
        self.heads = [slice(r * share, (r + 1) * share) for r in range(workers)]
        for rank in range(workers):
            sizes = {"2": 2, "B": BLOCKS, "N": BLOCK, "H": share, "D": DIM}
            shape = [sizes[a] for a in layout[:-2]] + [2 * DIM] if layout.endswith("2D") else [sizes[a] for a in layout]
            tensors = {f"model.layers.{i}.attn": torch.full(shape, 77.0, dtype=torch.bfloat16) for i in range(LAYERS)}
            self.caches.append(Pages.of(tensors, share, DIM, BLOCK))
            self.workers.append(Worker(self.settings, rank, workers, self.caches[-1], model=MODEL, rope=None))
        self.free = list(range(BLOCKS))[::-1]
        self.requests = {}

    def close(self):
        self.planner.close()
        for worker in self.workers:
            worker.close()

    def add(self, name, tokens, local=0):
        """A request is matched and gets its blocks; `local` tokens are in the engine's own cache."""
        request = {"tokens": list(tokens), "prompt": len(tokens), "local": local}
        request["external"] = self.planner.matched(name, request["tokens"], local)
        request["blocks"] = [self.free.pop() for _ in range(-(-len(tokens) // BLOCK))]
        request["computed"] = local + request["external"]
        self.fill(request, 0, local)
        self.requests[name] = request
        self.planner.allocated(name, request["tokens"], request["prompt"], request["blocks"], request["external"])
        return request["external"]

    def fill(self, request, first, last):
        """Computes tokens [first, last)."""
        for rank, cache in enumerate(self.caches):
            layers = values_of(request["tokens"][:last], self.heads[rank])
            cache.scatter(request["blocks"], first, [(k[:, first:], v[:, first:]) for k, v in layers])

    def step(self, chunk=10**6, **counts):
        """One step: names=tokens to compute, at most `chunk`. Returns blocks that were not loaded."""
        saves = []
        names = counts or {name: len(r["tokens"]) - r["computed"] for name, r in self.requests.items()}
        counts = {name: min(count, chunk) for name, count in names.items()}
        for name, count in counts.items():
            saves.append(self.planner.computed(name, self.requests[name]["computed"], count))
        step = self.planner.step(saves)
        for worker in self.workers:
            worker.load(step.loads)
        for name, count in counts.items():
            request = self.requests[name]
            self.fill(request, request["computed"], request["computed"] + count)
        failed = set()
        for worker in self.workers:
            worker.save(step.saves)
            failed |= worker.take_failed()
        self.planner.failed(failed)
        for name, count in counts.items():
            request = self.requests[name]
            bad = [i for i, block in enumerate(request["blocks"]) if block in failed]
            request["computed"] = bad[0] * BLOCK if bad else request["computed"] + count
        return failed

    def finish(self, name):
        request = self.requests.pop(name)
        self.free += request["blocks"]
        self.planner.finished(name)
        for worker in self.workers:
            worker.finished({name})

    def check(self, name):
        """Every value of a request is what its tokens give."""
        request = self.requests[name]
        for rank, cache in enumerate(self.caches):
            found = cache.gather(request["blocks"], 0, request["computed"])
            for wanted, pair in zip(values_of(request["tokens"][: request["computed"]], self.heads[rank]), found):
                assert torch.equal(wanted[0], pair[0]) and torch.equal(wanted[1], pair[1]), name


def prompt(length, seed=0):
    return [int(t) for t in np.random.default_rng(seed).integers(1, 5000, length)]
