# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""A decoder of linear+lossless that follows src/codec/predict/lossless.md (and spec.md, docs/profile.md) and shares no
code with the library. Needs numpy."""

import json
import struct

import numpy as np
from frame_decoder import WORD, fma32, from_float, require, rope_angles
from symbol_decoder import decode_block

LAYOUT = {"bf16": (7, 8), "f16": (10, 5), "f32": (23, 8)}
SIZE = {"bf16": 2, "f16": 2, "f32": 4}


def to_float(u, dtype):
    if dtype == "bf16":
        return (u.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return u.astype("<u2").view("<f2").astype(np.float32) if dtype == "f16" else u.astype("<u4").view("<f4")


def floats(tensor):
    dtype = tensor.dtype.lower()
    return to_float(np.frombuffer(tensor.data, WORD[dtype]), dtype).reshape(tensor.shape)


def product(a, b):
    """Sums over k of a[r][k] b[j][k], in order."""
    total = np.zeros((a.shape[0], b.shape[0]), np.float32)
    for k in range(a.shape[1]):
        total = fma32(a[:, k : k + 1], b[None, :, k], total)
    return total


def plain(x):
    return np.where((x < np.float32(2.0**127)) & (x > np.float32(-(2.0**127))), x, np.float32(0))


def turn(a, b, c, s):
    return fma32(a, c, -(b * s)), fma32(b, c, a * s)


class Bits:
    def __init__(self, data):
        self.data, self.at = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little").tolist(), 0

    def take(self, count):
        require(self.at + count <= len(self.data), "places are missing")
        bits = self.data[self.at : self.at + count]
        self.at += count
        return sum(bit << i for i, bit in enumerate(bits))


class Bins:
    """Steps 5 and 8."""

    def __init__(self, dtype, scale):
        self.m, self.e = LAYOUT[dtype]
        self.first = max((scale >> 4) - 2 + (1 << (self.e - 1)) - 1, 1)

    def bin_of(self, u):
        magnitude = u & ((1 << (self.m + self.e)) - 1)
        above = (magnitude >> self.m) - self.first
        if above < 0:
            number = 0
        elif above < self.m:
            number = ((1 << self.m) + magnitude % (1 << self.m)) >> (self.m - above)
        else:
            number = magnitude - ((self.first + self.m) << self.m) + (1 << self.m)
        return -1 - number if u >> (self.m + self.e) else number

    def number(self, bin_number, places):
        sign, number = (1, -1 - bin_number) if bin_number < 0 else (0, bin_number)
        if number == 0:
            zeros = 0
            while zeros < 15 and places.take(1) == 0:
                zeros += 1
            if zeros == 15:
                magnitude = places.take(self.m + self.e)
            else:
                magnitude = (self.first - 1 - zeros << self.m) + places.take(self.m)
        elif number < 1 << self.m:
            above = number.bit_length() - 1
            significand = (number << (self.m - above)) + places.take(self.m - above)
            magnitude = (self.first + above << self.m) + significand - (1 << self.m)
        else:
            magnitude = number - (1 << self.m) + ((self.first + self.m) << self.m)
        require(0 <= magnitude < 1 << (self.m + self.e), "no such number")
        return sign << (self.m + self.e) | magnitude


class Decoder:
    def __init__(self, header, tensors, metadata):
        self.h, self.tensors = header, tensors
        self.first_token = int(metadata.get("seqkv.first_token", -1))
        self.layers_below = int(metadata["seqkv.layers_below"])
        self.tables = np.frombuffer(tensors["lossless.tables"].data, "<u2").reshape(-1, 256).tolist()
        self.width = header.kv_heads * header.head_dim
        require(json.loads(metadata["seqkv.rope"])["dim"] == header.rope.dim, "rope")

    def block(self, block):
        """Bits of the sub-blocks, each [heads, tokens, dim]."""
        embedding = floats(self.tensors["tokens"])
        constant = np.ones((block.tokens, 1), np.float32)
        token_rows = np.array([embedding[i] if i < len(embedding) else 0 * embedding[0] for i in block.ids])
        self.cosine, self.sine = rope_angles(self.h.rope, block.position, block.tokens)
        exact, residual, out = [], None, []
        for number, (payload, is_raw) in enumerate(block.subblocks):
            name = f"layers.{number // 2}.{'value' if number % 2 else 'key'}."
            window = number - 2 * max(0, number // 2 - self.layers_below)
            features = np.concatenate([constant, token_rows] + exact[number - window :], axis=1)
            expected = product(features, floats(self.tensors[name + "predict"])[:-1])
            if number:
                expected = expected + product(residual, floats(self.tensors[name + "lossless.below"]))
            if block.position == 0 and block.ids[0] == self.first_token:
                expected[0] = floats(self.tensors[name + "first_row"])
            expected = plain(expected)
            if is_raw:
                u = np.frombuffer(payload, WORD[self.h.dtype]).reshape(self.h.kv_heads, block.tokens, -1)
                u = u.transpose(1, 0, 2).reshape(block.tokens, -1).astype(np.int64)
                x = self.features(u, number % 2 == 0)
            else:
                u, x = self.subblock(payload, name, number % 2 == 0, expected)
            exact.append(x)
            residual = x - expected
            values = u.reshape(block.tokens, self.h.kv_heads, -1).transpose(1, 0, 2)
            out.append(values.astype(WORD[self.h.dtype]))
        return out

    def units(self, is_key):
        """Step 2, with the components that are known."""
        dim, pairs, known = self.h.head_dim, self.h.rope.dim // 2 if is_key else 0, []
        for first in range(0, self.width, dim):
            for i in list(range(pairs)) + list(range(2 * pairs, dim)):
                unit = [first + i, first + i + pairs] if i < pairs else [first + i]
                yield unit, sorted(known), i
                known += unit

    def turned(self, x, unit, pair, direction=1):
        if len(unit) == 1:
            return x
        c, s = self.cosine[:, pair], self.sine[:, pair]
        return list(turn(x[0], x[1], c, s if direction > 0 else -s))

    def features(self, u, is_key):
        x = to_float(u, self.h.dtype).reshape(u.shape).copy()
        for unit, _, pair in self.units(is_key):
            for c, values in zip(unit, self.turned([x[:, c] for c in unit], unit, pair, -1)):
                x[:, c] = np.where((values < np.float32(2.0**60)) & (values > np.float32(-(2.0**60))), values, np.float32(0))
        return x

    def table(self, scale, expected):
        m, e = LAYOUT[self.h.dtype]
        exponent = (expected.view(np.uint32) >> np.uint32(23) & np.uint32(255)).astype(np.int64) - 127
        apart = np.maximum(exponent, 2 - (1 << (e - 1))) - m
        return np.maximum(len(self.tables) - 12 + ((scale - 16 * np.maximum((scale >> 4) - 2, apart)) >> 2), 0)

    def subblock(self, payload, name, is_key, expected):
        tokens, dtype = len(expected), self.h.dtype
        scales = np.frombuffer(self.tensors[name + "lossless.scales"].data, "<i2").tolist()
        within = floats(self.tensors[name + "lossless.within"])
        units = list(self.units(is_key))
        tables = []  # in the order of places
        for unit, _, pair in units:
            turned = self.turned([expected[:, c] for c in unit], unit, pair)
            of_unit = [self.table(scales[c], np.ascontiguousarray(x)) for c, x in zip(unit, turned)]
            tables += np.stack(of_unit, axis=1).ravel().tolist()
        require(len(payload) >= 8, "no head")
        listed, place_bytes = struct.unpack_from("<II", payload)
        behind = 8 + place_bytes + listed * SIZE[dtype]
        require(len(payload) >= behind, "no room for places and list")
        places = Bits(payload[8 : 8 + place_bytes])
        numbers = iter(np.frombuffer(payload, WORD[dtype], listed, 8 + place_bytes).tolist())
        order = np.argsort(np.array(tables), kind="stable")
        classes = [tables[i] for i in order[::32]]
        decoded = decode_block(payload[behind:], self.tables, classes, 0, 1, 32).ravel()
        symbols = np.zeros(len(tables), np.int64)
        symbols[order] = decoded[: len(tables)]
        at = iter(symbols.tolist())
        bits = np.zeros(expected.shape, np.int64)
        x = np.zeros(expected.shape, np.float32)
        residual = np.zeros(expected.shape, np.float32)
        for unit, known, pair in units:
            correction = product(residual[:, known], within[np.ix_(unit, known)])
            refined = [plain(expected[:, c] + correction[:, m]) for m, c in enumerate(unit)]
            refined = [r + np.float32(0) for r in self.turned(refined, unit, pair)]
            near = [from_float(np.ascontiguousarray(r), dtype).tolist() for r in refined]
            for row in range(tokens):
                for m, c in enumerate(unit):
                    symbol, bins = next(at), Bins(dtype, scales[c])
                    difference = -(symbol + 1) // 2 if symbol % 2 else symbol // 2
                    if symbol == 255:
                        bits[row, c] = next(numbers)
                    else:
                        bits[row, c] = bins.number(bins.bin_of(near[m][row]) + difference, places)
            values = self.turned([to_float(bits[:, c], dtype) for c in unit], unit, pair, -1)
            for c, v in zip(unit, values):
                x[:, c] = np.where((v < np.float32(2.0**60)) & (v > np.float32(-(2.0**60))), v, np.float32(0))
                residual[:, c] = x[:, c] - expected[:, c]
        require(next(numbers, None) is None, "listed numbers that nothing asks for")
        require(-(-places.at // 8) == place_bytes, "places that nothing asks for")
        return bits, x
