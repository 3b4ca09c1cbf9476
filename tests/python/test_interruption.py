# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Memory that is bounded, signals, and going on after them."""

import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import time

import pytest
from inputs import batch_command, manifest_of, random_ids, restored_bytes
from support import CLI, ENVIRONMENT, INTERRUPTED, Tensor, most_memory, raw_safetensors, read_safetensors
from support import run, tokens_tensor


# ---- large files -------------------------------------------------------------------------------------------


MEBIBYTE = 1 << 20


@pytest.fixture
def huge_cache(tmp_path):
    """160 MiB of a piece of random values again and again."""
    path, piece = tmp_path / "huge.safetensors", random.Random(12).randbytes(MEBIBYTE)
    tensors = {
        f"layers.{layer}.{kind}": Tensor("BF16", (2, 40 * 512, 512), b"") for layer in (0, 1) for kind in ("key", "value")
    }
    header, end = {}, 0
    for name, tensor in tensors.items():
        begin, end = end, end + 40 * MEBIBYTE
        header[name] = {"dtype": "BF16", "shape": tensor.shape, "data_offsets": [begin, end]}
    ids = tokens_tensor([7] * 40 * 512)
    header["input_ids"] = {"dtype": "I32", "shape": ids.shape, "data_offsets": [end, end + len(ids.data)]}
    with path.open("wb") as file:
        file.write(raw_safetensors(header, b""))
        for _ in range(160):
            file.write(piece)
        file.write(ids.data)
    return path


def own_memory(cache, tmp_path):
    """A command that takes what the program takes for itself: with a GPU, whose driver takes more as soon as something
    runs there, one that codes little."""
    if run("info", "--json").json["devices"] == 0:
        return ["info"]
    return ["compress", cache, tmp_path / "little.sqkv", "--codec", "none+lossless"]


@pytest.mark.parametrize("codec", ["raw", "none+lossless"])
def test_memory_stays_under_the_bound(codec, huge_cache, cache, tmp_path):
    """Files are larger than the bound and what the program itself takes, together."""
    overhead = most_memory(*own_memory(cache, tmp_path)) + 8 * MEBIBYTE
    frame, out = tmp_path / "huge.sqkv", tmp_path / "back.safetensors"
    for bound in (16, 48):
        options = ["--memory", f"{bound}M", "--block-tokens", 256, "--codec", codec]
        assert most_memory("compress", huge_cache, frame, *options) < bound * MEBIBYTE + overhead
        assert most_memory("decompress", frame, out, "--memory", f"{bound}M") < bound * MEBIBYTE + overhead
    assert read_safetensors(out)[0] == read_safetensors(huge_cache)[0]


