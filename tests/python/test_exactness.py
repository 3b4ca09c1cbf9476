# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""What comes back is what went in."""

import os
import random
import struct

import pytest
from inputs import flip, prefill_command, random_cache, restore, some_sessions
from support import BAD_INPUT, CORRUPT, NOT_FOUND, SOURCE, Tensor, read_safetensors, refused, run
from support import safetensors_bytes, tokens_tensor, write_json


@pytest.mark.parametrize("codec", ["raw", "none+raw", "none+lossless"])
@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
def test_any_bits_come_back(dtype, codec, tmp_path):
    tensors = random_cache(f"{dtype} {codec}", dtype)
    # Numbers as they are in caches, too: only there lossless coding has something to do.
    source = random.Random(4)
    pack = {"BF16": lambda x: struct.pack("<f", x)[2:], "F16": lambda x: struct.pack("<e", x)}
    pack["F32"] = lambda x: struct.pack("<f", x)
    tensors["layers.1.key"] = Tensor(
        dtype, (3, 70, 10), b"".join(pack[dtype](source.gauss(0, 1)) for _ in range(2100))
    )
    for path, metadata in (
        (tmp_path / "a.safetensors", None),
        (tmp_path / "b.safetensors", {"seqkv.model": "5a" * 32}),
    ):
        path.write_bytes(safetensors_bytes(tensors, metadata))
        run("compress", path, tmp_path / "kv.sqkv", "--codec", codec, "--block-tokens", 32)
        run("verify", tmp_path / "kv.sqkv")
        run("decompress", tmp_path / "kv.sqkv", tmp_path / "back.safetensors")
        back, named = read_safetensors(tmp_path / "back.safetensors")
        assert back == tensors
        assert named.get("seqkv.model") == (metadata or {}).get("seqkv.model")
    # No codec makes a cache much larger than it is.
    raw = sum(len(tensor.data) for tensor in tensors.values())
    assert (tmp_path / "kv.sqkv").stat().st_size < raw + 3000


def test_lossless_saves(tmp_path, model):
    (tmp_path / "text.txt").write_text((SOURCE / "LICENSE").read_text())
    run(
        "prefill",
        "--model",
        model,
        "--text",
        tmp_path / "text.txt",
        "--max-tokens",
        300,
        "--dtype",
        "bf16",
        "--out",
        tmp_path / "kv.safetensors",
    )
    done = run(
        "compress", tmp_path / "kv.safetensors", tmp_path / "kv.sqkv", "--codec", "none+lossless", "--json"
    ).json
    assert 8 < done["bits_per_component"] < 13
    run("decompress", tmp_path / "kv.sqkv", tmp_path / "back.safetensors")
    back, metadata = read_safetensors(tmp_path / "back.safetensors")
    assert (back, metadata) == read_safetensors(tmp_path / "kv.safetensors")


def test_cores_and_memory_change_no_byte(large_cache, store, tmp_path):
    out = [tmp_path / "out.sqkv", tmp_path / "out.safetensors", tmp_path / "session.safetensors"]
    seen = set()
    for threads in (1, 2, 3):
        for memory in ("1", "1536K", "64M", "2G"):
            options = ["--threads", threads, "--memory", memory, "--json"]
            command = ["--codec", "none+lossless", "--block-tokens", 64]
            done = run("compress", large_cache, out[0], *command, *options).json
            assert done["peak_bytes"] <= {"1536K": 3 << 19, "64M": 1 << 26, "2G": 1 << 31}.get(memory, 1 << 20)
            done = run("decompress", out[0], out[1], *options).json
            assert done["read_seconds"] + done["code_seconds"] + done["write_seconds"] > 0
            run("restore", "--store", store, "--session", "alone", "--out", out[2], *options)
            seen.add(tuple(path.read_bytes() for path in out))
    assert len(seen) == 1
    assert read_safetensors(out[1])[0] == read_safetensors(large_cache)[0]


def test_info_tells_the_means():
    done = run("info", "--json", environment={"OMP_NUM_THREADS": "3"}).json
    assert done["cores"] == done["threads"] == 3 and done["onetbb"] in (True, False)
    assert run("info", "--json", "--threads", 2).json["threads"] == 2


