# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""A decoder of frames (.sqkv) that follows docs/format.md and src/codec/*/spec.md and shares no code with the library.

Written to be read, not to be fast; in one file of some length, to be read beside the format from top to bottom. Where it differs from the library, one of them, or a specification, is wrong.
Needs numpy. Checksums are compared where the module xxhash or the library libxxhash is at hand.

    python3 frame_decoder.py IN.sqkv     prints the header and a SHA-256 over the decoded values
"""

import ctypes
import ctypes.util
import functools
import hashlib
import math
import re
import struct
import sys
from fractions import Fraction
from types import SimpleNamespace

import numpy as np

MAGIC = b"\x89SQKV\r\n\x1a"
DTYPES = {1: "bf16", 2: "f16", 3: "f32"}
WORD = {
    "bf16": np.dtype("<u2"),
    "f16": np.dtype("<u2"),
    "f32": np.dtype("<u4"),
}  # values are kept as their bits
KEY, VALUE = 0, 1


class FormatError(ValueError):
    """The bytes are not a frame of version 1."""


def require(condition, what):
    if not condition:
        raise FormatError(what)


def align(position, multiple):
    return -(-position // multiple) * multiple


def find_xxh3():
    """XXH3-64 with seed 0, or None."""
    try:
        import xxhash

        return xxhash.xxh3_64_intdigest
    except ImportError:
        pass
    name = ctypes.util.find_library("xxhash")
    if name is None:
        return None
    function = ctypes.CDLL(name).XXH3_64bits
    function.argtypes, function.restype = [ctypes.c_char_p, ctypes.c_size_t], ctypes.c_uint64
    return lambda data: function(bytes(data), len(data))


XXH3 = find_xxh3()


def check_hash(data, expected, what):
    require(XXH3 is None or XXH3(bytes(data)) == expected, f"the checksum of {what} does not hold")


# ---- docs/format.md: header and index ------------------------------------------------------------------------


def read_header(data):
    require(data[:8] == MAGIC, "not a frame")
    require(len(data) >= 192, "truncated")
    h = SimpleNamespace()
    h.version, flags, h.header_bytes, h.tokens, h.block_tokens, h.blocks = struct.unpack_from(
        "<HHIQII", data, 8
    )
    h.layers, h.kv_heads, h.head_dim, dtype, scaling, codec_bytes = struct.unpack_from("<IIIBBH", data, 32)
    r = SimpleNamespace(scaling=scaling)
    r.dim, reserved, r.original_max_positions = struct.unpack_from("<IIQ", data, 48)
    r.theta, r.factor, r.low_freq_factor, r.high_freq_factor = struct.unpack_from("<4d", data, 64)
    require(all(map(math.isfinite, (r.theta, r.factor, r.low_freq_factor, r.high_freq_factor))), "rope: not finite")
    h.rope, h.model, h.profile = r, data[96:128], data[128:160]
    require(h.version == 1, f"version {h.version}")
    require(flags == 0 and reserved == 0 and not any(data[160:192]), "reserved bytes are not zero")
    require(dtype in DTYPES and scaling <= 2, "unknown dtype or rope scaling")
    require(1 <= h.layers <= 1024 and 1 <= h.kv_heads <= 1024 and 1 <= h.head_dim <= 512, "shape")
    require(1 <= h.tokens <= 2**31 and 16 <= h.block_tokens <= 4096 and 1 <= codec_bytes <= 255, "sizes")
    require(r.dim % 2 == 0 and r.dim <= h.head_dim and r.original_max_positions <= 2**31, "rope")
    require(h.blocks == -(-h.tokens // h.block_tokens), "number of blocks")
    h.dtype = DTYPES[dtype]
    h.codec = data[192 : 192 + codec_bytes].decode("ascii")
    index = align(192 + codec_bytes, 8)
    hashed = index + 16 * h.blocks
    require(h.header_bytes == align(hashed + 8, 64), "size of the header")
    require(len(data) >= hashed + 8, "truncated")
    check_hash(data[:hashed], struct.unpack_from("<Q", data, hashed)[0], "the header")
    require(not any(data[192 + codec_bytes : index]), "padding")
    h.index = [struct.unpack_from("<QQ", data, index + 16 * i) for i in range(h.blocks)]
    end = hashed + 8
    for i, (offset, size) in enumerate(h.index):
        require(offset == align(end, 64) if i else offset == h.header_bytes, f"place of block {i}")
        require(offset + size <= len(data) and not any(data[end:offset]), f"block {i}: truncated, or padding")
        end = offset + size
    require(end == len(data), "bytes behind the last block")
    return h


# ---- docs/format.md: coded block -----------------------------------------------------------------------------


def read_block(h, block):
    """The block's head, its tokens and its sub-blocks as (payload, is_raw)."""
    require(len(block) >= 40, "a block shorter than its head")
    b = SimpleNamespace(subblocks=[])
    b.hash, b.decoded_hash, b.position = struct.unpack_from("<QQQ", block)
    b.tokens, count, token_bits, references = struct.unpack_from("<IIII", block, 24)
    check_hash(block[8:], b.hash, "the coded block")
    require(token_bits <= 32 and 1 <= b.tokens <= 4096 and count == 2 * h.layers, "head of a block")
    require(references <= 4096 and (not references or "ref" in h.codec), "references")
    table = struct.unpack_from(f"<{count}I", block, 40)
    at = align(40 + 4 * count, 8)
    b.references, end = [], 0
    for _ in range(references):
        piece = SimpleNamespace()
        piece.hash, piece.first, piece.count, piece.source, zero = struct.unpack_from("<QHHHH", block, at)
        require(zero == 0 and piece.count >= 1 and end <= piece.first, "a reference")
        end = piece.first + piece.count
        require(end <= b.tokens and piece.source + piece.count <= 4096, "a reference")
        b.references.append(piece)
        at += 16
    packed_bytes = -(-b.tokens * token_bits // 8)
    packed = int.from_bytes(block[at : at + packed_bytes], "little")
    require(packed >> (b.tokens * token_bits) == 0, "unused bits of the tokens")
    b.ids = [packed >> (i * token_bits) & ((1 << token_bits) - 1) for i in range(b.tokens)]
    at = align(at + packed_bytes, 8)
    raw_bytes = h.kv_heads * b.tokens * h.head_dim * WORD[h.dtype].itemsize
    for entry in table:
        is_raw, size = entry >> 31 == 1, entry & 0x7FFFFFFF
        require(size == raw_bytes if is_raw else size < raw_bytes, "size of a sub-block")
        b.subblocks.append((block[at : at + size], is_raw))
        require(not any(block[at + size : align(at + size, 8)]), "padding")
        at = align(at + size, 8)
    require(at == len(block), "size of a block")
    return b


def decode_frame(data):
    """Header, token ids, and the values' bits: tensors[layer][KEY or VALUE] is an array [kv_heads, tokens, head_dim]."""
    h = read_header(data)
    decode = find_decoder(h)
    ids, parts = [], []
    for number, (offset, size) in enumerate(h.index):
        b = read_block(h, data[offset : offset + size])
        require(b.position == number * h.block_tokens, f"block {number} is for position {b.position}")
        require(
            b.tokens == min(h.block_tokens, h.tokens - b.position), f"block {number} has {b.tokens} tokens"
        )
        values, hashes = [], b""
        for i, (payload, is_raw) in enumerate(b.subblocks):
            shape = SimpleNamespace(heads=h.kv_heads, tokens=b.tokens, dim=h.head_dim)
            shape.number, shape.position = i, b.position
            bits = np.frombuffer(payload, WORD[h.dtype]) if is_raw else decode(payload, shape)
            values.append(bits.reshape(h.kv_heads, b.tokens, h.head_dim))
            hashes += struct.pack("<Q", XXH3(values[-1].tobytes())) if XXH3 else b""
        check_hash(hashes, b.decoded_hash, f"the values of block {number}")
        ids += b.ids
        parts.append(values)
    whole = [np.concatenate(blocks, axis=1) for blocks in zip(*parts)]  # one a sub-block, along the tokens
    return h, ids, [[whole[2 * layer + kind] for kind in (KEY, VALUE)] for layer in range(h.layers)]


def find_decoder(h):
    """A function (payload, shape) -> bits for coded sub-blocks of this codec."""
    if h.codec == "raw":
        return lambda payload, shape: require(False, "a coded sub-block of the codec raw")
    if h.codec == "none+lossless":
        return lambda payload, shape: decode_lossless(payload, shape, h.dtype)
    match = re.fullmatch(r"none\+turboquant:([1-5])(,keys=unrotated)?", h.codec)
    require(match, f"unknown codec {h.codec}")
    rope = h.rope if match[2] else None
    return lambda payload, shape: decode_turboquant(payload, shape, h.dtype, int(match[1]), rope)


# ---- src/codec/entropy/spec.md and src/codec/lossless/spec.md ------------------------------------------------


class Rans:
    """8 interleaved states over one stream of 16-bit words."""

    def __init__(self, stream):
        require(len(stream) >= 32 and len(stream) % 2 == 0, "rANS: no stream")
        self.x = np.frombuffer(stream[:32], "<u4").astype(np.uint64)
        self.words = np.frombuffer(stream[32:], "<u2").astype(np.uint64)
        self.next = 0

    def decode(self, frequency, count):
        """A run of `count` symbols coded with a table."""
        frequency = np.asarray(frequency, np.uint64)
        start = np.cumsum(frequency) - frequency
        symbol_of = np.repeat(np.arange(len(frequency)), frequency.astype(np.int64))
        symbols = np.zeros(-(-count // 32) * 32, np.int64)
        for group in range(0, count, 32):
            for step in range(4):
                at = group + 4 * np.arange(8) + step  # the symbols that the 8 states give now
                states = np.flatnonzero(at < count)
                symbols[at[states]] = self.take(states, frequency, start, symbol_of)
        return symbols[:count]

    def take(self, states, frequency, start, symbol_of):
        """The next symbol of each of these states."""
        slot = self.x[states] & np.uint64(4095)
        symbol = symbol_of[slot]
        x = frequency[symbol] * (self.x[states] >> np.uint64(12)) + slot - start[symbol]
        short = np.flatnonzero(x < 65536)  # these take a word each, in the order of the states
        words = self.words[self.next : self.next + len(short)]
        require(len(words) == len(short), "rANS: out of words")
        x[short] = x[short] << np.uint64(16) | words
        self.x[states], self.next = x, self.next + len(short)
        return symbol

    def finish(self):
        require(
            self.next == len(self.words) and (self.x == 65536).all(),
            "rANS: the stream does not end where it began",
        )


def read_table(payload, at, exponents):
    """The first exponent, the frequencies from it on, and where the table ends."""
    require(at + 2 <= len(payload), "a table is missing")
    first, count = payload[at], payload[at + 1] + 1
    require(first + count <= exponents, "a symbol that no exponent has")
    if count == 1:
        return first, [4096], at + 2
    size = -(-count * 12 // 8)
    require(at + 2 + size <= len(payload), "a table is cut off")
    packed = int.from_bytes(payload[at + 2 : at + 2 + size], "little")
    frequency = [packed >> (12 * s) & 4095 for s in range(count)]
    require(sum(frequency) == 4096, "frequencies do not add up")
    return first, frequency, at + 2 + size


def decode_lossless(payload, shape, dtype):
    mantissa_bits, exponent_bits = {"bf16": (7, 8), "f16": (10, 5), "f32": (23, 8)}[dtype]
    per_head, count = shape.tokens * shape.dim, shape.heads * shape.tokens * shape.dim
    require(len(payload) >= 4 + 4 * shape.heads, "too short")
    stored, *sizes = struct.unpack_from(f"<{1 + shape.heads}I", payload)
    at, tables = 4 + 4 * shape.heads, []
    for _ in range(shape.heads):
        first, frequency, at = read_table(payload, at, 1 << exponent_bits)
        tables.append((first, frequency))
    if at % 2:
        require(at < len(payload) and payload[at] == 0, "padding")
        at += 1
    exponents = []
    for (first, frequency), size in zip(tables, sizes):
        require(at + size <= len(payload), "a stream is cut off")
        if len(frequency) == 1:
            require(size == 0, "a stream of one exponent alone")
            exponents.append(np.full(per_head, first, np.int64))
        else:
            rans = Rans(payload[at : at + size])
            exponents.append(first + rans.decode(frequency, per_head))
            rans.finish()
        at += size
    exponent = np.concatenate(exponents).astype(np.uint32)
    rest = np.zeros(count, np.uint32)  # the sign above the mantissa
    whole, single = divmod(1 + mantissa_bits, 8)
    require(stored >> (whole + single) == 0, "a plane that the dtype does not have")
    for plane in range(whole + single):
        if stored >> plane & 1 == 0:
            continue
        size = count if plane < whole else -(-count // 8)
        data = np.frombuffer(payload[at : at + size], np.uint8)
        require(len(data) == size, "a plane is cut off")
        if plane >= whole:
            data = np.unpackbits(data, bitorder="little")[:count]
        rest |= data.astype(np.uint32) << np.uint32(8 * plane if plane < whole else 8 * whole + plane - whole)
        at += size
    require(at == len(payload), "bytes behind the planes")
    sign, mantissa = rest >> np.uint32(mantissa_bits), rest & np.uint32((1 << mantissa_bits) - 1)
    bits = sign << np.uint32(mantissa_bits + exponent_bits) | exponent << np.uint32(mantissa_bits) | mantissa
    return bits.astype(WORD[dtype])


# ---- arithmetic with the roundings that the specifications ask for -------------------------------------------


def fma32(a, b, c):
    """a * b + c of float32 arrays, rounded once: the sum in double is made odd where it is not exact."""
    product = a.astype(np.float64) * b.astype(np.float64)  # exact
    c = np.broadcast_to(c, product.shape).astype(np.float64)
    total = product + c
    back = total - product
    error = (product - (total - back)) + (c - back)  # Knuth's two-sum: total + error is exact
    even = (total.view(np.uint64) & np.uint64(1)) == 0
    toward = np.where(error > 0, np.inf, -np.inf)
    return np.where((error != 0) & even, np.nextafter(total, toward), total).astype(np.float32)


def fma64(a, b, c):
    return float(Fraction(a) * Fraction(b) + Fraction(c))


def polynomial(coefficients, x):
    p = coefficients[-1]
    for c in reversed(coefficients[:-1]):
        p = fma64(p, x, c)
    return p


def sincos(x):
    rounded = fma64(x, 0.63661977236758134308, 6755399441055744.0)
    n = rounded - 6755399441055744.0
    r = fma64(-n, 1.57079632673412561417e00, x)
    r = fma64(-n, 2.02226624879595063154e-21, fma64(-n, 6.07710050630396597660e-11, r))
    sine = [(-1) ** k * (1.0 / math.factorial(2 * k + 1)) for k in range(9)]
    cosine = [(-1) ** k * (1.0 / math.factorial(2 * k)) for k in range(9)]
    s, c = r * polynomial(sine, r * r), polynomial(cosine, r * r)
    return [(s, c), (c, -s), (-s, -c), (-c, s)][int(n) & 3]


def log2(x):
    m, e = math.frexp(x)
    m, e = 2 * m, e - 1
    if m > 1.41421356237309504880:
        m, e = m * 0.5, e + 1
    s = (m - 1.0) / (m + 1.0)
    return fma64(
        2.0 * s * polynomial([1.0 / (2 * k + 1) for k in range(11)], s * s), 1.44269504088896340736, float(e)
    )


def exp2(x):
    n = (x + 6755399441055744.0) - 6755399441055744.0
    return math.ldexp(
        polynomial([1.0 / math.factorial(k) for k in range(15)], (x - n) * 0.69314718055994530942), int(n)
    )


# ---- src/codec/turboquant/spec.md ----------------------------------------------------------------------------


@functools.lru_cache(maxsize=None)
def centroids(bits, dim):
    """The codebook as float32, ascending."""

    def half_power(x, n):
        result, square, n = (1.0 if n % 2 == 0 else math.sqrt(x)), x, n // 2
        while n > 0:
            if n % 2:
                result *= square
            square, n = square * square, n // 2
        return result

    def density(x):
        return half_power(max(1.0 - x * x, 0.0), dim - 3)

    def simpson(a, b):
        return (b - a) / 6.0 * (density(a) + 4.0 * density(0.5 * (a + b)) + density(b))

    intervals = 1 << 14
    table = [0.0]
    for i in range(intervals):
        table.append(table[-1] + simpson(i / intervals, (i + 1) / intervals))

    def mass(t):
        i = min(int(t * intervals), intervals - 1)
        return table[i] + simpson(i / intervals, t)

    def moment(t):
        return (1.0 - half_power(1.0 - t * t, dim - 1)) / float(dim - 1)

    count = 1 << (bits - 1)
    reach = min(1.0, 3.0 / math.sqrt(float(dim)))
    half = [reach * (k + 0.5) / count for k in range(count)]
    for _ in range(20000):
        change, low = 0.0, 0.0
        for k in range(count):
            high = 0.5 * (half[k] + half[k + 1]) if k + 1 < count else 1.0
            share = mass(high) - mass(low)
            center = min(max((moment(high) - moment(low)) / share, low), high) if share > 0.0 else half[k]
            change, half[k], low = max(change, abs(center - half[k])), center, high
        if change <= 1e-14:
            break
    return np.array([-c for c in reversed(half)] + half, np.float32)


@functools.lru_cache(maxsize=None)
def hartley(n):
    angles = [sincos(6.28318530717958647693 * float(k) / float(n)) for k in range(n)]
    scale = 1.0 / math.sqrt(float(n))
    entry = np.array([(s + c) * scale for s, c in angles], np.float32)
    return entry[np.outer(np.arange(n), np.arange(n)) % n]


def signs(seed, dim):
    out = np.ones(dim, np.float32)
    for i in range(dim):
        z = (seed + (i // 64 + 1) * 0x9E3779B97F4A7C15) % 2**64
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        z ^= z >> 31
        if z >> (i % 64) & 1:
            out[i] = -1
    return out


def spread(x):
    """The symmetric matrix of the rotation, applied to the rows of x."""
    vectors, dim = x.shape
    power = dim & -dim
    odd = dim // power
    x = x.reshape(vectors, odd, power)
    half = 1
    while half < power:
        pairs = x.reshape(vectors, odd, power // (2 * half), 2, half)
        a, b = pairs[..., 0, :], pairs[..., 1, :]
        x = np.stack([a + b, a - b], axis=3).reshape(vectors, odd, power)
        half *= 2
    if odd > 1:
        matrix, columns = hartley(odd), x
        x = np.zeros_like(columns)
        for i in range(odd):
            x = fma32(matrix[None, :, i, None], columns[:, i : i + 1, :], x)
    return x.reshape(vectors, dim) * (np.float32(1) / np.sqrt(np.float32(power)))


def rope_angles(rope, first, count):
    """Cosines and sines [count, dim / 2] in float32."""
    one = np.float32(1)
    frequencies = []
    for i in range(rope.dim // 2):
        exponent = np.float32(2 * i) / np.float32(rope.dim)
        f = one / np.float32(exp2(float(exponent) * log2(rope.theta)))
        factor = np.float32(rope.factor)
        if rope.scaling == 1:
            f = f / factor
        if rope.scaling == 2:
            original = np.float32(rope.original_max_positions)
            low, high = np.float32(rope.low_freq_factor), np.float32(rope.high_freq_factor)
            wavelength = np.float32(6.28318530717958647693) / f
            if wavelength > original / low:
                f = f / factor
            elif not wavelength < original / high:
                smooth = (original / wavelength - low) / (high - low)
                f = (one - smooth) * f / factor + smooth * f
        frequencies.append(f)
    pairs = [[sincos(float(np.float32(first + t) * f)) for f in frequencies] for t in range(count)]
    table = np.array(pairs, np.float64).astype(np.float32)
    return table[..., 1], table[..., 0]


def from_float(x, dtype):
    if dtype == "bf16":
        u = x.view(np.uint32)
        return ((u + np.uint32(0x7FFF) + (u >> np.uint32(16) & np.uint32(1))) >> np.uint32(16)).astype("<u2")
    return x.astype("<f2").view("<u2") if dtype == "f16" else x.astype("<f4").view("<u4")


def decode_turboquant(payload, shape, dtype, bits, rope):
    vectors, dim = shape.heads * shape.tokens, shape.dim
    row = -(-dim // 8)
    require(len(payload) == 4 + vectors * (2 + bits * row), "size of a payload")
    exponent, reserved = struct.unpack_from("<hH", payload)
    require(reserved == 0 and -100 <= exponent <= 110, "head of a payload")
    require((np.frombuffer(payload, "<u2", vectors, 4) < 0x7C00).all(), "norms of a payload")
    norms = np.frombuffer(payload, "<f2", vectors, 4).astype(np.float32)
    planes = np.frombuffer(payload, np.uint8, bits * vectors * row, 4 + 2 * vectors).reshape(
        bits, vectors, row
    )
    planes = np.unpackbits(planes, axis=2, bitorder="little")[:, :, :dim]
    index = sum(planes[b].astype(np.int64) << b for b in range(bits))
    x = spread(centroids(bits, dim)[index]) * signs(0x7365716B76 + shape.number, dim)
    x = x * norms[:, None] * np.float32(2.0**exponent)
    if rope is not None and shape.number % 2 == KEY:
        pairs = rope.dim // 2
        c, s = (np.tile(t, (shape.heads, 1)) for t in rope_angles(rope, shape.position, shape.tokens))
        a, b = x[:, :pairs].copy(), x[:, pairs : 2 * pairs].copy()
        x[:, :pairs] = fma32(a, c, -(b * s))
        x[:, pairs : 2 * pairs] = fma32(b, c, a * s)
    return from_float(x, dtype)


def main():
    with open(sys.argv[1], "rb") as file:
        header, ids, tensors = decode_frame(file.read())
    digest = hashlib.sha256(b"".join(t.tobytes() for layer in tensors for t in layer)).hexdigest()
    shape = f"{header.layers} layers x {header.kv_heads} heads x {header.head_dim}, {header.dtype}"
    print(f"{header.codec}: {header.tokens} tokens, {shape}")
    print(f"first token ids {ids[:8]}\nSHA-256 of the values {digest}")


if __name__ == "__main__":
    main()
