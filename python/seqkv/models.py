# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""seqkv's own runtime for models of the Llama family: prefill, measuring codecs, learning profiles."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Union

from . import _core
from ._arrays import Destination, Layers, as_tokens
from .codecs import CodecLike, PathLike, ProfileLike, codec_of, profile_of
from .frames import Progress

Model = _core.Model
Documents = Sequence[Union[str, Sequence[int]]]


def prefill(
    model: Model, tokens: Any, *, out: Layers | None = None, framework: str = "numpy", dtype: str | None = None
) -> list[tuple[Any, Any]]:
    """The cache of tokens: the same bits on every machine and for every number of threads. `out` as for decompress."""
    ids = as_tokens(tokens)
    kind = dtype or "bfloat16"
    target = Destination(model.shape(kind), len(ids), out, framework, None if out is not None else kind)
    _core.prefill(model, ids, target.arrays, target.dtype)
    return target.finish()


def _encode(model: Model, documents: Documents) -> list[list[int]]:
    return [model.encode(document) if isinstance(document, str) else [int(id) for id in as_tokens(document)]
            for document in documents]


def evaluate(
    model: Model,
    documents: Documents,
    codecs: Sequence[CodecLike],
    *,
    profile: ProfileLike = None,
    context: int = 768,
    continuation: int = 128,
    dtype: str = "bfloat16",
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Bits against quality after a restore, a row for every codec (docs/evaluate.md).

    documents: texts or token sequences; those shorter than context + continuation are left out.
    """
    loaded = profile_of(profile)
    sequences = [tokens[: context + continuation] for tokens in _encode(model, documents)
                 if len(tokens) >= context + continuation]
    chosen = [codec_of(codec, loaded) for codec in codecs]
    return list(_core.evaluate(model, sequences, chosen, context, continuation, dtype, progress))


def calibrate(
    model: Model,
    documents: Documents,
    out: PathLike,
    *,
    effort: int = 5,
    references: bool = False,
    context: int = 768,
    continuation: int = 128,
    dtype: str = "bfloat16",
    progress: Progress | None = None,
) -> _core.Profile:
    """Learns a profile from texts and writes it to the file `out` (docs/calibrate.md).

    effort: 1 to 9: how much of the text is used; time grows with it.
    references: whether it is to know how tokens that stand elsewhere, too, are predicted from there.
    context, continuation: tokens whose cache a piece of text gives, and tokens behind them that say what matters.
    progress: called with what is done and all of the stage at hand.
    """
    profile: _core.Profile = _core.calibrate(
        model, _encode(model, documents), effort, references, dtype, context, continuation, os.fspath(out), progress
    )
    return profile
