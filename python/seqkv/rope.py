# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Rotary position embedding, from a transformers configuration."""

from __future__ import annotations

from typing import Any

import seqkv

_SCALINGS = {"default": "none", "linear": "linear", "llama3": "llama3"}


def head_dim_of(config: Any) -> int:
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def rope_of(config: Any) -> seqkv.Rope:
    """The Rope of a model's keys. Where seqkv does not know how they turn, a Rope of no components: the keys are then
    coded as they are, which is right for all codecs and takes more bits with some."""
    try:
        return seqkv.Rope(**arguments_of(config))
    except ValueError:
        return seqkv.Rope(dim=0)


def arguments_of(config: Any) -> dict[str, Any]:
    """The arguments of seqkv.Rope. Raises ValueError with what is not supported."""
    parameters = getattr(config, "rope_parameters", None)
    if parameters is None:  # transformers 4
        parameters = {"rope_theta": getattr(config, "rope_theta", None), **(getattr(config, "rope_scaling", None) or {})}
    if any(isinstance(value, dict) for value in parameters.values()):
        kinds = [value for value in parameters.values() if isinstance(value, dict)]
        if any(kind != kinds[0] for kind in kinds):
            raise ValueError("layers with different rotary embeddings are not supported")
        parameters = kinds[0]
    kind = parameters.get("rope_type") or parameters.get("type") or "default"
    if kind not in _SCALINGS:
        raise ValueError(f"the rotary embedding '{kind}' is not supported: {', '.join(_SCALINGS)} are")
    theta = parameters.get("rope_theta")
    if theta is None:
        raise ValueError("a model without rotary embedding")
    share = parameters.get("partial_rotary_factor") or getattr(config, "partial_rotary_factor", None) or 1.0
    out: dict[str, Any] = {"theta": float(theta), "dim": int(head_dim_of(config) * share), "scaling": _SCALINGS[kind]}
    if kind != "default":
        out["factor"] = float(parameters["factor"])
    if kind == "llama3":
        out["low_freq_factor"] = float(parameters["low_freq_factor"])
        out["high_freq_factor"] = float(parameters["high_freq_factor"])
        out["original_max_positions"] = int(parameters["original_max_position_embeddings"])
    return out
