# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Texts, tokens and manifests that are broken: refused by name, and nothing is left behind."""

import json
import lzma

import pytest
from inputs import batch_command, manifest_of, prefill_command, random_ids
from support import BAD_INPUT, NOT_FOUND, refused, write_json, write_json_lines


@pytest.mark.parametrize(
    "name, data, names",
    [
        ("latin1.txt", "caf\u00e9".encode("latin-1"), ["byte 3", "not_utf8"]),
        ("surrogate.txt", b"ok \xed\xa0\x80", ["byte 3", "not_utf8"]),
        ("overlong.txt", b"\xc0\xaf", ["byte 0", "not_utf8"]),
        ("cut.txt", "caf\u00e9".encode()[:-1], ["not_utf8"]),
        ("empty.txt", b"", ["empty_input"]),
        ("empty.jsonl", b"", ["empty_input"]),
        ("blank.jsonl", b"\n\n", ["empty_input"]),
        ("empty-text.jsonl", b'{"text": ""}\n', ["empty_input"]),
        ("broken.jsonl", b'{"text": "a"}\n{"text": "b"\n', ["line 2"]),
        ("no-text.jsonl", b'{"text": "a"}\n\n{"txt": "b"}\n', ["line 3"]),
        ("latin1.jsonl", b'{"text": "a"}\n{"text": "\xe9"}\n', ["line 2"]),
        ("not-xz.txt.xz", b"plain text", ["xz"]),
        ("cut.txt.xz", lzma.compress(b"plain text" * 100)[:-20], ["xz"]),
        ("not-zstd.txt.zst", b"plain text", ["zstd"]),
    ],
)
def test_bad_text(name, data, names, model, tmp_path, box):
    path = tmp_path / name
    path.write_bytes(data)
    for command in (["prefill", "--out", box / "kv.safetensors"], ["tokenize", "--out", box / "t.jsonl"]):
        refused(BAD_INPUT, *command, "--model", model, "--text", path, names=[path, *names], beside=box)


@pytest.mark.parametrize(
    "name, data, names",
    [
        ("t.json", b"[]", ["empty_input"]),
        ("t.json", b"[1, 2", ["bad_format"]),
        ("t.json", b"[1, 2.5]", []),
        ("t.json", b"[1, -2]", []),
        ("t.json", b"[1, 4294967296]", ["token_out_of_range"]),
        ("t.jsonl", b"[1]\n[2\n", ["line 2"]),
        ("t.jsonl", b"[1]\n[]\n", ["empty_input"]),
        ("t.npy", b"\x93NUMPY", ["bad_format"]),
        ("t.txt", b"1 2 3", ["unsupported"]),
        ("t.json", b"[1, 300]", ["token_out_of_range", "300"]),
    ],
)
def test_bad_tokens(name, data, names, small, tmp_path, box):
    path = tmp_path / name
    path.write_bytes(data)
    names = (
        names if data == b"[1, 300]" else [path, *names]
    )  # the file is in order, the model has no such token
    refused(BAD_INPUT, *prefill_command(small, path, box / "kv.safetensors"), names=names, beside=box)


GOOD = '{"session": "good", "tokens": [1, 2, 3]}'


@pytest.mark.parametrize(
    "lines, number, names",
    [
        ([GOOD, '{"session": "x", "tokens": [1'], 2, []),
        ([GOOD, "", "[1, 2]"], 3, []),
        ([GOOD, '{"session": "x"}'], 2, ["'x'", "tokens"]),
        ([GOOD, '{"tokens": [1]}'], 2, ["session"]),
        ([GOOD, '{"session": "", "tokens": [1]}'], 2, ["session"]),
        ([GOOD, '{"session": 5, "tokens": [1]}'], 2, ["session"]),
        ([GOOD, '{"session": "x", "tokens": []}'], 2, ["empty_input"]),
        ([GOOD, '{"session": "x", "text": ""}'], 2, ["empty_input"]),
        ([GOOD, '{"session": "x", "tokens": [1, -1]}'], 2, ["token_out_of_range"]),
        ([GOOD, '{"session": "x", "tokens": [1, 300]}'], 2, ["'x'", "300"]),
        ([GOOD, '{"session": "x", "tokens": "1"}'], 2, ["tokens"]),
        ([GOOD, '{"session": "x", "tokens": [1], "text": "t"}'], 2, ["'x'"]),
        ([GOOD, '{"session": "x", "tokens": [1], "colour": "red"}'], 2, ["colour"]),
        ([GOOD, '{"session": "x", "tokens": [1], "tokens": [2]}'], 2, ["'tokens'", "twice"]),
        ([GOOD, '{"session": "y", "tokens": [1]}', GOOD], 3, ["'good'", "twice"]),
        ([GOOD, '{"session": "x", "text": "no tokenizer here"}'], 2, ["'x'"]),
    ],
)
def test_bad_manifest(lines, number, names, small, tmp_path, box):
    path = tmp_path / "sessions.jsonl"
    path.write_text("\n".join(lines) + "\n")
    code = NOT_FOUND if "no tokenizer" in lines[-1] else BAD_INPUT
    # Nothing is stored of the good lines either: everything is checked before work starts.
    refused(code, *batch_command(path, box / "store", small), names=[f"line {number}", *names], beside=box)


def test_files_of_a_manifest(small, cache, tmp_path, box):
    """What a line points to: absent, broken, of other shapes."""
    (tmp_path / "broken.safetensors").write_bytes(cache.read_bytes()[:-5])
    for line, code, names in (
        ({"kv": "absent.safetensors"}, NOT_FOUND, ["absent.safetensors"]),
        ({"text_file": "absent.txt"}, NOT_FOUND, ["absent.txt"]),
        ({"kv": str(tmp_path / "broken.safetensors")}, BAD_INPUT, ["broken.safetensors"]),
        ({"kv": str(cache)}, BAD_INPUT, [cache, "shape_mismatch"]),
    ):
        path = write_json_lines(tmp_path / "sessions.jsonl", [json.loads(GOOD), {"session": "x", **line}])
        refused(code, *batch_command(path, box / "store", small), names=["line 2", "'x'", *names], beside=box)


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_empty_manifest(content, small, tmp_path, box):
    path = tmp_path / "sessions.jsonl"
    path.write_bytes(content)
    refused(BAD_INPUT, *batch_command(path, box / "store", small), names=[path], beside=box)


def test_too_many_tokens(small, tmp_path, box):
    """More than the model has positions."""
    manifest = manifest_of(tmp_path / "sessions.jsonl", {"long": random_ids(1, 129)})
    refused(7, *batch_command(manifest, box / "store", small), names=["'long'", "129", "128"], beside=box)
    refused(
        7,
        *prefill_command(small, write_json(tmp_path / "t.json", random_ids(1, 129)), box / "kv.safetensors"),
        names=["129", "128"],
        beside=box,
    )
