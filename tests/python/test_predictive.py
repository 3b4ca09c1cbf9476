# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""linear+ecsq with the embedded model's profile, as a user of the program meets it.

Needs nothing but the standard library (and pytest).
"""

import json
import shutil
import sys

import pytest
from support import BAD_INPUT, SOURCE, USAGE, read_safetensors, refused, run

CODEC = "linear+ecsq:step=1"


@pytest.fixture(scope="module")
def profile():
    return SOURCE / "models" / "docs-7m" / "profile.safetensors"


@pytest.fixture(scope="module")
def small_profile(tmp_path_factory):
    """Of a size that asks for factors and blocks, from little text."""
    folder = tmp_path_factory.mktemp("small")
    text = folder / "text.jsonl"
    pages = sorted((SOURCE / "docs").glob("*.md"))
    text.write_text("".join(json.dumps({"text": page.read_text()}) + "\n" for page in pages))
    path = folder / "profile.safetensors"
    done = run("calibrate", "--model", SOURCE / "models" / "docs-7m", "--text", text, "--out", path, "--effort", 1,
               "--context", 64, "--continue", 16, "--layers-below", 1, "--token-width", 16, "--profile-size", "1M",
               "--json").json
    assert 500_000 < done["profile_bytes"] <= 1 << 20
    tensors = read_safetensors(path)[0]
    assert {"layers.3.key.squeeze", "layers.3.key.expand"} < set(tensors)
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    path = tmp_path_factory.mktemp("cache") / "kv.safetensors"
    model = SOURCE / "models" / "docs-7m"
    run("prefill", "--model", model, "--text", SOURCE / "docs" / "codec.md", "--max-tokens", 600, "--dtype", "bf16",
        "--out", path)
    return path


def test_few_bits_and_small_errors(cache, profile, tmp_path):
    frame, back = tmp_path / "kv.sqkv", tmp_path / "back.safetensors"
    done = run("compress", cache, frame, "--codec", CODEC, "--profile", profile, "--json").json
    assert done["codec"] == CODEC
    assert done["bits_per_component"] < 1
    run("decompress", frame, back, "--profile", profile)
    errors = run("compare", cache, back, "--json").json
    assert 0 < errors["key_error"] < 0.5 and 0 < errors["value_error"] < 0.9
    assert read_safetensors(back)[0]["input_ids"] == read_safetensors(cache)[0]["input_ids"]


@pytest.mark.parametrize("which", ["profile", "small_profile"])
def test_cores_memory_and_kernels_change_no_byte(cache, which, request, tmp_path):
    profile = request.getfixturevalue(which)
    frame, back = tmp_path / "kv.sqkv", tmp_path / "back.safetensors"
    seen = set()
    for kernels in ("portable", "avx2", "avx512"):
        for threads, memory in ((1, "1"), (2, "1"), (3, "2G")):
            options = ["--profile", profile, "--threads", threads, "--memory", memory]
            run("compress", cache, frame, "--codec", CODEC, *options, environment={"SEQKV_CPU": kernels})
            run("decompress", frame, back, *options, environment={"SEQKV_CPU": kernels})
            seen.add((frame.read_bytes(), back.read_bytes()))
    assert len(seen) == 1


def test_other_profiles_are_refused(cache, profile, tmp_path):
    frame, box = tmp_path / "kv.sqkv", tmp_path / "box"
    box.mkdir()
    run("compress", cache, frame, "--codec", CODEC, "--profile", profile)
    refused(USAGE, "compress", cache, box / "kv.sqkv", "--codec", CODEC, names=["--profile"], beside=box)
    refused(BAD_INPUT, "decompress", frame, box / "kv.safetensors", names=["profile"], beside=box)
    other = tmp_path / "other.safetensors"
    other.write_bytes(profile.read_bytes().replace(b'"seqkv.first_token":"0"', b'"seqkv.first_token":"1"'))
    assert other.read_bytes() != profile.read_bytes()
    refused(BAD_INPUT, "decompress", frame, box / "kv.safetensors", "--profile", other, names=["profile"], beside=box)


def test_peers_of_evaluate(model, tmp_path):
    """A peer that copies the file is exact and costs what it says."""
    text = tmp_path / "text.jsonl"
    text.write_text(json.dumps({"text": (SOURCE / "docs" / "codec.md").read_text()}) + "\n")
    peer = tmp_path / "peer.py"
    peer.write_text("import shutil, sys\nshutil.copy(*sys.argv[1:])\nprint('{\"bytes\": 4096}')\n")
    rows = run("evaluate", "--model", model, "--text", text, "--docs", 1, "--context", 32, "--continue", 16, "--peer",
               f"copy={sys.executable} {peer}", "--json").json["rows"]
    row = rows[-1]
    assert row["codec"] == "copy"
    assert row["bits_per_token"] == pytest.approx(8 * 4096 / 32)
    assert row["kl_mean"] == pytest.approx(rows[0]["kl_mean"])
    assert shutil.which("sh")
    bad = ["evaluate", "--model", model, "--text", text, "--docs", 1, "--context", 32, "--continue", 16]
    refused(USAGE, *bad, "--peer", "nameless", names=["--peer"])
