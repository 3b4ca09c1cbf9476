# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Codecs that may keep the first tokens (`sinks`) and the last ones (`window`) in 16 bits, and code those between."""

import packing


class ProtectingCodec:
    """A subclass gives encode_part(out, kv, first) and decode_part(data, shape, first): [2, layers, heads, tokens, dim]
    of the tokens from position `first` on."""

    defaults = dict(sinks=0, window=0)

    def __init__(self, settings):
        self.sinks, self.window = settings["sinks"], settings["window"]

    def bounds(self, tokens):
        first = min(self.sinks, tokens)
        return first, max(first, tokens - self.window)

    def encode(self, cache):
        out = packing.Writer()
        packing.write_header(out, cache)
        first, last = self.bounds(cache.tokens)
        packing.write_exact(out, cache, 0, first)
        packing.write_exact(out, cache, last, cache.tokens)
        if last > first:
            self.encode_part(out, cache.kv[:, :, :, first:last], first)
        return bytes(out.data)

    def decode(self, stream):
        data = packing.Reader(stream)
        cache = packing.read_header(data)
        first, last = self.bounds(cache.tokens)
        packing.read_exact(data, cache, 0, first)
        packing.read_exact(data, cache, last, cache.tokens)
        if last > first:
            part = cache.kv[:, :, :, first:last]
            part[:] = self.decode_part(data, part.shape, first)
        return cache
