# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""A decoder of symbol blocks that follows src/codec/entropy/spec.md and shares no code with the library. Needs numpy."""

import struct

import numpy as np
from frame_decoder import Rans, require


def decode_block(coded, tables, classes, least_choice, choices, run_symbols):
    """The symbols [runs][run_symbols] of a block; tables are lists of 256 frequencies."""
    count = len(classes) * run_symbols
    require(len(coded) >= 2, "no head")
    kind, argument, payload = coded[0], coded[1], coded[2:]
    require(kind in (0, 1, 3), "no such kind")
    if kind == 0:
        plane = -(-count // 8)
        require(argument <= 8 and len(payload) == argument * plane, "size of the planes")
        planes = np.frombuffer(payload, np.uint8).reshape(argument, plane)
        bits = np.unpackbits(planes, axis=1, bitorder="little")[:, :count].astype(np.int64)
        return (bits << np.arange(argument)[:, None]).sum(axis=0).reshape(-1, run_symbols)
    require(argument < choices, "no such choice")
    escapes = b""
    if kind == 3:
        require(len(payload) >= 4, "no number of escapes")
        number = struct.unpack_from("<I", payload)[0]
        require(0 < number <= len(payload) - 4, "number of escapes")
        payload, escapes = payload[4 : len(payload) - number], payload[len(payload) - number :]
    rans, runs, used = Rans(payload), [], 0
    for run_class in classes:
        table = tables[min(max(run_class + least_choice + argument, 0), len(tables) - 1)]
        symbols = rans.decode(table, run_symbols)
        alphabet = 256 - table[::-1].index(next(f for f in reversed(table) if f > 0))
        if alphabet < 256:
            for i in np.flatnonzero(symbols == alphabet - 1):
                require(used < len(escapes), "an escape is missing")
                symbols[i] += escapes[used]
                require(symbols[i] < 256, "an escape beyond 255")
                used += 1
        runs.append(symbols)
    rans.finish()
    require(used == len(escapes), "escapes that nothing asks for")
    return np.array(runs)
