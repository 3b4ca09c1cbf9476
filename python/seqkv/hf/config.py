# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""What a model's configuration says of its cache."""

from __future__ import annotations

from typing import Any

from .. import _core


def rope_of_config(config: Any) -> _core.Rope:
    """The rotary embedding of a model, or none (dim 0) where it is of a kind that seqkv does not know, or differs from
    layer to layer. Without it codecs that need no predictor work all the same."""
    config = config.get_text_config(decoder=True)
    parameters = getattr(config, "rope_parameters", None) or {}
    kind = parameters.get("rope_type", "default") if "rope_theta" in parameters else None
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if kind not in ("default", "linear", "llama3") or parameters.get("partial_rotary_factor", 1.0) != 1.0:
        return _core.Rope()
    theta = float(parameters["rope_theta"])
    if kind == "default":
        return _core.Rope(theta, head_dim)
    factor = float(parameters["factor"])
    if kind == "linear":
        return _core.Rope(theta, head_dim, scaling="linear", factor=factor)
    return _core.Rope(
        theta,
        head_dim,
        scaling="llama3",
        factor=factor,
        low_freq_factor=float(parameters["low_freq_factor"]),
        high_freq_factor=float(parameters["high_freq_factor"]),
        original_max_positions=int(parameters["original_max_position_embeddings"]),
    )


def window_of(layer: Any) -> int | None:
    """How many tokens a layer of a cache keeps at most; None: all."""
    return layer.sliding_window - 1 if getattr(layer, "is_sliding", False) else None
