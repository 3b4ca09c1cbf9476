# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Planner and workers on an engine of our own: requests that share prefixes, preemption, shards, damage."""

import hashlib
import pathlib

import pytest

torch = pytest.importorskip("torch")
import seqkv  # noqa: E402
from engine import BLOCK, DIM, HEADS, LAYERS, MODEL, STORE_BLOCK, Engine, prompt  # noqa: E402
from seqkv.paged import Pages  # noqa: E402
from seqkv.serving import Planner, Settings, Worker  # noqa: E402


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
