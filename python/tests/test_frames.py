# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Caches to frames and back: every kind of array, and what is refused."""

import os
import signal
import subprocess
import sys
import threading
import time

import ml_dtypes
import numpy as np
import pytest
from conftest import HEADS, LAYERS, MODEL, PROFILE, TOKENS, WIDTH, random_layers, same

import seqkv


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16, np.float32])
@pytest.mark.parametrize("codec", ["raw", "none+lossless"])
def test_exact_codecs_give_every_bit_back(tokens, dtype, codec):
    layers = random_layers(3, dtype)
    data = seqkv.compress(tokens, layers, codec)
    ids, restored = seqkv.decompress(data)
    assert np.array_equal(ids, tokens)
    assert same(restored, layers)
    assert restored[0][0].dtype == np.dtype(dtype)
    frame = seqkv.open_frame(data)
    assert (frame.tokens, frame.codec, frame.bytes) == (TOKENS, codec, len(data))
    assert frame.shape == seqkv.Shape(LAYERS, HEADS, WIDTH, np.dtype(dtype).name)


def test_files_and_bytes_are_the_same(tmp_path, tokens, layers):
    path = tmp_path / "kv.sqkv"
    assert seqkv.compress(tokens, layers, "none+turboquant:3", path=path) is None
    data = seqkv.compress(tokens, layers, "none+turboquant:3")
    assert path.read_bytes() == data
    for frame in (path, str(path), data, bytearray(data), memoryview(data), seqkv.open_frame(path)):
        assert same(seqkv.decompress(frame)[1], seqkv.decompress(data)[1])


def test_arrays_lie_in_memory_as_they_like(tokens, layers):
    """Strides of engines: tokens before heads, a part of more heads, each layer on its own way."""
    data = seqkv.compress(tokens, layers, "none+lossless")
    by_token = [tuple(np.ascontiguousarray(part.transpose(1, 0, 2)).transpose(1, 0, 2) for part in pair) for pair in layers]
    wide = [tuple(np.concatenate([part, part])[:HEADS] for part in pair) for pair in layers]
    mixed = [layers[0], by_token[1], layers[2]]
    backwards = [tuple(part[:, ::-1].copy()[:, ::-1] for part in pair) for pair in layers]
    for other in (by_token, wide, mixed, backwards):
        assert seqkv.compress(tokens, other, "none+lossless") == data
    out = [tuple(np.zeros((TOKENS, HEADS, WIDTH), ml_dtypes.bfloat16).transpose(1, 0, 2) for _ in range(2)) for _ in layers]
    given = seqkv.decompress(data, out=out)[1]
    assert given[0][0] is out[0][0]
    assert same([tuple(np.ascontiguousarray(part) for part in pair) for pair in out], layers)


def test_values_come_in_another_dtype(tokens, layers):
    data = seqkv.compress(tokens, layers, "none+lossless")
    wide = seqkv.decompress(data, dtype="float32")[1]
    assert same(wide, [tuple(part.astype(np.float32) for part in pair) for pair in layers])


@pytest.mark.parametrize("codec", ["linear+ecsq:kl=0.01", "linear+lossless", "none+turboquant:4", "linear+ecsq:bits=0.5"])
def test_codecs_of_real_caches(prefilled, codec):
    tokens, layers = prefilled
    data = seqkv.compress(tokens, layers, codec, profile=PROFILE)
    ids, restored = seqkv.decompress(data, profile=PROFILE)
    assert np.array_equal(ids, tokens)
    pairs = [(a.astype(np.float32), b.astype(np.float32)) for x, y in zip(layers, restored) for a, b in zip(x, y)]
    error = sum(float(((a - b) ** 2).sum()) for a, b in pairs) / sum(float((a**2).sum()) for a, b in pairs)
    assert error < (1e-12 if "lossless" in codec else 0.1)
    assert len(data) < sum(part.nbytes for pair in layers for part in pair)
    if "bits" in codec:
        assert abs(8 * len(data) / sum(part.size for pair in layers for part in pair) - 0.5) < 0.02


def test_frames_are_those_of_the_program(tmp_path, prefilled, model):
    """Python and the command line write the same bytes and read each other's."""
    tokens, layers = prefilled
    from safetensors.numpy import save_file

    tensors = {"input_ids": tokens.astype(np.int32)}
    for number, (key, value) in enumerate(layers):
        tensors |= {f"layers.{number}.key": key, f"layers.{number}.value": value}
    save_file(tensors, tmp_path / "kv.safetensors")
    frame, back = tmp_path / "kv.sqkv", tmp_path / "back.safetensors"
    cli = [sys.executable, "-m", "seqkv"]
    subprocess.run([*cli, "compress", tmp_path / "kv.safetensors", frame, "--codec", "none+lossless", "-q"], check=True)
    assert seqkv.compress(tokens, layers, "none+lossless") == frame.read_bytes()
    assert same(seqkv.decompress(frame)[1], layers)
    seqkv.compress(tokens, layers, "replay", model=model, path=frame)
    subprocess.run([*cli, "decompress", frame, back, "--model", MODEL, "-q"], check=True)
    from safetensors.numpy import load_file

    restored = load_file(back)
    assert same([(restored[f"layers.{i}.key"], restored[f"layers.{i}.value"]) for i in range(len(layers))], layers)


