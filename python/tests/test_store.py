# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Stores from Python: sessions in and out, whole and in parts, upkeep, what is refused."""

import threading

import numpy as np
import pytest
from conftest import HEADS, LAYERS, MODEL, PROFILE, TOKENS, WIDTH, random_layers, same

import seqkv

SHAPE = seqkv.Shape(LAYERS, HEADS, WIDTH)


@pytest.fixture
def store(tmp_path):
    with seqkv.Store(tmp_path / "store", "w", shape=SHAPE, block_tokens=64) as opened:
        yield opened


def cut(layers, first, last):
    return [tuple(np.ascontiguousarray(part[:, first:last]) for part in pair) for pair in layers]


def test_sessions_come_back(store, tokens, layers):
    report = store.save("one", tokens, layers, "none+lossless")
    assert report.known_tokens == 0 and report.new_bytes > 0
    ids, restored = store.restore("one")
    assert np.array_equal(ids, tokens) and same(restored, layers)
    assert np.array_equal(store.tokens("one"), tokens)
    session = store.session("one")
    assert (session.tokens, session.codec, session.blocks) == (TOKENS, "none+lossless", 5)
    assert [found.name for found in store.sessions()] == ["one"]
    assert store.codec("one").is_exact


def test_parts_of_sessions(store, tokens, layers):
    store.save("one", tokens, layers, "none+lossless")
    ids, part = store.restore("one", first=50, count=100)
    assert np.array_equal(ids, tokens[50:150]) and same(part, cut(layers, 50, 150))
    _, part = store.restore("one", first_layer=1, layers=1, first_head=1, heads=1)
    assert same(part, [tuple(x[1:2] for x in layers[1])])
    for wrong in ({"first": 300}, {"first": 200, "count": 101}, {"count": 0}, {"layers": 4}, {"heads": 3}):
        with pytest.raises(seqkv.Error):
            store.restore("one", **wrong)


def test_prefixes_are_shared_and_found(store, tokens, layers):
    store.save("one", tokens, layers, "none+lossless")
    other = np.concatenate([tokens[:200], tokens[:100][::-1]])
    assert store.match(other, "none+lossless") == 192
    assert store.match(other, "none+turboquant:4") == 0
    count, part = store.restore_prefix(other, "none+lossless")
    assert count == 192 and same(part, cut(layers, 0, 192))
    count, part = store.restore_prefix(other, "none+lossless", dtype="float32")
    assert same(part, [tuple(x.astype(np.float32) for x in pair) for pair in cut(layers, 0, 192)])
    assert store.restore_prefix(tokens[::-1], "none+lossless") == (0, [])
    out = random_layers(9, tokens=128)
    count, part = store.restore_prefix(other, "none+lossless", out=out)
    assert count == 128 and same(out, cut(layers, 0, 128))
    report = store.save("two", other, random_layers(4), "none+lossless")
    assert report.known_tokens == 192
    assert same(cut(store.restore("two")[1], 0, 192), cut(layers, 0, 192))


def test_predictive_codecs(tmp_path, prefilled, model):
    tokens, layers = prefilled
    with seqkv.Store(tmp_path / "s", "w", model=model, profile=PROFILE) as store:
        assert store.model == model.fingerprint and store.shape == model.shape()
        store.save("a", tokens, layers, "linear+ecsq:kl=0.01", profile=PROFILE)
        assert 0 < store.match(tokens, "linear+ecsq:kl=0.01", profile=PROFILE) <= len(tokens)
        ids, restored = store.restore("a")  # the store has its own copy of the profile
        assert np.array_equal(ids, tokens) and len(restored) == len(layers)
        with pytest.raises(seqkv.Error):
            store.save("b", tokens, layers, "linear+ecsq:kl=0.01")


