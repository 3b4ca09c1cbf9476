# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Paged caches: every layout that engines use, views without copies, slots of tokens."""

import pytest

torch = pytest.importorskip("torch")
from seqkv.paged import LAYOUTS, LayoutError, Pages, find_layout, layer_number, layer_views  # noqa: E402

BLOCKS, SIZE, HEADS, DIM = 7, 16, 3, 8


def empty(layout, blocks=BLOCKS, size=SIZE, heads=HEADS, dim=DIM, dtype=torch.float32):
    sizes = {"2": 2, "B": blocks, "N": size, "H": heads, "D": dim}
    if layout.endswith("2D"):
        return torch.zeros([sizes[axis] for axis in layout[:-2]] + [2 * dim], dtype=dtype)
    return torch.zeros([sizes[axis] for axis in layout], dtype=dtype)


def random_layers(layers, tokens, heads=HEADS, dim=DIM, dtype=torch.float32, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return [tuple(torch.randn(heads, tokens, dim, generator=draw).to(dtype) for _ in range(2)) for _ in range(layers)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tokens_come_back_from_every_layout(layout):
    tensors = {f"model.layers.{i}.self_attn.attn": empty(layout) for i in range(12)}
    pages = Pages.of(tensors, HEADS, DIM, SIZE)
    layers = random_layers(12, 40)
    blocks = [5, 0, 3]
    pages.scatter(blocks, 0, layers)
    for wanted, found in zip(layers, pages.gather(blocks, 0, 40)):
        assert torch.equal(wanted[0], found[0]) and torch.equal(wanted[1], found[1])
    # Where the engine looks for token 17 of head 2: block 0, offset 1.
    key, value = layer_views(tensors["model.layers.11.self_attn.attn"], layout)
    assert torch.equal(key[0, 1, 2], layers[11][0][2, 17])
    assert torch.equal(value[0, 1, 2], layers[11][1][2, 17])
    assert key.data_ptr() >= tensors["model.layers.11.self_attn.attn"].data_ptr(), "a view, not a copy"
    untouched = [b for b in range(BLOCKS) if b not in blocks]
    assert not key[untouched].any() and not value[untouched].any() and not key[3, 8:].any()


def test_a_part_of_a_request():
    pages = Pages.of({"layers.0": empty("BHN2D")}, HEADS, DIM, SIZE)
    layers = random_layers(1, 50)
    pages.scatter([1, 2, 4, 6], 0, layers)
    pages.scatter([1, 2, 4, 6], 20, random_layers(1, 7, seed=9))
    found = pages.gather([1, 2, 4, 6], 0, 50)[0][0]
    assert torch.equal(found[:, :20], layers[0][0][:, :20]) and torch.equal(found[:, 27:], layers[0][0][:, 27:])
    assert torch.equal(found[:, 20:27], random_layers(1, 7, seed=9)[0][0])
    assert torch.equal(pages.gather([1, 2, 4, 6], 30, 5)[0][1], layers[0][1][:, 30:35])


def test_blocks_that_tensors_hold_in_parts():
    """An engine's block of 64 tokens, kernels' of 16: four that follow each other."""
    pages = Pages.of({"layers.0": empty("2BNHD", blocks=8, size=16)}, HEADS, DIM, 64)
    layers = random_layers(1, 70)
    pages.scatter([1, 0], 0, layers)
    key = pages.keys[0]
    assert torch.equal(key[4 + 2, 5], layers[0][0][:, 37]) and torch.equal(key[0, 5], layers[0][0][:, 69])
    with pytest.raises(LayoutError, match="not all in the cache"):
        pages.scatter([1, 2], 0, layers)


def test_another_order_in_memory():
    """Axes where the engine says, strides where its kernels want them."""
    tensor = empty("2BHND").permute(0, 1, 3, 2, 4)  # [2, B, N, H, D], heads outside of tokens in memory
    assert not tensor.is_contiguous()
    pages = Pages.of({"layers.0": tensor}, HEADS, DIM, SIZE)
    layers = random_layers(1, 33)
    pages.scatter([6, 2, 1], 0, layers)
    assert torch.equal(pages.gather([6, 2, 1], 0, 33)[0][0], layers[0][0])


def test_what_is_ambiguous_is_asked_for():
    with pytest.raises(LayoutError, match="2BNHD, B2NHD"):
        find_layout((2, 2, SIZE, HEADS, DIM), HEADS, DIM, SIZE)
    with pytest.raises(LayoutError, match="name one of"):
        find_layout((BLOCKS, SIZE, HEADS, DIM), HEADS, DIM, SIZE)
    assert Pages.of({"layers.0": empty("B2NHD", blocks=2)}, HEADS, DIM, SIZE, layout="B2NHD").keys[0].shape[0] == 2


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({}, "without layers"),
        ({"layers.0": empty("2BNHD", dtype=torch.uint8)}, "uint8"),
        ({"layers.0": empty("2BNHD"), "layers.1": empty("2BNHD", dtype=torch.bfloat16)}, "float32"),
        ({"layers.0": empty("2BNHD"), "layers.2": empty("2BNHD")}, r"layers \[0, 2\]"),
        ({"attention": empty("2BNHD")}, "no number"),
        ({"layers.0": empty("2BNHD", heads=4)}, "no known layout"),
        ({"layers.0": empty("2BNHD", size=24)}, "no known layout"),
    ],
)
def test_what_cannot_be_read_is_named(tensors, message):
    with pytest.raises(LayoutError, match=message):
        Pages.of(tensors, HEADS, DIM, SIZE)


def test_nothing_is_written_unless_all_fits():
    pages = Pages.of({"layers.0": empty("2BNHD"), "layers.1": empty("2BNHD")}, HEADS, DIM, SIZE)
    good, bad = random_layers(1, 20), random_layers(1, 20, heads=4)
    for layers in (good, good + bad, good + random_layers(1, 19)):
        with pytest.raises(LayoutError):
            pages.scatter([1, 2], 0, layers)
    with pytest.raises(LayoutError, match="need 2 blocks"):
        pages.scatter([1], 0, good + good)
    assert not any(x.any() for x in pages.keys + pages.values)


def test_numbers_of_layers():
    assert layer_number("model.layers.13.self_attn.attn") == 13
    with pytest.raises(LayoutError, match="more than one"):
        layer_number("model.3.layers.13")
