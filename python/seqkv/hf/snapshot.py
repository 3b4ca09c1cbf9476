# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""A cache of transformers as a frame, and a frame as a cache."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache

from .. import _core
from .._arrays import is_torch
from ..codecs import CodecLike, PathLike, ProfileLike, codec_of, profile_of
from ..errors import EmptyInput, InvalidArgument, ShapeMismatch, Unsupported
from ..frames import Frame, FrameLike, Progress, compress, decompress, open_frame
from .config import rope_of_config, window_of


def _layers_of(cache: Any) -> list[Any]:
    layers = getattr(cache, "layers", None)
    if layers is None:
        raise Unsupported(f"{type(cache).__name__} is no cache of transformers 5")
    for number, layer in enumerate(layers):
        if not is_torch(getattr(layer, "keys", None)) or not is_torch(getattr(layer, "values", None)):
            raise Unsupported(f"layer {number} ({type(layer).__name__}) has no keys and values, or is empty")
        if type(layer).__name__ not in ("DynamicLayer", "DynamicSlidingWindowLayer"):
            raise Unsupported(f"layer {number} is a {type(layer).__name__}, not of a DynamicCache")
    if not layers or layers[0].keys.ndim != 4:
        raise EmptyInput("the cache is empty")
    return list(layers)


def _whole(tensor: torch.Tensor, tokens: int) -> torch.Tensor:
    """[kv_heads, tokens, head_dim] with zeros where a sliding window has left tokens behind."""
    if tensor.shape[1] == tokens:
        return tensor
    full = tensor.new_zeros(tensor.shape[0], tokens, tensor.shape[2])
    full[:, tokens - tensor.shape[1] :] = tensor
    return full


def _rows_of_tokens(tokens: Any, batch: int, length: int) -> list[Any]:
    """Ids of each row: those of the cache, and perhaps the one that comes next, which generate has returned."""
    ids = torch.as_tensor(tokens)
    ids = ids[None] if ids.ndim == 1 else ids
    if ids.ndim != 2 or ids.shape[0] != batch or ids.shape[1] not in (length, length + 1):
        raise ShapeMismatch(f"token ids of shape {tuple(ids.shape)} for a cache of {batch} x {length} tokens")
    return [row[:length] for row in ids]


def _padding(mask: Any, batch: int, length: int) -> list[int]:
    """How many tokens of each row are padding, which must be on its left."""
    if mask is None:
        return [0] * batch
    kept = torch.as_tensor(mask).bool()
    if kept.ndim != 2 or kept.shape[0] != batch or kept.shape[1] not in (length, length + 1):
        raise ShapeMismatch(f"an attention mask of shape {tuple(kept.shape)} for a cache of {batch} x {length} tokens")
    kept = kept[:, :length]
    padding = [int(length - row.sum()) for row in kept]
    for number, (row, left) in enumerate(zip(kept, padding)):
        if left == length or bool(row[:left].any()):
            raise Unsupported(f"row {number} is padded on the right, or nothing else: left padding is what works")
    return padding


def _path_of_row(path: PathLike, row: int) -> str:
    whole = pathlib.Path(path)
    return str(whole.with_name(f"{whole.stem}-{row}{whole.suffix}"))


