# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""AQUA-KV (arXiv 2501.19392): each layer's keys and values predicted from restored ones, the rest coded without data.

Keys before RoPE. The key of a layer is predicted from the restored key of the layer below, the value from the restored
key of its own layer and the restored value of the layer below: least squares with an intercept and a ridge of 1e-3 of
the mean diagonal, fitted layer by layer on restored inputs. What is left is rotated by a Hadamard transform, divided by
its norm (fp16) and coded by pairs on a grid of 16, 64 or 256 points for pairs of Gaussian numbers (HIGGS). The first
layer has no prediction and 4 bits.

    aqua:2  aqua:3            bits of the layers above the first; 4 is known too
    sinks=4,window=128        what the authors keep in 16 bits; here nothing, unless asked for, and then it is counted
    group=1024                components that share a norm, as published; where a token's layer has fewer, tokens that
                              follow one another are taken together. group=0: each token's layer by itself

Deviations: the Hadamard transform has fixed random signs before it, as in HIGGS (the authors' program has none, which
harms where tokens are taken together); grids are found by Lloyd's method on the density instead of being loaded; all
tokens are coded at once, not as they leave a buffer of 128.
"""

import functools
import json

import numpy as np

import packing
import protect
import rope

FIRST_BITS = 4
LARGEST_GROUP = 1024
GRID_ROUNDS = 100


def make_grid(bits, rounds=GRID_ROUNDS):
    """4**bits points in the plane for pairs of Gaussian numbers, by Lloyd's method on a fine raster."""
    axis = np.linspace(-4.8, 4.8, 193)
    points = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    weight = np.exp(-np.square(points).sum(1) / 2)
    count = 4**bits
    turn = np.arange(count) * np.pi * (3 - 5**0.5)
    radius = np.sqrt(-4 * np.log1p(-(np.arange(count) + 0.5) / count))  # a spiral with about the best density
    grid = radius[:, None] * np.stack([np.cos(turn), np.sin(turn)], -1)
    for _ in range(rounds):
        cell = nearest(points, grid)
        mass = np.maximum(np.bincount(cell, weight, count), 1e-300)
        grid = np.stack([np.bincount(cell, weight * points[:, i], count) / mass for i in (0, 1)], -1)
    return grid.astype(np.float32)


def nearest(points, grid):
    """Indices of the nearest grid points, some points at a time to stay in the caches."""
    near, squares = np.empty(len(points), np.int64), np.square(grid).sum(1)
    for first in range(0, len(points), 4096):
        near[first : first + 4096] = (2 * points[first : first + 4096] @ grid.T - squares).argmax(1)
    return near


@functools.lru_cache
def rotation(size):
    """Hadamard matrix behind fixed random signs."""
    matrix = np.ones((1, 1), np.float32)
    while len(matrix) < size:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    signs = np.random.default_rng(0).choice(np.float32([-1, 1]), size)
    return signs[:, None] * matrix / np.sqrt(np.float32(size))


def fit(inputs, targets):
    """Weights with the intercept as their last row."""
    mean_x, mean_y = inputs.mean(0, dtype=np.float64), targets.mean(0, dtype=np.float64)
    x, y = (inputs - mean_x).astype(np.float32), (targets - mean_y).astype(np.float32)
    gram = (x.T @ x).astype(np.float64)
    ridge = 1e-3 * np.trace(gram) / len(gram) * np.eye(len(gram))
    weights = np.linalg.solve(gram + ridge, (x.T @ y).astype(np.float64))
    return np.vstack([weights, mean_y - mean_x @ weights]).astype(np.float32)


def predict(inputs, weights):
    return inputs @ weights[:-1] + weights[-1]


