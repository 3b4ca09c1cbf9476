# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Coded symbol blocks through a decoder that knows the specification only (symbol_decoder.py)."""

import json
import subprocess

import pytest
import support

np = pytest.importorskip("numpy")
import frame_decoder  # noqa: E402: needs numpy
import symbol_decoder  # noqa: E402: needs numpy


@pytest.fixture(scope="module")
def written():
    """Blocks that the library has coded."""
    program = support.CLI.parent / "test_write_symbols"
    return json.loads(subprocess.run([program], stdout=subprocess.PIPE, check=True).stdout)


def decode(written, block, coded):
    run_symbols = len(block["symbols"]) // block["runs"]
    classes = block["classes"][: block["runs"]]
    return symbol_decoder.decode_block(
        bytes(coded), written["tables"], classes, block["least_choice"], block["choices"], run_symbols
    )


def test_blocks_decode(written):
    kinds = set()
    for block in written["blocks"]:
        assert decode(written, block, block["coded"]).ravel().tolist() == block["symbols"]
        kinds.add(block["coded"][0])
    assert kinds == {0, 1, 3}  # packed, streams, streams with escapes


def test_broken_blocks_are_refused(written):
    for block in written["blocks"]:
        if len(block["coded"]) < 400:
            for size in range(0, len(block["coded"]), 7):
                with pytest.raises(frame_decoder.FormatError):
                    decode(written, block, block["coded"][:size])
