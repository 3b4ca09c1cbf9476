# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""What tests of the program work on: caches, manifests, stores, and what is in them."""

import random
import struct

from support import Tensor, read_safetensors, run, safetensors_bytes, tokens_tensor, write_json_lines

VOCABULARY = 300


def random_ids(seed, count):
    source = random.Random(seed)
    return [source.randrange(VOCABULARY) for _ in range(count)]


def random_cache(seed, dtype="F16", layers=2, heads=3, count=70, dim=10):
    """A KV file of random bits: NaN, infinities and subnormal numbers among them."""
    source = random.Random(seed)
    size = heads * count * dim * {"F32": 4}.get(dtype, 2)
    tensors = {
        f"layers.{layer}.{kind}": Tensor(dtype, (heads, count, dim), source.randbytes(size))
        for layer in range(layers)
        for kind in ("key", "value")
    }
    return {**tensors, "input_ids": tokens_tensor([source.randrange(1 << 20) for _ in range(count)])}


def manifest_of(path, sessions):
    return write_json_lines(path, [{"session": name, "tokens": ids} for name, ids in sessions.items()])


def some_sessions():
    """Sessions of which some share their first 40 tokens, or all of them."""
    common = random_ids(2, 40)
    sessions = {f"session-{i}": common + random_ids(10 + i, 20) for i in range(3)}
    return {**sessions, "prefix": common, "alone": random_ids(3, 33)}


def batch_command(manifest, store, model, codec="raw"):
    return ["batch", manifest, "--store", store, "--model", model, "--codec", codec]


def prefill_command(model, tokens, out):
    return ["prefill", "--model", model, "--tokens", tokens, "--out", out]


def batch(manifest, store, model, *options, codec="none+lossless", **run_options):
    command = batch_command(manifest, store, model, codec)
    return run(*command, "--block-tokens", 16, "--json", *options, **run_options)


def restore(store, session, out, **options):
    return run("restore", "--store", store, "--session", session, "--out", out, **options)


def restored_bytes(store, folder, sessions):
    """{session: its KV file}, or the whole run where it cannot be restored."""
    found = {}
    for session in sessions:
        done = restore(store, session, folder / "restored.safetensors", expect=None)
        found[session] = (folder / "restored.safetensors").read_bytes() if done.code == 0 else done
    return found


def flip(path, at, bit=0):
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(data)


# A matrix of the tiny model that every layer runs.
DOWN = "model.layers.1.mlp.down_proj.weight"


def change_weights(folder, change):
    tensors, metadata = read_safetensors(folder / "model.safetensors")
    (folder / "model.safetensors").write_bytes(safetensors_bytes(change(tensors), metadata))


def with_value(tensors, name, at, value):
    tensor = tensors[name]
    assert tensor.dtype == "F16"
    data = bytearray(tensor.data)
    struct.pack_into("<e", data, 2 * at, value)
    return {**tensors, name: tensor._replace(data=bytes(data))}
