# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""The published codecs of bench/baselines on made-up caches: what is decoded, at what size, and what is refused."""

import json
import struct
import sys

import pytest
import support

np = pytest.importorskip("numpy")
sys.path.insert(0, str(support.SOURCE / "bench" / "baselines"))

import aqua
import calibrate
import kvfile
import kvtc
import packing
import rans
import recode
import rope

ROPE = dict(dim=32, theta=10000.0, scaling="none", factor=1.0)
LAYERS, HEADS, DIM = 3, 2, 32
CODECS = ["kivi:2", "kivi:4,window=0", "cachegen", "cachegen,chunk=100", "cachegen:profile", "kvtc:8"]
CODECS += ["kvtc:16", "kvtc:8,sinks=4,window=16", "kvtc:8,scales=profile"]
CODECS += ["aqua:2", "aqua:3,group=0", "aqua:4,sinks=4,window=16"]


def make_cache(tokens, seed=0):
    """Layers that resemble the layers below, in few dimensions, with some noise."""
    draw = np.random.default_rng(seed).standard_normal
    mixing = np.random.default_rng(99).standard_normal((8, 2 * LAYERS * HEADS * DIM)) / 2
    x = draw((tokens, 8)) @ mixing + 0.1 * draw((tokens, mixing.shape[1])) + mixing[0]
    kv = x.reshape(tokens, 2, LAYERS, HEADS, DIM).transpose(1, 2, 3, 0, 4).astype(np.float32)
    kv[0] = rope.rotate(kv[0], 0, ROPE, 1)
    ids = np.random.default_rng(seed).integers(0, 4096, tokens).astype(np.int32)
    return kvfile.Cache(kvfile.widen(kvfile.narrow(kv)), ids)


@pytest.fixture(scope="module")
def calibration():
    caches = [make_cache(100, seed).kv for seed in range(1, 9)]
    return calibrate.measure(caches, ROPE, grid_rounds=10)


@pytest.mark.parametrize("text", CODECS)
def test_what_is_decoded_resembles_the_cache(text, calibration):
    cache = make_cache(200)

    codec = recode.make_codec(text, calibration)
    restored = recode.make_codec(text, calibration).decode(codec.encode(cache))

    assert restored.kv.shape == cache.kv.shape and restored.dtype == cache.dtype
    assert (restored.ids == cache.ids).all()
    assert (kvfile.relative_errors(cache, restored) < 0.2).all()


@pytest.mark.parametrize("text", CODECS)
@pytest.mark.parametrize("tokens", [1, 31, 257])
def test_any_number_of_tokens_is_coded(text, tokens, calibration):
    cache = make_cache(tokens)
    codec = recode.make_codec(text, calibration)

    restored = codec.decode(codec.encode(cache))

    assert np.isfinite(restored.kv).all()
    assert restored.kv.shape == cache.kv.shape


def test_kivi_takes_the_bits_it_should():
    cache = make_cache(256)
    header = 12 + 256 * 12 // 8

    coded = [len(recode.make_codec(f"kivi:{bits},window=0").encode(cache)) for bits in (2, 4)]

    assert [8 * (size - header) / cache.kv.size for size in coded] == [3, 5]


def test_protected_tokens_come_back_as_they_were_and_are_counted(calibration):
    cache = make_cache(200)
    plain, protecting = (recode.make_codec(text, calibration) for text in ("aqua:2", "aqua:2,sinks=4,window=16"))

    data = protecting.encode(cache)
    restored = protecting.decode(data).kv

    exact = [*range(4), *range(184, 200)]
    assert (restored[:, :, :, exact] == cache.kv[:, :, :, exact]).all()
    assert len(data) > len(plain.encode(cache)) + 20 * 2 * LAYERS * HEADS * DIM * (16 - 6) // 8


def test_kvtc_spends_its_budget_before_deflate(calibration):
    for kind in kvfile.KINDS:
        for ratio in (8, 16):
            groups = calibration[f"kvtc.{kind}.groups.{ratio}"]
            spent = sum(kvtc.cost(*group) for group in groups.tolist())
            assert 0 < spent <= 16 * LAYERS * HEADS * DIM / ratio