@pytest.mark.parametrize("command", ["compress", "decompress"])
@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT], ids=lambda kind: kind.name)
def test_stopped_by_a_signal(kind, command, huge_cache, tmp_path, box):
    out = box / "out"
    if command == "decompress":
        run("compress", huge_cache, tmp_path / "huge.sqkv", "--codec", "none+turboquant:4")
    arguments = {
        "compress": ["compress", huge_cache, out, "--codec", "none+turboquant:4"],
        "decompress": ["decompress", tmp_path / "huge.sqkv", out],
    }[command] + ["--memory", "16M"]  # in many steps, also where a GPU takes all at once
    process = subprocess.Popen(
        [os.fspath(a) for a in (CLI, *arguments, "--threads", "2")], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size > MEBIBYTE for path in box.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(kind)
    printed, err = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED, err
    assert printed == b"" and b"interrupted" in err and err.count(b"\n") == 1
    assert os.listdir(box) == []


# ---- interruption ------------------------------------------------------------------------------------------


SESSIONS = 60


@pytest.fixture
def long_manifest(tmp_path):
    """Some seconds of work: sessions in threes that share half of their tokens."""
    sessions = {
        f"session-{i:02}": random_ids(100 + i // 3, 128) + random_ids(200 + i, 128) for i in range(SESSIONS)
    }
    return manifest_of(tmp_path / "long.jsonl", sessions), list(sessions)


def sessions_of(store):
    """How many are in a store that may be in the making."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{store}/store.db?mode=ro", uri=True)) as database:
            return database.execute("SELECT count(*) FROM sessions").fetchone()[0]
    except sqlite3.OperationalError:
        return 0


def start_batch(manifest, store, model):
    """A batch under way, some of its sessions stored."""
    command = [CLI, *batch_command(manifest, store, model, "none+turboquant:4"), "--block-tokens", "32", "--json"]
    command = [os.fspath(c) for c in command]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT)
    deadline = time.monotonic() + 60
    while sessions_of(store) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    return process


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda kind: kind.name)
def test_batch_goes_on_after_a_signal(kind, long_manifest, model, tmp_path):
    manifest, names = long_manifest
    store = tmp_path / "store"
    process = start_batch(manifest, store, model)
    process.send_signal(kind)
    out, err = process.communicate(timeout=60)
    stored = {row["session"] for row in run("ls", "--store", store, "--json").json["rows"]}
    assert 0 < len(stored) < SESSIONS, "the machine is too fast or too slow for this test"
    if kind == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == INTERRUPTED, err
        report = json.loads(out)
        assert report["interrupted"] is True and {row["session"] for row in report["rows"]} == stored
        assert b"--restart" in err
    assert run("verify", "--store", store, "--json").json["sessions"] == len(stored)

    options = ["--model", model, "--codec", "none+turboquant:4", "--block-tokens", 32, "--json"]
    rest = run("batch", manifest, "--store", store, *options, "--restart").json
    assert {row["session"] for row in rest["rows"]} == set(names) - stored and rest["interrupted"] is False
    assert run("verify", "--store", store, "--json").json["sessions"] == SESSIONS
    # What comes out is what an uninterrupted batch stores.
    run("batch", manifest, "--store", tmp_path / "whole", *options)
    assert restored_bytes(store, tmp_path, names) == restored_bytes(tmp_path / "whole", tmp_path, names)
    leftovers = [
        path for path in store.rglob("*") if path.is_file() and path.suffix not in (".db", ".pack", ".lock")
    ]
    assert not leftovers


def test_a_warning_counts_from_the_start(long_manifest, model, tmp_path):
    """Batch systems send SIGUSR1 to whatever runs: what has just begun must not be killed by it."""
    manifest, _ = long_manifest
    command = [CLI, *batch_command(manifest, tmp_path / "store", model, "none+lossless")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT)
    status = pathlib.Path(f"/proc/{process.pid}/status")
    deadline = time.monotonic() + 60
    caught = 0
    while not caught >> (signal.SIGUSR1 - 1) & 1 and process.poll() is None and time.monotonic() < deadline:
        caught = int(re.search(r"SigCgt:\s*(\w+)", status.read_text())[1], 16)
    process.send_signal(signal.SIGUSR1)
    _, err = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED, err


def test_reader_after_a_writer_that_died_inside_its_commit(store, tmp_path):
    """A hot journal: the index is half-written, and the journal beside it says what it was."""
    before = run("ls", "--store", store, "--json").json
    died = tmp_path / "died"
    with contextlib.closing(sqlite3.connect(store / "store.db", isolation_level=None)) as database:
        database.execute("PRAGMA cache_size = 1")  # changed pages are written before the commit
        database.execute("BEGIN IMMEDIATE")
        database.execute("UPDATE sessions SET name = 'changed-' || name, created = 0")
        database.execute("CREATE TABLE large AS WITH RECURSIVE n(i) AS "
                         "(SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) SELECT i, hex(randomblob(50)) FROM n")
        shutil.copytree(store, died)
        database.execute("ROLLBACK")
    assert (died / "store.db-journal").stat().st_size > 0
    assert (died / "store.db").read_bytes() != (store / "store.db").read_bytes()
    assert run("ls", "--store", died, "--json").json == before
    run("verify", "--store", died)
