# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""A cache whose older blocks are held compressed while the model generates."""

from __future__ import annotations

from typing import Any

import torch
from transformers import Cache
from transformers.cache_utils import DynamicLayer

from .. import _core
from ..codecs import CodecLike, codec_of
from ..errors import InvalidArgument, Unsupported
from ..frames import compress, decompress


class SeqkvLayer(DynamicLayer):  # type: ignore[misc]
    """One layer: coded blocks of `block_tokens` tokens, then at least `window` tokens as they are.

    Rows and heads of a batch are heads of one frame. Blocks are decoded when the layer is used, and not kept.
    """

    is_croppable = False

    def __init__(self, codec: _core.Codec, block_tokens: int, window: int) -> None:
        super().__init__()
        self.keys: Any
        self.values: Any
        self._codec = codec
        self._block_tokens = block_tokens
        self._window = window
        self._blocks: list[tuple[bytes, torch.Tensor | None]] = []
        """Frames, and of which of their rows this layer's rows are now (None: the same)."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        # What is new is used as it is, and coded for the next time.
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._rows, self._heads, _, self._head_dim = key_states.shape
        self.keys = torch.cat([self.keys, key_states], dim=-2)
        self.values = torch.cat([self.values, value_states], dim=-2)
        full = self._decoded()
        while self.keys.shape[-2] >= self._window + self._block_tokens:
            self._compress_block()
        return full

    def _compress_block(self) -> None:
        """Moves the oldest tokens that are held as they are into a frame."""
        count = self._block_tokens
        key, value = (tensor[:, :, :count].flatten(0, 1) for tensor in (self.keys, self.values))
        data = compress(torch.arange(count), [(key, value)], self._codec, block_tokens=count)
        assert data is not None
        self._blocks.append((data, None))
        self.keys = self.keys[:, :, count:].clone()
        self.values = self.values[:, :, count:].clone()

    def _decoded(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of all tokens."""
        if not self._blocks:
            return self.keys, self.values
        coded = len(self._blocks) * self._block_tokens
        rows, heads, tail, width = self.keys.shape
        key, value = (tensor.new_empty(rows, heads, coded + tail, width) for tensor in (self.keys, self.values))
        for number, (data, order) in enumerate(self._blocks):
            first = number * self._block_tokens
            last = first + self._block_tokens
            if order is None:
                whole = [tensor.view(rows * heads, -1, width)[:, first:last] for tensor in (key, value)]
                decompress(data, out=[(whole[0], whole[1])])
                continue
            _, layers = decompress(data, framework="torch")
            for tensor, block in zip((key, value), layers[0]):
                old = block.view(-1, heads, self._block_tokens, width)
                tensor[:, :, first:last] = old[order].to(tensor.device)
        key[:, :, coded:] = self.keys
        value[:, :, coded:] = self.values
        return key, value

    def get_seq_length(self) -> int:
        if not self.is_initialized:
            return 0
        tail = self.keys.shape[-2] if self.keys.ndim == 4 else 0
        return len(self._blocks) * self._block_tokens + int(tail)

    def coded_bytes(self) -> int:
        return sum(len(data) for data, _ in self._blocks)

    def raw_bytes(self) -> int:
        return int(self.keys.nbytes + self.values.nbytes) if self.is_initialized else 0

    def _select(self, rows: torch.Tensor) -> None:
        rows = rows.to("cpu")
        self._blocks = [(data, rows if order is None else order[rows]) for data, order in self._blocks]
        self.keys = self.keys[rows.to(self.keys.device)]
        self.values = self.values[rows.to(self.values.device)]

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        if self.get_seq_length() > 0:
            self._select(beam_idx)

    def batch_repeat_interleave(self, repeats: int) -> None:
        if self.get_seq_length() > 0:
            self._select(torch.arange(self.keys.shape[0]).repeat_interleave(repeats))

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        if self.get_seq_length() > 0:
            self._select(torch.arange(self.keys.shape[0])[indices.to("cpu")])

    def crop(self, tokens_to_remove: int) -> None:
        count = abs(tokens_to_remove)
        if count == 0 or not self.is_initialized:
            return
        if count > self.keys.shape[-2]:
            # What was coded comes back as it decodes.
            self.keys, self.values = self._decoded()
            self._blocks = []
        self.keys, self.values = self.keys[..., :-count, :].clone(), self.values[..., :-count, :].clone()

    def reset(self) -> None:
        super().reset()
        self._blocks = []

    def offload(self) -> None:
        raise Unsupported("a SeqkvCache is not offloaded: its blocks are on the host already")


class SeqkvCache(Cache):  # type: ignore[misc]
    """A drop-in cache for generate(): `model.generate(..., past_key_values=SeqkvCache("none+turboquant:4"))`.

    codec: one that needs neither profile nor model: none+turboquant:BITS, none+lossless, raw.
    block_tokens: tokens that are coded together; window: how many of the last ones stay as they are, at least.

    Every step decodes all blocks of a layer for as long as the layer is used: memory for time.
    """

    def __init__(self, codec: CodecLike = "none+turboquant:4", *, block_tokens: int = 256, window: int = 128) -> None:
        chosen = codec_of(codec)
        if chosen.needs_profile or chosen.needs_model:
            raise Unsupported(f"codec {chosen.spec}: layers are coded one at a time, without a predictor")
        if not 16 <= block_tokens <= 4096 or window < 0:
            raise InvalidArgument("block_tokens are 16 to 4096, window is 0 or more")
        self._make = lambda: SeqkvLayer(chosen, block_tokens, window)
        super().__init__(layer_class_to_replicate=self._make)

    def bytes(self) -> int:
        """Memory that it holds: coded blocks and raw tokens."""
        return sum(layer.coded_bytes() + layer.raw_bytes() for layer in self.layers)
