# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Turns keys back to what they were before RoPE, and forward again; `config` is the `seqkv.rope` of a KV file."""

import numpy as np


def inverse_frequencies(config):
    exponent = np.arange(0, config["dim"], 2) / config["dim"]
    frequency = config["theta"] ** -exponent
    if config["scaling"] == "linear":
        frequency = frequency / config["factor"]
    if config["scaling"] == "llama3":
        turns = config["original_max_positions"] * frequency / (2 * np.pi)
        low, high = config["low_freq_factor"], config["high_freq_factor"]
        smooth = np.clip((turns - low) / (high - low), 0, 1)
        frequency = frequency * ((1 - smooth) / config["factor"] + smooth)
    return frequency


def rotate(keys, first, config, sign):
    """Keys [..., tokens, head_dim] of positions from `first` on; sign +1 is RoPE, -1 its inverse."""
    half = config["dim"] // 2
    angle = (first + np.arange(keys.shape[-2]))[:, None] * inverse_frequencies(config)
    cosine, sine = np.cos(angle).astype(np.float32), sign * np.sin(angle).astype(np.float32)
    turned = keys.copy()
    a, b = keys[..., :half], keys[..., half : 2 * half]
    turned[..., :half] = a * cosine - b * sine
    turned[..., half : 2 * half] = b * cosine + a * sine
    return turned