def test_sessions_come_back(store, small, tmp_path):
    """Out of the store comes what prefill computes, in every session, shared blocks or not."""
    for name, ids in some_sessions().items():
        restore(store, name, tmp_path / "restored.safetensors")
        tokens = write_json(tmp_path / "t.json", ids)
        run(*prefill_command(small, tokens, tmp_path / "computed.safetensors"), "--dtype", "bf16")
        back, computed = (
            read_safetensors(tmp_path / f"{kind}.safetensors")[0] for kind in ("restored", "computed")
        )
        assert back.keys() == computed.keys() and back["input_ids"] == computed["input_ids"]
        assert back == computed


def test_files_that_are_there_already(store, frame, cache, small, tokens, box):
    """Are replaced by a whole new one, and stay as they are when something goes wrong."""
    out = box / "out"
    for command in (
        ["restore", "--store", store, "--session", "alone", "--out", out],
        ["decompress", frame, out],
        ["compress", cache, out, "--codec", "raw"],
        ["prefill", "--model", small, "--tokens", tokens, "--out", out],
    ):
        out.write_bytes(b"old" * 100_000)
        run(*command)
        assert os.listdir(box) == ["out"] and not out.read_bytes().startswith(b"old")
    out.write_bytes(b"old")
    refused(NOT_FOUND, "restore", "--store", store, "--session", "none", "--out", out, beside=box)
    flip(frame, frame.stat().st_size - 1)
    refused(CORRUPT, "decompress", frame, out, beside=box)
    refused(NOT_FOUND, "compress", box / "none", out, "--codec", "raw", beside=box)


def test_compare(tmp_path, model):
    text = tmp_path / "text"
    text.write_text("Two caches of the same tokens. " * 20, encoding="utf-8")
    exact, rounded, other = tmp_path / "exact", tmp_path / "rounded", tmp_path / "other"
    run("prefill", "--model", model, "--text", text, "--out", exact)
    run("prefill", "--model", model, "--text", text, "--out", rounded, "--dtype", "bf16")
    run("prefill", "--model", model, "--text", text, "--max-tokens", 9, "--out", other)
    same = run("compare", exact, exact, "--tolerance", 0, "--json").json
    assert same["identical"] is True and same["key_error"] == same["value_error"] == 0
    near = run("compare", exact, rounded, "--tolerance", 0.004, "--json").json
    assert near["identical"] is False and 0.0005 < near["key_error"] < 0.004 and near["key_max_abs"] > 0
    assert run("compare", exact, rounded, "--tolerance", 0.0001, expect=CORRUPT).code == CORRUPT
    refused(BAD_INPUT, "compare", exact, other, names=[other, "input_ids", "position 9"])


def test_compare_what_is_not_finite(tmp_path):
    def write(name, *numbers):
        size = 4 * len(numbers)
        values = Tensor("F32", (1, 1, len(numbers)), struct.pack(f"<{len(numbers)}f", *numbers))
        zeros = Tensor("F32", values.shape, bytes(size))
        tensors = {"layers.0.key": values, "layers.0.value": zeros, "input_ids": tokens_tensor([1])}
        (tmp_path / name).write_bytes(safetensors_bytes(tensors))
        return tmp_path / name

    inf, nan = float("inf"), float("nan")
    mixed = write("mixed", nan, inf, -inf, 3.0, 4.0)
    same = run("compare", mixed, mixed, "--tolerance", 0, "--json").json
    assert same["identical"] is True and same["key_error"] == same["key_max_abs"] == 0
    # Finite differences count beside infinities that agree.
    near = run("compare", mixed, write("near", nan, inf, -inf, 3.0, 9.0), "--json").json
    assert near["identical"] is False and near["key_error"] == 1 and near["key_max_abs"] == 5
    for far in (write("a", 0.0, inf, -inf, 3.0, 4.0), write("b", nan, -inf, -inf, 3.0, 4.0)):
        for pair in ((mixed, far), (far, mixed)):
            done = run("compare", *pair, "--tolerance", 1e300, expect=CORRUPT)
            fields = dict(line.split() for line in done.out.splitlines())
            assert fields["key_error"] == fields["key_max_abs"] == "inf" and fields["value_error"] == "0", done
            assert fields["identical"] == "no"
