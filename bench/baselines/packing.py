# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""What the streams of all baselines are made of: packed integers, arrays, and what does not depend on the codec.

A stream begins with the shape and the ids (12 bits each while all are below 4096), so that it is decoded from nothing
but itself and, where a codec has one, the calibration.
"""

import struct

import numpy as np

import kvfile

DTYPE_NAMES = list(kvfile.DTYPES)


def pack(values, bits):
    """Integers below 2**bits as bytes; every one takes `bits` bits."""
    flat = np.ravel(values)
    planes = flat[:, None].astype(np.uint32) >> np.arange(bits, dtype=np.uint32) & 1
    return np.packbits(planes.astype(np.uint8), bitorder="little").tobytes()


def unpack(data, bits, shape):
    count = int(np.prod(shape))
    flat = np.unpackbits(np.frombuffer(data, np.uint8), count=count * bits, bitorder="little")
    return (flat.reshape(count, bits).astype(np.uint32) << np.arange(bits, dtype=np.uint32)).sum(1).reshape(shape)


def packed_size(bits, shape):
    return (int(np.prod(shape)) * bits + 7) // 8


class Writer:
    def __init__(self):
        self.data = bytearray()

    def raw(self, data):
        self.data += data

    def array(self, values, dtype):
        self.raw(np.ascontiguousarray(values).astype(dtype).tobytes())

    def packed(self, values, bits):
        self.raw(pack(values, bits))

    def sized(self, data):
        """Bytes with their length (32 bits) before them."""
        self.raw(struct.pack("<I", len(data)) + data)


class Reader:
    def __init__(self, data):
        self.data, self.at = memoryview(data), 0

    def raw(self, size):
        part = self.data[self.at : self.at + size]
        if len(part) != size:
            raise ValueError("the stream is cut short")
        self.at += size
        return part

    def array(self, shape, dtype):
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return np.frombuffer(self.raw(size), dtype).reshape(shape)

    def packed(self, bits, shape):
        return unpack(self.raw(packed_size(bits, shape)), bits, shape)

    def sized(self):
        return self.raw(struct.unpack("<I", self.raw(4))[0])


def write_header(out, cache):
    """Shape, dtype and ids."""
    _, layers, heads, tokens, dim = cache.kv.shape
    id_bits = max(12, int(cache.ids.max(initial=0)).bit_length())
    out.raw(struct.pack("<HHIHBB", layers, heads, tokens, dim, DTYPE_NAMES.index(cache.dtype), id_bits))
    out.packed(cache.ids, id_bits)


def read_header(data):
    """An empty cache of the right shape, with its ids."""
    layers, heads, tokens, dim, dtype, id_bits = struct.unpack("<HHIHBB", data.raw(12))
    ids = data.packed(id_bits, (tokens,)).astype(np.int32)
    return kvfile.Cache(np.zeros((2, layers, heads, tokens, dim), np.float32), ids, DTYPE_NAMES[dtype])


def write_exact(out, cache, first, last):
    """Tokens [first, last) in 16 bits (as they are if the file has 16 bits, else as bf16)."""
    out.raw(kvfile.to_words(cache.kv[:, :, :, first:last], "F16" if cache.dtype == "F16" else "BF16"))


def read_exact(data, cache, first, last):
    part = cache.kv[:, :, :, first:last]
    part[:] = kvfile.from_words(data.raw(2 * part.size), "F16" if cache.dtype == "F16" else "BF16").reshape(part.shape)
