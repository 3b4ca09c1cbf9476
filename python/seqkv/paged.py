# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Paged KV caches, as serving engines hold them: tokens into and out of their blocks.

An engine gives each layer one tensor. `layer_views` finds the keys and the values in it, as views
[blocks, block_size, kv_heads, head_dim] of any strides; nothing is copied. A token's slot is
block * block_size + offset.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence

import torch

#: Where the axes of a tensor are: (B)locks, (N) tokens of a block, (H)eads, (D) components; 2: keys, then values;
#: 2D: keys and values side by side.
LAYOUTS = ("2BNHD", "2BHND", "B2NHD", "B2HND", "BHN2D", "BNH2D")

DTYPES = {torch.bfloat16: "bfloat16", torch.float16: "float16", torch.float32: "float32"}


class LayoutError(ValueError):
    """The tensors of an engine's cache are not what this module can read."""


def _candidates(shape: Sequence[int], heads: int, dim: int) -> list[str]:
    """The layouts that tensors of a shape can have."""
    found = []
    if len(shape) == 5 and shape[4] == dim:
        for pair in (0, 1):
            prefix = ("2B", "B2")[pair]
            if shape[pair] != 2:
                continue
            if shape[3] == heads:
                found.append(prefix + "NHD")
            if shape[2] == heads:
                found.append(prefix + "HND")
    if len(shape) == 4 and shape[3] == 2 * dim:
        if shape[1] == heads:
            found.append("BHN2D")
        if shape[2] == heads:
            found.append("BNH2D")
    return found


def find_layout(shape: Sequence[int], heads: int, dim: int, block_size: int) -> str:
    """The layout of a layer's tensor. `block_size` is the engine's: tensors may hold parts of blocks as blocks of their
    own, so that theirs divides it. Raises LayoutError where there is none, or more than one."""
    found = [name for name in _candidates(shape, heads, dim) if block_size % shape[_token_axis(name)] == 0]
    if len(found) > 1:  # where a block has as many tokens as a token has heads
        whole = [name for name in found if shape[_token_axis(name)] == block_size]
        found = whole or found
    if len(found) != 1:
        raise LayoutError(
            f"a cache tensor of shape {tuple(shape)} for {heads} heads of {dim} in blocks of {block_size} tokens: "
            + ("it may be any of " + ", ".join(found) if found else "no known layout")
            + f"; name one of {', '.join(LAYOUTS)} as `layout`"
        )
    return found[0]


def _token_axis(layout: str) -> int:
    return layout.replace("2D", "D").index("N")