def test_sessions_of_replay_need_the_model(tmp_path, model):
    import subprocess
    import sys

    (tmp_path / "m.jsonl").write_text('{"session": "a", "text": "Sessions of tokens alone. Run again."}\n')
    subprocess.run([sys.executable, "-m", "seqkv", "batch", tmp_path / "m.jsonl", "--store", tmp_path / "s", "--model",
                    MODEL, "--codec", "replay", "-q"], check=True)
    with seqkv.Store(tmp_path / "s") as store:
        ids, layers = store.restore("a", model=model)
        assert same(layers, seqkv.prefill(model, ids))
        with pytest.raises(seqkv.Error):
            store.restore("a")


def test_upkeep(store, tokens, layers):
    store.save("one", tokens, layers, "none+turboquant:2", expires=4_000_000_000)
    store.fork("one", "twig", 100)
    store.set_pinned("twig")
    store.set_expiry("one", 0)
    store.touch("one")
    assert store.session("twig").pinned and store.session("one").expires == 0
    assert store.totals()["sessions"] == 2
    steps = []
    assert store.verify(progress=lambda done, all: steps.append(done))["problems"] == [] and steps
    store.remove("one")
    assert store.gc(dead_part=0)["bytes_after"] <= store.totals()["pack_bytes"]
    assert store.retain(sessions=1)["evicted"] == []
    with pytest.raises(KeyError) as problem:
        store.restore("one")
    assert problem.value.code == 401 and "one" in str(problem.value)


def test_replacing_and_extending(store, tokens, layers):
    store.save("one", tokens[:100], cut(layers, 0, 100), "none+lossless")
    with pytest.raises(seqkv.SessionDiffers):
        store.save("one", tokens[::-1], layers, "none+lossless")
    store.save("one", tokens, layers, "none+lossless", if_exists="extend")
    assert store.session("one").tokens == TOKENS
    store.save("one", tokens[::-1], layers, "none+lossless", if_exists="replace", share=False)
    assert same(store.restore("one")[1], layers)
    with pytest.raises(seqkv.InvalidArgument):
        store.save("two", tokens, layers, "none+lossless", if_exists="ignore")


def test_what_a_store_refuses(tmp_path, store, tokens, layers):
    for wrong in (random_layers(1, layers=2), random_layers(1, np.float32)):
        with pytest.raises(seqkv.ShapeMismatch):
            store.save("x", tokens, wrong, "none+lossless")
    assert store.sessions() == []
    store.close()
    with pytest.raises(seqkv.InvalidArgument):
        store.sessions()
    with pytest.raises(seqkv.WrongStore):
        seqkv.Store(tmp_path / "store", "w", shape=seqkv.Shape(LAYERS + 1, HEADS, WIDTH), block_tokens=64)
    with pytest.raises(FileNotFoundError):
        seqkv.Store(tmp_path / "none")
    with pytest.raises(seqkv.InvalidArgument):
        seqkv.Store(tmp_path / "store", "rw")
    with seqkv.Store(tmp_path / "store") as reader:
        with pytest.raises(seqkv.InvalidArgument):
            reader.save("x", tokens, layers, "none+lossless")


def test_tenants_and_keys(tmp_path, tokens, layers):
    key = tmp_path / "key"
    key.write_bytes(bytes(range(32)))
    key.chmod(0o600)
    options = {"shape": SHAPE, "block_tokens": 64, "protection": "encrypted", "key_file": key}
    with seqkv.Store(tmp_path / "s", "w", salt="a", **options) as store:
        store.save("one", tokens, layers, "none+lossless")
    with seqkv.Store(tmp_path / "s", key_file=key) as other:
        assert other.sessions() == [] and other.match(tokens, "none+lossless") == 0
    with pytest.raises(seqkv.WrongKey):
        seqkv.Store(tmp_path / "s")


def test_threads_share_a_store(store, tokens, layers):
    store.save("one", tokens, layers, "none+lossless")
    good = []
    readers = [threading.Thread(target=lambda: good.append(same(store.restore("one")[1], layers))) for _ in range(8)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert good == [True] * 8
