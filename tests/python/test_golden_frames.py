# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""The frames of tests/data/frames through the decoders that know the specifications only."""

import hashlib
import json

import pytest
from support import SOURCE, read_safetensors

np = pytest.importorskip("numpy")
import ecsq_decoder  # noqa: E402: need numpy
import frame_decoder  # noqa: E402
import lossless_decoder  # noqa: E402

FOLDER = SOURCE / "tests" / "data" / "frames"
ROWS = json.loads((FOLDER / "golden.json").read_text())
# linear+turboquant and replay have no second decoder.
KNOWN = [row for row in ROWS if not row["model"] and not row["frame"].startswith("linear+turboquant")]


def decode(data):
    """Token ids and the bits of all sub-blocks, [kv_heads, tokens, head_dim] each."""
    header = frame_decoder.read_header(data)
    if not header.codec.startswith("linear"):
        _, ids, tensors = frame_decoder.decode_frame(data)
        return ids, [tensor for pair in tensors for tensor in pair]
    kind = lossless_decoder if "lossless" in header.codec else ecsq_decoder
    decoder = kind.Decoder(header, *read_safetensors(FOLDER / "profile.safetensors"))
    blocks = [frame_decoder.read_block(header, data[at : at + size]) for at, size in header.index]
    parts = [decoder.block(block) for block in blocks]
    return [i for block in blocks for i in block.ids], [np.concatenate(part, axis=1) for part in zip(*parts)]


@pytest.mark.parametrize("row", KNOWN, ids=lambda row: row["frame"])
def test_another_decoder_reads_the_same_bits(row):
    data = (FOLDER / f"{row['frame']}.sqkv").read_bytes()
    ids, subblocks = decode(data)
    assert hashlib.sha256(np.array(ids, "<u4").tobytes()).hexdigest() == row["tokens"]
    values = hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in subblocks))
    assert values.hexdigest() == row["values"]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("refused-50?-*")), ids=lambda path: path.stem)
def test_another_decoder_refuses_what_is_broken(path):
    with pytest.raises(Exception) as problem:
        decode(path.read_bytes())
    assert not isinstance(problem.value, (AssertionError, MemoryError))
