# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Arrays of callers as the compiled half takes them: numpy (bfloat16 by ml_dtypes), torch, or anything with DLPack.

Nothing is copied on the host unless layers lie in memory in different ways. Tensors of a GPU pass through host memory:
in with the current stream's work done, out only when all has been decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from . import _core
from .errors import InvalidArgument, ShapeMismatch, TokenOutOfRange, Unsupported

Layers = Sequence[tuple[Any, Any]]
"""A key and a value for every layer, each [kv_heads, tokens, head_dim], keys after RoPE as engines hold them."""
Tokens = npt.NDArray[np.uint32]

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
_NUMPY = {"bfloat16": BFLOAT16, "float16": np.dtype(np.float16), "float32": np.dtype(np.float32)}


def is_torch(array: object) -> bool:
    return type(array).__module__.partition(".")[0] == "torch"


def dtype_name(array: Any) -> str:
    """ "bfloat16", "float16" or "float32"; of others as they call it; empty where only DLPack knows."""
    dtype = getattr(array, "dtype", None)
    return str(dtype).removeprefix("torch.") if dtype is not None else ""


def as_tokens(tokens: Any) -> Tokens:
    """Token ids of any kind as [tokens] of uint32; a batch of one is one sequence."""
    if is_torch(tokens):
        tokens = tokens.detach().cpu().numpy()
    ids = np.asarray(tokens)
    if ids.ndim == 2 and ids.shape[0] == 1:
        ids = ids[0]
    if ids.ndim != 1:
        raise ShapeMismatch(f"token ids are one sequence, not an array of shape {ids.shape}")
    if ids.size == 0:
        return np.empty(0, np.uint32)
    if ids.dtype.kind not in "iu":
        raise InvalidArgument(f"token ids are integers, not {ids.dtype}")
    if int(ids.min()) < 0 or int(ids.max()) > 0xFFFFFFFF:
        raise TokenOutOfRange(f"token ids from {ids.min()} to {ids.max()}: they are 32-bit numbers")
    return np.ascontiguousarray(ids, np.uint32)


def _strides(array: Any) -> tuple[int, ...] | None:
    if is_torch(array):
        return tuple(array.stride())
    return getattr(array, "strides", None)


def _contiguous(array: Any) -> Any:
    return array.contiguous() if is_torch(array) else np.ascontiguousarray(array)


def _flatten(layers: Layers) -> list[Any]:
    flat: list[Any] = []
    for number, layer in enumerate(layers):
        if len(layer) != 2:
            raise ShapeMismatch(f"layer {number} is a key and a value, not {len(layer)} arrays")
        flat.extend(layer)
    return flat


def _one_dtype(arrays: list[Any]) -> str:
    """What the compiled half is told: the name where its array interface has none."""
    names = {dtype_name(array) for array in arrays}
    if len(names) > 1:
        raise ShapeMismatch(f"a cache has one dtype, not {', '.join(sorted(names))}")
    name = names.pop() if names else ""
    if name and name not in _NUMPY:
        raise Unsupported(f"a cache of {name}: there are bfloat16, float16 and float32")
    return name


def _export(array: Any) -> Any:
    # numpy passes bfloat16 on to nobody
    return array.view(np.uint16) if isinstance(array, np.ndarray) and array.dtype == BFLOAT16 else array


def _readable(arrays: Sequence[Any]) -> list[Any]:
    """On the host, and with the same strides."""
    arrays = [array.detach().cpu() if is_torch(array) else array for array in arrays]
    if len({_strides(array) for array in arrays}) > 1:
        arrays = [_contiguous(array) for array in arrays]
    return [_export(array) for array in arrays]


def readable(layers: Layers) -> tuple[list[Any], str]:
    """For calls that read: keys and values in turn, and the name of their dtype."""
    arrays = _flatten(layers)
    dtype = _one_dtype(arrays)
    arrays[::2], arrays[1::2] = _readable(arrays[::2]), _readable(arrays[1::2])
    return arrays, dtype


def readable_states(states: Sequence[Any]) -> list[Any]:
    """The same of states that enter layers, [tokens, hidden] each."""
    _one_dtype(list(states))
    return _readable(states)


class Destination:
    """Memory that a call fills, and what the caller gets of it.

    `out`: the caller's, which stays as it is until all has been decoded where it is a GPU's; else new arrays of the
    framework, "numpy" or "torch".
    """

    def __init__(self, shape: _core.Shape, tokens: int, out: Layers | None, framework: str, dtype: str | None) -> None:
        if out is None:
            out = _allocate(shape, tokens, framework, dtype or shape.dtype)
        elif dtype is not None:
            raise InvalidArgument("`dtype` is that of `out`")
        self.layers: list[tuple[Any, Any]] = [(key, value) for key, value in out]
        wanted = (shape.kv_heads, tokens, shape.head_dim)
        if len(self.layers) != shape.layers:
            raise ShapeMismatch(f"`out` has {len(self.layers)} layers, the cache has {shape.layers}")
        flat = _flatten(self.layers)
        for number, array in enumerate(flat):
            if tuple(array.shape) != wanted:
                raise ShapeMismatch(f"layer {number // 2} of `out` is {tuple(array.shape)}, the cache is {wanted}")
            if is_torch(array) and array.requires_grad:
                raise InvalidArgument(f"layer {number // 2} of `out` requires a gradient")
            if isinstance(array, np.ndarray) and not array.flags.writeable:
                raise InvalidArgument(f"layer {number // 2} of `out` cannot be written to")
        self.dtype = _one_dtype(flat)
        self._staged = [(array, array.new_empty(array.shape, device="cpu")) if _is_remote(array) else None for array in flat]
        self.arrays = [_export(staged[1] if staged else array) for array, staged in zip(flat, self._staged)]

    def finish(self) -> list[tuple[Any, Any]]:
        for staged in self._staged:
            if staged:
                staged[0].copy_(staged[1])
        return self.layers


def _is_remote(array: Any) -> bool:
    return is_torch(array) and array.device.type != "cpu"


def _allocate(shape: _core.Shape, tokens: int, framework: str, dtype: str) -> list[tuple[Any, Any]]:
    if dtype not in _NUMPY:
        raise Unsupported(f"dtype '{dtype}': there are bfloat16, float16 and float32")
    size = (shape.kv_heads, tokens, shape.head_dim)
    if framework == "numpy":
        return [(np.empty(size, _NUMPY[dtype]), np.empty(size, _NUMPY[dtype])) for _ in range(shape.layers)]
    if framework == "torch":
        import torch

        kind = getattr(torch, dtype)
        return [(torch.empty(size, dtype=kind), torch.empty(size, dtype=kind)) for _ in range(shape.layers)]
    raise InvalidArgument(f"framework '{framework}': there are numpy and torch")
