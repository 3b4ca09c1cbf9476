# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""linear+lossless through a decoder that knows the specification only (lossless_decoder.py), and as a user meets it."""

import math

import pytest
from support import BAD_INPUT, SOURCE, Tensor, kernels, read_safetensors, refused, run, safetensors_bytes

np = pytest.importorskip("numpy")
import frame_decoder  # noqa: E402: needs numpy
import lossless_decoder  # noqa: E402: needs numpy

CODEC = "linear+lossless"
MODEL = SOURCE / "models" / "docs-7m"
LAYERS, HEADS, DIM = 8, 2, 64
WIDTH = HEADS * DIM


def table(scale):
    """Frequencies of 0, -1, 1, -2, ... for rounded normal numbers."""
    cdf = lambda x: 0.5 * math.erf(x / scale / math.sqrt(2))  # noqa: E731
    numbers = [-(s + 1) // 2 if s % 2 else s // 2 for s in range(256)]
    alphabet = max(s for s, n in enumerate(numbers) if s < 2 or abs(n) < 4 * scale) + 2
    weights = [cdf(n + 0.5) - cdf(n - 0.5) for n in numbers[:alphabet]]
    frequencies = [1 + int(w * (4096 - alphabet)) for w in weights]
    frequencies[0] += 4096 - sum(frequencies)
    return frequencies + [0] * (256 - alphabet)


def known(number):
    """[component][component]: which are coded before."""
    order = []
    for first in range(0, WIDTH, DIM):
        if number % 2 == 0:
            order += [[first + i, first + i + DIM // 2] for i in range(DIM // 2)]
        else:
            order += [[first + i] for i in range(DIM)]
    mask, before = np.zeros((WIDTH, WIDTH), bool), []
    for unit in order:
        mask[np.ix_(unit, before)] = True
        before += unit
    return mask


@pytest.fixture(scope="module")
def profile(tmp_path_factory):
    """The embedded one, its tensors for this codec replaced by made-up ones."""
    tensors, metadata = read_safetensors(MODEL / "profile.safetensors")
    tensors = {name: t for name, t in tensors.items() if "lossless." not in name}
    random = np.random.default_rng(1)
    frequencies = np.array([table(2 ** (c / 4 + 0.125)) for c in range(-24, 12)])
    tensors["lossless.tables"] = Tensor("U16", frequencies.shape, frequencies.astype("<u2").tobytes())
    for number in range(2 * LAYERS):
        name = f"layers.{number // 2}.{'value' if number % 2 else 'key'}.lossless."
        weights = random.normal(0, 0.02, (2, WIDTH, WIDTH)).astype("<f4")
        if number:
            tensors[name + "below"] = Tensor("F32", (WIDTH, WIDTH), weights[0].tobytes())
        tensors[name + "within"] = Tensor("F32", (WIDTH, WIDTH), (weights[1] * known(number)).astype("<f4").tobytes())
        scales = random.integers(-60, -20, WIDTH).astype("<i2")
        tensors[name + "scales"] = Tensor("I16", (WIDTH,), scales.tobytes())
    path = tmp_path_factory.mktemp("profile") / "profile.safetensors"
    path.write_bytes(safetensors_bytes(tensors, metadata))
    return path


@pytest.fixture(scope="module", params=["bf16", "f16", "f32"])
def cache(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("cache") / "kv.safetensors"
    text = SOURCE / "docs" / "codec.md"
    run("prefill", "--model", MODEL, "--text", text, "--max-tokens", 40, "--dtype", request.param, "--out", path)
    return path


def test_frames_decode_by_the_specification_alone(cache, profile, tmp_path):
    frame = tmp_path / "kv.sqkv"
    run("compress", cache, frame, "--codec", CODEC, "--profile", profile, "--block-tokens", 24)
    data = frame.read_bytes()
    header = frame_decoder.read_header(data)
    assert header.codec == CODEC
    decoder = lossless_decoder.Decoder(header, *read_safetensors(profile))
    raw = 0
    parts = []
    for offset, size in header.index:
        block = frame_decoder.read_block(header, data[offset : offset + size])
        raw += sum(is_raw for _, is_raw in block.subblocks)
        parts.append(decoder.block(block))
    assert raw < len(header.index) * 2 * LAYERS / 2
    back = tmp_path / "back.safetensors"
    run("decompress", frame, back, "--profile", profile)
    assert back.read_bytes() == cache.read_bytes()
    run("compress", cache, tmp_path / "raw.sqkv", "--codec", "raw", "--block-tokens", 24)
    _, _, values = frame_decoder.decode_frame((tmp_path / "raw.sqkv").read_bytes())
    for number in range(2 * LAYERS):
        decoded = np.concatenate([part[number] for part in parts], axis=1)
        assert np.array_equal(decoded, values[number // 2][number % 2]), number


def test_cores_memory_and_kernels_change_no_byte(cache, profile, tmp_path):
    frame, back = tmp_path / "kv.sqkv", tmp_path / "back.safetensors"
    seen = set()
    for kind in kernels():
        for threads, memory in ((1, "1"), (2, "1"), (3, "2G")):
            options = ["--profile", profile, "--threads", threads, "--memory", memory]
            run("compress", cache, frame, "--codec", CODEC, "--block-tokens", 16, *options,
                environment={"SEQKV_CPU": kind})
            run("decompress", frame, back, *options, environment={"SEQKV_CPU": kind})
            assert back.read_bytes() == cache.read_bytes()
            seen.add(frame.read_bytes())
    assert len(seen) == 1


def test_profiles_that_are_not_made_for_it_are_refused(cache, profile, tmp_path):
    tensors, metadata = read_safetensors(profile)
    old = tmp_path / "old.safetensors"
    old.write_bytes(safetensors_bytes({n: t for n, t in tensors.items() if "lossless." not in n}, metadata))
    box = tmp_path / "box"
    box.mkdir()
    refused(BAD_INPUT, "compress", cache, box / "kv.sqkv", "--codec", CODEC, "--profile", old,
            names=["lossless.tables"], beside=box)
