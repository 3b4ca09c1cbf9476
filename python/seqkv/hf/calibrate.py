# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Profiles of models that transformers runs: any decoder with rotary position embedding (docs/python-calibrate.md).

What is learned, and how, is the library's; here the model is run for it. Gradients are those of the log probability of
tokens that the model itself draws, by torch, with respect to the cache that a continuation reads.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Union

import numpy as np
import numpy.typing as npt
import torch
from transformers import DynamicCache

from .. import _core
from ..codecs import PathLike
from ..errors import EmptyInput, InvalidArgument, ShapeMismatch, Unsupported
from ..frames import Progress
from .config import rope_of_config

Text = Union[str, Sequence[int]]
Layers = list[tuple[torch.Tensor, torch.Tensor]]

#: Keys that are turned back to position 0 and differ by more than that part of their norm are not turned as we think.
_TURN_ERROR = {torch.float32: 1e-3, torch.float16: 1e-2, torch.bfloat16: 5e-2}


def calibrate(
    model: Any,
    tokenizer: Any,
    texts: Sequence[Text],
    out: PathLike | None = None,
    *,
    effort: int = 5,
    context: int = 768,
    continuation: int = 128,
    block_tokens: int = 256,
    dtype: str = "bfloat16",
    references: bool = False,
    first_token: int | None = None,
    fingerprint: str | None = None,
    rope: _core.Rope | None = None,
    work: PathLike | None = None,
    progress: Progress | None = None,
) -> _core.Profile:
    """Learns the profile of a model and writes it to the file `out` (None: it is not kept), for codecs `linear+...`.

    model: a causal language model of transformers, best in float32: figures of a profile are measured with it.
    tokenizer: None where texts are token sequences.
    texts: such as those whose caches will be coded; each of at least context + continuation tokens to be of use.
    effort: 1 to 9: how much of the text is used; time grows with it.
    context, continuation: tokens whose cache is looked at, and tokens behind them that say what matters in it.
    dtype: in which engines hold the cache. references: also for linear+ref.
    first_token: with which all sequences begin; None: the one that the tokenizer puts in front, if it does.
    fingerprint: 64 hexadecimal digits by which frames and stores name the model; None: fingerprint_of(model).
    work: a folder for samples, so that a calibration that was stopped goes on there.
    progress: called with what is done and all of the stage at hand.
    """
    runner = Runner(model, rope)
    documents = list(_documents(tokenizer, texts, first_token))
    if not documents:
        raise EmptyInput("no texts to learn from")
    if first_token is None and len({document[0] for document in documents}) == 1:
        first_token = documents[0][0]  # of all of them: part of the text, or put there by the tokenizer
    facts = {**runner.facts(), "first_token": -1 if first_token is None else first_token}
    with tempfile.TemporaryDirectory(prefix="seqkv-") as folder:
        target = pathlib.Path(folder, "profile.safetensors") if out is None else pathlib.Path(out)
        settings = {
            "effort": effort, "context": context, "continuation": continuation, "block_tokens": block_tokens,
            "dtype": dtype, "references": references, "work": "" if work is None else os.fspath(work),
        }  # fmt: skip
        with _evaluating(model):
            profile, _ = _core.calibrate_captured(
                runner, facts, runner.rope, fingerprint or fingerprint_of(model), runner.embedding(), documents,
                settings, os.fspath(target), progress,
            )  # fmt: skip
    return profile


