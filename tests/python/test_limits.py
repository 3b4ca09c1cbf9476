# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors

"""Large things: sessions longer than memory, tensors of 2^31 elements, thousands of sessions in one batch. Scaled down in
daily use; SEQKV_TEST_THOROUGH=1 takes the sizes that are promised (26 GB of disk in the folder of temporary files)."""

import json
import os
import random
import struct

from inputs import batch_command
from support import NOT_FOUND, Tensor, most_memory, refused, run, safetensors_bytes, write_json, write_json_lines

THOROUGH = os.environ.get("SEQKV_TEST_THOROUGH") == "1"
TOKENS = 1 << 20 if THOROUGH else 1 << 13
SESSIONS = 4096 if THOROUGH else 256
HEADS, DIM = 16, 128
MOST_MEMORY = 512 << 20


def model_of_zeros(folder):
    """One layer, 16 heads of 128: nothing that needs to be run."""
    hidden, vocabulary, width = 8, 16, HEADS * DIM
    config = {"hidden_size": hidden, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": HEADS}
    config |= {"num_key_value_heads": HEADS, "head_dim": DIM, "vocab_size": vocabulary, "rms_norm_eps": 1e-5}
    config |= {"model_type": "llama", "max_position_embeddings": 1 << 21, "tie_word_embeddings": True}
    layer = {"input_layernorm": [hidden], "post_attention_layernorm": [hidden]}
    layer |= {f"self_attn.{name}_proj": [width, hidden] for name in "qkv"} | {"self_attn.o_proj": [hidden, width]}
    layer |= {f"mlp.{name}_proj": [8, hidden] for name in ("gate", "up")} | {"mlp.down_proj": [hidden, 8]}
    shapes = {f"model.layers.0.{name}.weight": shape for name, shape in layer.items()}
    shapes |= {"model.embed_tokens.weight": [vocabulary, hidden], "model.norm.weight": [hidden]}
    folder.mkdir()
    write_json(folder / "config.json", config)
    tensors = {}
    for name, shape in shapes.items():
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        tensors[name] = Tensor("F16", shape, bytes(2 * count))
    (folder / "model.safetensors").write_bytes(safetensors_bytes(tensors))
    return folder


def long_session(path):
    """A KV file whose tensors have HEADS * TOKENS * DIM elements: numbers like a cache's, no two parts of a head alike."""
    size = 2 * HEADS * TOKENS * DIM
    header = {
        "input_ids": {"dtype": "I32", "shape": [TOKENS], "data_offsets": [0, 4 * TOKENS]},
        "layers.0.key": {"dtype": "BF16", "shape": [HEADS, TOKENS, DIM], "data_offsets": [4 * TOKENS, 4 * TOKENS + size]},
        "layers.0.value": {
            "dtype": "BF16",
            "shape": [HEADS, TOKENS, DIM],
            "data_offsets": [4 * TOKENS + size, 4 * TOKENS + 2 * size],
        },
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    draw = random.Random(1)
    numbers = [draw.gauss(0, 1) for _ in range(1 << 19)]
    pool = b"".join(struct.pack("<f", number)[2:] for number in numbers)  # the upper half: bfloat16
    chunk = 2 * DIM * 1024
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for first in range(0, TOKENS, 4096):
            file.write(struct.pack("<4096i", *(draw.randrange(16) for _ in range(4096))))
        for _ in range(2 * size // chunk):
            first = 2 * draw.randrange((len(pool) - chunk) // 2)
            file.write(pool[first : first + chunk])
    return path


def same_files(a, b):
    """The tensors, without reading whole files into memory."""
    done = run("compare", a, b, "--tolerance", 0, "--json", timeout=1200)
    return done.json["identical"] and done.json["tokens"] == TOKENS


def test_a_session_larger_than_the_memory_it_takes(tmp_path):
    model = model_of_zeros(tmp_path / "model")
    kv = long_session(tmp_path / "kv.safetensors")
    write_json_lines(tmp_path / "manifest.jsonl", [{"session": "long", "kv": str(kv)}])
    store = ["--store", tmp_path / "store"]
    batch = batch_command(tmp_path / "manifest.jsonl", tmp_path / "store", model, "none+lossless")
    most = [most_memory(*batch, "--dtype", "bf16")]
    assert [row["tokens"] for row in run("ls", *store, "--json").json["rows"]] == [TOKENS]
    stored = sum(path.stat().st_size for path in (tmp_path / "store" / "packs").iterdir())
    assert stored < 0.85 * kv.stat().st_size
    most.append(most_memory("verify", *store))
    out = tmp_path / "restored.safetensors"
    most.append(most_memory("restore", *store, "--session", "long", "--out", out, "--memory", "256M"))
    assert same_files(kv, out)
    out.unlink()
    # A part at the end of a tensor: behind 2^31 bytes and more where all is run.
    part = ["--first-token", TOKENS - 40, "--tokens", 32, "--first-head", HEADS - 1, "--heads", 1]
    run("restore", *store, "--session", "long", "--out", out, *part)
    with open(kv, "rb") as file:
        (header,) = struct.unpack("<Q", file.read(8))
        file.seek(8 + header + 4 * TOKENS + 2 * ((HEADS - 1) * TOKENS + TOKENS - 40) * DIM)
        assert file.read(2 * 32 * DIM) in out.read_bytes()
    print(f"{kv.stat().st_size} bytes, {stored} stored, {most} bytes of memory by batch, verify, restore")
    assert max(most) < MOST_MEMORY, most


def test_a_frame_larger_than_the_memory_it_takes(tmp_path):
    kv = long_session(tmp_path / "kv.safetensors")
    frame, out = tmp_path / "frame.sqkv", tmp_path / "out.safetensors"
    most = []
    for codec in ("none+turboquant:4", "none+lossless"):
        most.append(most_memory("compress", kv, frame, "--codec", codec, "--memory", "256M"))
        most.append(most_memory("decompress", frame, out, "--memory", "256M"))
        most.append(most_memory("inspect", frame))
        assert run("inspect", frame, "--json").json["tokens"] == TOKENS
    assert same_files(kv, out)
    assert max(most) < MOST_MEMORY, most


def test_thousands_of_sessions_in_one_batch(small, tmp_path):
    draw = random.Random(2)
    preambles = [[draw.randrange(300) for _ in range(24)] for _ in range(64)]
    sessions = [
        {"session": f"s{i:04}", "tokens": preambles[i % 64] + [draw.randrange(300) for _ in range(1 + i % 23)]}
        for i in range(SESSIONS)
    ]
    write_json_lines(tmp_path / "manifest.jsonl", sessions)
    store = ["--store", tmp_path / "store"]
    batch = batch_command(tmp_path / "manifest.jsonl", tmp_path / "store", small, "none+lossless")
    done = run(*batch, "--block-tokens", 16, "--json").json
    assert done["sessions"] == SESSIONS, done
    rows = run("ls", *store, "--json").json["rows"]
    assert {row["session"]: row["tokens"] for row in rows} == {s["session"]: len(s["tokens"]) for s in sessions}
    run("verify", *store)
    again = run(*batch, "--block-tokens", 16, "--restart", "--json").json
    assert all(row["stored_before"] for row in again["rows"]), again
    refused(NOT_FOUND, "restore", *store, "--session", "s9999", "--out", tmp_path / "none", names=["s9999"])
