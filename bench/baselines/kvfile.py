# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""KV files (safetensors) as numpy arrays, and back."""

import dataclasses
import json
import pathlib
import struct

import numpy as np

KINDS = ("key", "value")


def widen(words):
    """bf16, as uint16, to float32."""
    return (words.astype(np.uint32) << 16).view(np.float32)


def narrow(values):
    """float32 to bf16, as uint16, ties to even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


# How numbers lie in a file: name -> (numpy type of the bytes, to float32, from float32).
DTYPES = {
    "BF16": (np.dtype("<u2"), widen, narrow),
    "F16": (np.dtype("<f2"), lambda x: x.astype(np.float32), lambda x: x.astype(np.float16)),
    "F32": (np.dtype("<f4"), lambda x: x.astype(np.float32), lambda x: x.astype(np.float32)),
}


def to_words(values, dtype):
    """float32 as bytes of a file."""
    return DTYPES[dtype][2](values).astype(DTYPES[dtype][0]).tobytes()


def from_words(data, dtype):
    """Bytes of a file as float32 (flat)."""
    return DTYPES[dtype][1](np.frombuffer(data, DTYPES[dtype][0]))


@dataclasses.dataclass
class Cache:
    """Keys (after RoPE) and values as float32 [2, layers, kv_heads, tokens, head_dim], ids, and the file's dtype."""

    kv: np.ndarray
    ids: np.ndarray
    dtype: str = "BF16"

    @property
    def tokens(self):
        return self.kv.shape[3]

    def part(self, first, last):
        return Cache(self.kv[:, :, :, first:last], self.ids[first:last], self.dtype)


def read_header(path):
    """The header of a safetensors file as it stands there, as JSON, and the bytes behind it."""
    data = pathlib.Path(path).read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    text = data[8 : 8 + length]
    return text, json.loads(text), memoryview(data)[8 + length :]


def read(path):
    """A KV file as (Cache, rope), rope being None where the file does not tell."""
    _, header, body = read_header(path)
    metadata = header.pop("__metadata__", {})
    layers = sum(name.endswith(".key") for name in header)
    dtype = header["layers.0.key"]["dtype"]

    def tensor(name):
        first, last = header[name]["data_offsets"]
        return body[first:last]

    shape = (2, layers, *header["layers.0.key"]["shape"])
    kv = np.stack([from_words(tensor(f"layers.{layer}.{kind}"), dtype) for kind in KINDS for layer in range(layers)])
    ids = np.frombuffer(tensor("input_ids"), "<i4")
    rope = metadata.get("seqkv.rope")
    return Cache(kv.reshape(shape), ids, dtype), json.loads(rope) if rope else None


def write_like(model_path, path, cache):
    """Writes a cache with the header, and with any other tensors, of the KV file it came from."""
    text, header, body = read_header(model_path)
    out = bytearray(body)

    def put(name, data):
        first, last = header[name]["data_offsets"]
        if last - first != len(data):
            raise ValueError(f"{name} has {last - first} bytes, not {len(data)}")
        out[first:last] = data

    put("input_ids", cache.ids.astype("<i4").tobytes())
    for kind, tensors in zip(KINDS, cache.kv):
        for layer, values in enumerate(tensors):
            put(f"layers.{layer}.{kind}", to_words(values, cache.dtype))
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(text)) + text + out)


def relative_errors(cache, restored):
    """Squared errors of keys and of values, relative to their squares, over all layers."""
    error = np.square(cache.kv - restored.kv, dtype=np.float64).sum((1, 2, 3, 4))
    return error / np.square(cache.kv, dtype=np.float64).sum((1, 2, 3, 4))