def test_kvtc_allots_bits_where_they_help_most():
    """Two components far above the others: both in fp16, the others dropped."""
    x = np.random.default_rng(0).standard_normal((64, 32)).astype(np.float32) * 0.01
    x[:, :2] *= 1000

    groups = kvtc.allocate(x, kvtc.error_table(x), 16)

    assert groups == [(1, 16), (1, 16)]


def test_rans_is_near_the_entropy():
    probability = np.array([0.7, 0.2, 0.1])
    symbols = np.random.default_rng(0).choice(3, (4000, 5), p=probability).astype(np.uint8)
    counts = np.stack([(symbols == symbol).sum(0) for symbol in range(3)], -1)
    tables = rans.tables(counts)

    states, lengths, words = rans.encode(symbols, tables)

    assert (rans.decode(states, lengths, words, tables, 4000) == symbols).all()
    entropy = -(probability * np.log2(probability)).sum()
    assert 16 * len(words) / symbols.size == pytest.approx(entropy, rel=0.03)


def test_rans_notices_damage():
    symbols = np.random.default_rng(0).integers(0, 4, (100, 2)).astype(np.uint8)
    tables = rans.tables(np.array([[7, 2, 1, 1], [1, 1, 5, 3]]))
    states, lengths, words = rans.encode(symbols, tables)

    with pytest.raises(ValueError, match="damaged"):
        rans.decode(states ^ 1 << 20, lengths, words, tables, 100)


def test_aqua_codes_gaussian_numbers_at_the_grids_error():
    """Sixteen points for a pair: 0.108 of the variance is lost."""
    grid = aqua.make_grid(2, rounds=60)
    x = np.random.default_rng(0).standard_normal((512, 64)).astype(np.float32)
    quantizer = aqua.Quantizer(grid, 0)

    restored = quantizer.restore(*quantizer.quantize(x), x.shape)

    assert np.square(x - restored).mean() == pytest.approx(0.108, rel=0.05)


def test_rope_is_turned_back():
    keys = make_cache(50).kv[0]

    again = rope.rotate(rope.rotate(keys, 7, ROPE, -1), 7, ROPE, 1)

    assert np.abs(again - keys).max() < 1e-4


def test_packed_integers():
    values = np.arange(50) % 8

    data = packing.pack(values, 3)

    assert len(data) == 19
    assert (packing.unpack(data, 3, (50,)) == values).all()


def write_file(path, cache):
    """A KV file with one tensor more than caches have."""
    tensors = {"input_ids": ("I32", cache.ids), "extra": ("F32", np.float32([1.5]))}
    for kind, kv in zip(kvfile.KINDS, cache.kv):
        tensors |= {f"layers.{layer}.{kind}": (cache.dtype, x) for layer, x in enumerate(kv)}
    header, body = {"__metadata__": {"seqkv.rope": json.dumps(ROPE)}}, b""
    for name, (dtype, x) in tensors.items():
        data = kvfile.to_words(x, dtype) if dtype in kvfile.DTYPES else x.tobytes()
        header[name] = dict(dtype=dtype, shape=list(x.shape), data_offsets=[len(body), len(body) + len(data)])
        body += data
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
def test_files_keep_their_header_and_other_tensors(dtype, tmp_path, monkeypatch, capsys):
    cache = make_cache(40)
    cache.dtype = dtype
    write_file(tmp_path / "in", cache)
    monkeypatch.setattr(sys, "argv", ["recode.py", "kivi:4", str(tmp_path / "in"), str(tmp_path / "out")])

    recode.main()

    report = json.loads(capsys.readouterr().out)
    restored, config = kvfile.read(tmp_path / "out")
    assert report["codec"] == "kivi:4" and report["bytes"] == len(recode.make_codec("kivi:4").encode(cache))
    assert kvfile.read_header(tmp_path / "in")[1] == kvfile.read_header(tmp_path / "out")[1]
    assert config == ROPE and (restored.kv == cache.kv).all()  # all in the window


@pytest.mark.parametrize("text", ["zip", "kivi:2,size=3", "kvtc:16", "aqua:2", "cachegen:best"])
def test_what_cannot_be_is_refused(text):
    with pytest.raises(ValueError):
        recode.make_codec(text)
