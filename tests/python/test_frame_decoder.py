# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""The program's frames through a decoder that knows the specifications only (frame_decoder.py): the same bits."""

import json

import pytest
import support

np = pytest.importorskip("numpy")
import frame_decoder  # noqa: E402: needs numpy

NAMES = {"bf16": "BF16", "f16": "F16", "f32": "F32"}
CODECS = ["raw", "none+lossless", "none+turboquant:1", "none+turboquant:3", "none+turboquant:5"]
UNROTATED = "none+turboquant:3,keys=unrotated"


def rope_of(dim, scaling="none"):
    fields = {"dim": dim, "theta": 10000.0, "scaling": scaling, "factor": 4.0}
    fields |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_positions": 512}
    return {"seqkv.rope": json.dumps(fields)}


def write_cache(path, values, dtype, ids, metadata=None):
    """A KV file of float32 values [layers][2][heads][tokens][dim], rounded to dtype; returns their bits."""
    bits = frame_decoder.from_float(values, dtype)
    tensors = {}
    for layer, pair in enumerate(bits):
        for kind, tensor in zip(("key", "value"), pair):
            tensors[f"layers.{layer}.{kind}"] = support.Tensor(NAMES[dtype], tensor.shape, tensor.tobytes())
    tensors["input_ids"] = support.tokens_tensor([int(i) for i in ids])
    path.write_bytes(support.safetensors_bytes(tensors, metadata))
    return bits


def random_cache(heads, tokens, dim, seed=1):
    """Two layers whose channels differ in size, with tokens of zeros and a tensor of tiny values."""
    random = np.random.default_rng(seed)
    channels = np.exp(random.standard_normal((2, 2, heads, 1, dim)))
    values = (random.standard_normal((2, 2, heads, tokens, dim)) * channels).astype(np.float32)
    values[0, 1, :, :3] = 0
    values[1, 1] *= np.float32(1e-3)
    return values, random.integers(0, 5000, tokens)


def compare(cli, folder, source, codec, block_tokens):
    """Codes, decodes both ways, and returns the tensors' bits."""
    frame, restored = folder / "cache.sqkv", folder / "restored.safetensors"
    cli("compress", source, frame, "--codec", codec, "--block-tokens", block_tokens)
    cli("decompress", frame, restored)
    header, ids, tensors = frame_decoder.decode_frame(frame.read_bytes())
    expected, _ = support.read_safetensors(restored)
    assert header.codec == codec
    assert np.frombuffer(expected["input_ids"].data, "<i4").tolist() == ids
    for layer, pair in enumerate(tensors):
        for kind, tensor in zip(("key", "value"), pair):
            name = f"layers.{layer}.{kind}"
            assert tensor.tobytes() == expected[name].data, f"{codec}: {name} differs"
    return tensors


@pytest.mark.parametrize("dtype", list(NAMES))
@pytest.mark.parametrize(
    "heads, tokens, dim", [(1, 33, 16), (2, 70, 64), (3, 17, 120), (3, 41, 5), (1, 16, 4)]
)
def test_both_decoders_give_the_same_bits(cli, tmp_path, dtype, heads, tokens, dim):
    values, ids = random_cache(heads, tokens, dim)
    source = tmp_path / "cache.safetensors"
    bits = write_cache(source, values, dtype, ids)
    for codec in CODECS:
        tensors = compare(cli, tmp_path, source, codec, 32)
        if "turboquant" not in codec:
            assert np.array_equal(np.array(tensors), bits), codec


@pytest.mark.parametrize("scaling, dim, rope_dim", [("none", 16, 16), ("linear", 24, 8), ("llama3", 64, 64)])
def test_both_decoders_turn_keys_to_the_same_bits(cli, tmp_path, scaling, dim, rope_dim):
    values, ids = random_cache(2, 40, dim)
    source = tmp_path / "cache.safetensors"
    write_cache(source, values, "f32", ids, rope_of(rope_dim, scaling))
    compare(cli, tmp_path, source, UNROTATED, 32)


def test_both_decoders_agree_on_a_cache_of_the_model(cli, model, tmp_path):
    source = tmp_path / "cache.safetensors"
    options = ["--max-tokens", 300, "--dtype", "bf16", "--out", source]
    cli("prefill", "--model", model, "--text", support.SOURCE / "LICENSE", *options)
    for codec in ["none+lossless", "none+turboquant:3"]:
        compare(cli, tmp_path, source, codec, 256)


def test_values_that_no_codec_takes_are_raw(cli, tmp_path):
    values, ids = random_cache(1, 20, 16)
    values[0, 0, 0, 0, 0] = np.inf
    source = tmp_path / "cache.safetensors"
    bits = write_cache(source, values, "f32", ids)
    tensors = compare(cli, tmp_path, source, "none+turboquant:3", 32)
    assert np.array_equal(tensors[0][0], bits[0, 0])
    assert not np.array_equal(tensors[0][1], bits[0, 1])


@pytest.mark.parametrize("codec", ["none+lossless", "none+turboquant:3"])
def test_a_flipped_bit_is_noticed(cli, tmp_path, codec):
    if frame_decoder.XXH3 is None:
        pytest.skip("neither the module xxhash nor libxxhash is here")
    values, ids = random_cache(1, 40, 16)
    source, frame = tmp_path / "cache.safetensors", tmp_path / "cache.sqkv"
    write_cache(source, values, "bf16", ids)
    cli("compress", source, frame, "--codec", codec, "--block-tokens", 32)
    good = frame.read_bytes()
    for at in range(0, len(good), 7):
        bad = bytearray(good)
        bad[at] ^= 1 << (at % 8)
        with pytest.raises((frame_decoder.FormatError, UnicodeDecodeError)):
            frame_decoder.decode_frame(bytes(bad))
