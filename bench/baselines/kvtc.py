# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""KVTC (arXiv 2511.01815): principal components over all heads and layers, bits by dynamic programming, DEFLATE.

RoPE is taken off the keys; keys and values each have one mean and one basis for all layers and heads together. For a
ratio R, dynamic programming splits the leading components into groups of 1, 16, 64, 256 or 1024 and gives each group 2,
4 or 8 bits a component so that the squared error on calibration data is least within 16/R bits a component; the other
components are dropped. A token's components of one group share a shift and a step of 16 bits each. DEFLATE comes after,
so that the real ratio is above R, as in the paper.

    kvtc:R                    R = 8, 16, 32 or 64
    sinks=4,window=128        what the paper keeps in 16 bits; here nothing, unless asked for, and then it is counted
    scales=profile            not the paper: every component has a step of its own from the calibration and 0 to 8
                              bits, by the same dynamic programming (shifts and steps weigh much in small models)

There is no public program: sizes of groups, and shift and step for each token, follow what others made of the paper,
and the widths of 2, 4 and 8 bits are a choice made here.

Deviations: all widths are integers; a group of 1 is the component itself in fp16, as a shift and a step would take
more; zlib at its highest level, one stream for keys and one for values, in place of nvCOMP; the calibration has all
tokens in it, for the codec gets all. With few layers and heads, shifts and steps weigh more than in the paper.
"""

import json
import zlib

import numpy as np

import packing
import protect
import rope

RATIOS = (8, 16, 32, 64)
SIZES = (16, 64, 256, 1024)
BITS = (2, 4, 8)
UNIT = 16  # bits: all costs of groups are multiples of it
# The best steps of 2**b uniform cells, for a Gaussian number of variance 1 and b = 1 to 8.
STEPS = (1.5956, 0.9957, 0.5860, 0.3352, 0.1881, 0.1041, 0.0569, 0.0308)


def cost(size, bits):
    """Bits a token of a group; a group of 1 has no shift and step."""
    return 16 if size == 1 else size * bits + 32


def fixed_cost(size, bits):
    """Bits a token of a component whose step is known."""
    return bits


def flatten(kv):
    """[layers, heads, tokens, dim] to [tokens, components]."""
    return np.ascontiguousarray(kv.transpose(2, 0, 1, 3)).reshape(kv.shape[2], -1)


def unflatten(x, shape):
    layers, heads, tokens, dim = shape
    return x.reshape(tokens, layers, heads, dim).transpose(1, 2, 0, 3)


def quantize(x, bits):
    """A group [tokens, size]: shifts, steps (fp16) and integers."""
    low, high = x.min(1), x.max(1)
    shift, step = low.astype(np.float16), ((high - low) / (2**bits - 1)).astype(np.float16)
    divisor = np.where(step > 0, step, 1).astype(np.float32)[:, None]
    index = np.rint((x - shift.astype(np.float32)[:, None]) / divisor)
    return shift, step, np.clip(index, 0, 2**bits - 1)


def restore(shift, step, index):
    return shift.astype(np.float32)[:, None] + step.astype(np.float32)[:, None] * index.astype(np.float32)


def group_error(x, bits):
    return np.square(x - restore(*quantize(x, bits)), dtype=np.float64).sum()


def fixed_quantize(x, bits, deviation):
    """A component [tokens] in 2**bits cells around 0."""
    return np.clip(np.floor(x / (STEPS[bits - 1] * deviation)) + 2 ** (bits - 1), 0, 2**bits - 1).astype(np.uint8)


def fixed_restore(index, bits, deviation):
    return (index.astype(np.float32) + np.float32(0.5 - 2 ** (bits - 1))) * np.float32(STEPS[bits - 1] * deviation)


def fixed_error_table(x, deviations):
    """As error_table, of components with known deviations."""
    table = {(1, 0): np.square(x, dtype=np.float64).sum(0)}
    for bits in range(1, len(STEPS) + 1):
        restored = fixed_restore(fixed_quantize(x, bits, deviations), bits, deviations)
        table[1, bits] = np.square(x - restored, dtype=np.float64).sum(0)
    return table


def error_table(x):
    """Squared errors of every group there could be: (size, bits) -> [starts]."""
    table = {(1, 16): np.square(x - x.astype(np.float16).astype(np.float32), dtype=np.float64).sum(0)}
    for size in SIZES:
        starts = range(x.shape[1] - size + 1)
        for bits in BITS:
            if starts:
                table[size, bits] = np.array([group_error(x[:, start : start + size], bits) for start in starts])
    return table


def allocate(x, table, ratio, cost=cost, unit=UNIT):
    """Groups (size, bits), of the first components on, with the least error on x within 16/ratio bits a component."""
    components = x.shape[1]
    budget = 16 * components // ratio // unit
    best = np.full((components + 1, budget + 1), np.inf)
    choice = np.zeros((components + 1, budget + 1), np.int8)
    kinds = [kind for kind in table if cost(*kind) // unit <= budget]
    best[0] = 0
    for end in range(1, components + 1):
        for number, (size, bits) in enumerate(kinds):
            if size > end:
                continue
            spent = cost(size, bits) // unit
            error = best[end - size, : budget + 1 - spent] + table[size, bits][end - size]
            better = error < best[end, spent:]
            best[end, spent:][better] = error[better]
            choice[end, spent:][better] = number
    energy = np.square(x, dtype=np.float64).sum(0)
    dropped = np.append(np.cumsum(energy[::-1])[::-1], 0)
    end, left, groups = int(np.argmin(best[:, budget] + dropped)), budget, []
    while end:
        size, bits = kinds[choice[end, left]]
        groups.append((size, bits))
        end, left = end - size, left - cost(size, bits) // unit
    return groups[::-1]


class Codec(protect.ProtectingCodec):
    name = "kvtc"
    defaults = dict(protect.ProtectingCodec.defaults, scales="token")

    def __init__(self, argument, settings, calibration):
        super().__init__(settings)
        if calibration is None:
            raise ValueError("kvtc needs --calibration")
        ratio = int(argument or 16)
        if ratio not in RATIOS or settings["scales"] not in ("token", "profile"):
            raise ValueError(f"kvtc has the ratios {RATIOS} and scales=token or scales=profile")
        self.rope = json.loads(str(calibration["rope"]))
        coder = GroupCoder if settings["scales"] == "token" else FixedCoder
        self.coders = [coder(calibration, kind, ratio) for kind in ("key", "value")]

    def encode_part(self, out, kv, first):
        for tensors, coder in zip((rope.rotate(kv[0], first, self.rope, -1), kv[1]), self.coders):
            payload = coder.encode((flatten(tensors) - coder.mean) @ coder.basis)
            out.sized(zlib.compress(payload, 9))

    def decode_part(self, data, shape, first):
        keys, values = (
            unflatten(coder.restore(zlib.decompress(data.sized()), shape[3]), shape[1:]) for coder in self.coders
        )
        return np.stack([rope.rotate(keys, first, self.rope, 1), values])


class Coder:
    """Components of keys or of values as bytes, before DEFLATE."""

    def __init__(self, calibration, kind, ratio):
        names = ("mean", "basis", "deviations")
        self.mean, self.basis, self.deviations = (calibration[f"kvtc.{kind}.{name}"] for name in names)
        self.groups = [tuple(group) for group in calibration[f"kvtc.{kind}.{self.name}.{ratio}"].tolist()]

    def restore(self, payload, tokens):
        kept = self.decode(payload, tokens)
        return kept @ self.basis[:, : kept.shape[1]].T + self.mean


class GroupCoder(Coder):
    """Groups of components with a shift and a step for each token; codes first, then shifts and steps."""

    name = "groups"

    def encode(self, x):
        out, scales, at = packing.Writer(), packing.Writer(), 0
        for size, bits in self.groups:
            part, at = x[:, at : at + size], at + size
            if size == 1:
                scales.array(part, "<f2")
                continue
            shift, step, index = quantize(part, bits)
            scales.array(shift, "<f2")
            scales.array(step, "<f2")
            out.packed(index, bits)
        return bytes(out.data + scales.data)

    def decode(self, payload, tokens):
        codes, scales = packing.Reader(payload), packing.Reader(payload)
        scales.at = sum(packing.packed_size(bits, (tokens, size)) for size, bits in self.groups if size > 1)
        parts = [np.zeros((tokens, 0), np.float32)]
        for size, bits in self.groups:
            shift = scales.array((tokens,), "<f2")
            if size == 1:
                parts.append(shift.astype(np.float32)[:, None])
            else:
                step = scales.array((tokens,), "<f2")
                parts.append(restore(shift, step, codes.packed(bits, (tokens, size))))
        return np.concatenate(parts, 1)


class FixedCoder(Coder):
    """Components with steps from the calibration, one after the other."""

    name = "bits"

    def encode(self, x):
        out = packing.Writer()
        for column, (_, bits) in enumerate(self.groups):
            if bits:
                out.packed(fixed_quantize(x[:, column], bits, self.deviations[column]), bits)
        return bytes(out.data)

    def decode(self, payload, tokens):
        data, x = packing.Reader(payload), np.zeros((tokens, len(self.groups)), np.float32)
        for column, (_, bits) in enumerate(self.groups):
            if bits:
                x[:, column] = fixed_restore(data.packed(bits, (tokens,)), bits, self.deviations[column])
        return x
