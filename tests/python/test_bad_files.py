# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Safetensors files and models that are broken: refused by name, and nothing is left behind."""

import json
import struct

import pytest
from inputs import DOWN, change_weights, prefill_command, random_cache, with_value
from support import BAD_INPUT, NOT_FOUND, Tensor, raw_safetensors, refused
from support import safetensors_bytes, tokens_tensor, write_json


# ---- safetensors -------------------------------------------------------------------------------------------


def edited(tensors, change):
    """The entries of a header and the buffer, with a change made to the entries."""
    header, end = {}, 0
    for name, tensor in tensors.items():
        begin, end = end, end + len(tensor.data)
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [begin, end]}
    change(header)
    return header, b"".join(tensor.data for tensor in tensors.values())


def lie(name, **fields):
    return lambda header: header[name].update(fields)


BROKEN_FILES = {
    "empty": (lambda t: b"", ["8 bytes"]),
    "no header": (lambda t: b"\0" * 7, ["8 bytes"]),
    "truncated": (lambda t: safetensors_bytes(t)[:-1], ["file"]),
    "cut in half": (lambda t: safetensors_bytes(t)[: len(safetensors_bytes(t)) // 2], ["file"]),
    "cut in the header": (lambda t: safetensors_bytes(t)[:100], ["header"]),
    "longer": (lambda t: safetensors_bytes(t) + b"\0", ["file"]),
    "header one longer": (lambda t: raw_safetensors(*edited(t, dict), header_bytes=1 << 20), ["header"]),
    "header beyond all": (lambda t: raw_safetensors(*edited(t, dict), header_bytes=2**63), ["header"]),
    "header of nothing": (lambda t: raw_safetensors(*edited(t, dict), header_bytes=0), ["header"]),
    "no json": (lambda t: struct.pack("<Q", 8) + b"{'a': 1}", ["JSON"]),
    "overlap": (
        lambda t: raw_safetensors(*edited(t, lie("layers.1.key", data_offsets=[0, 4200]))),
        ["layers.1.key"],
    ),
    "hole": (lambda t: raw_safetensors(*edited(t, lambda h: h.pop("layers.0.value"))), ["layers.1.key"]),
    "offsets outside": (
        lambda t: raw_safetensors(*edited(t, lie("layers.0.key", data_offsets=[10**15, 10**15 + 4200]))),
        ["layers."],
    ),
    "wrong size": (
        lambda t: raw_safetensors(*edited(t, lie("layers.0.key", dtype="F32"))),
        ["layers.0.key", "8400"],
    ),
    "overflow": (
        lambda t: raw_safetensors(*edited(t, lie("layers.0.key", shape=[2**40, 2**40, 2**40]))),
        ["layers.0.key"],
    ),
    "unknown dtype": (
        lambda t: raw_safetensors(*edited(t, lie("layers.0.key", dtype="F17"))),
        ["layers.0.key", "F17"],
    ),
}


@pytest.mark.parametrize("name", BROKEN_FILES)
def test_broken_safetensors(name, tmp_path, box):
    make, names = BROKEN_FILES[name]
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(make(random_cache(1)))
    # A claim of too much is one of the limits, all others are formats.
    code = 7 if name == "header beyond all" else BAD_INPUT
    refused(code, "compress", broken, box / "kv.sqkv", "--codec", "raw", names=[broken, *names], beside=box)


def without(tensors, name):
    return {key: tensor for key, tensor in tensors.items() if key != name}


def reshaped(tensors, name, dtype, shape):
    return {**tensors, name: Tensor(dtype, shape, tensors[name].data)}


WRONG_CACHES = {
    "no ids": (lambda t: without(t, "input_ids"), ["input_ids"]),
    "no value": (lambda t: without(t, "layers.0.value"), ["layers.0.value"]),
    "no layer 0": (lambda t: without(t, "layers.0.key"), ["layers.0.key"]),
    "gap": (lambda t: {**t, "layers.7.key": t["layers.0.key"]}, ["layers.2.key"]),
    "shape": (lambda t: reshaped(t, "layers.1.value", "F16", (3, 10, 70)), ["layers.1.value"]),
    "dtype": (lambda t: reshaped(t, "layers.1.value", "BF16", (3, 70, 10)), ["layers.1.value"]),
    "rank": (lambda t: reshaped(t, "layers.0.key", "F16", (1, 3, 70, 10)), ["layers.0.key"]),
    "integers": (lambda t: reshaped(t, "layers.0.key", "I16", (3, 70, 10)), ["layers.0.key", "I16"]),
    "ids of another length": (lambda t: {**t, "input_ids": tokens_tensor([1] * 69)}, ["input_ids"]),
    "negative id": (lambda t: {**t, "input_ids": tokens_tensor([1] * 69 + [-1])}, ["input_ids", "69"]),
    "no tokens": (lambda t: random_cache(1, count=0), ["no tokens"]),
}


@pytest.mark.parametrize("name", WRONG_CACHES)
def test_wrong_caches(name, tmp_path, box):
    make, names = WRONG_CACHES[name]
    wrong = tmp_path / "wrong.safetensors"
    wrong.write_bytes(safetensors_bytes(make(random_cache(1))))
    refused(
        BAD_INPUT, "compress", wrong, box / "kv.sqkv", "--codec", "raw", names=[wrong, *names], beside=box
    )


# ---- models ------------------------------------------------------------------------------------------------


WRONG_WEIGHTS = {
    "missing": (lambda t: without(t, DOWN), [DOWN]),
    "shape": (lambda t: reshaped(t, DOWN, "F16", t[DOWN].shape[::-1]), [DOWN, "config.json"]),
    "dtype": (lambda t: reshaped(t, DOWN, "I16", t[DOWN].shape), [DOWN, "I16"]),
    "nan": (lambda t: with_value(t, DOWN, 77, float("nan")), [DOWN, "element 77"]),
    "infinity": (
        lambda t: with_value(t, "model.norm.weight", 0, float("inf")),
        ["model.norm.weight", "element 0"],
    ),
    "unknown": (lambda t: {**t, "model.extra.weight": t[DOWN]}, ["model.extra.weight"]),
}


@pytest.mark.parametrize("name", WRONG_WEIGHTS)
def test_wrong_weights(name, small, tokens, box):
    change, names = WRONG_WEIGHTS[name]
    change_weights(small, change)
    names = [small / "model.safetensors", *names]
    refused(BAD_INPUT, *prefill_command(small, tokens, box / "kv.safetensors"), names=names, beside=box)


def test_truncated_weights(small, tokens, box):
    weights = small / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    refused(BAD_INPUT, *prefill_command(small, tokens, box / "kv.safetensors"), names=[weights], beside=box)


@pytest.mark.parametrize(
    "field, value, names",
    [
        ("model_type", "frobnet", ["model_type", "'frobnet'", "llama"]),
        ("model_type", None, ["model_type"]),
        ("hidden_act", "gelu", ["hidden_act", "'gelu'"]),
        ("hidden_size", None, ["hidden_size"]),
        ("hidden_size", "48", ["hidden_size"]),
        ("head_dim", 15, ["head_dim"]),
        ("num_key_value_heads", 3, ["num_key_value_heads"]),
        ("rope_parameters", {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}, ["yarn"]),
        ("quantization_config", {"bits": 4}, ["quantization_config"]),
    ],
    ids=str,
)
def test_wrong_config(field, value, names, small, tokens, box):
    config = json.loads((small / "config.json").read_text())
    config[field] = value
    write_json(small / "config.json", config)
    refused(
        BAD_INPUT,
        *prefill_command(small, tokens, box / "kv.safetensors"),
        names=[small / "config.json", *names],
        beside=box,
    )


@pytest.mark.parametrize("absent", ["config.json", "model.safetensors"])
def test_model_file_missing(absent, small, tokens, box):
    (small / absent).unlink()
    prefill = ["prefill", "--model", small, "--tokens", tokens, "--out", box / "kv.safetensors"]
    refused(NOT_FOUND, *prefill, names=[absent], beside=box)


def test_text_without_tokenizer(small, box, tmp_path):
    (tmp_path / "text.txt").write_text("text")
    refused(
        NOT_FOUND,
        "prefill",
        "--model",
        small,
        "--text",
        tmp_path / "text.txt",
        "--out",
        box / "kv.safetensors",
        names=["tokenizer.json"],
        beside=box,
    )