class Quantizer:
    """Residuals [tokens, channels], in groups of `group` components (0: a token's, 1024 at most)."""

    def __init__(self, grid, group=LARGEST_GROUP):
        self.grid, self.group = grid, group
        self.bits = int(len(grid)).bit_length() - 1  # of a pair

    def size(self, channels):
        return self.group or min(LARGEST_GROUP, 1 << (channels - 1).bit_length())

    def groups(self, shape):
        """Number of rows, and their length."""
        size = self.size(shape[1])
        if self.group:
            return -(-shape[0] * shape[1] // size), size
        return shape[0] * -(-shape[1] // size), size

    def to_rows(self, x):
        rows, size = self.groups(x.shape)
        if self.group:
            return np.pad(x.ravel(), (0, rows * size - x.size)).reshape(rows, size)
        return np.pad(x, ((0, 0), (0, rows * size // len(x) - x.shape[1]))).reshape(rows, size)

    def from_rows(self, rows, shape):
        if self.group:
            return rows.ravel()[: shape[0] * shape[1]].reshape(shape)
        return rows.reshape(shape[0], -1)[:, : shape[1]]

    def quantize(self, x):
        rows = self.to_rows(x)
        norm = np.sqrt(np.square(rows).sum(1)).astype(np.float16)
        divisor = np.where(norm > 0, norm, 1).astype(np.float32)[:, None]
        unit = rows @ rotation(rows.shape[1]) / divisor * np.sqrt(np.float32(rows.shape[1]))
        return norm, nearest(unit.reshape(-1, 2), self.grid)

    def restore(self, norm, index, shape):
        rows, size = self.groups(shape)
        unit = self.grid[index].reshape(rows, size)
        turned = unit @ rotation(size).T * (norm.astype(np.float32) / np.sqrt(np.float32(size)))[:, None]
        return self.from_rows(turned, shape)

    def write(self, out, x):
        """Writes residuals and gives what a reader will restore."""
        norm, index = self.quantize(x)
        out.array(norm, "<f2")
        out.packed(index, self.bits)
        return self.restore(norm, index, x.shape)

    def read(self, data, shape):
        rows, size = self.groups(shape)
        norm = data.array((rows,), "<f2")
        return self.restore(norm, data.packed(self.bits, (rows * size // 2,)), shape)


def merge_heads(x):
    """[heads, tokens, dim] to [tokens, channels]."""
    return np.ascontiguousarray(x.swapaxes(0, 1)).reshape(x.shape[1], -1)


class Codec(protect.ProtectingCodec):
    name = "aqua"
    defaults = dict(protect.ProtectingCodec.defaults, group=LARGEST_GROUP)

    def __init__(self, argument, settings, calibration):
        super().__init__(settings)
        if calibration is None:
            raise ValueError("aqua needs --calibration")
        bits = int(argument or 2)
        self.rope = json.loads(str(calibration["rope"]))
        self.weights = calibration[f"aqua.{bits}.key"], calibration[f"aqua.{bits}.value"]
        self.first, self.other = (
            Quantizer(calibration[f"aqua.grid.{width}"], settings["group"]) for width in (FIRST_BITS, bits)
        )

    def run(self, layers, code):
        """Goes up the layers; code(quantizer, kind, layer, prediction) gives the restored [tokens, channels]."""
        restored = [[], []]
        for layer in range(layers):
            quantizer = self.other if layer else self.first
            for kind in (0, 1):
                prediction = 0
                if layer:
                    below = restored[kind][-1]
                    inputs = np.hstack([restored[0][-1], below]) if kind else below
                    prediction = predict(inputs, self.weights[kind][layer - 1])
                restored[kind].append(code(quantizer, kind, layer, prediction))
        return restored

    def encode_part(self, out, kv, first):
        unrotated = rope.rotate(kv[0], first, self.rope, -1), kv[1]

        def code(quantizer, kind, layer, prediction):
            return prediction + quantizer.write(out, merge_heads(unrotated[kind][layer]) - prediction)

        self.run(kv.shape[1], code)

    def decode_part(self, data, shape, first):
        _, layers, heads, tokens, dim = shape

        def code(quantizer, kind, layer, prediction):
            return prediction + quantizer.read(data, (tokens, heads * dim))

        restored = np.array(self.run(layers, code), np.float32)
        kv = restored.reshape(2, layers, tokens, heads, dim).swapaxes(2, 3)
        return np.stack([rope.rotate(kv[0], first, self.rope, 1), kv[1]])
