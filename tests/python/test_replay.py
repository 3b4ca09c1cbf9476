# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Codecs that need the model, as a user of the program meets them: caches of seqkv's own prefill and, where torch and
transformers are there, caches of transformers with the states that entered each layer."""

import json
import lzma
import pathlib
import sys

import pytest
from support import BAD_INPUT, CORRUPT, MODEL, SHARED, SOURCE, USAGE, read_safetensors, refused, run, write_json_lines

sys.path.insert(0, str(SOURCE / "bench" / "replay"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    path = tmp_path_factory.mktemp("cache") / "kv.safetensors"
    run("prefill", "--model", MODEL, "--text", SOURCE / "docs" / "codec.md", "--max-tokens", 600, "--dtype", "bf16",
        "--out", path)
    return path


def tensors(path):
    return read_safetensors(path)[0]


def test_tokens_alone_bring_back_what_prefill_made(cache, tmp_path):
    frames = []
    for threads in [1, 2]:
        frame, back = tmp_path / f"{threads}.sqkv", tmp_path / f"{threads}.safetensors"
        done = run("compress", cache, frame, "--codec", "replay", "--model", MODEL, "--threads", threads, "--json").json
        assert done["not_given_back"] == 0
        assert done["ratio_bf16"] > 2000
        run("decompress", frame, back, "--model", MODEL, "--threads", 3 - threads)
        assert tensors(back) == tensors(cache)
        frames.append(frame.read_bytes())
    assert frames[0] == frames[1]
    assert run("verify", tmp_path / "1.sqkv", "--model", MODEL, "--json").json["ok"]
    assert [row["tokens"] for row in run("inspect", tmp_path / "1.sqkv", "--json").json["rows"]] == [256, 256, 88]


def test_first_layers_are_run_again(cache, tmp_path):
    """Fewer bits than without the model, from the command line as from a store."""
    profile = MODEL / "profile.safetensors"
    frame, back = tmp_path / "kv.sqkv", tmp_path / "back.safetensors"
    bits = {}
    for codec in ["linear+ecsq:step=1", "replay:2+ecsq:step=1", "replay:5+ecsq:step=1"]:
        arguments = ["--profile", profile] + (["--model", MODEL] if "replay" in codec else [])
        bits[codec] = run("compress", cache, frame, "--codec", codec, *arguments, "--json").json["bits_per_component"]
        run("decompress", frame, back, *arguments)
    assert bits["replay:5+ecsq:step=1"] < bits["replay:2+ecsq:step=1"] < bits["linear+ecsq:step=1"]
    theirs, ours = tensors(cache), tensors(back)
    for layer in range(8):
        for name in [f"layers.{layer}.key", f"layers.{layer}.value"]:
            assert (theirs[name] == ours[name]) == (layer <= 5), name
    manifest = write_json_lines(tmp_path / "sessions.jsonl", [{"session": "a", "text": "The first layers. " * 40}])
    run("batch", manifest, "--store", tmp_path / "store", "--model", MODEL, "--profile", profile, "--codec",
        "replay:4+ecsq:kl=0.01")
    run("restore", "--store", tmp_path / "store", "--session", "a", "--model", MODEL, "--out", back)
    refused(BAD_INPUT, "decompress", frame, back, "--model", MODEL, names=[frame, "profile"])
    refused(USAGE, "compress", cache, frame, "--codec", "replay:7+ecsq:step=1", "--profile", profile, "--model", MODEL,
            names=["replay:7"])


def test_what_cannot_be_replayed_is_refused(cache, tmp_path):
    frame, out = tmp_path / "kv.sqkv", tmp_path / "out.safetensors"
    refused(USAGE, "compress", cache, frame, "--codec", "replay", names=["replay", "needs the model"], beside=tmp_path)
    refused(USAGE, "compress", cache, frame, "--codec", "replay+turboquant:3", "--model", MODEL, names=["replay"])
    refused(USAGE, "compress", cache, frame, "--codec", "replay+lossless:engine=other", "--model", MODEL,
            names=["other"])
    run("compress", cache, frame, "--codec", "replay+lossless:engine=none", "--model", MODEL)
    refused(USAGE, "decompress", frame, out, names=[frame, "needs the model"], beside=tmp_path)
    if (SHARED / "model-mqa").exists():
        refused(BAD_INPUT, "decompress", frame, out, "--model", SHARED / "model-mqa", names=[frame, "model"],
                beside=tmp_path)
    damaged = bytearray(frame.read_bytes())
    damaged[-100] ^= 1
    frame.write_bytes(damaged)
    refused(CORRUPT, "decompress", frame, out, "--model", MODEL, names=[frame, "block"], beside=tmp_path)


def test_sessions_of_a_store(cache, tmp_path):
    """Blocks of a shared prefix are stored once; whoever comes later goes on from them."""
    ids = [int.from_bytes(tensors(cache)["input_ids"].data[4 * i : 4 * i + 4], "little") for i in range(600)]
    manifest = write_json_lines(tmp_path / "sessions.jsonl", [
        {"session": "long", "tokens": ids},
        {"session": "short", "tokens": ids[:300]},
        {"session": "fork", "tokens": ids[:400] + ids[:150]},
        {"session": "engine", "kv": str(cache)},
    ])
    for codec in ["replay", "replay+lossless:engine=none"]:
        store = tmp_path / codec.split(":")[0]
        done = run("batch", manifest, "--store", store, "--model", MODEL, "--codec", codec, "--measure", 16, "--json",
                   "--block-tokens", 128).json
        rows = {row["session"]: row for row in done["rows"]}
        assert rows["long"]["bits_per_component"] < (0.02 if codec == "replay" else 4)
        assert sum(row["new_tokens"] for row in done["rows"]) < 1850
        assert run("verify", "--store", store, "--json").json["ok"]
        for session in rows:
            out = tmp_path / f"{session}.safetensors"
            run("restore", "--store", store, "--session", session, "--out", out, "--model", MODEL)
            own = tmp_path / "own.safetensors"
            run("prefill", "--model", MODEL, "--tokens", out, "--dtype", "bf16", "--out", own)
            assert tensors(out) == tensors(own), (codec, session)
        refused(USAGE, "restore", "--store", store, "--session", "long", "--out", tmp_path / "no", names=["model"])
        later = write_json_lines(tmp_path / "later.jsonl", [{"session": "later", "tokens": ids[:512] + ids[5:50]}])
        run("batch", later, "--store", store, "--model", MODEL, "--codec", codec, "--block-tokens", 128)
        assert run("verify", "--store", store, "--json").json["ok"]
        run("restore", "--store", store, "--session", "later", "--out", tmp_path / "later", "--model", MODEL)


def test_tokens_by_the_model(cache, tmp_path):
    stream, back = tmp_path / "tokens.sqrt", tmp_path / "tokens.npy"
    done = run("encode-tokens", "--model", MODEL, "--tokens", cache, "--out", stream, "--json").json
    raw = bytes(tensors(cache)["input_ids"].data)
    shorts = b"".join(raw[i : i + 2] for i in range(0, len(raw), 4))
    assert 1.8 * done["bytes"] < len(lzma.compress(shorts, preset=9)), done
    again = run("decode-tokens", "--model", MODEL, stream, "--out", back, "--json", "--threads", 1).json
    assert again["tokens"] == 600
    assert back.read_bytes()[-len(raw) :] == raw
    assert "--model" in run("encode-tokens", "--tokens", cache, "--out", stream, expect=USAGE).err


def dump(model, folder, **options):
    import dump_transformers

    arguments = [str(value) for pair in options.items() for value in (f"--{pair[0]}", pair[1])]
    text = SHARED / "text" / "eval.jsonl.xz"
    if not text.exists():
        text = folder.with_suffix(".jsonl.xz")
        pages = [{"text": page.read_text()} for page in sorted((SOURCE / "docs").glob("*.md"))]
        text.write_bytes(lzma.compress("".join(json.dumps(page) + "\n" for page in pages).encode()))
    dump_transformers.main([str(model), str(folder), "--text", str(text), "--docs", "1", *arguments])
    return folder / "000.safetensors"


@pytest.mark.parametrize("model", [MODEL, SHARED / "model-mqa"], ids=["docs-7m", "model-mqa"])
def test_caches_of_transformers(model, tmp_path):
    pytest.importorskip("transformers")
    pytest.importorskip("safetensors.torch")
    if not pathlib.Path(model).exists():
        pytest.skip(f"{model} is not there")

    def bits(kv, codec):
        frame, back = tmp_path / "kv.sqkv", tmp_path / "back.safetensors"
        done = run("compress", kv, frame, "--codec", codec, "--model", model, "--json").json
        run("decompress", frame, back, "--model", model)
        theirs = tensors(kv)
        assert tensors(back) == {name: theirs[name] for name in theirs if "hidden" not in name}, codec
        return done["bits_per_component"]

    def without_states(kv):
        from safetensors.torch import load_file, save_file

        path = tmp_path / "without.safetensors"
        save_file({name: tensor for name, tensor in load_file(kv).items() if "hidden" not in name}, path)
        return path

    eager = dump(model, tmp_path / "eager", tokens=600)
    assert bits(eager, "replay+lossless:engine=eager") < 0.12
    bare = without_states(eager)
    assert bits(bare, "replay+lossless:engine=eager") < 2.5
    assert bits(bare, "replay+lossless:engine=none") < 3.7
    assert bits(dump(model, tmp_path / "sdpa", tokens=300, attention="sdpa"), "replay+lossless:engine=sdpa") < 3
    assert bits(dump(model, tmp_path / "f16", tokens=300, dtype="float16"), "replay+lossless") < 1

    # A store, and transformers' states on the way into it.
    manifest = write_json_lines(tmp_path / "sessions.jsonl", [{"session": "eager", "kv": str(eager)}])
    store = tmp_path / "store"
    done = run("batch", manifest, "--store", store, "--model", model, "--codec", "replay+lossless", "--json").json
    assert done["rows"][0]["bits_per_component"] < 0.14
    run("restore", "--store", store, "--session", "eager", "--out", tmp_path / "out.safetensors", "--model", model)
    theirs = tensors(eager)
    assert tensors(tmp_path / "out.safetensors") == {n: theirs[n] for n in theirs if "hidden" not in n}
