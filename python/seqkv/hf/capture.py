# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""The states that enter the layers of a model, recorded while it runs: with them replay+lossless takes least."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import torch

from ..errors import InvalidArgument, Unsupported


def decoder_layers(model: Any) -> list[torch.nn.Module]:
    """The decoder layers of a model, in order. Errors: Unsupported."""
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else model
    layers = getattr(decoder, "layers", None)
    if layers is None:
        raise Unsupported(f"{type(model).__name__} has no decoder layers that seqkv can find")
    return list(layers)


class Capture:
    """Records the state that enters each layer of whatever the model runs inside of `with`.

        with seqkv.hf.capture(model) as states:
            out = model(input_ids, use_cache=True)
        seqkv.hf.snapshot(out.past_key_values, input_ids, "replay+lossless:engine=eager", hidden=states.hidden(), ...)

    One sequence (a batch of 1), in one pass or many: prefill in chunks and generate record one after the other.
    States are kept on the host, in the model's dtype: tokens * hidden * layers numbers.
    """

    def __init__(self, model: Any) -> None:
        self._layers = decoder_layers(model)
        self._states: list[list[torch.Tensor]] = [[] for _ in self._layers]
        self._hooks: list[Any] = []

    def __enter__(self) -> Capture:
        def keep(states: list[torch.Tensor]) -> Any:
            def hook(_: Any, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
                state = positional[0] if positional else named["hidden_states"]
                if state.shape[0] != 1:
                    raise InvalidArgument(f"states of a batch of {state.shape[0]} cannot be recorded, of 1 they can")
                states.append(state[0].detach().cpu())

            return hook

        for layer, states in zip(self._layers, self._states):
            self._hooks.append(layer.register_forward_pre_hook(keep(states), with_kwargs=True))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def hidden(self, tokens: int | None = None) -> list[torch.Tensor]:
        """[tokens, hidden] for each layer, of the first tokens or of all that were recorded."""
        if not self._states[0]:
            raise InvalidArgument("the model has not run since recording began")
        return [torch.cat(states)[:tokens].contiguous() for states in self._states]


def capture(model: Any) -> Capture:
    """For `with`: see Capture."""
    return Capture(model)
