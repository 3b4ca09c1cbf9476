# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Token streams decoded from docs/token-coder.md and docs/trie.md alone, by the standard library: an oracle for tests.

Slow, and without checksums, which are XXH3: a wrong decoder shows in the tokens.
"""

import collections
import struct

M = 1 << 28


def read_windows(data):
    """The depth limit, the weights and {window: occurrences} of all windows and their prefixes of a trie file."""
    magic, version, kind, surprisals, depth, nodes, labels, total, sums, largest, _, _, weights = struct.unpack_from(
        "<8sIBBH8Q", data
    )
    assert (magic, version, kind, surprisals) == (b"SQKVTRIE", 1, 1, 0)
    at = 128

    def array(count, code):
        nonlocal at
        values = struct.unpack_from(f"<{count}{code}", data, at)
        at += -(-count * struct.calcsize(code) // 64) * 64
        return values

    token_code = "H" if largest < 1 << 16 else "I"
    token, label_token = array(nodes, token_code), array(labels, token_code)
    child, label, below = (array(nodes + 1, "I") for _ in range(3))
    weight = array(weights, "H")
    assert at == len(data) and below[1] == total and below[nodes] == sums
    path = [()] * nodes
    windows = {}
    for node in range(nodes):
        for c in range(child[node], child[node + 1]):
            edge = (token[c], *label_token[label[c] : label[c + 1]])
            path[c] = path[node] + edge
            for n in range(len(path[node]), len(path[c])):
                windows[path[c][: n + 1]] = below[c + 1] - below[c]
    return depth, list(weight), windows


def class_of(count, limits):
    return next((i for i, limit in enumerate(limits) if count <= limit), len(limits))


def class_c(count):
    return class_of(count, (1, 2, 3, 5, 8, 15, 31, 127))


def class_q(count):
    return class_of(count, (1, 2, 3, 6, 15))


def default_weights(depth):
    one = []
    for _ in range(3):
        for c in (1, 2, 3, 4, 7, 12, 22, 64, 256):
            one += [min(max(65536 * q // (2 * c), 128), 65408) for q in (1, 2, 3, 5, 10, 24)]
    for run in range(3):
        one += [65536 // (run + 2)] * 9
    return one * depth


def share(u):
    return 2 * u - 1 if u else 0


class Context:
    def __init__(self):
        self.counts = {}
        self.last = None
        self.run = 0

    def classes(self):
        return class_c(sum(self.counts.values())), class_q(sum(u > 0 for u in self.counts.values()))

    def total(self):
        return sum(map(share, self.counts.values()))


class Decoder:
    def __init__(self, trie):
        self.depth, self.weights, windows = read_windows(trie)
        self.weights = self.weights or default_weights(self.depth)
        self.learned = collections.defaultdict(Context)
        left = collections.Counter(window[1:] for window in windows)
        for window, occurrences in windows.items():
            u = occurrences if len(window) == self.depth else left[window]
            self.learned[window[:-1]].counts[window[-1]] = u
        self.fingerprint = trie[120:128]

    def levels(self, before, recent, adaptive):
        """(shares, T, weight), from the lowest."""
        for k in range(min(len(before), self.depth - 1) + 1):
            context = tuple(before[len(before) - k :])
            row = 189 * k
            if context in self.learned and self.learned[context].total():
                learned = self.learned[context]
                c, q = learned.classes()
                yield learned.counts, learned.total(), self.weights[row + (0 if adaptive else 108) + 6 * c + q]
            if not adaptive or context not in recent:
                continue
            own = recent[context]
            if own.total():
                c, q = own.classes()
                yield own.counts, own.total(), self.weights[row + 54 + 6 * c + q]
                if k > 0 and sum(u > 0 for u in own.counts.values()) > 1:
                    yield {own.last: 1}, 1, self.weights[row + 162 + 9 * min(own.run, 2) + c]

    def starts(self, levels, vocabulary):
        """F, as a function."""
        rest = M - vocabulary
        shared = []
        for counts, total, weight in reversed(levels):
            shorter = rest * weight >> 16
            shared.append((counts, total, rest - shorter))
            rest = shorter

        def start(s):
            value = s + rest * s // vocabulary
            for counts, total, units in shared:
                value += units * sum(share(u) for t, u in counts.items() if t < s) // total
            return value

        return start

    def learn(self, before, token, recent):
        contexts = [tuple(before[len(before) - k :]) for k in range(min(len(before), self.depth - 1) + 1)]
        for k, context in enumerate(contexts):
            own = recent[context]
            if token not in own.counts:
                own.counts[token] = 0
                if k > 0:
                    recent[contexts[k - 1]].counts[token] += 1
            if k == self.depth - 1:
                own.counts[token] += 1
            if k > 0:
                own.run = own.run + 1 if own.last == token else 0
                own.last = token

    def block(self, payload, count, vocabulary, adaptive):
        stream = iter(payload)
        code = 0
        for _ in range(7):
            code = code << 8 | next(stream, 0)
        interval, before, recent = (1 << 56) - 1, [], collections.defaultdict(Context)
        while len(before) < count:
            start = self.starts(list(self.levels(before, recent, adaptive)), vocabulary)
            unit = interval >> 28
            point = min(code // unit, M - 1)
            low, high = 0, vocabulary
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if start(middle) <= point else (low, middle)
            code -= unit * start(low)
            interval = unit * (start(low + 1) - start(low))
            while interval < 1 << 48:
                interval <<= 8
                code = (code << 8 | next(stream, 0)) & ((1 << 56) - 1)
            if adaptive:
                self.learn(before, low, recent)
            before.append(low)
        return before

    def decode(self, data):
        at = 14

        def varint():
            nonlocal at
            value = shift = 0
            while True:
                value |= (data[at] & 127) << shift
                shift += 7
                at += 1
                if data[at - 1] < 128:
                    return value

        assert data[:5] == b"SQTK\x01" and data[6:14] == self.fingerprint
        adaptive = data[5] == 1
        vocabulary, block_tokens, sequences = varint(), varint(), varint()
        lengths = [varint() for _ in range(sequences)]
        blocks = []
        for i, tokens in enumerate(lengths):
            for first in range(0, tokens, block_tokens or tokens):
                at += 4
                blocks.append((i, min(block_tokens or tokens, tokens - first), varint()))
        at += 8
        out = [[] for _ in lengths]
        for i, count, size in blocks:
            out[i] += self.block(data[at : at + size], count, vocabulary, adaptive)
            at += size
        assert at == len(data)
        return out
