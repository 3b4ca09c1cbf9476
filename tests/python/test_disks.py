# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Disks that are full, and places where nothing can be written."""

import os
import pathlib
import resource
import shutil
import signal
import stat
import subprocess

import pytest
from inputs import batch, batch_command, manifest_of, random_ids
from support import IO, SOURCE, refused, run, write_json_lines


def limited(size):
    """As for a disk that is full at once: writes beyond `size` bytes of a file fail."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return {"preexec_fn": limit, "restore_signals": False}


@pytest.fixture
def full_disk(tmp_path):
    """A folder on a file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = os.geteuid() == 0 and shutil.which("mount") is not None
    mounted = (
        mounted
        and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True
        ).returncode
        == 0
    )
    if not mounted:
        pytest.skip("no small file system can be mounted here (that takes root)")
    yield folder
    subprocess.run(["umount", folder], check=True)


def writers(model, cache, frame, store, text, out):
    """Commands that write a file of more than 256 KiB to `out`."""
    return {
        "compress": ["compress", cache, out, "--codec", "raw"],
        "decompress": ["decompress", frame, out],
        "restore": ["restore", "--store", store, "--session", "s", "--out", out],
        "prefill": ["prefill", "--model", model, "--text", text, "--max-tokens", 300, "--out", out],
        "tokenize": ["tokenize", "--model", model, "--text", text, "--out", out.with_suffix(".json")],
    }


@pytest.fixture
def large(model, large_cache, tmp_path):
    """The inputs of `writers`."""
    run("compress", large_cache, tmp_path / "large.sqkv", "--codec", "raw")
    text = tmp_path / "text.txt"
    text.write_text((SOURCE / "LICENSE").read_text() * 20)
    manifest = write_json_lines(tmp_path / "large.jsonl", [{"session": "s", "tokens": random_ids(1, 300)}])
    batch(manifest, tmp_path / "large-store", model)
    return [model, large_cache, tmp_path / "large.sqkv", tmp_path / "large-store", text]


@pytest.mark.parametrize("command", ["compress", "decompress", "restore", "prefill", "tokenize"])
def test_file_that_grows_too_large(command, large, box):
    out = box / "out"
    arguments = writers(*large, out)[command]
    refused(
        IO,
        *arguments,
        names=[out.with_suffix("") if command != "tokenize" else out],
        beside=box,
        **limited(100_000),
    )
    run(*arguments)


@pytest.mark.parametrize("command", ["compress", "decompress", "restore", "prefill"])
def test_full_disk(command, large, full_disk, box):
    refused(
        IO,
        *writers(*large, full_disk / "out")[command],
        names=[full_disk / "out", "disk_full"],
        beside=full_disk,
    )


@pytest.mark.parametrize("disk", ["small file system", "limit of a file's size"])
def test_batch_on_a_full_disk(disk, model, tmp_path, request):
    sessions = {f"session-{i:02}": random_ids(20 + i, 40) for i in range(12)}
    manifest = manifest_of(tmp_path / "sessions.jsonl", sessions)
    if disk == "small file system":
        folder, options = request.getfixturevalue("full_disk"), {}
    else:
        folder, options = tmp_path, limited(256 * 1024)
    store = folder / "store"
    done = batch(manifest, store, model, "--quiet", expect=IO, **options)
    assert done.out == "" and done.err.count("\n") == 1 and "manifest line" in done.err, done
    rows = run("ls", "--store", store, "--json").json["rows"]
    assert 0 < len(rows) < len(sessions)
    assert run("verify", "--store", store, "--json").json["sessions"] == len(rows)
    # With more room the rest follows.
    whole = tmp_path / "whole"
    shutil.copytree(store, whole)
    report = batch(manifest, whole, model, "--restart").json
    assert len(report["rows"]) == len(sessions) - len(rows)
    assert run("verify", "--store", whole, "--json").json["sessions"] == len(sessions)


def test_store_that_cannot_begin_on_a_full_disk(small, full_disk, tmp_path):
    manifest = manifest_of(tmp_path / "sessions.jsonl", {"s": [1, 2, 3]})
    (full_disk / "filler").write_bytes(b"\0" * (255 * 1024))
    done = batch(manifest, full_disk / "store", small, "--quiet", expect=IO)
    assert "disk_full" in done.err, done
    (full_disk / "filler").unlink()
    batch(manifest, full_disk / "store", small)
    assert run("verify", "--store", full_disk / "store", "--json").json["sessions"] == 1


