# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""KIVI (arXiv 2402.02750): 2 or 4 bits, asymmetric, keys by channel and values by token.

Settings as published: keys in groups of 32 tokens of one channel, values in groups of 32 channels of one token, zero
point and step in fp16 for each group, the last 128 tokens ("residual") in 16 bits.

Deviations: tokens that do not fill a group of 32 before the window stay in 16 bits with it (the authors' program keeps
keys in 16 bits up to the last multiple of 128 tokens instead). `window=0` codes all tokens, with what is left over of
the last group in 16 bits.
"""

import numpy as np

import packing

GROUP = 32


class Codec:
    name = "kivi"
    defaults = dict(window=128)

    def __init__(self, argument, settings, calibration=None):
        self.bits, self.window = int(argument or 2), settings["window"]

    def quantize(self, groups):
        """[..., GROUP] to zero points and steps (fp16), and integers."""
        low, high = groups.min(-1), groups.max(-1)
        zero, step = low.astype(np.float16), ((high - low) / (2**self.bits - 1)).astype(np.float16)
        divisor = np.where(step > 0, step, 1).astype(np.float32)[..., None]
        index = np.rint((groups - zero.astype(np.float32)[..., None]) / divisor)
        return zero, step, np.clip(index, 0, 2**self.bits - 1)

    def write_groups(self, out, groups):
        zero, step, index = self.quantize(groups)
        out.array(zero, "<f2")
        out.array(step, "<f2")
        out.packed(index, self.bits)

    def read_groups(self, data, shape):
        zero, step = (data.array(shape[:-1], "<f2").astype(np.float32)[..., None] for _ in range(2))
        return zero + step * data.packed(self.bits, shape).astype(np.float32)

    def coded(self, tokens):
        """How many tokens are coded."""
        return max(tokens - self.window, 0) // GROUP * GROUP

    def encode(self, cache):
        out = packing.Writer()
        packing.write_header(out, cache)
        coded = self.coded(cache.tokens)
        keys, values = cache.kv[:, :, :, :coded]
        layers, heads, _, dim = keys.shape
        self.write_groups(out, keys.swapaxes(2, 3).reshape(layers, heads, dim, coded // GROUP, GROUP))
        self.write_groups(out, values.reshape(layers, heads, coded, *self.value_groups(dim)))
        packing.write_exact(out, cache, coded, cache.tokens)
        return bytes(out.data)

    def decode(self, stream):
        data = packing.Reader(stream)
        cache = packing.read_header(data)
        coded = self.coded(cache.tokens)
        keys, values = cache.kv[:, :, :, :coded]
        layers, heads, _, dim = keys.shape
        groups = self.read_groups(data, (layers, heads, dim, coded // GROUP, GROUP))
        keys[:] = groups.reshape(layers, heads, dim, coded).swapaxes(2, 3)
        values[:] = self.read_groups(data, (layers, heads, coded, *self.value_groups(dim))).reshape(values.shape)
        packing.read_exact(data, cache, coded, cache.tokens)
        return cache

    @staticmethod
    def value_groups(dim):
        """Groups of channels: of 32, or of all where the head has no multiple of that."""
        return (dim // GROUP, GROUP) if dim % GROUP == 0 else (1, dim)
