# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""A range coder (rANS, 32-bit state, 16-bit words) for many streams at once, each with its own table.

Tables are cumulative frequencies [streams, symbols + 1] from 0 to TOTAL; a coded stream is its final state and words.
"""

import numpy as np

PRECISION = 16
TOTAL = 1 << PRECISION
LOWEST = 1 << 16  # a state below takes in a word


def tables(counts):
    """Cumulative frequencies of counts [..., symbols]; no symbol gets none."""
    symbols = counts.shape[-1]
    share = np.cumsum(counts, -1) / np.maximum(counts.sum(-1, keepdims=True), 1)
    inner = np.rint(share * (TOTAL - symbols)).astype(np.int64) + np.arange(1, symbols + 1)
    inner[..., -1] = TOTAL
    return np.concatenate([np.zeros_like(inner[..., :1]), inner], -1)


def encode(symbols, cumulative):
    """Symbols [steps, streams] as states [streams], numbers of words [streams], and the words, stream after stream."""
    steps, streams = symbols.shape
    column = np.arange(streams)
    state = np.full(streams, LOWEST, np.uint64)
    words = np.zeros((steps, streams), np.uint16)
    given = np.zeros((steps, streams), bool)
    starts = cumulative.astype(np.uint64)
    for step in range(steps - 1, -1, -1):
        start = starts[column, symbols[step]]
        frequency = starts[column, symbols[step] + 1] - start
        full = state >= frequency << np.uint64(16)
        words[step], given[step] = state & np.uint64(0xFFFF), full
        state = np.where(full, state >> np.uint64(16), state)
        state = (state // frequency << np.uint64(PRECISION)) + state % frequency + start
    return state.astype(np.uint32), given.sum(0), words.T[given.T]


def decode(states, lengths, words, cumulative, steps):
    """The symbols [steps, streams] that encode() was given."""
    streams = len(states)
    column = np.arange(streams)
    state, starts = states.astype(np.uint64), cumulative.astype(np.uint64)
    at = np.cumsum(lengths) - lengths
    padded = np.append(words, np.uint16(0)).astype(np.uint64)
    symbols = np.empty((steps, streams), np.uint8)
    for step in range(steps):
        slot = state & np.uint64(TOTAL - 1)
        symbol = (slot[:, None] >= starts[:, 1:]).sum(1)
        start = starts[column, symbol]
        state = (starts[column, symbol + 1] - start) * (state >> np.uint64(PRECISION)) + slot - start
        empty = state < LOWEST
        state = np.where(empty, state << np.uint64(16) | padded[np.minimum(at, len(words))], state)
        at = at + empty
        symbols[step] = symbol
    if not (state == LOWEST).all() or not (at == np.cumsum(lengths)).all():
        raise ValueError("the coded symbols are damaged")
    return symbols