def test_what_does_not_fit_is_refused(tokens, layers):
    def refused(kind, *arguments, **options):
        with pytest.raises(kind) as problem:
            seqkv.compress(*arguments, **options)
        assert issubclass(kind, seqkv.Error)
        return problem.value

    refused(seqkv.ShapeMismatch, tokens[:-1], layers, "raw")
    refused(seqkv.ShapeMismatch, tokens, [layers[0], random_layers(1, tokens=299)[0]], "raw")
    assert "layer 1" in str(refused(seqkv.ShapeMismatch, tokens, [layers[0], tuple(x[0] for x in layers[1])], "raw"))
    refused(seqkv.ShapeMismatch, tokens, [layers[0], random_layers(1, np.float32)[1]], "raw")
    refused(seqkv.ShapeMismatch, tokens, [layers[0][:1]], "raw")
    refused(seqkv.Unsupported, tokens, random_layers(1, np.float64), "raw")
    refused(seqkv.Unsupported, tokens, [tuple(x.view(np.uint16) for x in pair) for pair in layers], "raw")
    refused(seqkv.InvalidArgument, tokens, [], "raw")
    refused(seqkv.InvalidCodecSpec, tokens, layers, "none+wavelet")
    refused(seqkv.TokenOutOfRange, tokens.astype(np.int64) - 10**6, layers, "raw")
    refused(seqkv.InvalidArgument, tokens.astype(np.float32), layers, "raw")
    refused(seqkv.InvalidArgument, tokens, layers, "replay")
    refused(seqkv.InvalidArgument, tokens, layers, "linear+ecsq:kl=0.01")
    refused(seqkv.ShapeMismatch, tokens, layers, "linear+ecsq:kl=0.01", profile=PROFILE)
    refused(seqkv.InvalidArgument, tokens, layers, "raw", model="no digest")
    refused(seqkv.WrongProfile, tokens, layers, "linear+ecsq:kl=0.01", profile=PROFILE, model="00" * 31 + "01")
    refused(seqkv.FileNotFound, tokens, layers, "linear+ecsq:kl=0.01", profile="no such file")


def test_outputs_stay_as_they_are_when_a_frame_is_damaged(tokens, layers):
    data = bytearray(seqkv.compress(tokens, layers, "none+lossless"))
    data[-5] ^= 1
    out = [tuple(np.full((HEADS, TOKENS, WIDTH), 7, ml_dtypes.bfloat16) for _ in range(2)) for _ in layers]
    with pytest.raises(seqkv.ChecksumMismatch) as problem:
        seqkv.decompress(data, out=out)
    assert problem.value.block == 1 and problem.value.code == 501 and problem.value.name == "checksum_mismatch"
    assert all((part == 7).all() for pair in out for part in pair)
    for size in (0, 7, 200, len(data) - 1):
        with pytest.raises(seqkv.CorruptError):
            seqkv.decompress(bytes(data[:size]))


def test_outputs_that_do_not_fit(tokens, layers):
    data = seqkv.compress(tokens, layers, "raw")
    out = random_layers(5)
    for wrong in (out[:2], [tuple(x[:, :-1] for x in pair) for pair in out], random_layers(5, np.float64)):
        with pytest.raises(seqkv.Error):
            seqkv.decompress(data, out=wrong)
    broadcast = [tuple(np.broadcast_to(x[:, :1], x.shape) for x in pair) for pair in out]
    with pytest.raises(seqkv.InvalidArgument):
        seqkv.decompress(data, out=broadcast)
    with pytest.raises(seqkv.InvalidArgument):
        seqkv.decompress(data, framework="jax")
    assert same(out, random_layers(5))


def test_progress_and_its_exceptions(tokens, layers):
    steps = []
    data = seqkv.compress(tokens, layers, "raw", block_tokens=64, progress=lambda done, all: steps.append((done, all)))
    assert steps[-1] == (TOKENS, TOKENS) and [done for done, _ in steps] == sorted(done for done, _ in steps)
    with pytest.raises(ZeroDivisionError):
        seqkv.decompress(data, progress=lambda done, all: 1 // 0)


def test_ctrl_c_stops_long_work():
    """With KeyboardInterrupt, and nothing written."""
    layers, tokens = random_layers(6, np.float32, 60000), np.zeros(60000, np.uint32)
    threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    start = time.time()
    with pytest.raises(KeyboardInterrupt):
        while time.time() - start < 60:
            seqkv.compress(tokens, layers, "none+lossless")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_threads_go_on(tokens):
    """The interpreter's lock is given away: a thread counts while another codes."""
    layers, ids = random_layers(7, np.float32, 30000), np.zeros(30000, np.uint32)
    results = []
    workers = [threading.Thread(target=lambda: results.append(seqkv.compress(ids, layers, "none+lossless"))) for _ in range(3)]
    for worker in workers:
        worker.start()
    counted = 0
    while any(worker.is_alive() for worker in workers):
        counted += 1
        time.sleep(0.001)
    assert counted > 5 and len(set(results)) == 1


def test_memory_is_not_copied():
    """A cache of 192 MB: coding takes what its blocks take, decoding into arrays at hand no second cache."""
    code = """
import resource, numpy as np, seqkv
layers = [tuple(np.random.default_rng(i).standard_normal((8, 32768, 128), np.float32).astype(np.float16) for _ in range(2)) for i in range(2)]
layers += [layers[0]]
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
tokens = np.zeros(32768, np.uint32)
seqkv.compress(tokens[:512], [tuple(x[:, :512] for x in pair) for pair in layers], "none+turboquant:2")
start = peak()
data = seqkv.compress(tokens, layers, "none+turboquant:2")
coding = peak() - start
seqkv.decompress(data, out=layers[:2] + [tuple(np.empty_like(x) for x in layers[0])])
print(coding, peak() - start - coding)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    coding, decoding = map(int, done.stdout.split())
    cache = 3 * 2 * 8 * 32768 * 128 * 2
    assert coding < 0.4 * cache, "two bits of sixteen, twice while they grow, and blocks"
    assert decoding < 0.5 * cache, "the third layer's new arrays and blocks"
