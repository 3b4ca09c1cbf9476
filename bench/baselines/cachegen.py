# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""CacheGen (arXiv 2310.07240) as its public program (LMCache) does it: bins, a table for every channel, range coding.

Keys (after RoPE) have 32 bins in layers 0 to 9 and 16 above, values 32 in layers 0 and 1 and 16 above; all have 32
where a model has fewer than 10 layers. A token's channels of one layer are divided by their largest magnitude, which
goes along in 16 bits. 256 tokens make a chunk; a channel of a chunk is one coded stream. Nothing is predicted: the
paper's differences between tokens are not in the program.

    cachegen            the program: a chunk brings its own tables, 33 numbers of 16 bits for each channel
    cachegen:profile    the paper: tables are measured once for a model (by calibrate.py), and are not counted

Deviations: rANS instead of arithmetic coding (final state 32 bits and length 16 bits for each stream, where the program
has some bits of closing and a length of 32 bits); no pickle around the streams; tokens of zeros do not divide by zero.
"""

import numpy as np

import packing
import rans

BINS = 32


def bins_of(layers):
    """Bins [2, layers]."""
    bins = np.full((2, layers), BINS)
    if layers >= 10:
        bins[0, 10:] = bins[1, 2:] = BINS // 2
    return bins


def merge_heads(kv):
    """[2, layers, heads, tokens, dim] to [2, layers, tokens, channels]."""
    kinds, layers, heads, tokens, dim = kv.shape
    return kv.transpose(0, 1, 3, 2, 4).reshape(kinds, layers, tokens, heads * dim)


def quantize(kv):
    """Largest magnitudes (fp16) [2, layers, tokens], and bins [2, layers, tokens, channels]."""
    channels = merge_heads(kv)
    top = (bins_of(kv.shape[1]) // 2 - 1)[:, :, None, None]
    largest = np.abs(channels).max(-1).astype(np.float16)
    divisor = np.where(largest > 0, largest, 1).astype(np.float32)[..., None]
    return largest, np.clip(np.rint(channels / divisor * top) + top, 0, 2 * top).astype(np.uint8)


def restore(largest, index, heads):
    """The inverse of quantize, as [2, layers, heads, tokens, dim]."""
    kinds, layers, tokens, channels = index.shape
    top = (bins_of(layers) // 2 - 1)[:, :, None, None].astype(np.float32)
    values = (index.astype(np.float32) - top) / top * largest.astype(np.float32)[..., None]
    return values.reshape(kinds, layers, tokens, heads, channels // heads).transpose(0, 1, 3, 2, 4)


def histogram(index):
    """How often each bin occurs: [2, layers, channels, BINS]."""
    return np.stack([(index == symbol).sum(2) for symbol in range(BINS)], -1)


def as_streams(index):
    """[2, layers, tokens, channels] to [tokens, streams]."""
    return np.ascontiguousarray(index.transpose(2, 0, 1, 3)).reshape(index.shape[2], -1)


class Codec:
    name = "cachegen"
    defaults = dict(chunk=256)

    def __init__(self, argument, settings, calibration=None):
        self.chunk = settings["chunk"]
        if argument not in (None, "profile"):
            raise ValueError("cachegen or cachegen:profile")
        self.counts = calibration["cachegen.counts"] if argument == "profile" else None

    def profile(self):
        return rans.tables(self.counts + 1 / BINS).reshape(-1, BINS + 1)

    def encode(self, cache):
        out = packing.Writer()
        packing.write_header(out, cache)
        largest, index = quantize(cache.kv)
        out.array(largest, "<f2")
        for first in range(0, cache.tokens, self.chunk):
            self.encode_chunk(out, index[:, :, first : first + self.chunk])
        return bytes(out.data)

    def encode_chunk(self, out, index):
        if self.counts is None:
            tables = rans.tables(histogram(index)).reshape(-1, BINS + 1)
            out.array(tables & 0xFFFF, "<u2")
        else:
            tables = self.profile()
        states, lengths, words = rans.encode(as_streams(index), tables)
        out.array(states, "<u4")
        out.array(lengths, "<u2")
        out.array(words, "<u2")

    def decode(self, stream):
        data = packing.Reader(stream)
        cache = packing.read_header(data)
        kinds, layers, heads, tokens, dim = cache.kv.shape
        largest = data.array((kinds, layers, tokens), "<f2")
        chunks = [
            self.decode_chunk(data, min(self.chunk, tokens - first), (kinds, layers, heads * dim))
            for first in range(0, tokens, self.chunk)
        ]
        cache.kv[:] = restore(largest, np.concatenate(chunks, 2), heads)
        return cache

    def decode_chunk(self, data, tokens, shape):
        streams = int(np.prod(shape))
        if self.counts is None:
            tables = data.array((streams, BINS + 1), "<u2").astype(np.int64)
            tables[:, -1] = rans.TOTAL
        else:
            tables = self.profile()
        states, lengths = data.array((streams,), "<u4"), data.array((streams,), "<u2").astype(np.int64)
        words = data.array((int(lengths.sum()),), "<u2")
        symbols = rans.decode(states, lengths, words, tables, tokens)
        return symbols.reshape(tokens, *shape).transpose(1, 2, 0, 3)