def snapshot(
    cache: Any,
    tokens: Any,
    codec: CodecLike = "none+lossless",
    *,
    config: Any = None,
    profile: ProfileLike = None,
    model: _core.Model | str | None = None,
    attention_mask: Any = None,
    hidden: Sequence[torch.Tensor] | None = None,
    block_tokens: int = 256,
    path: PathLike | None = None,
    progress: Progress | None = None,
) -> Any:
    """Codes a DynamicCache. Gives bytes, or writes the file `path` and gives its name; of a batch, a list of these, the
    files named path-0, path-1, ... before the suffix.

    tokens: ids [batch, tokens] (or [tokens]) of what is in the cache; what generate returned, one more, will do.
    codec: exact by default; "linear+ecsq:kl=0.01" and its like need a profile, `replay` codecs a model.
    config: of the model: its rotary embedding, where the profile does not say it.
    model: a seqkv.Model or a fingerprint.
    attention_mask: [batch, tokens] where rows are padded on the left: padding is not stored.
    hidden: what capture recorded, for replay+lossless.

    Sliding-window layers are stored as far as they go. The cache is left as it is.
    """
    layers = _layers_of(cache)
    batch, _, _, _ = layers[0].keys.shape
    length = int(cache.get_seq_length())
    chosen = codec_of(codec, profile_of(profile))
    padding = _padding(attention_mask, batch, length)
    if any(layer.keys.shape[2] != length for layer in layers):
        if chosen.needs_profile or chosen.needs_model:
            raise Unsupported(f"codec {chosen.spec} needs all tokens of all layers; windows have left some behind")
        if any(padding):
            raise Unsupported("padded rows whose windows have left tokens behind")
    if batch > 1 and hidden is not None:
        raise InvalidArgument("states are recorded of one sequence, not of a batch")
    results = []
    for row, ids in enumerate(_rows_of_tokens(tokens, batch, length)):
        kv = [(_whole(layer.keys[row], length), _whole(layer.values[row], length)) for layer in layers]
        left = padding[row]
        target = None if path is None else os.fspath(path) if batch == 1 else _path_of_row(path, row)
        data = compress(
            ids[left:],
            [(key[:, left:], value[:, left:]) for key, value in kv],
            chosen,
            model=model,
            rope=None if config is None else rope_of_config(config),
            hidden=hidden,
            block_tokens=block_tokens,
            path=target,
            progress=progress,
        )
        results.append(target if data is None else data)
    return results[0] if batch == 1 else results


def _fill(cache: DynamicCache, keys: list[torch.Tensor], values: list[torch.Tensor]) -> None:
    """Puts [batch, kv_heads, tokens, head_dim] into the layers, without a copy where they keep all tokens."""
    for layer, key, value in zip(cache.layers, keys, values):
        length = key.shape[2]
        layer.lazy_initialization(key, value)
        window = window_of(layer)
        if window is not None:
            layer.cumulative_length = length
            if window < length:
                key, value = key[:, :, length - window :].clone(), value[:, :, length - window :].clone()
        layer.keys, layer.values = key, value


def _check(frames: list[Frame], layers: int | None) -> None:
    for row, frame in enumerate(frames):
        if frame.shape != frames[0].shape:
            raise ShapeMismatch(f"row {row} is {frame.shape!r}, row 0 {frames[0].shape!r}")
    if layers is not None and frames[0].shape.layers != layers:
        raise ShapeMismatch(f"a cache of {frames[0].shape.layers} layers for a model of {layers}")


def restore(
    data: FrameLike | Sequence[FrameLike],
    *,
    config: Any = None,
    profile: ProfileLike = None,
    model: _core.Model | None = None,
    device: Any = "cpu",
    dtype: torch.dtype | None = None,
    progress: Progress | None = None,
) -> DynamicCache:
    """The cache of a snapshot: bytes, a path, or a list of these, which become the rows of a batch, padded on the left
    with zeros where they differ in length (see `seqkv_tokens` for the lengths).

    config: of the model; needed where it has sliding windows, and a check of shapes otherwise.
    profile, model: what the snapshot's codec needs.
    dtype: default: that of the snapshot.

    The result has an attribute `seqkv_tokens`: the token ids of each row.
    """
    many = [data] if isinstance(data, (bytes, bytearray, memoryview, str, os.PathLike, Frame)) else list(data)
    if not many:
        raise EmptyInput("no snapshot")
    frames = [open_frame(one) for one in many]
    cache = DynamicCache(config=config) if config is not None else DynamicCache()
    _check(frames, len(cache.layers) if config is not None else None)
    shape = frames[0].shape
    length = max(frame.tokens for frame in frames)
    kind = dtype or getattr(torch, shape.dtype)
    size = (len(frames), shape.kv_heads, length, shape.head_dim)
    make = torch.empty if all(frame.tokens == length for frame in frames) else torch.zeros
    keys, values = ([make(size, dtype=kind) for _ in range(shape.layers)] for _ in range(2))
    ids = []
    for row, frame in enumerate(frames):
        first = length - frame.tokens
        out = [(key[row, :, first:], value[row, :, first:]) for key, value in zip(keys, values)]
        ids.append(decompress(frame, profile=profile, model=model, out=out, progress=progress)[0].tolist())
    while len(cache.layers) < shape.layers:  # without a configuration layers come with their first update
        cache.layers.append(cache.layer_class_to_replicate())
    _fill(cache, [key.to(device) for key in keys], [value.to(device) for value in values])
    cache.seqkv_tokens = ids
    return cache
