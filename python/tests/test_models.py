# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""seqkv's own runtime, measuring and learning from Python; tries; exceptions by code."""

import re

import numpy as np
import pytest
from conftest import MODEL, PROFILE, SOURCE, same

import seqkv


def test_prefill_is_what_replay_gives_back(model, prefilled):
    tokens, layers = prefilled
    data = seqkv.compress(tokens, layers, "replay", model=model)
    assert len(data) < 1000
    ids, restored = seqkv.decompress(data, model=model)
    assert np.array_equal(ids, tokens) and same(restored, layers)
    with pytest.raises(seqkv.InvalidArgument):
        seqkv.decompress(data)


def test_models_say_what_they_are(model):
    assert len(model.fingerprint) == 64 and model.vocabulary == 4096
    assert model.shape("float32").dtype == "float32" and model.shape().rope.dim == 64
    ids = model.encode("KV caches are sequences.")
    assert ids[0] == 0 and model.decode(ids[1:]) == b"KV caches are sequences."
    with pytest.raises(seqkv.TokenOutOfRange):
        seqkv.prefill(model, [4096])
    with pytest.raises(seqkv.LimitExceeded):
        seqkv.prefill(model, [1] * (model.max_positions + 1))
    with pytest.raises(seqkv.FileNotFound):
        seqkv.Model.load(MODEL / "nothing")


def test_profiles(model):
    profile = seqkv.Profile.load(PROFILE)
    assert profile.model == model.fingerprint and profile.bytes == PROFILE.stat().st_size
    assert [step for step, _, _ in profile.curve] == sorted((step for step, _, _ in profile.curve), reverse=True)
    codec = seqkv.Codec("linear+ecsq:kl=0.01", profile)
    assert codec.is_settled and codec.needs_profile and not codec.is_exact and codec.profile.bytes == profile.bytes
    assert codec != seqkv.Codec("raw") and codec != "raw"


def test_evaluate(model):
    text = (SOURCE / "docs" / "format.md").read_text()
    rows = seqkv.evaluate(model, [text, "too short"], ["raw", "linear+ecsq:kl=0.01"], profile=PROFILE, context=400,
                          continuation=64)
    exact, lossy = rows
    assert exact["kl_mean"] < lossy["kl_mean"] < 0.1
    assert lossy["bits_per_component"] < 0.1 * exact["bits_per_component"]


def test_calibrate(tmp_path, model):
    texts = [page.read_text() for page in sorted((SOURCE / "docs").glob("*.md"))]
    stages = []
    profile = seqkv.calibrate(model, texts, tmp_path / "p.safetensors", effort=1,
                              progress=lambda done, all: stages.append((done, all)))
    assert profile.model == model.fingerprint and profile.curve and stages
    with pytest.raises(seqkv.InvalidArgument):
        seqkv.calibrate(model, texts, tmp_path / "q", effort=10)


def test_tries(tmp_path):
    trie = seqkv.Trie.of_sessions([[1, 2, 3], [1, 2, 4, 5]])
    assert trie.match([[1, 2, 4, 9], [7], []]) == [(3, 1), (0, -1), (0, -1)]
    trie.save(tmp_path / "t")
    again = seqkv.Trie.open(tmp_path / "t")
    assert (again.sequences, again.nodes) == (2, trie.nodes)
    shared, path, ultrametric = again.distance([1, 2, 3], [1, 2, 4, 5])
    assert shared > 0 and path > 0 and 0 < ultrametric < 1
    assert again.information([1, 2])[0] == 0
    windows = seqkv.Trie.of_windows([[1, 2, 1, 2, 3]], depth=2)
    assert windows.match([[1, 2, 3]])[0] == (2, -1)
    with pytest.raises(seqkv.EmptyInput):
        seqkv.Trie.of_windows([])


def test_every_error_code_has_its_exception():
    header = (SOURCE / "include" / "seqkv" / "error.hpp").read_text()
    codes = {int(code): name for name, code in re.findall(r"^  (\w+) = (\d+),", header, re.MULTILINE)}
    classes = {kind.code: kind for kind in vars(seqkv.errors).values()
               if isinstance(kind, type) and issubclass(kind, seqkv.Error) and "code" in vars(kind) and kind is not seqkv.Error}
    assert codes.keys() == classes.keys()
    for code, kind in classes.items():
        assert kind("what").name == codes[code] and str(kind("what")) == "what"


def test_threads_are_set_before_work(model):
    with pytest.raises(seqkv.InvalidArgument):
        seqkv.set_threads(seqkv.threads() + 1)
    seqkv.set_threads(seqkv.threads())