def fingerprint_of(model: Any) -> str:
    """Of configuration and weights, as they are in memory: the same model in another dtype has another."""
    config = model.config.to_dict()
    for name in ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures"):
        config.pop(name, None)
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
    for name, weight in sorted(model.state_dict().items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(weight.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _documents(tokenizer: Any, texts: Sequence[Text], first_token: int | None) -> Iterator[list[int]]:
    for text in texts:
        if isinstance(text, str):
            if tokenizer is None:
                raise InvalidArgument("texts need a tokenizer")
            ids = list(tokenizer(text)["input_ids"])
        else:
            ids = [int(token) for token in text]
        if first_token is not None and ids[:1] != [first_token]:
            ids.insert(0, first_token)
        if ids:
            yield ids


@contextlib.contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Without dropout, and without gradients of the weights."""
    training = model.training
    wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.eval()
    for parameter in wanted:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)
        model.train(training)


class Runner:
    """A model of transformers as the library's calibration calls it (seqkv/calibration_model.hpp)."""

    def __init__(self, model: Any, rope: _core.Rope | None = None) -> None:
        self._model = model
        self._config = model.config.get_text_config(decoder=True)
        self._layers: Layers = []
        self.rope = rope or rope_of_config(model.config)
        if self.rope.dim == 0:
            raise Unsupported(f"the rotary embedding of {type(model).__name__} is of a kind that seqkv does not know")
        with _evaluating(model), torch.no_grad():
            self._check()

    def facts(self) -> dict[str, Any]:
        """What the size of a profile depends on."""
        config = self._config
        key = self._layers[0][0]
        return {
            "layers": len(self._layers),
            "kv_heads": key.shape[1],
            "head_dim": key.shape[3],
            "hidden": config.hidden_size,
            "intermediate": config.intermediate_size,
            "query_heads": config.num_attention_heads,
            "vocabulary": self._model.get_input_embeddings().weight.shape[0],
            "max_positions": config.max_position_embeddings,
            "tied_embeddings": int(bool(getattr(config, "tie_word_embeddings", False))),
            "norm_epsilon": float(getattr(config, "rms_norm_eps", None) or getattr(config, "layer_norm_eps", 1e-6)),
        }

    def embedding(self) -> npt.NDArray[np.float32]:
        weight = self._model.get_input_embeddings().weight
        return weight.detach().to("cpu", torch.float32).contiguous().numpy()

    # ---- called by the library

    def start(self, tokens: list[int]) -> None:
        with torch.no_grad():
            self._layers = self._run(tokens)

    def read(self, out: npt.NDArray[Any], dtype: str) -> None:
        self._copy(self._layers, _typed(out, dtype))

    def gradient(self, continuation: list[int], draws: list[float], out: npt.NDArray[np.float32]) -> None:
        leaves = [tuple(x.detach().requires_grad_(True) for x in pair) for pair in self._layers]
        logits = self._logits(leaves, continuation)
        with torch.no_grad():
            # As the library draws: the first token whose share, added to those below it, exceeds the number.
            shares = logits.double().softmax(-1).cumsum(-1)
            target = torch.tensor(draws, dtype=shares.dtype, device=shares.device)[:, None] * shares[:, -1:]
            drawn = torch.searchsorted(shares, target, right=True).clamp(max=shares.shape[-1] - 1)
        score = logits.log_softmax(-1).gather(1, drawn).sum()
        flat = [x for pair in leaves for x in pair]
        found = torch.autograd.grad(score, flat, allow_unused=True)
        whole = [torch.zeros_like(x) if gradient is None else gradient for x, gradient in zip(flat, found)]
        self._copy(list(zip(whole[::2], whole[1::2])), torch.from_numpy(out))

    def go_on(self, continuation: list[int]) -> npt.NDArray[np.float32]:
        with torch.no_grad():
            return self._logits(self._layers, continuation).cpu().numpy()

    def go_on_from(self, restored: npt.NDArray[Any], dtype: str, continuation: list[int]) -> npt.NDArray[np.float32]:
        values = _typed(restored, dtype).to(self._model.device, self._layers[0][0].dtype)
        with torch.no_grad():
            return self._logits([(values[i][None], values[i + 1][None]) for i in range(0, len(values), 2)],
                                continuation).cpu().numpy()

    # ---- runs

    def _run(self, tokens: Sequence[int], layers: Sequence[tuple[torch.Tensor, torch.Tensor]] = (),
             **options: Any) -> Any:
        """The layers of the cache behind tokens, or with `logits_to_keep` the model's output."""
        # Layers that hold all tokens, whatever window a model has: it masks what it does not see.
        cache = DynamicCache()
        for number, (key, value) in enumerate(layers):
            cache.update(key, value, number)
        ids = torch.tensor([list(tokens)], dtype=torch.long, device=self._model.device)
        output = self._model(input_ids=ids, past_key_values=cache, use_cache=True, **options)
        if options:
            return output
        return [(layer.keys, layer.values) for layer in output.past_key_values.layers]

    def _logits(self, layers: Sequence[tuple[torch.Tensor, torch.Tensor]], tokens: Sequence[int]) -> torch.Tensor:
        logits: torch.Tensor = self._run(tokens, layers, return_dict=True).logits[0]
        return logits.float()[:, : self._model.get_input_embeddings().weight.shape[0]]

    @staticmethod
    def _copy(layers: Layers, out: torch.Tensor) -> None:
        """[2 * layers, kv_heads, tokens, head_dim]"""
        if 2 * len(layers) != out.shape[0] or layers[0][0].shape[1:] != out.shape[1:]:
            raise ShapeMismatch(f"{len(layers)} layers of {tuple(layers[0][0].shape[1:])} for {tuple(out.shape)}")
        for number, pair in enumerate(layers):
            for kind in (0, 1):
                out[2 * number + kind].copy_(pair[kind][0])

    def _check(self) -> None:
        """One token over and over gives each layer the same input at every position, so that its keys differ by how
        they are turned, and by nothing else. Also learns the shape of the cache."""
        positions = 48
        self._layers = self._run([1] * positions)
        if not self._layers or any(key.dim() != 4 or key.shape != value.shape for key, value in self._layers):
            raise Unsupported("a cache whose keys and values have different shapes")
        first = self._layers[0][0].shape
        if any(key.shape != first for key, _ in self._layers):
            raise Unsupported("a cache whose layers have different shapes")
        if first[2] != positions:
            raise Unsupported(f"a cache of {first[2]} tokens behind {positions}")
        bound = _TURN_ERROR.get(self._layers[0][0].dtype, 5e-2)
        for number, (key, _) in enumerate(self._layers):
            back = _turn_back(key[0].double(), self.rope)
            error = ((back - back[:, :1]).norm() / back.norm()).item()
            if error <= bound:
                continue
            what = f"the keys of layer {number} do not turn as {self.rope!r} says (by {error:.2g} of their norm)"
            if number == 0:
                raise Unsupported(what)
            warnings.warn(f"{what}: they will be predicted less well", stacklevel=3)
            return


def _typed(array: npt.NDArray[Any], dtype: str) -> torch.Tensor:
    tensor = torch.from_numpy(array)
    return tensor if dtype == "float32" else tensor.view(getattr(torch, dtype))


def _turn_back(keys: torch.Tensor, rope: _core.Rope) -> torch.Tensor:
    """Keys [heads, tokens, head_dim] as they would be at position 0."""
    half = rope.dim // 2
    frequencies = _inverse_frequencies(rope).to(keys.device)
    angles = torch.arange(keys.shape[1], dtype=torch.float64, device=keys.device)[:, None] * frequencies
    x, y = keys[..., :half], keys[..., half : 2 * half]
    return torch.cat([x * angles.cos() + y * angles.sin(), y * angles.cos() - x * angles.sin(), keys[..., 2 * half :]],
                     dim=-1)


def _inverse_frequencies(rope: _core.Rope) -> torch.Tensor:
    """By how much each pair turns from one position to the next (docs/format.md)."""
    plain = rope.theta ** (-torch.arange(0, rope.dim, 2, dtype=torch.float64) / rope.dim)
    if rope.scaling == "linear":
        return plain / rope.factor
    if rope.scaling == "llama3":
        turns = rope.original_max_positions * plain / (2 * torch.pi)
        low, high = rope.low_freq_factor, rope.high_freq_factor
        kept = ((turns - low) / (high - low)).clamp(0, 1)
        return plain * kept + plain / rope.factor * (1 - kept)
    return plain
