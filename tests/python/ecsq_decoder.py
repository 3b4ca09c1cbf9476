# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""A decoder of linear+ecsq and linear+ref+ecsq that follows src/codec/predict/spec.md (and docs/profile.md) and shares no
code with the library. Needs numpy."""

import struct

import numpy as np
from frame_decoder import WORD, fma32, from_float, require, rope_angles
from lossless_decoder import floats, product, to_float, turn
from symbol_decoder import decode_block

EIGHTHS = [np.float32(2 ** (i / 8)) for i in range(8)]


def weight(grade):
    return np.ldexp(EIGHTHS[grade % 8], grade // 8).astype(np.float32)


def bounded(x):
    return np.where((x < np.float32(2.0**60)) & (x > np.float32(-(2.0**60))), x, np.float32(0))


class Decoder:
    def __init__(self, header, tensors, metadata):
        self.h, self.tensors = header, tensors
        self.step = np.float32(header.codec.partition("step=")[2])
        self.first_token = int(metadata.get("seqkv.first_token", -1))
        self.layers_below = int(metadata["seqkv.layers_below"])
        self.least_class = int(metadata["seqkv.least_class"])
        self.tables = np.frombuffer(tensors["tables"].data, "<u2").reshape(-1, 256).tolist()
        self.width = header.kv_heads * header.head_dim

    def block(self, block, others=None):
        """Bits of the sub-blocks, each [heads, tokens, dim]. `others`: blocks by hash, each with its bits, that this one
        may be predicted from."""
        embedding = floats(self.tensors["tokens"])
        constant = np.ones((block.tokens, 1), np.float32)
        token_rows = np.array([embedding[i] if i < len(embedding) else 0 * embedding[0] for i in block.ids])
        angles = rope_angles(self.h.rope, block.position, block.tokens)
        below, out = [], []
        for number, (payload, is_raw) in enumerate(block.subblocks):
            name = f"layers.{number // 2}.{'value' if number % 2 else 'key'}."
            window = number - 2 * max(0, number // 2 - self.layers_below)
            features = np.concatenate([constant, token_rows] + below[number - window :], axis=1)
            if name + "squeeze" in self.tensors:
                features = product(features, floats(self.tensors[name + "squeeze"]))
                expected = product(features, floats(self.tensors[name + "expand"]))
            else:
                expected = product(features, floats(self.tensors[name + "predict"]))
            grades = self.grades(expected[:, -1], name)
            expected = expected[:, :-1].copy()
            if block.position == 0 and block.ids[0] == self.first_token:
                expected[0] = floats(self.tensors[name + "first_row"])
            if is_raw:
                bits = np.frombuffer(payload, WORD[self.h.dtype]).reshape(self.h.kv_heads, block.tokens, -1)
                x = self.turned(to_float(bits, self.h.dtype).reshape(bits.shape), number, angles, -1)
                x = x.transpose(1, 0, 2).reshape(block.tokens, -1)
            else:
                place = self.places(block) if payload[1] >> 7 and name + "reference.scales" in self.tensors else {}
                for token, (piece, at) in place.items():
                    expected[token] = self.row_of(*others[piece.hash], number, at)
                residuals = self.residuals(payload, name, grades, place)
                back = np.array([weight(-q) for q in grades], np.float32)[:, None]
                x = fma32(residuals, np.broadcast_to(back, residuals.shape), expected)
                values = x.reshape(block.tokens, self.h.kv_heads, -1).transpose(1, 0, 2)
                values = np.ascontiguousarray(self.turned(values, number, angles, 1))
                bits = from_float(values, self.h.dtype).astype(WORD[self.h.dtype])
            below.append(bounded(x))
            out.append(bits)
        return out

    def places(self, block):
        """Which tokens have a reference: which, and where there."""
        return {p.first + i: (p, p.source + i) for p in block.references for i in range(p.count)}

    def row_of(self, block, values, number, token):
        """Step 1': what another block was restored to, at position 0."""
        bits = values[number][:, token : token + 1]
        x = to_float(np.ascontiguousarray(bits), self.h.dtype).reshape(bits.shape)
        angles = rope_angles(self.h.rope, block.position + token, 1)
        return bounded(self.turned(x, number, angles, -1).reshape(-1))

    def turned(self, x, number, angles, direction):
        """Keys [heads, tokens, dim] on by their positions, or back."""
        pairs = self.h.rope.dim // 2
        if number % 2 or not pairs:
            return x
        c, s = angles
        a, b = turn(x[..., :pairs], x[..., pairs : 2 * pairs], c[None], s[None] if direction > 0 else -s[None])
        return np.concatenate([a, b, x[..., 2 * pairs :]], axis=-1)

    def grades(self, v, name):
        """Step 2."""
        knots, tokens = floats(self.tensors[name + "knots"]), len(v)
        grades = []
        for t in range(tokens):
            n = tokens - t
            k = min(n.bit_length() - 1, 22)
            r = np.float32(min((n - 2**k) / 2**k, 1))
            curve = fma32(r[None], (knots[k + 1] - knots[k])[None], knots[k][None])[0]
            u = (v[t] + curve) * np.float32(8)
            u = np.float32(0) if np.isnan(u) else np.clip(u, np.float32(-64), np.float32(64))
            grades.append(int(u + np.float32(64.5)) - 64)
        return grades

    def residuals(self, payload, name, grades, place):
        """Steps 3 to 6, of rows in the order of tokens; those in `place` have a reference."""
        groups = []  # the kind of each, its tokens and its grade
        for kind in (name, name + "reference."):
            tokens = [t for t in range(len(grades)) if (t in place) == (kind != name)]
            order = sorted(tokens, key=lambda t: -grades[t])
            for g in (order[i : i + 8] for i in range(0, len(order), 8)):
                grade = (16 * sum(grades[t] for t in g) + 1024 * len(g) + len(g) // 2) // len(g) - 1024
                groups.append((kind, g, grade))
        kinds = {kind for kind, _, _ in groups}
        scales = {kind: np.frombuffer(self.tensors[kind + "scales"].data, "<i2").tolist() for kind in kinds}
        slopes = {kind: struct.unpack("<i", bytes(self.tensors[kind + "slope"].data))[0] for kind in kinds}
        scale_of_step = int(np.floor(16 * np.log2(np.float64(self.step)) + 0.5))
        tiles = []
        for quad in range(max(len(s) for s in scales.values()) // 4):
            for kind, group, grade in groups:
                if 4 * quad >= len(scales[kind]):
                    continue
                scale = sum(scales[kind][4 * quad : 4 * quad + 4]) + 2 >> 2
                number = (scale + (slopes[kind] * grade + 1024 >> 11) - scale_of_step + 2 >> 2) - self.least_class
                if number >= 0:
                    tiles.append((quad, group, min(number, len(self.tables) - 1)))
        require(len(payload) >= 2, "no count of large numbers")
        count = struct.unpack_from("<H", payload)[0] & 0x7FFF
        large = iter(struct.unpack_from(f"<{count}H", payload, 2))
        symbols = decode_block(payload[2 + 2 * count :], self.tables, [t[2] for t in tiles], -4, 9, 32)
        numbers = np.zeros((len(grades), max(len(s) for s in scales.values())), np.float32)
        for (quad, group, _), run in zip(tiles, symbols):
            for at, symbol in enumerate(run.tolist()):
                symbol += next(large) if symbol == 255 else 0
                number = -(symbol + 1) // 2 if symbol % 2 else symbol // 2
                if at // 4 < len(group):
                    numbers[group[at // 4], 4 * quad + at % 4] = number
                else:
                    require(number == 0, "a number of no token")
        require(next(large, None) is None, "large numbers that nothing asks for")
        restored = np.zeros((len(grades), self.width), np.float32)
        for kind in kinds:
            inverse = floats(self.tensors[kind + "inverse"])
            inverse = inverse[None] if inverse.ndim == 2 else inverse
            rows = [t for k, group, _ in groups for t in group if k == kind]
            parts = np.split(numbers[rows, : len(scales[kind])] * self.step, len(inverse), axis=1)
            restored[rows] = np.concatenate([product(p, m) for p, m in zip(parts, inverse)], axis=1) + np.float32(0)
        return restored
