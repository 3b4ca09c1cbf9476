# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Tests of the Python package, against what is installed or what PYTHONPATH names."""

import pathlib

import ml_dtypes
import numpy as np
import pytest

import seqkv

SOURCE = pathlib.Path(__file__).resolve().parents[2]
MODEL = SOURCE / "models" / "docs-7m"
PROFILE = MODEL / "profile.safetensors"
LAYERS, HEADS, TOKENS, WIDTH = 3, 2, 300, 64


def random_layers(seed, dtype=ml_dtypes.bfloat16, tokens=TOKENS, layers=LAYERS):
    numbers = np.random.default_rng(seed)
    return [tuple(numbers.standard_normal((HEADS, tokens, WIDTH)).astype(dtype) for _ in range(2)) for _ in range(layers)]


def same(a, b):
    """Bit for bit."""
    raw = [[np.asarray(part).view(np.uint8) for layer in side for part in layer] for side in (a, b)]
    return len(raw[0]) == len(raw[1]) and all(np.array_equal(x, y) for x, y in zip(*raw))


@pytest.fixture
def layers():
    return random_layers(1)


@pytest.fixture
def tokens():
    return np.random.default_rng(2).integers(0, 4096, TOKENS).astype(np.uint32)


@pytest.fixture(scope="session")
def model():
    return seqkv.Model.load(MODEL)


@pytest.fixture(scope="session")
def prefilled(model):
    """Tokens of a page, and their cache."""
    ids = model.encode((SOURCE / "docs" / "codec.md").read_text())[:400]
    return np.array(ids, np.uint32), seqkv.prefill(model, ids)