def layer_views(tensor: torch.Tensor, layout: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The keys and the values of one layer, [blocks, block_size, heads, head_dim] each."""
    axes = layout.replace("2D", "D")
    if tensor.dim() != len(axes):
        raise LayoutError(f"a cache tensor of {tensor.dim()} axes is not {layout}")
    if layout.endswith("2D"):
        if tensor.shape[-1] % 2:
            raise LayoutError(f"keys and values side by side in {tensor.shape[-1]} components")
        key, value = tensor.split(tensor.shape[-1] // 2, dim=-1)
    else:
        if tensor.shape[axes.index("2")] != 2:
            raise LayoutError(f"a cache tensor of shape {tuple(tensor.shape)} is not {layout}")
        key, value = tensor.unbind(axes.index("2"))
        axes = axes.replace("2", "")
    order = [axes.index(axis) for axis in "BNHD"]
    return key.permute(order), value.permute(order)


def layer_number(name: str) -> int:
    """The number in a layer's name, as in model.layers.3.self_attn.attn."""
    numbers = re.findall(r"(?:^|\.)(\d+)(?=\.|$)", name)
    if len(numbers) != 1:
        raise LayoutError(f"the layer '{name}' has {'no number' if not numbers else 'more than one number'} in its name")
    return int(numbers[0])


@dataclasses.dataclass(frozen=True)
class Pages:
    """All layers of one worker's cache."""

    keys: list[torch.Tensor]
    values: list[torch.Tensor]
    block_size: int  #: of the engine, in which block ids count
    dtype: str

    @classmethod
    def of(cls, tensors: Mapping[str, torch.Tensor], heads: int, dim: int, block_size: int,
           layout: str | None = None) -> Pages:
        """From the engine's tensors by layer name. `heads`: those of this worker."""
        if not tensors:
            raise LayoutError("a cache without layers")
        keys, values = [], []
        dtypes = {tensor.dtype for tensor in tensors.values()}
        if len(dtypes) != 1 or not dtypes <= DTYPES.keys():
            raise LayoutError(
                f"a cache of {', '.join(sorted(map(str, dtypes)))}: seqkv takes one of {', '.join(DTYPES.values())}"
            )
        names = sorted(tensors, key=layer_number)
        if [layer_number(name) for name in names] != list(range(len(names))):
            raise LayoutError(f"layers {[layer_number(name) for name in names]}, not 0 to {len(names) - 1}")
        for name in names:
            tensor = tensors[name]
            chosen = layout or find_layout(tensor.shape, heads, dim, block_size)
            if chosen not in LAYOUTS:
                raise LayoutError(f"the layout '{chosen}' is none of {', '.join(LAYOUTS)}")
            key, value = layer_views(tensor, chosen)
            if key.shape[2:] != (heads, dim) or block_size % key.shape[1]:
                raise LayoutError(
                    f"layer '{name}' as {chosen} has {key.shape[2]} heads of {key.shape[3]} in blocks of {key.shape[1]}, "
                    f"expected are {heads} of {dim} in blocks of {block_size}"
                )
            keys.append(key)
            values.append(value)
        return cls(keys, values, block_size, DTYPES[dtypes.pop()])

    def _places(self, block_ids: Sequence[int], first: int, count: int, key: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Block and offset in a layer's tensor of tokens [first, first + count) of a request."""
        tokens = torch.arange(first, first + count)
        needed = -(-(first + count) // self.block_size)
        if needed > len(block_ids):
            raise LayoutError(f"{first + count} tokens need {needed} blocks, the request has {len(block_ids)}")
        blocks = torch.as_tensor(list(block_ids), dtype=torch.int64)
        slots = blocks[tokens // self.block_size] * self.block_size + tokens % self.block_size
        if count and not 0 <= int(slots.min()) <= int(slots.max()) < key.shape[0] * key.shape[1]:
            raise LayoutError(f"blocks {int(blocks.min())} to {int(blocks.max())} are not all in the cache")
        slots = slots.to(key.device)
        return slots // key.shape[1], slots % key.shape[1]

    def gather(self, block_ids: Sequence[int], first: int, count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Keys and values of tokens [first, first + count) of a request, on the CPU: a pair a layer,
        [kv_heads, tokens, head_dim]."""
        out = []
        for key, value in zip(self.keys, self.values):
            at = self._places(block_ids, first, count, key)
            out.append(tuple(x[at].transpose(0, 1).cpu().contiguous() for x in (key, value)))
        return out

    def scatter(self, block_ids: Sequence[int], first: int,
                layers: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> None:
        """The reverse."""
        layers = list(layers)
        if len(layers) != len(self.keys):
            raise LayoutError(f"{len(layers)} layers for a cache of {len(self.keys)}")
        expected = self.keys[0].shape[2], self.keys[0].shape[3]
        for pair in layers:  # all is checked before the first value changes
            for source in pair:
                if (source.shape[0], source.shape[2]) != expected or source.shape[1] != layers[0][0].shape[1]:
                    raise LayoutError(f"values of shape {tuple(source.shape)} for {expected[0]} heads of {expected[1]}")
        at = self._places(block_ids, first, layers[0][0].shape[1], self.keys[0])
        for key, value, pair in zip(self.keys, self.values, layers):
            for target, source in zip((key, value), pair):
                target[at] = source.to(target.device).transpose(0, 1).to(target.dtype)