def test_folder_that_does_not_exist(store, frame, cache, small, model, tokens, tmp_path, box):
    nowhere = box / "nowhere" / "out"
    (tmp_path / "text.txt").write_text("text")
    for command in (
        ["compress", cache, nowhere, "--codec", "raw"],
        ["decompress", frame, nowhere],
        ["restore", "--store", store, "--session", "alone", "--out", nowhere],
        ["prefill", "--model", small, "--tokens", tokens, "--out", nowhere],
        [
            "tokenize",
            "--model",
            model,
            "--text",
            tmp_path / "text.txt",
            "--out",
            nowhere.with_suffix(".json"),
        ],
    ):
        refused(IO, *command, names=[nowhere], beside=box)


def test_folder_that_is_a_file(frame, small, manifest, box):
    (box / "file").write_text("")
    refused(IO, "decompress", frame, box / "file" / "out", names=[box / "file"], beside=box)
    refused(IO, "decompress", frame, box, names=[box], beside=box.parent)
    refused(IO, *batch_command(manifest, box / "file", small), names=[box / "file"], beside=box)


def small_writers(store, frame, cache, small, model, tokens, tmp_path, out):
    """Commands that write a file `out`, whose suffix is .json."""
    text = tmp_path / "text.txt"
    text.write_text("text")
    return (
        ["compress", cache, out, "--codec", "raw"],
        ["decompress", frame, out],
        ["restore", "--store", store, "--session", "alone", "--out", out],
        ["prefill", "--model", small, "--tokens", tokens, "--out", out],
        ["tokenize", "--model", model, "--text", text, "--out", out],
    )


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_output_that_is_no_regular_file(kind, store, frame, cache, small, model, tokens, tmp_path, box):
    out = box / "special.json"
    try:
        os.mknod(out, 0o600 | (stat.S_IFIFO if kind == "pipe" else stat.S_IFCHR), os.makedev(1, 3))
    except PermissionError:
        pytest.skip("a device takes root")
    before = out.stat()
    (box / "link.json").symlink_to(out)
    for name in (out, box / "link.json"):
        for command in small_writers(store, frame, cache, small, model, tokens, tmp_path, name):
            refused(IO, *command, names=[name, "not a regular file"], beside=box)
            after = out.stat()
            assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)


def test_output_through_symbolic_links(store, frame, cache, small, model, tokens, tmp_path, box):
    (box / "inner").mkdir()
    target = box / "inner" / "target"
    (box / "inner" / "second").symlink_to("target")
    link = box / "link.json"
    link.symlink_to(pathlib.Path("inner") / "second")
    for command in small_writers(store, frame, cache, small, model, tokens, tmp_path, link):
        target.unlink(missing_ok=True)
        run(*command)  # the target is not there yet
        first = target.read_bytes()
        target.write_bytes(b"old")
        run(*command)
        assert target.read_bytes() == first
        assert link.is_symlink() and (box / "inner" / "second").is_symlink()
        assert sorted(path.name for path in box.rglob("*")) == ["inner", "link.json", "second", "target"]


def test_names_that_cannot_be_looked_up(store, frame, cache, small, model, tokens, tmp_path, box):
    (box / "loop").symlink_to("loop")
    for bad in (box / "loop", box / ("x" * 300)):
        for command in small_writers(store, frame, cache, small, model, tokens, tmp_path, bad):
            if command[0] != "tokenize":
                refused(IO, *command, names=[bad], beside=box)
        for command in (
            ["compress", bad, box / "o", "--codec", "raw"],
            ["decompress", bad, box / "o"],
            ["inspect", bad],
            ["verify", bad],
            ["compare", bad, cache],
            ["prefill", "--model", bad, "--tokens", tokens, "--out", box / "o"],
            ["tokenize", "--model", model, "--text", bad, "--out", box / "o.json"],
        ):
            refused(IO, *command, names=[bad], beside=box)
    for name in ("tokenizer.json", "model.safetensors", "config.json"):
        folder = tmp_path / f"loop in {name}"
        shutil.copytree(small, folder)
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(name)
        arguments = ["prefill", "--model", folder, "--tokens", tokens, "--out", box / "o"]
        refused(IO, *arguments, names=[folder / name], beside=box)


@pytest.fixture
def read_only(tmp_path):
    """A folder in which nothing can be written, for root neither."""
    folder = tmp_path / "read-only"
    folder.mkdir()
    if os.geteuid() != 0:
        folder.chmod(0o500)
        yield folder
        folder.chmod(0o700)
        return
    mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", folder]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("root may write everywhere here, and may not mount a read-only file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_folder_that_is_not_writable(read_only, store, frame, cache, small, tokens, manifest):
    out = read_only / "out"
    for command in (
        ["compress", cache, out, "--codec", "raw"],
        ["decompress", frame, out],
        ["restore", "--store", store, "--session", "alone", "--out", out],
        ["prefill", "--model", small, "--tokens", tokens, "--out", out],
        ["batch", manifest, "--store", out, "--model", small, "--codec", "raw"],
    ):
        refused(IO, *command, names=[out], beside=read_only)
