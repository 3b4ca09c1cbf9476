# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Things that do not belong together."""

from inputs import DOWN, batch_command, change_weights, manifest_of, prefill_command, random_ids, some_sessions, with_value
from support import BAD_INPUT, NOT_FOUND, refused, run, unchanged, write_json_lines


def test_store_of_another_model(store, manifest, small, tmp_path):
    """The same shapes, one weight differs."""
    change_weights(small, lambda tensors: with_value(tensors, DOWN, 5, 0.5))
    arguments = [*batch_command(manifest, store, small, "none+lossless"), "--block-tokens", 16]
    refused(BAD_INPUT, *arguments, names=["store.db", "wrong_model"], beside=store)
    refused(BAD_INPUT, *arguments, "--restart", names=["wrong_model"], beside=store)


def test_store_of_a_model_of_other_shapes(store, shared, tmp_path):
    mqa = shared("model-mqa")
    manifest = manifest_of(tmp_path / "other.jsonl", {"s": [1, 2, 3]})
    command = [*batch_command(manifest, store, mqa), "--block-tokens", 16]
    refused(BAD_INPUT, *command, names=["wrong_model"], beside=store)


def test_store_with_other_parameters(store, manifest, small):
    arguments = batch_command(manifest, store, small, "none+lossless")
    refused(BAD_INPUT, *arguments, "--block-tokens", 32, names=["wrong_store", "16", "32"], beside=store)
    refused(
        BAD_INPUT,
        *arguments,
        "--block-tokens",
        16,
        "--dtype",
        "f16",
        names=["wrong_store", "f16"],
        beside=store,
    )


def test_session_with_other_tokens(store, small, tmp_path):
    arguments = ["--store", store, "--model", small, "--block-tokens", 16, "--codec"]
    other = manifest_of(tmp_path / "other.jsonl", {"alone": random_ids(99, 33)})
    with unchanged(store):
        refused(
            BAD_INPUT,
            "batch",
            other,
            *arguments,
            "none+lossless",
            names=["line 1", "'alone'", "other tokens"],
        )
    same = manifest_of(tmp_path / "same.jsonl", {"alone": some_sessions()["alone"]})
    with unchanged(store):
        refused(BAD_INPUT, "batch", same, *arguments, "raw", names=["'alone'", "none+lossless"])


def test_cache_of_another_model(small, tokens, tmp_path, box):
    """compress --model, and a manifest's kv."""
    run(*prefill_command(small, tokens, tmp_path / "kv.safetensors"), "--dtype", "bf16")
    compress = ["compress", tmp_path / "kv.safetensors", "--codec", "raw", "--model", small]
    run(*compress, tmp_path / "kv.sqkv")
    change_weights(small, lambda tensors: with_value(tensors, DOWN, 5, 0.5))
    refused(BAD_INPUT, *compress, box / "kv.sqkv", names=["kv.safetensors", "wrong_model"], beside=box)
    manifest = write_json_lines(
        tmp_path / "m.jsonl", [{"session": "x", "kv": str(tmp_path / "kv.safetensors")}]
    )
    refused(
        BAD_INPUT,
        *batch_command(manifest, box / "store", small),
        names=["line 1", "wrong_model"],
        beside=box,
    )


def test_nothing_there(store, box):
    nowhere = box / "nowhere"
    for command in (["ls"], ["verify"], ["inspect"], ["restore", "--session", "alone", "--out", box / "kv"]):
        refused(NOT_FOUND, *command, "--store", nowhere, names=[nowhere], beside=box)
    for command in (["restore", "--out", box / "kv"], ["inspect"]):
        refused(NOT_FOUND, *command, "--store", store, "--session", "nobody", names=["'nobody'"], beside=box)
    refused(NOT_FOUND, "decompress", nowhere, box / "kv", names=[nowhere], beside=box)
    refused(NOT_FOUND, "compress", nowhere, box / "kv", "--codec", "raw", names=[nowhere], beside=box)
    refused(NOT_FOUND, "verify", nowhere, names=[nowhere], beside=box)
    refused(NOT_FOUND, *batch_command(nowhere, box / "s", box), names=[nowhere], beside=box)
