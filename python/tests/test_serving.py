# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Planner and workers on an engine of our own: paged caches, requests that share prefixes, preemption, shards, damage.

What a token's key and value are is a function of all tokens up to it, so that a wrong one is seen.
"""

import hashlib
import pathlib

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import seqkv  # noqa: E402
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


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "kv"


@pytest.mark.parametrize("layout", ["2BNHD", "B2NHD", "BHN2D"])
@pytest.mark.parametrize("codec", ["none+lossless", "none+raw"])
def test_the_second_request_is_not_computed(folder, layout, codec):
    engine = Engine(folder, layout=layout, codec=codec)
    tokens = prompt(100)
    assert engine.add("first", tokens) == 0
    engine.step()
    engine.finish("first")
    assert engine.add("again", tokens) == 96, "whole blocks of the store: 3 of 32 tokens"
    assert engine.step() == set()
    engine.check("again")
    engine.close()


def test_one_token_is_always_computed(folder):
    engine = Engine(folder)
    tokens = prompt(96)
    engine.add("first", tokens)
    engine.step()
    assert engine.add("same", tokens) == 80, "the last block of the engine is left to run"
    engine.step()
    engine.check("same")
    assert engine.add("short", tokens[:16]) == 0
    engine.close()


def test_partial_hits_and_several_requests_in_a_batch(folder):
    engine = Engine(folder)
    base = prompt(70)
    engine.add("a", base)
    engine.step()
    engine.finish("a")
    others = {"b": base[:64] + prompt(50, 1), "c": base[:40] + prompt(30, 2), "d": prompt(40, 3), "e": base}
    assert {name: engine.add(name, tokens) for name, tokens in others.items()} == {"b": 64, "c": 32, "d": 0, "e": 64}
    assert engine.step() == set()
    for name in others:
        engine.check(name)
    engine.close()


def test_what_the_engine_has_itself_is_not_loaded(folder):
    engine = Engine(folder)
    tokens = prompt(100)
    engine.add("first", tokens)
    engine.step()
    for local, external in ((32, 64), (16, 80), (96, 0)):
        assert engine.add(f"local {local}", tokens, local) == external
    assert engine.step() == set()
    for name in engine.requests:
        engine.check(name)
    engine.close()


def test_chunked_prefill_saves_when_the_prompt_is_whole(folder):
    engine = Engine(folder)
    tokens = prompt(100)
    engine.add("first", tokens)
    engine.step(chunk=48)
    assert engine.planner.match(tokens) == 0
    engine.step(chunk=48)
    engine.step(chunk=48)
    assert engine.planner.match(tokens) == 96
    engine.close()


def test_preemption(folder):
    """All blocks are lost, others come; what was saved before is loaded, generated tokens included."""
    engine = Engine(folder, save="all")
    request = prompt(40)
    engine.add("r", request)
    engine.step()
    for token in prompt(60, 5):
        engine.requests["r"]["tokens"].append(token)
        if len(engine.requests["r"]["tokens"]) > len(engine.requests["r"]["blocks"]) * BLOCK:
            block = engine.free.pop()
            engine.requests["r"]["blocks"].append(block)
            engine.planner.more_blocks("r", [block], instead=False)
        engine.step(r=1)
    old = engine.requests.pop("r")
    for cache in engine.caches:
        for tensor in cache.keys + cache.values:
            tensor.fill_(55)
    engine.free = old["blocks"] + engine.free
    assert engine.add("r", old["tokens"]) == 96
    engine.step()
    engine.check("r")
    engine.close()


def test_generated_tokens_are_saved_only_when_asked(folder):
    engine = Engine(folder)
    engine.add("r", prompt(40))
    engine.step()
    engine.requests["r"]["blocks"] += [engine.free.pop() for _ in range(4)]
    engine.requests["r"]["tokens"] += prompt(40, 8)
    engine.step(r=40)
    assert engine.planner.match(engine.requests["r"]["tokens"] + [1]) == 32
    engine.close()


def test_shards_of_heads(folder):
    engine = Engine(folder, workers=2)
    tokens = prompt(80)
    engine.add("first", tokens)
    engine.step()
    engine.finish("first")
    assert engine.add("again", tokens) == 64
    assert engine.step() == set()
    engine.check("again")
    engine.close()
    alone = Engine(folder, workers=1)
    assert alone.add("other shards", tokens) == 0
    alone.close()


def test_a_prefix_that_one_worker_lacks_is_no_prefix(folder):
    engine = Engine(folder, workers=2)
    tokens = prompt(80)
    engine.add("first", tokens)
    engine.step()
    session = engine.workers[1]._store.sessions()[0].name
    engine.workers[1]._store.remove(session)
    assert engine.add("again", tokens) == 0
    engine.step()
    engine.check("again")
    engine.close()


def damage(folder, worker=0, workers=1, part=0.5):
    """Bits of the pack, in the middle of the blocks."""
    packs = sorted((folder / f"shard-{worker}-of-{workers}" / "packs").glob("*"))
    data = bytearray(packs[0].read_bytes())
    for at in range(int(len(data) * part), int(len(data) * part) + 64):
        data[at] ^= 0xFF
    packs[0].write_bytes(data)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_damaged_block_is_computed_again(folder, workers):
    engine = Engine(folder, workers=workers)
    tokens = prompt(140)
    engine.add("first", tokens)
    engine.step()
    engine.finish("first")
    assert engine.add("again", tokens) == 128
    damage(folder, workers - 1, workers)
    blocks = engine.requests["again"]["blocks"]
    failed = engine.step()
    assert failed and failed < set(blocks[:8]), "blocks before the damage are loaded"
    assert failed == set(blocks[len(blocks[:8]) - len(failed) : 8])
    engine.step()
    engine.check("again")
    engine.finish("again")
    # The engine does not ask for it again.
    known = engine.add("third", tokens)
    assert known == 128 - BLOCK * len(failed)
    assert engine.step() == set()
    engine.check("third")
    engine.close()


def test_damage_that_is_seen_before_loading(folder):
    engine = Engine(folder)
    tokens = prompt(140)
    engine.add("first", tokens)
    engine.step()
    damage(folder)
    assert engine.add("again", tokens) in (32, 64)
    assert engine.step() == set()
    engine.check("again")
    engine.close()


def test_nothing_is_saved_behind_what_was_not_loaded(folder):
    engine = Engine(folder)
    tokens = prompt(140)
    engine.add("first", tokens[:70])
    engine.step()
    engine.finish("first")
    engine.add("longer", tokens)
    damage(folder)
    assert engine.step()
    engine.step()
    engine.check("longer")
    assert engine.workers[0]._store.sessions()[0].tokens == 64
    assert len(engine.workers[0]._store.sessions()) == 1
    engine.close()


def test_a_store_that_vanishes(folder):
    engine = Engine(folder)
    tokens = prompt(80)
    engine.add("first", tokens)
    engine.step()
    engine.finish("first")
    assert engine.add("again", tokens) == 64
    engine.workers[0]._store.remove(engine.workers[0]._store.sessions()[0].name)
    assert engine.step() == set(engine.requests["again"]["blocks"][:4])
    engine.step()
    engine.check("again")
    engine.close()


def test_another_models_store_is_refused(folder):
    Engine(folder).close()
    other = hashlib.sha256(b"another").hexdigest()
    pages = Pages.of({f"layers.{i}": torch.zeros(2, 4, BLOCK, HEADS, DIM, dtype=torch.bfloat16) for i in range(LAYERS)},
                     HEADS, DIM, BLOCK)
    settings = Settings.of({"path": folder, "block_tokens": STORE_BLOCK})
    with pytest.raises(seqkv.Error, match="model"):
        Worker(settings, 0, 1, pages, model=other, rope=None)
    wide = Pages.of({f"layers.{i}": torch.zeros(2, 4, BLOCK, 5, DIM, dtype=torch.bfloat16) for i in range(LAYERS)},
                    5, DIM, BLOCK)
    with pytest.raises(seqkv.Error):
        Worker(settings, 0, 1, wide, model=MODEL, rope=None)


def test_one_engine_saves_and_another_reads(folder):
    writer = Engine(folder)
    reader = Engine(folder, save="none")
    with pytest.raises(seqkv.Busy):
        Engine(folder)
    tokens = prompt(100)
    writer.add("one", tokens)
    writer.step()
    assert reader.add("two", tokens) == 96
    assert reader.step() == set()
    reader.check("two")
    reader.add("three", prompt(100, 4))
    reader.step()
    assert len(writer.workers[0]._store.sessions()) == 1
    reader.close()
    with pytest.raises(seqkv.WrongStore, match="block_tokens is 32, here it is 64"):
        Engine(folder, save="none", block_tokens=64)
    with pytest.raises(seqkv.WrongStore, match="model"):
        Engine(folder, save="none", model="ab" * 32)
    with pytest.raises(seqkv.Error):
        Engine(folder / "nowhere", save="none")
    writer.close()


def test_a_request_that_waits_is_matched_once(folder):
    engine = Engine(folder)
    tokens = prompt(100)
    engine.add("one", tokens)
    engine.step()
    asked = []
    match = engine.planner.match
    engine.planner.match = lambda tokens: (asked.append(len(tokens)), match(tokens))[1]
    assert [engine.planner.matched("two", tokens, computed) for computed in (0, 0, 32, 96)] == [96, 96, 64, 0]
    assert asked == [100]
    engine.add("three", tokens + prompt(40, 1))
    engine.step()
    assert engine.planner.matched("two", tokens, 0) == 96 and asked == [100, 140, 100], "something was saved"
    engine.close()


def test_an_engine_that_schedules_ahead_hears_late(folder):
    engine = Engine(folder)
    tokens = prompt(140)
    engine.add("first", tokens)
    engine.step()
    assert engine.add("again", tokens) == 128
    blocks = engine.requests["again"]["blocks"]
    engine.planner.step([])
    engine.planner.step([])
    engine.planner.failed({blocks[3]})
    assert engine.planner.match(tokens) == 48
    engine.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "path"),
        ({"path": "x", "pfad": 1}, "no option 'pfad'"),
        ({"path": "x", "save": "sometimes"}, "sometimes"),
        ({"path": "x", "block_tokens": "many"}, "many"),
    ],
)
def test_options_that_are_wrong(options, message):
    with pytest.raises(ValueError, match=message):
        Settings.of(options)


@pytest.mark.parametrize("codec", ["none+losless", "replay", "linear+ecsq:step=1"])
def test_codecs_that_cannot_be(tmp_path, codec):
    settings = Settings.of({"path": tmp_path, "codec": codec})
    with pytest.raises((seqkv.Error, ValueError)):
        Planner(settings, 1, BLOCK)


def test_salts_do_not_share(folder):
    engine = Engine(folder, salt="one")
    tokens = prompt(80)
    engine.add("first", tokens)
    engine.step()
    engine.close()
    other = Engine(folder, salt="two")
    assert other.add("again", tokens) == 0
    other.close()


def test_paths_are_by_shard():
    assert Settings.of({"path": "/x"}).store(1, 4) == pathlib.Path("/x/shard-1-of-4")
