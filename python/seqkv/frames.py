# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""One cache as one frame: bytes, or a file (.sqkv) that the program `seqkv` reads as well."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Union

import numpy as np

from . import _core
from ._arrays import Destination, Layers, Tokens, as_tokens, readable, readable_states
from .codecs import CodecLike, PathLike, ProfileLike, codec_of, fingerprint_of, profile_of, rope_of, runtime_of

Frame = _core.Frame
FrameLike = Union[bytes, bytearray, memoryview, PathLike, Frame]
Progress = Callable[[int, int], object]


def open_frame(frame: FrameLike) -> Frame:
    """Reads and checks the header of a frame: bytes, or the path of a file. Blocks are checked when they are decoded."""
    if isinstance(frame, Frame):
        return frame
    if isinstance(frame, (bytes, bytearray, memoryview)):
        return Frame.parse(bytes(frame))
    return Frame.open(os.fspath(frame))


def compress(
    tokens: Any,
    layers: Layers,
    codec: CodecLike,
    *,
    profile: ProfileLike = None,
    model: _core.Model | str | None = None,
    rope: _core.Rope | None = None,
    hidden: Sequence[Any] | None = None,
    block_tokens: int = 256,
    path: PathLike | None = None,
    progress: Progress | None = None,
) -> bytes | None:
    """Codes a cache into a frame: bytes, or the file `path`, which appears whole or not at all.

    tokens: ids [tokens] from position 0 on.
    layers: a key and a value for every layer, each [kv_heads, tokens, head_dim] of bfloat16, float16 or float32, with
        any strides; numpy, torch or DLPack. They are read in place.
    codec: "none+lossless", "none+turboquant:4", "linear+ecsq:kl=0.01", ... (docs/codec.md).
    profile: of the model, for codecs that predict.
    model: whose cache it is: a Model (which `replay` codecs run) or a fingerprint; default: the profile's.
    rope: default: the profile's or the model's.
    hidden: the states that enter the layers, [tokens, hidden] each in the dtype of the cache; replay+lossless alone.
    progress: called with tokens done and all.
    """
    chosen = codec_of(codec, profile)
    loaded = profile_of(profile) or chosen.profile
    arrays, dtype = readable(layers)
    states = [] if hidden is None else readable_states(hidden)
    return _core.compress(
        arrays,
        dtype,
        as_tokens(tokens),
        chosen,
        rope_of(rope, model, loaded),
        fingerprint_of(model, loaded),
        runtime_of(chosen, model),
        states,
        block_tokens,
        None if path is None else os.fspath(path),
        progress,
    )


def decompress(
    frame: FrameLike,
    *,
    profile: ProfileLike = None,
    model: _core.Model | None = None,
    out: Layers | None = None,
    framework: str = "numpy",
    dtype: str | None = None,
    progress: Progress | None = None,
) -> tuple[Tokens, list[tuple[Any, Any]]]:
    """The tokens and layers of a frame.

    profile, model: what the frame's codec needs.
    out: arrays to fill, each [kv_heads, tokens, head_dim] with any strides and dtype. Every checksum of what is stored
        holds before the first of them changes.
    framework, dtype: of new arrays, where there is no `out`: "numpy" (bfloat16 is ml_dtypes') or "torch"; default
        dtype: the frame's.
    """
    opened = open_frame(frame)
    target = Destination(opened.shape, opened.tokens, out, framework, dtype)
    ids = np.empty(opened.tokens, np.uint32)
    _core.decompress(
        opened, target.arrays, target.dtype, ids, profile_of(profile), model, progress
    )
    return ids, target.finish()
