# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""How the frames of this folder were made, with the Python module. They never change again: a release that cannot read
them, or reads something else, has broken the format. New kinds of frames are added under new names.

    python tests/data/frames/make.py FOLDER
"""

import hashlib
import json
import pathlib
import struct
import sys

import ml_dtypes
import numpy as np

import seqkv

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "python"))
import frame_decoder  # noqa: E402

MODEL = HERE.parent / "families" / "qwen3"
PROFILE = HERE / "profile.safetensors"  # calibrated on random tokens of that model, contexts of 80
DTYPES = {"bf16": ml_dtypes.bfloat16, "f16": np.float16, "f32": np.float32}
SHAPES = {"2x2x16": (2, 2, 16, 40), "1x1x128": (1, 1, 128, 17), "3x5x80": (3, 5, 80, 16), "1x2x5": (1, 2, 5, 33)}
ROPES = {"none": seqkv.Rope(), "plain": seqkv.Rope(1e4, 16), "linear": seqkv.Rope(1e4, 16, scaling="linear", factor=4.0),
         "llama3": seqkv.Rope(5e5, 16, scaling="llama3", factor=8.0)}


def cache(shape, dtype, seed):
    """Channels of different size, tokens of zeros, tiny numbers."""
    layers, heads, dim, tokens = shape
    numbers = np.random.default_rng(seed)
    values = numbers.standard_normal((layers, 2, heads, tokens, dim)) * np.exp(numbers.standard_normal((layers, 2, heads, 1, dim)))
    values[0, 1, :, :3] = 0
    values[-1, 1] *= 1e-3
    values = values.astype(dtype)
    return numbers.integers(0, 300, tokens), [(layer[0], layer[1]) for layer in values]


def digest(layers):
    """Of the values as KvCache has them: layer, key and value, head, token, component."""
    sum = hashlib.sha256()
    for pair in layers:
        for part in pair:
            sum.update(np.ascontiguousarray(part).view(np.uint8).tobytes())
    return sum.hexdigest()


def good(folder):
    rows = []

    def add(name, data, profile=None, model=None):
        (folder / f"{name}.sqkv").write_bytes(data)
        tokens, layers = seqkv.decompress(data, profile=profile, model=model)
        rows.append({"frame": name, "sha256": hashlib.sha256(data).hexdigest(), "values": digest(layers),
                     "tokens": hashlib.sha256(tokens.astype("<u4").tobytes()).hexdigest(),
                     "profile": profile is not None, "model": model is not None})

    def plain(codec, shape, dtype, rope="none"):
        ids, layers = cache(SHAPES[shape], DTYPES[dtype], len(rows))
        name = "-".join([codec.replace("none+", "").replace(":", "").replace(",keys=", "-"), shape, dtype]
                        + ([rope] if rope != "none" else []))
        add(name, seqkv.compress(ids, layers, codec, rope=ROPES[rope], block_tokens=16))

    for dtype in DTYPES:
        for codec in ["raw", "none+lossless", "none+turboquant:3"]:
            plain(codec, "2x2x16", dtype)
    for shape in ["1x1x128", "3x5x80", "1x2x5"]:
        for codec in ["none+lossless", "none+turboquant:4"]:
            plain(codec, shape, "bf16")
    for bits in (1, 2, 5):
        plain(f"none+turboquant:{bits}", "2x2x16", "bf16")
    for rope in ["plain", "linear", "llama3"]:
        plain("none+turboquant:2,keys=unrotated", "2x2x16", "bf16", rope)
    model = seqkv.Model.load(MODEL)
    ids = np.random.default_rng(99).integers(0, 300, 40)
    for dtype, name in [("bfloat16", "bf16"), ("float16", "f16"), ("float32", "f32")]:
        layers = seqkv.prefill(model, ids, dtype=dtype)
        for codec in ["linear+ecsq:step=1", "linear+lossless", "linear+turboquant:3"]:
            add(f"{codec.replace(':', '').replace('=', '')}-{name}",
                seqkv.compress(ids, layers, codec, profile=PROFILE, block_tokens=16), PROFILE)
    layers = seqkv.prefill(model, ids)
    for codec in ["replay", "replay+lossless:engine=none"]:  # replay:1 leaves nothing of two layers
        add(codec.replace(":", "").replace("=", ""), seqkv.compress(ids, layers, codec, model=model, block_tokens=16),
            model=model)
    return rows


def refused(folder):
    """Names begin with the code of the error."""
    ids, layers = cache(SHAPES["2x2x16"], DTYPES["bf16"], 7)
    plain = seqkv.compress(ids, layers, "raw", block_tokens=16)
    predicted = seqkv.compress(np.arange(40), seqkv.prefill(seqkv.Model.load(MODEL), np.arange(40)),
                               "linear+ecsq:step=1", profile=PROFILE, block_tokens=16)
    xxh3 = frame_decoder.find_xxh3()

    def index_of(frame):
        return (192 + struct.unpack_from("<H", frame, 46)[0] + 7) // 8 * 8

    def sign(frame):
        end = index_of(frame) + 16 * struct.unpack_from("<I", frame, 28)[0]
        frame[end : end + 8] = struct.pack("<Q", xxh3(bytes(frame[:end])))

    def put(name, at, form, value, source=plain, signed=True):
        frame = bytearray(source)
        struct.pack_into(form, frame, at, value)
        if signed:
            sign(frame)
        (folder / f"refused-{name}.sqkv").write_bytes(frame)

    first = struct.unpack_from("<Q", plain, index_of(plain))[0]
    put("500-magic", 0, "<B", 0x88)
    put("500-flags", 10, "<H", 1)
    put("500-reserved", 52, "<I", 1)
    put("500-padding", 160, "<B", 1)
    put("500-dtype", 44, "<B", 4)
    put("500-rope-scaling", 45, "<B", 3)
    put("500-tokens", 16, "<Q", 2**62)
    put("500-no-tokens", 16, "<Q", 0)
    put("500-blocks", 28, "<I", 2, signed=False)
    put("500-header-size", 12, "<I", 1)
    put("500-theta", 64, "<d", float("nan"))
    put("500-layers", 32, "<I", 10**6)
    put("500-heads", 36, "<I", 0)
    put("500-offset", index_of(plain), "<Q", first + 64)
    put("301-codec-with-zero", 192, "<3s", b"r\0w")
    put("301-codec-of-later", 192, "<3s", b"new")
    put("501-header", 64, "<d", 12345.0, signed=False)
    put("501-block", len(plain) - 9, "<B", plain[-9] ^ 1, signed=False)
    put("503-version-2", 8, "<H", 2)
    put("503-version-0", 8, "<H", 0)
    put("313-profile", 130, "<B", predicted[130] ^ 1, predicted)
    for name, data in [("500-empty", b""), ("500-short-magic", plain[:7]), ("502-header", plain[:150]),
                       ("502-index", plain[: index_of(plain) + 20]), ("502-block", plain[:-1]),
                       ("500-trailing", plain + b"\0"), ("500-text", b"{}\n" * 100),
                       ("500-shuffled", bytes(plain[:first]) + plain[first:][::-1])]:
        (folder / f"refused-{name}.sqkv").write_bytes(data)


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    rows = good(folder)
    refused(folder)
    (folder / "golden.json").write_text(json.dumps(rows, indent=0) + "\n")
    print(len(rows), "frames,", len(list(folder.glob("refused-*"))), "refused")


if __name__ == "__main__":
    main()
