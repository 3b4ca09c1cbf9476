# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""What a user of the program meets: help, results, an exit code and one clear line for what goes wrong.

Needs nothing but the standard library (and pytest).
"""

import contextlib
import json
import lzma
import os
import pathlib
import random
import resource
import shutil
import signal
import sqlite3
import stat
import struct
import subprocess
import sys
import time

import pytest
from support import BAD_INPUT, CLI, CORRUPT, ENVIRONMENT, INTERRUPTED, IO, NOT_FOUND, SOURCE, USAGE
from support import Tensor, raw_safetensors, read_safetensors, refused, run, safetensors_bytes
from support import tokens_tensor, unchanged, write_json, write_json_lines

VOCABULARY = 300
COMMANDS = {
    "info": "",
    "tokenize": "--model --text --tokens --out --decode --template",
    "prefill": "--model --text --tokens --index --max-tokens --out --dtype --logits --chunk",
    "compare": "reference other --tolerance",
    "compress": "in out --codec --model --block-tokens --memory",
    "decompress": "in out --dtype --memory",
    "evaluate": "--model --text --codec --context --continue --docs --dtype",
    "calibrate": "--model --text --out --effort --docs --context --continue --work --dtype",
    "batch": "manifest --store --key-file --salt-file --protection --model --codec --dtype --block-tokens --prefix "
    "--measure --restart",
    "restore": "--store --key-file --salt-file --immutable --session --out --dtype --memory --first-token --tokens "
    "--first-layer --layers --first-head --heads",
    "ls": "--store --key-file --salt-file --immutable",
    "inspect": "frame --store --session --key-file --salt-file --immutable",
    "verify": "frame --store --key-file --salt-file --immutable",
    "rm": "--store --key-file --salt-file --session",
    "fork": "--store --key-file --salt-file --session --as --tokens",
    "keep": "--store --key-file --salt-file --session --until --pin --unpin --used",
    "retain": "--store --key-file --salt-file --bytes --sessions --policy --half-life",
    "gc": "--store --key-file --salt-file --dead-part --all",
    "repair": "--store --key-file --salt-file --rebuild-index",
    "trie": "build remove match stats probability distance",
    "encode-tokens": "--trie --tokens --out --block --vocabulary --static",
    "decode-tokens": "--trie in --out",
}


# ---- what tests work on -----------------------------------------------------------------------------------


@pytest.fixture
def box(tmp_path):
    """The folder in which a test lets the program write, so that what it leaves behind is seen."""
    folder = tmp_path / "box"
    folder.mkdir()
    return folder


def random_ids(seed, count):
    source = random.Random(seed)
    return [source.randrange(VOCABULARY) for _ in range(count)]


@pytest.fixture
def tokens(tmp_path):
    return write_json(tmp_path / "tokens.json", random_ids(1, 50))


def random_cache(seed, dtype="F16", layers=2, heads=3, count=70, dim=10):
    """A KV file of random bits: NaN, infinities and subnormal numbers among them."""
    source = random.Random(seed)
    size = heads * count * dim * {"F32": 4}.get(dtype, 2)
    tensors = {
        f"layers.{layer}.{kind}": Tensor(dtype, (heads, count, dim), source.randbytes(size))
        for layer in range(layers)
        for kind in ("key", "value")
    }
    return {**tensors, "input_ids": tokens_tensor([source.randrange(1 << 20) for _ in range(count)])}


@pytest.fixture
def cache(tmp_path):
    path = tmp_path / "kv.safetensors"
    path.write_bytes(safetensors_bytes(random_cache(1)))
    return path


@pytest.fixture
def frame(cache, tmp_path):
    """A frame of five blocks."""
    run("compress", cache, tmp_path / "kv.sqkv", "--codec", "none+lossless", "--block-tokens", 16)
    return tmp_path / "kv.sqkv"


def manifest_of(path, sessions):
    return write_json_lines(path, [{"session": name, "tokens": ids} for name, ids in sessions.items()])


def some_sessions():
    """Sessions of which some share their first 40 tokens, or all of them."""
    common = random_ids(2, 40)
    sessions = {f"session-{i}": common + random_ids(10 + i, 20) for i in range(3)}
    return {**sessions, "prefix": common, "alone": random_ids(3, 33)}


@pytest.fixture
def manifest(tmp_path):
    return manifest_of(tmp_path / "sessions.jsonl", some_sessions())


def batch(manifest, store, model, *options, codec="none+lossless", **run_options):
    return run(
        "batch",
        manifest,
        "--store",
        store,
        "--model",
        model,
        "--codec",
        codec,
        "--block-tokens",
        16,
        "--json",
        *options,
        **run_options,
    )


@pytest.fixture
def store(manifest, small, tmp_path):
    batch(manifest, tmp_path / "store", small)
    return tmp_path / "store"


def restore(store, session, out, **options):
    return run("restore", "--store", store, "--session", session, "--out", out, **options)


def restored_bytes(store, folder, sessions):
    """{session: its KV file}, or the whole run where it cannot be restored."""
    found = {}
    for session in sessions:
        done = restore(store, session, folder / "restored.safetensors", expect=None)
        found[session] = (folder / "restored.safetensors").read_bytes() if done.code == 0 else done
    return found


def flip(path, at, bit=0):
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(data)


# ---- help and usage ---------------------------------------------------------------------------------------


def test_help():
    done = run("--help")
    assert done.err == "" and all(f"\n  {command} " in done.out for command in COMMANDS), done
    assert run("--version").out.strip()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_command(command):
    done = run(command, "--help")
    assert done.err == ""
    words = done.out.split()
    missing = [name for name in COMMANDS[command].split() if name not in words]
    assert not missing, f"{missing} not in\n{done}"
    assert "Example" in done.out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["frobnicate"],
        ["--frobnicate", "info"],
        ["info", "--frobnicate"],
        ["info", "more"],
        ["--threads", "0", "info"],
        ["--threads", "many", "info"],
        ["ls"],
        ["ls", "--store"],
        ["verify"],
        ["inspect"],
        ["restore", "--store", "s"],
        ["verify", "a.sqkv", "--store", "s"],
        ["inspect", "a.sqkv", "--session", "x"],
        ["compress", "a"],
        ["compress", "a", "b"],
        ["compress", "a", "b", "--codec", "raw", "--block-tokens", "15"],
        ["compress", "a", "b", "--codec", "raw", "--block-tokens", "4097"],
        ["decompress", "a", "b", "--dtype", "f64"],
        ["decompress", "a", "b", "--memory", "0"],
        ["decompress", "a", "b", "--memory", "-1"],
        ["decompress", "a", "b", "--memory", "much"],
        ["decompress", "a", "b", "--memory", "99999999T"],
        ["restore", "--store", "s", "--session", "x", "--out", "o", "--memory", "1X"],
        ["prefill", "--model", "m", "--out", "o"],
        ["prefill", "--model", "m", "--out", "o", "--text", "t", "--tokens", "t"],
        ["prefill", "--model", "m", "--tokens", "t", "--out", "o", "--chunk", "0"],
        ["prefill", "--model", "m", "--tokens", "t", "--out", "o", "--max-tokens", "-1"],
        ["prefill", "--model", "m", "--tokens", "t", "--out", "o", "--logits", "x"],
        ["batch", "m.jsonl", "--store", "s", "--model", "m"],
        ["batch", "m.jsonl", "--store", "s", "--model", "m", "--codec", "raw", "--prefix", "guess"],
        ["evaluate", "--model", "m", "--text", "t", "--context", "1"],
    ],
    ids=" ".join,
)
def test_usage(arguments, box):
    with unchanged(box):
        done = run(*arguments, expect=USAGE, cwd=box)
    assert done.out == "" and done.err, done


@pytest.mark.parametrize(
    "codec",
    [
        "",
        "frob",
        "none",
        "none+",
        "+raw",
        "lossless+none",
        "none+lossless+raw",
        "none+turboquant",
        "none+turboquant:0",
        "none+turboquant:6",
        "none+turboquant:4,",
        "none+turboquant:4,keys=rotated",
        "none+turboquant:4x",
        "raw ",
        "RAW",
        "none+raw:1",
        "x" * 10_000,
    ],
)
def test_unknown_codec(codec, cache, manifest, small, box):
    names = [f"'{codec[:60]}", "none+lossless", "invalid_codec_spec"]
    refused(USAGE, "compress", cache, box / "o.sqkv", "--codec", codec, names=names, beside=box)
    refused(
        USAGE,
        "batch",
        manifest,
        "--store",
        box / "store",
        "--model",
        small,
        "--codec",
        codec,
        names=names,
        beside=box,
    )


def test_usage_that_needs_the_input(tokens, small, model, box):
    prefill = ["prefill", "--model", small, "--tokens", tokens, "--out", box / "kv.safetensors"]
    refused(USAGE, *prefill, "--logits", 51, names=["--logits 51", "50"], beside=box)
    refused(USAGE, *prefill, "--index", 1, names=["--index 1", tokens], beside=box)
    refused(USAGE, "tokenize", "--model", model, "--out", box / "t.npy", names=["--text"], beside=box)
    refused(
        USAGE,
        "tokenize",
        "--model",
        model,
        "--decode",
        "--out",
        box / "t.jsonl",
        names=["--tokens"],
        beside=box,
    )


# ---- results ----------------------------------------------------------------------------------------------


def test_json_is_one_object(store, small, tokens, frame, cache, tmp_path):
    """Every command; tables are arrays of objects under `rows`."""
    out = tmp_path / "out"
    assert run("info", "--json").json["frame_version"] == 1
    done = run("prefill", "--model", small, "--tokens", tokens, "--out", out, "--json").json
    assert done["tokens"] == 50 and done["out"] == str(out) and done["dtype"] == "f32"
    done = run("compress", cache, out, "--codec", "raw", "--json").json
    assert done["codec"] == "raw" and done["tokens"] == 70 and done["bytes"] == out.stat().st_size
    assert done["bits_per_component"] == pytest.approx(8 * out.stat().st_size / (70 * 2 * 2 * 3 * 10))
    assert done["ratio_bf16"] == pytest.approx(16 / done["bits_per_component"])
    done = run("decompress", frame, out, "--json").json
    assert (done["codec"], done["tokens"], done["dtype"]) == ("none+lossless", 70, "f16")
    assert restore(store, "alone", out).out != ""
    done = run("inspect", frame, "--json").json
    assert [row["tokens"] for row in done["rows"]] == [16, 16, 16, 16, 6] and done["codec"] == "none+lossless"
    assert done["shape"]["layers"] == 2 and done["bytes"] == frame.stat().st_size
    done = run("ls", "--store", store, "--json").json
    sessions = some_sessions()
    assert {row["session"]: row["tokens"] for row in done["rows"]} == {
        name: len(ids) for name, ids in sessions.items()
    }
    assert all(0 <= row["own_bytes"] <= row["bytes"] for row in done["rows"])
    assert done["sessions"] == len(sessions) and done["session_tokens"] == sum(map(len, sessions.values()))
    assert done["stored_tokens"] < done["session_tokens"]
    assert done["bytes"] == sum(
        path.stat().st_size for path in store.rglob("*") if path.suffix in (".db", ".pack")
    )
    done = run("inspect", "--store", store, "--session", "alone", "--json").json
    assert [row["tokens"] for row in done["rows"]] == [16, 16, 1]
    assert run("inspect", "--store", store, "--json").json["block_tokens"] == 16
    assert run("verify", frame, "--json").json["ok"] is True
    done = run("verify", "--store", store, "--json").json
    assert done["ok"] is True and done["problems"] == [] and done["broken_sessions"] == []


def test_batch_report(manifest, small, tmp_path):
    sessions = some_sessions()
    first = batch(manifest, tmp_path / "store", small).json
    assert [row["session"] for row in first["rows"]] == list(sessions)
    shared = {row["session"]: row["shared_tokens"] for row in first["rows"]}
    # Whoever of the four that begin alike came first shared nothing, the others two blocks.
    assert (
        sorted(shared[name] for name in sessions if name != "alone") == [0, 32, 32, 32]
        and shared["alone"] == 0
    )
    assert all(
        row["tokens"] == len(sessions[row["session"]]) and not row["stored_before"] for row in first["rows"]
    )
    assert first["new_tokens"] < first["tokens"] == sum(map(len, sessions.values()))
    # The same again: nothing to do; with --restart not even looked at.
    again = batch(manifest, tmp_path / "store", small).json
    assert (
        all(row["stored_before"] and row["new_bytes"] == 0 for row in again["rows"])
        and again["new_tokens"] == 0
    )
    assert batch(manifest, tmp_path / "store", small, "--restart").json["rows"] == []


def test_evaluate_report(model, tmp_path):
    texts = [path.read_text() for path in sorted(SOURCE.glob("src/*/*.cpp"))[:3]]
    documents = write_json_lines(tmp_path / "texts.jsonl", [{"text": text} for text in texts])
    packed = tmp_path / "texts.jsonl.xz"
    packed.write_bytes(lzma.compress(documents.read_bytes()))
    options = [
        "--codec",
        "none+lossless",
        "--codec",
        "none+turboquant:4",
        "--context",
        100,
        "--continue",
        20,
        "--json",
    ]
    report = run("evaluate", "--model", model, "--text", packed, "--docs", 2, *options).json
    assert report["documents"] == 2
    rows = {row["codec"]: row for row in report["rows"]}
    assert {"raw", "none+lossless", "none+turboquant:2", "none+turboquant:4"} <= set(rows)
    fields = "bits_per_component bits_per_token ratio_bf16 kl_mean kl_p99 top1 delta_nll attn_out_err"
    fields += " surprisal_bits_per_token encode_GBps decode_GBps profile_bytes"
    for row in rows.values():
        assert set(fields.split()) <= set(row)
    assert rows["none+lossless"]["kl_mean"] == rows["raw"]["kl_mean"] < rows["none+turboquant:4"]["kl_mean"]
    assert rows["none+turboquant:4"]["kl_mean"] < rows["none+turboquant:2"]["kl_mean"]
    assert rows["none+lossless"]["bits_per_component"] < 16 < rows["raw"]["bits_per_component"] < 17


def test_advice(model, tmp_path):
    """Slow disks want few bytes, fast ones little work; what costs more KL than allowed is never named."""
    texts = [path.read_text() for path in sorted(SOURCE.glob("src/*/*.cpp"))[:2]]
    documents = write_json_lines(tmp_path / "texts.jsonl", [{"text": text} for text in texts])
    common = ["--model", model, "--text", documents, "--context", 64, "--continue", 16, "--tokens", 4096, "--json"]
    coded = ["--codec", "raw", "--codec", "none+turboquant:2", "--codec", "replay"]
    done = run("advise", *common, *coded, "--bandwidth", "1G", "--compute", "1e14").json
    rows = {row["codec"]: row for row in done["rows"]}
    assert set(rows) == {"raw", "none+turboquant:2", "replay", "prefill"}
    seconds = [row["restore_seconds"] for row in done["rows"]]
    assert seconds == sorted(seconds)
    assert rows["prefill"]["bits_per_token"] == 32
    assert rows["raw"]["read_seconds"] == pytest.approx(4096 * rows["raw"]["bits_per_token"] / 8 / 1e9)
    assert rows["replay"]["compute_seconds"] == pytest.approx(rows["prefill"]["compute_seconds"])
    assert not rows["none+turboquant:2"]["within_kl"] and rows["raw"]["within_kl"]
    allowed = {name for name, row in rows.items() if row["within_kl"]}
    assert done["codec"] in allowed and {span["codec"] for span in done["frontier"]} <= allowed
    ends = [span["to_GBps"] for span in done["frontier"]]
    assert ends[-1] is None and ends[:-1] == [span["from_GBps"] for span in done["frontier"][1:]]
    # No work is faster than reading where nearly nothing can be read; as measured here, of a few of all codecs.
    slow = run("advise", *common, "--bandwidth", "1K").json
    assert slow["codec"] in ("replay", "prefill") and len(slow["rows"]) == 5


def test_text_comes_back_from_tokens(model, tmp_path):
    texts = ["A first document.", "Ein zweites, mit \u00e4 und \u2713."]
    documents = write_json_lines(tmp_path / "texts.jsonl", [{"text": text} for text in texts])
    coded, back = tmp_path / "tokens.jsonl", tmp_path / "back.jsonl"
    run("tokenize", "--model", model, "--text", documents, "--out", coded)
    done = run("tokenize", "--model", model, "--decode", "--tokens", coded, "--out", back, "--json").json
    assert done["documents"] == 2
    assert [json.loads(line)["text"] for line in back.read_text().splitlines()] == texts
    wrong = write_json(tmp_path / "wrong.json", [1, 1 << 30])
    decode = ["tokenize", "--model", model, "--decode", "--tokens", wrong, "--out", tmp_path / "no.jsonl"]
    refused(BAD_INPUT, *decode, names=[wrong])


@pytest.mark.parametrize("quiet", [False, True])
def test_progress_is_drawn_on_terminals(cache, tmp_path, quiet):
    """And taken away at the end."""
    screen, terminal = os.openpty()
    command = [CLI, "compress", cache, tmp_path / "kv.sqkv", "--codec", "none+lossless", "--block-tokens", "16"]
    command += ["--quiet"] if quiet else []
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=terminal, timeout=170)
    os.write(terminal, b"end")
    drawn = b""
    while not drawn.endswith(b"end"):
        drawn += os.read(screen, 1 << 16)
    os.close(terminal)
    os.close(screen)
    assert done.returncode == 0
    if quiet:
        assert drawn == b"end"
    else:
        assert b"#] " in drawn and drawn.endswith(b"\r\x1b[Kend")


def test_talk_goes_to_stderr(small, tokens, tmp_path):
    arguments = [
        "prefill",
        "--model",
        small,
        "--tokens",
        tokens,
        "--out",
        tmp_path / "kv.safetensors",
        "--json",
    ]
    loud, quiet = run(*arguments), run(*arguments, "--quiet")
    assert "model" in loud.err and quiet.err == ""
    assert loud.json.keys() == quiet.json.keys()


def test_standard_output_that_takes_nothing(store):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [CLI, "ls", "--store", store], stdout=full, stderr=subprocess.PIPE, env=ENVIRONMENT
        )
    assert done.returncode == IO and b"standard output" in done.stderr


@pytest.mark.parametrize("options", [["--json"], []], ids=["json", "text"])
def test_standard_output_that_ends_in_the_middle(options, large_cache, tmp_path):
    """More than one buffer of output, so that writes fail before the end."""
    frame = tmp_path / "many.sqkv"
    run("compress", large_cache, frame, "--codec", "raw", "--block-tokens", 16)
    for arguments in (["inspect", frame, *options], ["--help"]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([CLI, *arguments], stdout=full, stderr=subprocess.PIPE, env=ENVIRONMENT)
        assert done.returncode == IO and b"standard output" in done.stderr, done


def test_standard_error_that_takes_nothing(store, frame, small, tokens, tmp_path):
    prefill = ["prefill", "--model", small, "--tokens", tokens, "--out", tmp_path / "kv.safetensors"]
    for code, arguments in ((0, prefill), (NOT_FOUND, ["ls", "--store", tmp_path / "nowhere"])):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([CLI, *arguments], stdout=subprocess.PIPE, stderr=full, env=ENVIRONMENT)
        assert done.returncode == code, done


def edit_sessions(store, assignment, *values):
    with contextlib.closing(sqlite3.connect(store / "store.db")) as database, database:
        database.execute(f"UPDATE sessions SET {assignment}", values)


@pytest.mark.parametrize("created", [-(2**63), -1, 253402300800, 2**60, 2**63 - 1])
def test_time_that_is_no_date(created, store):
    edit_sessions(store, "created = ?", created)
    assert all(row["created"] is None for row in run("ls", "--store", store, "--json").json["rows"])
    assert "alone" in run("ls", "--store", store).out
    edit_sessions(store, "created = ?", 253402300799)
    assert "9999-12-31T23:59:59Z" in run("ls", "--store", store).out


def controls(text):
    return [c for c in text if c != "\n" and (ord(c) < 32 or 127 <= ord(c) < 160)]


def test_control_characters_stay_out_of_the_terminal(store, box):
    name = "gr\u00f6\u00dfe \x1b[31m\nnext\tline\r\x7f\u009b1m"
    lines = run("ls", "--store", store).out.count("\n")
    edit_sessions(store, "name = ? WHERE name = 'alone'", name)
    done = run("ls", "--store", store)
    assert "gr\u00f6\u00dfe ?[31m?next?line???1m" in done.out and not controls(done.out), done
    assert done.out.count("\n") == lines
    assert name in [row["session"] for row in run("ls", "--store", store, "--json").json["rows"]]
    done = refused(NOT_FOUND, "inspect", "--store", store, "--session", "x\x1b[2J\ny", names=["x?[2J?y"])
    assert not controls(done.err)


def test_control_characters_in_a_tensor_name(tmp_path, box):
    path = tmp_path / "kv.safetensors"
    header = {"\u00e9\x1b]0;title\x07\nseqkv: all is well": {"dtype": "F99", "shape": [], "data_offsets": [0, 0]}}
    path.write_bytes(raw_safetensors(header, b""))
    names = ["\u00e9?]0;title??seqkv"]
    done = refused(BAD_INPUT, "compress", path, box / "o", "--codec", "raw", names=names, beside=box)
    assert not controls(done.err), done


# ---- exactness --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["raw", "none+raw", "none+lossless"])
@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
def test_any_bits_come_back(dtype, codec, tmp_path):
    tensors = random_cache(f"{dtype} {codec}", dtype)
    # Numbers as they are in caches, too: only there lossless coding has something to do.
    source = random.Random(4)
    pack = {"BF16": lambda x: struct.pack("<f", x)[2:], "F16": lambda x: struct.pack("<e", x)}
    pack["F32"] = lambda x: struct.pack("<f", x)
    tensors["layers.1.key"] = Tensor(
        dtype, (3, 70, 10), b"".join(pack[dtype](source.gauss(0, 1)) for _ in range(2100))
    )
    for path, metadata in (
        (tmp_path / "a.safetensors", None),
        (tmp_path / "b.safetensors", {"seqkv.model": "5a" * 32}),
    ):
        path.write_bytes(safetensors_bytes(tensors, metadata))
        run("compress", path, tmp_path / "kv.sqkv", "--codec", codec, "--block-tokens", 32)
        run("verify", tmp_path / "kv.sqkv")
        run("decompress", tmp_path / "kv.sqkv", tmp_path / "back.safetensors")
        back, named = read_safetensors(tmp_path / "back.safetensors")
        assert back == tensors
        assert named.get("seqkv.model") == (metadata or {}).get("seqkv.model")
    # No codec makes a cache much larger than it is.
    raw = sum(len(tensor.data) for tensor in tensors.values())
    assert (tmp_path / "kv.sqkv").stat().st_size < raw + 3000


def test_lossless_saves(tmp_path, model):
    (tmp_path / "text.txt").write_text((SOURCE / "LICENSE").read_text())
    run(
        "prefill",
        "--model",
        model,
        "--text",
        tmp_path / "text.txt",
        "--max-tokens",
        300,
        "--dtype",
        "bf16",
        "--out",
        tmp_path / "kv.safetensors",
    )
    done = run(
        "compress", tmp_path / "kv.safetensors", tmp_path / "kv.sqkv", "--codec", "none+lossless", "--json"
    ).json
    assert 8 < done["bits_per_component"] < 13
    run("decompress", tmp_path / "kv.sqkv", tmp_path / "back.safetensors")
    back, metadata = read_safetensors(tmp_path / "back.safetensors")
    assert (back, metadata) == read_safetensors(tmp_path / "kv.safetensors")


def test_cores_and_memory_change_no_byte(large_cache, store, tmp_path):
    out = [tmp_path / "out.sqkv", tmp_path / "out.safetensors", tmp_path / "session.safetensors"]
    seen = set()
    for threads in (1, 2, 3):
        for memory in ("1", "1536K", "64M", "2G"):
            options = ["--threads", threads, "--memory", memory, "--json"]
            command = ["--codec", "none+lossless", "--block-tokens", 64]
            done = run("compress", large_cache, out[0], *command, *options).json
            assert done["peak_bytes"] <= {"1536K": 3 << 19, "64M": 1 << 26, "2G": 1 << 31}.get(memory, 1 << 20)
            done = run("decompress", out[0], out[1], *options).json
            assert done["read_seconds"] + done["code_seconds"] + done["write_seconds"] > 0
            run("restore", "--store", store, "--session", "alone", "--out", out[2], *options)
            seen.add(tuple(path.read_bytes() for path in out))
    assert len(seen) == 1
    assert read_safetensors(out[1])[0] == read_safetensors(large_cache)[0]


def test_info_tells_the_means():
    done = run("info", "--json", environment={"OMP_NUM_THREADS": "3"}).json
    assert done["cores"] == done["threads"] == 3 and done["onetbb"] in (True, False)
    assert run("info", "--json", "--threads", 2).json["threads"] == 2


def test_sessions_come_back(store, small, tmp_path):
    """Out of the store comes what prefill computes, in every session, shared blocks or not."""
    for name, ids in some_sessions().items():
        restore(store, name, tmp_path / "restored.safetensors")
        run(
            "prefill",
            "--model",
            small,
            "--tokens",
            write_json(tmp_path / "t.json", ids),
            "--dtype",
            "bf16",
            "--out",
            tmp_path / "computed.safetensors",
        )
        back, computed = (
            read_safetensors(tmp_path / f"{kind}.safetensors")[0] for kind in ("restored", "computed")
        )
        assert back.keys() == computed.keys() and back["input_ids"] == computed["input_ids"]
        assert back == computed


def test_files_that_are_there_already(store, frame, cache, small, tokens, box):
    """Are replaced by a whole new one, and stay as they are when something goes wrong."""
    out = box / "out"
    for command in (
        ["restore", "--store", store, "--session", "alone", "--out", out],
        ["decompress", frame, out],
        ["compress", cache, out, "--codec", "raw"],
        ["prefill", "--model", small, "--tokens", tokens, "--out", out],
    ):
        out.write_bytes(b"old" * 100_000)
        run(*command)
        assert os.listdir(box) == ["out"] and not out.read_bytes().startswith(b"old")
    out.write_bytes(b"old")
    refused(NOT_FOUND, "restore", "--store", store, "--session", "none", "--out", out, beside=box)
    flip(frame, frame.stat().st_size - 1)
    refused(CORRUPT, "decompress", frame, out, beside=box)
    refused(NOT_FOUND, "compress", box / "none", out, "--codec", "raw", beside=box)


# ---- bad input: safetensors -------------------------------------------------------------------------------


def edited(tensors, change):
    """The entries of a header and the buffer, with a change made to the entries."""
    header, end = {}, 0
    for name, tensor in tensors.items():
        begin, end = end, end + len(tensor.data)
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [begin, end]}
    change(header)
    return header, b"".join(tensor.data for tensor in tensors.values())


def lie(name, **fields):
    return lambda header: header[name].update(fields)


BROKEN_FILES = {
    "empty": (lambda t: b"", ["8 bytes"]),
    "no header": (lambda t: b"\0" * 7, ["8 bytes"]),
    "truncated": (lambda t: safetensors_bytes(t)[:-1], ["file"]),
    "cut in half": (lambda t: safetensors_bytes(t)[: len(safetensors_bytes(t)) // 2], ["file"]),
    "cut in the header": (lambda t: safetensors_bytes(t)[:100], ["header"]),
    "longer": (lambda t: safetensors_bytes(t) + b"\0", ["file"]),
    "header one longer": (lambda t: raw_safetensors(*edited(t, dict), header_bytes=1 << 20), ["header"]),
    "header beyond all": (lambda t: raw_safetensors(*edited(t, dict), header_bytes=2**63), ["header"]),
    "header of nothing": (lambda t: raw_safetensors(*edited(t, dict), header_bytes=0), ["header"]),
    "no json": (lambda t: struct.pack("<Q", 8) + b"{'a': 1}", ["JSON"]),
    "overlap": (
        lambda t: raw_safetensors(*edited(t, lie("layers.1.key", data_offsets=[0, 4200]))),
        ["layers.1.key"],
    ),
    "hole": (lambda t: raw_safetensors(*edited(t, lambda h: h.pop("layers.0.value"))), ["layers.1.key"]),
    "offsets outside": (
        lambda t: raw_safetensors(*edited(t, lie("layers.0.key", data_offsets=[10**15, 10**15 + 4200]))),
        ["layers."],
    ),
    "wrong size": (
        lambda t: raw_safetensors(*edited(t, lie("layers.0.key", dtype="F32"))),
        ["layers.0.key", "8400"],
    ),
    "overflow": (
        lambda t: raw_safetensors(*edited(t, lie("layers.0.key", shape=[2**40, 2**40, 2**40]))),
        ["layers.0.key"],
    ),
    "unknown dtype": (
        lambda t: raw_safetensors(*edited(t, lie("layers.0.key", dtype="F17"))),
        ["layers.0.key", "F17"],
    ),
}


@pytest.mark.parametrize("name", BROKEN_FILES)
def test_broken_safetensors(name, tmp_path, box):
    make, names = BROKEN_FILES[name]
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(make(random_cache(1)))
    # A claim of too much is one of the limits, all others are formats.
    code = 7 if name == "header beyond all" else BAD_INPUT
    refused(code, "compress", broken, box / "kv.sqkv", "--codec", "raw", names=[broken, *names], beside=box)


def without(tensors, name):
    return {key: tensor for key, tensor in tensors.items() if key != name}


def reshaped(tensors, name, dtype, shape):
    return {**tensors, name: Tensor(dtype, shape, tensors[name].data)}


WRONG_CACHES = {
    "no ids": (lambda t: without(t, "input_ids"), ["input_ids"]),
    "no value": (lambda t: without(t, "layers.0.value"), ["layers.0.value"]),
    "no layer 0": (lambda t: without(t, "layers.0.key"), ["layers.0.key"]),
    "gap": (lambda t: {**t, "layers.7.key": t["layers.0.key"]}, ["layers.2.key"]),
    "shape": (lambda t: reshaped(t, "layers.1.value", "F16", (3, 10, 70)), ["layers.1.value"]),
    "dtype": (lambda t: reshaped(t, "layers.1.value", "BF16", (3, 70, 10)), ["layers.1.value"]),
    "rank": (lambda t: reshaped(t, "layers.0.key", "F16", (1, 3, 70, 10)), ["layers.0.key"]),
    "integers": (lambda t: reshaped(t, "layers.0.key", "I16", (3, 70, 10)), ["layers.0.key", "I16"]),
    "ids of another length": (lambda t: {**t, "input_ids": tokens_tensor([1] * 69)}, ["input_ids"]),
    "negative id": (lambda t: {**t, "input_ids": tokens_tensor([1] * 69 + [-1])}, ["input_ids", "69"]),
    "no tokens": (lambda t: random_cache(1, count=0), ["no tokens"]),
}


@pytest.mark.parametrize("name", WRONG_CACHES)
def test_wrong_caches(name, tmp_path, box):
    make, names = WRONG_CACHES[name]
    wrong = tmp_path / "wrong.safetensors"
    wrong.write_bytes(safetensors_bytes(make(random_cache(1))))
    refused(
        BAD_INPUT, "compress", wrong, box / "kv.sqkv", "--codec", "raw", names=[wrong, *names], beside=box
    )


# ---- bad input: models ------------------------------------------------------------------------------------

DOWN = "model.layers.1.mlp.down_proj.weight"


def change_weights(folder, change):
    tensors, metadata = read_safetensors(folder / "model.safetensors")
    (folder / "model.safetensors").write_bytes(safetensors_bytes(change(tensors), metadata))


def with_value(tensors, name, at, value):
    tensor = tensors[name]
    assert tensor.dtype == "F16"
    data = bytearray(tensor.data)
    struct.pack_into("<e", data, 2 * at, value)
    return {**tensors, name: tensor._replace(data=bytes(data))}


WRONG_WEIGHTS = {
    "missing": (lambda t: without(t, DOWN), [DOWN]),
    "shape": (lambda t: reshaped(t, DOWN, "F16", t[DOWN].shape[::-1]), [DOWN, "config.json"]),
    "dtype": (lambda t: reshaped(t, DOWN, "I16", t[DOWN].shape), [DOWN, "I16"]),
    "nan": (lambda t: with_value(t, DOWN, 77, float("nan")), [DOWN, "element 77"]),
    "infinity": (
        lambda t: with_value(t, "model.norm.weight", 0, float("inf")),
        ["model.norm.weight", "element 0"],
    ),
    "unknown": (lambda t: {**t, "model.extra.weight": t[DOWN]}, ["model.extra.weight"]),
}


@pytest.mark.parametrize("name", WRONG_WEIGHTS)
def test_wrong_weights(name, small, tokens, box):
    change, names = WRONG_WEIGHTS[name]
    change_weights(small, change)
    names = [small / "model.safetensors", *names]
    refused(
        BAD_INPUT,
        "prefill",
        "--model",
        small,
        "--tokens",
        tokens,
        "--out",
        box / "kv.safetensors",
        names=names,
        beside=box,
    )


def test_truncated_weights(small, tokens, box):
    weights = small / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    refused(
        BAD_INPUT,
        "prefill",
        "--model",
        small,
        "--tokens",
        tokens,
        "--out",
        box / "kv.safetensors",
        names=[weights],
        beside=box,
    )


@pytest.mark.parametrize(
    "field, value, names",
    [
        ("model_type", "frobnet", ["model_type", "'frobnet'", "llama"]),
        ("model_type", None, ["model_type"]),
        ("hidden_act", "gelu", ["hidden_act", "'gelu'"]),
        ("hidden_size", None, ["hidden_size"]),
        ("hidden_size", "48", ["hidden_size"]),
        ("head_dim", 15, ["head_dim"]),
        ("num_key_value_heads", 3, ["num_key_value_heads"]),
        ("rope_parameters", {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}, ["yarn"]),
        ("quantization_config", {"bits": 4}, ["quantization_config"]),
    ],
    ids=str,
)
def test_wrong_config(field, value, names, small, tokens, box):
    config = json.loads((small / "config.json").read_text())
    config[field] = value
    write_json(small / "config.json", config)
    refused(
        BAD_INPUT,
        "prefill",
        "--model",
        small,
        "--tokens",
        tokens,
        "--out",
        box / "kv.safetensors",
        names=[small / "config.json", *names],
        beside=box,
    )


@pytest.mark.parametrize("absent", ["config.json", "model.safetensors"])
def test_model_file_missing(absent, small, tokens, box):
    (small / absent).unlink()
    prefill = ["prefill", "--model", small, "--tokens", tokens, "--out", box / "kv.safetensors"]
    refused(NOT_FOUND, *prefill, names=[absent], beside=box)


def test_text_without_tokenizer(small, box, tmp_path):
    (tmp_path / "text.txt").write_text("text")
    refused(
        NOT_FOUND,
        "prefill",
        "--model",
        small,
        "--text",
        tmp_path / "text.txt",
        "--out",
        box / "kv.safetensors",
        names=["tokenizer.json"],
        beside=box,
    )


# ---- bad input: texts, tokens, manifests ------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, data, names",
    [
        ("latin1.txt", "caf\u00e9".encode("latin-1"), ["byte 3", "not_utf8"]),
        ("surrogate.txt", b"ok \xed\xa0\x80", ["byte 3", "not_utf8"]),
        ("overlong.txt", b"\xc0\xaf", ["byte 0", "not_utf8"]),
        ("cut.txt", "caf\u00e9".encode()[:-1], ["not_utf8"]),
        ("empty.txt", b"", ["empty_input"]),
        ("empty.jsonl", b"", ["empty_input"]),
        ("blank.jsonl", b"\n\n", ["empty_input"]),
        ("empty-text.jsonl", b'{"text": ""}\n', ["empty_input"]),
        ("broken.jsonl", b'{"text": "a"}\n{"text": "b"\n', ["line 2"]),
        ("no-text.jsonl", b'{"text": "a"}\n\n{"txt": "b"}\n', ["line 3"]),
        ("latin1.jsonl", b'{"text": "a"}\n{"text": "\xe9"}\n', ["line 2"]),
        ("not-xz.txt.xz", b"plain text", ["xz"]),
        ("cut.txt.xz", lzma.compress(b"plain text" * 100)[:-20], ["xz"]),
        ("not-zstd.txt.zst", b"plain text", ["zstd"]),
    ],
)
def test_bad_text(name, data, names, model, tmp_path, box):
    path = tmp_path / name
    path.write_bytes(data)
    for command in (["prefill", "--out", box / "kv.safetensors"], ["tokenize", "--out", box / "t.jsonl"]):
        refused(BAD_INPUT, *command, "--model", model, "--text", path, names=[path, *names], beside=box)


@pytest.mark.parametrize(
    "name, data, names",
    [
        ("t.json", b"[]", ["empty_input"]),
        ("t.json", b"[1, 2", ["bad_format"]),
        ("t.json", b"[1, 2.5]", []),
        ("t.json", b"[1, -2]", []),
        ("t.json", b"[1, 4294967296]", ["token_out_of_range"]),
        ("t.jsonl", b"[1]\n[2\n", ["line 2"]),
        ("t.jsonl", b"[1]\n[]\n", ["empty_input"]),
        ("t.npy", b"\x93NUMPY", ["bad_format"]),
        ("t.txt", b"1 2 3", ["unsupported"]),
        ("t.json", b"[1, 300]", ["token_out_of_range", "300"]),
    ],
)
def test_bad_tokens(name, data, names, small, tmp_path, box):
    path = tmp_path / name
    path.write_bytes(data)
    names = (
        names if data == b"[1, 300]" else [path, *names]
    )  # the file is in order, the model has no such token
    refused(
        BAD_INPUT,
        "prefill",
        "--model",
        small,
        "--tokens",
        path,
        "--out",
        box / "kv.safetensors",
        names=names,
        beside=box,
    )


GOOD = '{"session": "good", "tokens": [1, 2, 3]}'


@pytest.mark.parametrize(
    "lines, number, names",
    [
        ([GOOD, '{"session": "x", "tokens": [1'], 2, []),
        ([GOOD, "", "[1, 2]"], 3, []),
        ([GOOD, '{"session": "x"}'], 2, ["'x'", "tokens"]),
        ([GOOD, '{"tokens": [1]}'], 2, ["session"]),
        ([GOOD, '{"session": "", "tokens": [1]}'], 2, ["session"]),
        ([GOOD, '{"session": 5, "tokens": [1]}'], 2, ["session"]),
        ([GOOD, '{"session": "x", "tokens": []}'], 2, ["empty_input"]),
        ([GOOD, '{"session": "x", "text": ""}'], 2, ["empty_input"]),
        ([GOOD, '{"session": "x", "tokens": [1, -1]}'], 2, ["token_out_of_range"]),
        ([GOOD, '{"session": "x", "tokens": [1, 300]}'], 2, ["'x'", "300"]),
        ([GOOD, '{"session": "x", "tokens": "1"}'], 2, ["tokens"]),
        ([GOOD, '{"session": "x", "tokens": [1], "text": "t"}'], 2, ["'x'"]),
        ([GOOD, '{"session": "x", "tokens": [1], "colour": "red"}'], 2, ["colour"]),
        ([GOOD, '{"session": "x", "tokens": [1], "tokens": [2]}'], 2, ["'tokens'", "twice"]),
        ([GOOD, '{"session": "y", "tokens": [1]}', GOOD], 3, ["'good'", "twice"]),
        ([GOOD, '{"session": "x", "text": "no tokenizer here"}'], 2, ["'x'"]),
    ],
)
def test_bad_manifest(lines, number, names, small, tmp_path, box):
    path = tmp_path / "sessions.jsonl"
    path.write_text("\n".join(lines) + "\n")
    code = NOT_FOUND if "no tokenizer" in lines[-1] else BAD_INPUT
    # Nothing is stored of the good lines either: everything is checked before work starts.
    refused(
        code,
        "batch",
        path,
        "--store",
        box / "store",
        "--model",
        small,
        "--codec",
        "raw",
        names=[f"line {number}", *names],
        beside=box,
    )


def test_files_of_a_manifest(small, cache, tmp_path, box):
    """What a line points to: absent, broken, of other shapes."""
    (tmp_path / "broken.safetensors").write_bytes(cache.read_bytes()[:-5])
    for line, code, names in (
        ({"kv": "absent.safetensors"}, NOT_FOUND, ["absent.safetensors"]),
        ({"text_file": "absent.txt"}, NOT_FOUND, ["absent.txt"]),
        ({"kv": str(tmp_path / "broken.safetensors")}, BAD_INPUT, ["broken.safetensors"]),
        ({"kv": str(cache)}, BAD_INPUT, [cache, "shape_mismatch"]),
    ):
        path = write_json_lines(tmp_path / "sessions.jsonl", [json.loads(GOOD), {"session": "x", **line}])
        refused(
            code,
            "batch",
            path,
            "--store",
            box / "store",
            "--model",
            small,
            "--codec",
            "raw",
            names=["line 2", "'x'", *names],
            beside=box,
        )


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_empty_manifest(content, small, tmp_path, box):
    path = tmp_path / "sessions.jsonl"
    path.write_bytes(content)
    refused(
        BAD_INPUT,
        "batch",
        path,
        "--store",
        box / "store",
        "--model",
        small,
        "--codec",
        "raw",
        names=[path],
        beside=box,
    )


def test_too_many_tokens(small, tmp_path, box):
    """More than the model has positions."""
    manifest = manifest_of(tmp_path / "sessions.jsonl", {"long": random_ids(1, 129)})
    refused(
        7,
        "batch",
        manifest,
        "--store",
        box / "store",
        "--model",
        small,
        "--codec",
        "raw",
        names=["'long'", "129", "128"],
        beside=box,
    )
    refused(
        7,
        "prefill",
        "--model",
        small,
        "--tokens",
        write_json(tmp_path / "t.json", random_ids(1, 129)),
        "--out",
        box / "kv.safetensors",
        names=["129", "128"],
        beside=box,
    )


# ---- wrong model, wrong store -----------------------------------------------------------------------------


def test_store_of_another_model(store, manifest, small, tmp_path):
    """The same shapes, one weight differs."""
    change_weights(small, lambda tensors: with_value(tensors, DOWN, 5, 0.5))
    arguments = [
        "batch",
        manifest,
        "--store",
        store,
        "--model",
        small,
        "--codec",
        "none+lossless",
        "--block-tokens",
        16,
    ]
    refused(BAD_INPUT, *arguments, names=["store.db", "wrong_model"], beside=store)
    refused(BAD_INPUT, *arguments, "--restart", names=["wrong_model"], beside=store)


def test_store_of_a_model_of_other_shapes(store, shared, tmp_path):
    mqa = shared("model-mqa")
    manifest = manifest_of(tmp_path / "other.jsonl", {"s": [1, 2, 3]})
    refused(
        BAD_INPUT,
        "batch",
        manifest,
        "--store",
        store,
        "--model",
        mqa,
        "--codec",
        "raw",
        "--block-tokens",
        16,
        names=["wrong_model"],
        beside=store,
    )


def test_store_with_other_parameters(store, manifest, small):
    arguments = ["batch", manifest, "--store", store, "--model", small, "--codec", "none+lossless"]
    refused(BAD_INPUT, *arguments, "--block-tokens", 32, names=["wrong_store", "16", "32"], beside=store)
    refused(
        BAD_INPUT,
        *arguments,
        "--block-tokens",
        16,
        "--dtype",
        "f16",
        names=["wrong_store", "f16"],
        beside=store,
    )


def test_session_with_other_tokens(store, small, tmp_path):
    arguments = ["--store", store, "--model", small, "--block-tokens", 16, "--codec"]
    other = manifest_of(tmp_path / "other.jsonl", {"alone": random_ids(99, 33)})
    with unchanged(store):
        refused(
            BAD_INPUT,
            "batch",
            other,
            *arguments,
            "none+lossless",
            names=["line 1", "'alone'", "other tokens"],
        )
    same = manifest_of(tmp_path / "same.jsonl", {"alone": some_sessions()["alone"]})
    with unchanged(store):
        refused(BAD_INPUT, "batch", same, *arguments, "raw", names=["'alone'", "none+lossless"])


def test_cache_of_another_model(small, tokens, tmp_path, box):
    """compress --model, and a manifest's kv."""
    run(
        "prefill",
        "--model",
        small,
        "--tokens",
        tokens,
        "--dtype",
        "bf16",
        "--out",
        tmp_path / "kv.safetensors",
    )
    compress = ["compress", tmp_path / "kv.safetensors", "--codec", "raw", "--model", small]
    run(*compress, tmp_path / "kv.sqkv")
    change_weights(small, lambda tensors: with_value(tensors, DOWN, 5, 0.5))
    refused(BAD_INPUT, *compress, box / "kv.sqkv", names=["kv.safetensors", "wrong_model"], beside=box)
    manifest = write_json_lines(
        tmp_path / "m.jsonl", [{"session": "x", "kv": str(tmp_path / "kv.safetensors")}]
    )
    refused(
        BAD_INPUT,
        "batch",
        manifest,
        "--store",
        box / "store",
        "--model",
        small,
        "--codec",
        "raw",
        names=["line 1", "wrong_model"],
        beside=box,
    )


def test_nothing_there(store, box):
    nowhere = box / "nowhere"
    for command in (["ls"], ["verify"], ["inspect"], ["restore", "--session", "alone", "--out", box / "kv"]):
        refused(NOT_FOUND, *command, "--store", nowhere, names=[nowhere], beside=box)
    for command in (["restore", "--out", box / "kv"], ["inspect"]):
        refused(NOT_FOUND, *command, "--store", store, "--session", "nobody", names=["'nobody'"], beside=box)
    refused(NOT_FOUND, "decompress", nowhere, box / "kv", names=[nowhere], beside=box)
    refused(NOT_FOUND, "compress", nowhere, box / "kv", "--codec", "raw", names=[nowhere], beside=box)
    refused(NOT_FOUND, "verify", nowhere, names=[nowhere], beside=box)
    refused(
        NOT_FOUND,
        "batch",
        nowhere,
        "--store",
        box / "s",
        "--model",
        box,
        "--codec",
        "raw",
        names=[nowhere],
        beside=box,
    )


# ---- damage -----------------------------------------------------------------------------------------------


def test_flipped_byte_in_frame(frame, cache, box):
    """Wherever it is, it is noticed, and nothing is written."""
    good = frame.read_bytes()
    source = random.Random(5)
    places = {0, 8, 10, 12, 16, 44, len(good) - 1, *range(0, 320, 40), *source.sample(range(len(good)), 60)}
    for at in sorted(places):
        flip(frame, at, source.randrange(8))
        done = refused(CORRUPT, "decompress", frame, box / "kv.safetensors", names=[frame], beside=box)
        assert any(word in done.err for word in ("corrupt", "checksum", "truncated", "version")), at
        run("verify", frame, expect=CORRUPT)
        run("inspect", frame, expect=None)
        frame.write_bytes(good)
    run("decompress", frame, box / "kv.safetensors")
    assert read_safetensors(box / "kv.safetensors")[0] == read_safetensors(cache)[0]


def test_truncated_frame(frame, box):
    good = frame.read_bytes()
    source = random.Random(6)
    for size in sorted(
        {0, 1, 8, 10, 100, 191, 192, 300, len(good) - 1, *source.sample(range(len(good)), 30)}
    ):
        frame.write_bytes(good[:size])
        refused(CORRUPT, "decompress", frame, box / "kv.safetensors", names=[frame], beside=box)
        run("verify", frame, expect=CORRUPT)
    frame.write_bytes(good + b"\0")
    refused(CORRUPT, "decompress", frame, box / "kv.safetensors", names=[frame], beside=box)


def test_frame_of_a_future_version(frame, box):
    data = bytearray(frame.read_bytes())
    assert struct.unpack_from("<H", data, 8) == (1,)
    struct.pack_into("<H", data, 8, 2)
    frame.write_bytes(data)
    for command in (["decompress", frame, box / "kv.safetensors"], ["verify", frame], ["inspect", frame]):
        refused(CORRUPT, *command, names=[frame, "version 2", "unsupported_version"], beside=box)


def test_what_is_no_frame(cache, box):
    refused(
        CORRUPT, "decompress", cache, box / "kv.safetensors", names=[cache, "not a seqkv frame"], beside=box
    )
    refused(IO, "decompress", box, box / "kv.safetensors", names=[box], beside=box)
    refused(IO, "decompress", "/dev/zero", box / "kv.safetensors", names=["/dev/zero"], beside=box)


def damaged_copies(good, count, seed, places):
    """Copies of a file with one bit flipped, at random ones of `places`."""
    source = random.Random(seed)
    for at in sorted(source.sample(places, min(count, len(places)))):
        bad = bytearray(good)
        bad[at] ^= 1 << source.randrange(8)
        yield at, bytes(bad)


def test_verify_finds_every_damage_of_a_pack(store, tmp_path):
    (pack,) = store.glob("packs/*.pack")
    good = pack.read_bytes()
    for at, bad in damaged_copies(good, 150, 7, range(len(good))):
        pack.write_bytes(bad)
        report = run("verify", "--store", store, "--json", expect=CORRUPT).json
        assert report["ok"] is False and report["problems"], at
        assert any(str(pack) in problem for problem in report["problems"]), (at, report)
    pack.write_bytes(good)
    assert run("verify", "--store", store, "--json").json["ok"] is True


def test_flipped_byte_in_pack(store, tmp_path, box):
    """Sessions that verify calls broken cannot be restored, the others come out as they were."""
    (pack,) = store.glob("packs/*.pack")
    good, sessions = pack.read_bytes(), list(some_sessions())
    expected = restored_bytes(store, tmp_path, sessions)
    broken_once = set()
    for at, bad in damaged_copies(good, 25, 8, range(64, len(good))):
        pack.write_bytes(bad)
        broken = run("verify", "--store", store, "--json", expect=CORRUPT).json["broken_sessions"]
        for name in sessions:
            if name in broken:
                refused(
                    CORRUPT,
                    "restore",
                    "--store",
                    store,
                    "--session",
                    name,
                    "--out",
                    box / "kv",
                    names=[pack],
                    beside=box,
                )
            else:
                assert restored_bytes(store, tmp_path, [name])[name] == expected[name], at
        broken_once.update(broken)
    assert broken_once == set(sessions)


def test_pack_missing_or_cut(store):
    (pack,) = store.glob("packs/*.pack")
    good = pack.read_bytes()
    for size in (0, 63, 64, len(good) // 2, len(good) - 1):
        pack.write_bytes(good[:size])
        report = run("verify", "--store", store, "--json", expect=CORRUPT).json
        assert report["problems"], size
    pack.unlink()
    assert run("verify", "--store", store, "--json", expect=CORRUPT).json["broken_sessions"] == sorted(
        some_sessions()
    )


# Every statement changes a value so that a session is no longer restored as it was.
DAMAGED_INDEX = {
    "name": "UPDATE sessions SET name = 'elsewhere' WHERE name = 'alone'",
    "tokens": "UPDATE sessions SET tokens = tokens - 1 WHERE name = 'alone'",
    "block": "UPDATE sessions SET block = (SELECT min(block) FROM sessions) WHERE name = 'session-2'",
    "session codec": "UPDATE sessions SET codec = codec + 1 WHERE name = 'alone'",
    "no codec": "DELETE FROM codecs",
    "codec": "UPDATE codecs SET spec = 'none+turboquant:4'",
    "unknown codec": "UPDATE codecs SET spec = 'nonsense'",
    "identity": "UPDATE blocks SET identity = zeroblob(32) WHERE id = 2",
    "parent": "UPDATE blocks SET parent = NULL WHERE id = 2",
    "absent parent": "UPDATE blocks SET parent = 99 WHERE id = 2",
    "position": "UPDATE blocks SET position = position + 16 WHERE id = 2",
    "block tokens": "UPDATE blocks SET tokens = tokens - 1 WHERE id = 2",
    "pack": "UPDATE blocks SET pack = pack + 1 WHERE id = 2",
    "offset": "UPDATE blocks SET offset = offset + 64 WHERE id = 2",
    "bytes": "UPDATE blocks SET bytes = bytes + 1 WHERE id = 2",
    "no block": "DELETE FROM blocks WHERE id = 2",
    "model": "UPDATE parameters SET value = '5a' || substr(value, 3) WHERE name = 'model'",
    "store id": "UPDATE parameters SET value = '5a' || substr(value, 3) WHERE name = 'id'",
    "version": "UPDATE parameters SET value = '4' WHERE name = 'version'",
    "rotation": "UPDATE parameters SET value = '14' WHERE name = 'rope_dim'",
    "dtype": "UPDATE parameters SET value = 'f16' WHERE name = 'dtype'",
    "heads": "UPDATE parameters SET value = '3' WHERE name = 'kv_heads'",
}


@pytest.mark.parametrize("name", DAMAGED_INDEX)
def test_verify_finds_damage_of_the_index(name, store, tmp_path):
    index, sessions = store / "store.db", list(some_sessions())
    expected = restored_bytes(store, tmp_path, sessions)
    with contextlib.closing(sqlite3.connect(index)) as database:
        assert database.execute(DAMAGED_INDEX[name]).rowcount > 0
        database.commit()
    assert restored_bytes(store, tmp_path, sessions) != expected
    run("verify", "--store", store, expect=CORRUPT)


def test_flipped_byte_in_index(store, tmp_path):
    """Wherever verify finds nothing, every session comes out as it was."""
    index, sessions = store / "store.db", list(some_sessions())
    expected = restored_bytes(store, tmp_path, sessions)
    good = index.read_bytes()
    used = [at for at in range(len(good)) if good[at] or good[at - 1]]
    found = 0
    for at, bad in damaged_copies(good, 150, 9, used):
        index.write_bytes(bad)
        if run("verify", "--store", store, expect=None).code != 0:
            found += 1
        else:
            assert restored_bytes(store, tmp_path, sessions) == expected, (
                at,
                good[max(at - 20, 0) : at + 20],
            )
    assert found > 10
    index.write_bytes(b"not a database at all")
    run("verify", "--store", store, expect=CORRUPT)


# ---- disks ------------------------------------------------------------------------------------------------


def limited(size):
    """As for a disk that is full at once: writes beyond `size` bytes of a file fail."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return {"preexec_fn": limit, "restore_signals": False}


@pytest.fixture
def full_disk(tmp_path):
    """A folder on a file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = os.geteuid() == 0 and shutil.which("mount") is not None
    mounted = (
        mounted
        and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True
        ).returncode
        == 0
    )
    if not mounted:
        pytest.skip("no small file system can be mounted here (that takes root)")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def large_cache(tmp_path):
    path = tmp_path / "large.safetensors"
    path.write_bytes(safetensors_bytes(random_cache(11, count=4000)))
    return path


def writers(model, cache, frame, store, text, out):
    """Commands that write a file of more than 256 KiB to `out`."""
    return {
        "compress": ["compress", cache, out, "--codec", "raw"],
        "decompress": ["decompress", frame, out],
        "restore": ["restore", "--store", store, "--session", "s", "--out", out],
        "prefill": ["prefill", "--model", model, "--text", text, "--max-tokens", 300, "--out", out],
        "tokenize": ["tokenize", "--model", model, "--text", text, "--out", out.with_suffix(".json")],
    }


@pytest.fixture
def large(model, large_cache, tmp_path):
    """The inputs of `writers`."""
    run("compress", large_cache, tmp_path / "large.sqkv", "--codec", "raw")
    text = tmp_path / "text.txt"
    text.write_text((SOURCE / "LICENSE").read_text() * 20)
    manifest = write_json_lines(tmp_path / "large.jsonl", [{"session": "s", "tokens": random_ids(1, 300)}])
    batch(manifest, tmp_path / "large-store", model)
    return [model, large_cache, tmp_path / "large.sqkv", tmp_path / "large-store", text]


@pytest.mark.parametrize("command", ["compress", "decompress", "restore", "prefill", "tokenize"])
def test_file_that_grows_too_large(command, large, box):
    out = box / "out"
    arguments = writers(*large, out)[command]
    refused(
        IO,
        *arguments,
        names=[out.with_suffix("") if command != "tokenize" else out],
        beside=box,
        **limited(100_000),
    )
    run(*arguments)


@pytest.mark.parametrize("command", ["compress", "decompress", "restore", "prefill"])
def test_full_disk(command, large, full_disk, box):
    refused(
        IO,
        *writers(*large, full_disk / "out")[command],
        names=[full_disk / "out", "disk_full"],
        beside=full_disk,
    )


@pytest.mark.parametrize("disk", ["small file system", "limit of a file's size"])
def test_batch_on_a_full_disk(disk, model, tmp_path, request):
    sessions = {f"session-{i:02}": random_ids(20 + i, 40) for i in range(12)}
    manifest = manifest_of(tmp_path / "sessions.jsonl", sessions)
    if disk == "small file system":
        folder, options = request.getfixturevalue("full_disk"), {}
    else:
        folder, options = tmp_path, limited(256 * 1024)
    store = folder / "store"
    done = batch(manifest, store, model, "--quiet", expect=IO, **options)
    assert done.out == "" and done.err.count("\n") == 1 and "manifest line" in done.err, done
    rows = run("ls", "--store", store, "--json").json["rows"]
    assert 0 < len(rows) < len(sessions)
    assert run("verify", "--store", store, "--json").json["sessions"] == len(rows)
    # With more room the rest follows.
    whole = tmp_path / "whole"
    shutil.copytree(store, whole)
    report = batch(manifest, whole, model, "--restart").json
    assert len(report["rows"]) == len(sessions) - len(rows)
    assert run("verify", "--store", whole, "--json").json["sessions"] == len(sessions)


def test_store_that_cannot_begin_on_a_full_disk(small, full_disk, tmp_path):
    manifest = manifest_of(tmp_path / "sessions.jsonl", {"s": [1, 2, 3]})
    (full_disk / "filler").write_bytes(b"\0" * (255 * 1024))
    done = batch(manifest, full_disk / "store", small, "--quiet", expect=IO)
    assert "disk_full" in done.err, done
    (full_disk / "filler").unlink()
    batch(manifest, full_disk / "store", small)
    assert run("verify", "--store", full_disk / "store", "--json").json["sessions"] == 1


def test_folder_that_does_not_exist(store, frame, cache, small, model, tokens, tmp_path, box):
    nowhere = box / "nowhere" / "out"
    (tmp_path / "text.txt").write_text("text")
    for command in (
        ["compress", cache, nowhere, "--codec", "raw"],
        ["decompress", frame, nowhere],
        ["restore", "--store", store, "--session", "alone", "--out", nowhere],
        ["prefill", "--model", small, "--tokens", tokens, "--out", nowhere],
        [
            "tokenize",
            "--model",
            model,
            "--text",
            tmp_path / "text.txt",
            "--out",
            nowhere.with_suffix(".json"),
        ],
    ):
        refused(IO, *command, names=[nowhere], beside=box)


def test_folder_that_is_a_file(frame, small, manifest, box):
    (box / "file").write_text("")
    refused(IO, "decompress", frame, box / "file" / "out", names=[box / "file"], beside=box)
    refused(IO, "decompress", frame, box, names=[box], beside=box.parent)
    refused(
        IO,
        "batch",
        manifest,
        "--store",
        box / "file",
        "--model",
        small,
        "--codec",
        "raw",
        names=[box / "file"],
        beside=box,
    )


def small_writers(store, frame, cache, small, model, tokens, tmp_path, out):
    """Commands that write a file `out`, whose suffix is .json."""
    text = tmp_path / "text.txt"
    text.write_text("text")
    return (
        ["compress", cache, out, "--codec", "raw"],
        ["decompress", frame, out],
        ["restore", "--store", store, "--session", "alone", "--out", out],
        ["prefill", "--model", small, "--tokens", tokens, "--out", out],
        ["tokenize", "--model", model, "--text", text, "--out", out],
    )


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_output_that_is_no_regular_file(kind, store, frame, cache, small, model, tokens, tmp_path, box):
    out = box / "special.json"
    try:
        os.mknod(out, 0o600 | (stat.S_IFIFO if kind == "pipe" else stat.S_IFCHR), os.makedev(1, 3))
    except PermissionError:
        pytest.skip("a device takes root")
    before = out.stat()
    (box / "link.json").symlink_to(out)
    for name in (out, box / "link.json"):
        for command in small_writers(store, frame, cache, small, model, tokens, tmp_path, name):
            refused(IO, *command, names=[name, "not a regular file"], beside=box)
            after = out.stat()
            assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)


def test_output_through_symbolic_links(store, frame, cache, small, model, tokens, tmp_path, box):
    (box / "inner").mkdir()
    target = box / "inner" / "target"
    (box / "inner" / "second").symlink_to("target")
    link = box / "link.json"
    link.symlink_to(pathlib.Path("inner") / "second")
    for command in small_writers(store, frame, cache, small, model, tokens, tmp_path, link):
        target.unlink(missing_ok=True)
        run(*command)  # the target is not there yet
        first = target.read_bytes()
        target.write_bytes(b"old")
        run(*command)
        assert target.read_bytes() == first
        assert link.is_symlink() and (box / "inner" / "second").is_symlink()
        assert sorted(path.name for path in box.rglob("*")) == ["inner", "link.json", "second", "target"]


def test_names_that_cannot_be_looked_up(store, frame, cache, small, model, tokens, tmp_path, box):
    (box / "loop").symlink_to("loop")
    for bad in (box / "loop", box / ("x" * 300)):
        for command in small_writers(store, frame, cache, small, model, tokens, tmp_path, bad):
            if command[0] != "tokenize":
                refused(IO, *command, names=[bad], beside=box)
        for command in (
            ["compress", bad, box / "o", "--codec", "raw"],
            ["decompress", bad, box / "o"],
            ["inspect", bad],
            ["verify", bad],
            ["compare", bad, cache],
            ["prefill", "--model", bad, "--tokens", tokens, "--out", box / "o"],
            ["tokenize", "--model", model, "--text", bad, "--out", box / "o.json"],
        ):
            refused(IO, *command, names=[bad], beside=box)
    for name in ("tokenizer.json", "model.safetensors", "config.json"):
        folder = tmp_path / f"loop in {name}"
        shutil.copytree(small, folder)
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(name)
        arguments = ["prefill", "--model", folder, "--tokens", tokens, "--out", box / "o"]
        refused(IO, *arguments, names=[folder / name], beside=box)


@pytest.fixture
def read_only(tmp_path):
    """A folder in which nothing can be written, for root neither."""
    folder = tmp_path / "read-only"
    folder.mkdir()
    if os.geteuid() != 0:
        folder.chmod(0o500)
        yield folder
        folder.chmod(0o700)
        return
    mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", folder]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("root may write everywhere here, and may not mount a read-only file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_folder_that_is_not_writable(read_only, store, frame, cache, small, tokens, manifest):
    out = read_only / "out"
    for command in (
        ["compress", cache, out, "--codec", "raw"],
        ["decompress", frame, out],
        ["restore", "--store", store, "--session", "alone", "--out", out],
        ["prefill", "--model", small, "--tokens", tokens, "--out", out],
        ["batch", manifest, "--store", out, "--model", small, "--codec", "raw"],
    ):
        refused(IO, *command, names=[out], beside=read_only)


# ---- large files ------------------------------------------------------------------------------------------

MEBIBYTE = 1 << 20


@pytest.fixture
def huge_cache(tmp_path):
    """160 MiB of a piece of random values again and again."""
    path, piece = tmp_path / "huge.safetensors", random.Random(12).randbytes(MEBIBYTE)
    tensors = {
        f"layers.{layer}.{kind}": Tensor("BF16", (2, 40 * 512, 512), b"") for layer in (0, 1) for kind in ("key", "value")
    }
    header, end = {}, 0
    for name, tensor in tensors.items():
        begin, end = end, end + 40 * MEBIBYTE
        header[name] = {"dtype": "BF16", "shape": tensor.shape, "data_offsets": [begin, end]}
    ids = tokens_tensor([7] * 40 * 512)
    header["input_ids"] = {"dtype": "I32", "shape": ids.shape, "data_offsets": [end, end + len(ids.data)]}
    with path.open("wb") as file:
        file.write(raw_safetensors(header, b""))
        for _ in range(160):
            file.write(piece)
        file.write(ids.data)
    return path


def most_memory(*arguments):
    """Of a run: the largest resident set, in bytes."""
    command = [os.fspath(a) if isinstance(a, os.PathLike) else str(a) for a in (CLI, *arguments)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return usage.ru_maxrss * 1024


@pytest.mark.parametrize("codec", ["raw", "none+lossless"])
def test_memory_stays_under_the_bound(codec, huge_cache, tmp_path):
    """Files are larger than the bound and what the program itself takes, together."""
    overhead = most_memory("info") + 8 * MEBIBYTE
    frame, out = tmp_path / "huge.sqkv", tmp_path / "back.safetensors"
    for bound in (16, 48):
        options = ["--memory", f"{bound}M", "--block-tokens", 256, "--codec", codec]
        assert most_memory("compress", huge_cache, frame, *options) < bound * MEBIBYTE + overhead
        assert most_memory("decompress", frame, out, "--memory", f"{bound}M") < bound * MEBIBYTE + overhead
    assert read_safetensors(out)[0] == read_safetensors(huge_cache)[0]


@pytest.mark.parametrize("command", ["compress", "decompress"])
@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT], ids=lambda kind: kind.name)
def test_stopped_by_a_signal(kind, command, huge_cache, tmp_path, box):
    out = box / "out"
    if command == "decompress":
        run("compress", huge_cache, tmp_path / "huge.sqkv", "--codec", "none+turboquant:4")
    arguments = {
        "compress": ["compress", huge_cache, out, "--codec", "none+turboquant:4"],
        "decompress": ["decompress", tmp_path / "huge.sqkv", out],
    }[command]
    process = subprocess.Popen(
        [os.fspath(a) for a in (CLI, *arguments, "--threads", "2")], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size > MEBIBYTE for path in box.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(kind)
    printed, err = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED, err
    assert printed == b"" and b"interrupted" in err and err.count(b"\n") == 1
    assert os.listdir(box) == []


# ---- interruption -----------------------------------------------------------------------------------------

SESSIONS = 60


@pytest.fixture
def long_manifest(tmp_path):
    """Some seconds of work: sessions in threes that share half of their tokens."""
    sessions = {
        f"session-{i:02}": random_ids(100 + i // 3, 128) + random_ids(200 + i, 128) for i in range(SESSIONS)
    }
    return manifest_of(tmp_path / "long.jsonl", sessions), list(sessions)


def sessions_of(store):
    """How many are in a store that may be in the making."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{store}/store.db?mode=ro", uri=True)) as database:
            return database.execute("SELECT count(*) FROM sessions").fetchone()[0]
    except sqlite3.OperationalError:
        return 0


def start_batch(manifest, store, model):
    """A batch under way, some of its sessions stored."""
    command = [
        CLI,
        "batch",
        manifest,
        "--store",
        store,
        "--model",
        model,
        "--codec",
        "none+turboquant:4",
        "--block-tokens",
        "32",
        "--json",
    ]
    process = subprocess.Popen(
        [os.fspath(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT
    )
    deadline = time.monotonic() + 60
    while sessions_of(store) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    return process


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda kind: kind.name)
def test_batch_goes_on_after_a_signal(kind, long_manifest, model, tmp_path):
    manifest, names = long_manifest
    store = tmp_path / "store"
    process = start_batch(manifest, store, model)
    process.send_signal(kind)
    out, err = process.communicate(timeout=60)
    stored = {row["session"] for row in run("ls", "--store", store, "--json").json["rows"]}
    assert 0 < len(stored) < SESSIONS, "the machine is too fast or too slow for this test"
    if kind == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == INTERRUPTED, err
        report = json.loads(out)
        assert report["interrupted"] is True and {row["session"] for row in report["rows"]} == stored
        assert b"--restart" in err
    assert run("verify", "--store", store, "--json").json["sessions"] == len(stored)

    options = ["--model", model, "--codec", "none+turboquant:4", "--block-tokens", 32, "--json"]
    rest = run("batch", manifest, "--store", store, *options, "--restart").json
    assert {row["session"] for row in rest["rows"]} == set(names) - stored and rest["interrupted"] is False
    assert run("verify", "--store", store, "--json").json["sessions"] == SESSIONS
    # What comes out is what an uninterrupted batch stores.
    run("batch", manifest, "--store", tmp_path / "whole", *options)
    assert restored_bytes(store, tmp_path, names) == restored_bytes(tmp_path / "whole", tmp_path, names)
    leftovers = [
        path for path in store.rglob("*") if path.is_file() and path.suffix not in (".db", ".pack", ".lock")
    ]
    assert not leftovers


def calibrate(model, out, *options):
    """A quick calibration on the project's own pages."""
    texts = sorted((SOURCE / "docs").glob("*.md"))
    amount = ["--effort", 1, "--context", 64, "--continue", 16]
    return ["calibrate", "--model", model, "--text", *texts, "--out", out, *amount, *options]


def test_calibrate(model, box, tmp_path):
    """A profile codes, has the same bytes for any number of threads, and nothing else is left behind."""
    report = run(*calibrate(model, box / "profile.safetensors", "--threads", 1, "--json")).json
    assert report["profile_bytes"] == (box / "profile.safetensors").stat().st_size
    # Steps fall, so bits rise. KL of so little text is noisy from step to step, but not from end to end.
    bits = [row["bits_per_component"] for row in report["rows"]]
    assert bits == sorted(bits) and report["rows"][-1]["kl_mean"] < report["rows"][0]["kl_mean"] / 2
    assert os.listdir(box) == ["profile.safetensors"]
    for threads in (2, 3):
        run(*calibrate(model, tmp_path / "again.safetensors", "--threads", threads))
        assert (tmp_path / "again.safetensors").read_bytes() == (box / "profile.safetensors").read_bytes()
    text = SOURCE / "README.md"
    rows = run(
        *["evaluate", "--model", model, "--text", text, "--context", 64, "--continue", 16, "--json"],
        *["--profile", box / "profile.safetensors", "--codec", "linear+ecsq:step=1", "--only"],
    ).json["rows"]
    assert rows[0]["bits_per_component"] < 4 and rows[0]["kl_mean"] < 1
    refused(BAD_INPUT, *calibrate(model, box / "short", "--docs", 1), names=["too little text", "tokens"], beside=box)


def test_calibrate_goes_on_after_a_signal(model, tmp_path):
    out = tmp_path / "profile.safetensors"
    work = tmp_path / "profile.safetensors.work"
    command = [CLI, *map(str, calibrate(model, out, "--json"))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT)
    deadline = time.monotonic() + 60
    while len(list(work.rglob("*.samples"))) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED and b"the same command goes on" in err, err
    assert not out.exists()
    report = run(*calibrate(model, out, "--json")).json
    assert 3 <= report["resumed_chunks"] < report["chunks"] and not work.exists()
    run(*calibrate(model, tmp_path / "whole.safetensors"))
    assert out.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


def test_reader_after_a_writer_that_died_inside_its_commit(store, tmp_path):
    """A hot journal: the index is half-written, and the journal beside it says what it was."""
    before = run("ls", "--store", store, "--json").json
    died = tmp_path / "died"
    with contextlib.closing(sqlite3.connect(store / "store.db", isolation_level=None)) as database:
        database.execute("PRAGMA cache_size = 1")  # changed pages are written before the commit
        database.execute("BEGIN IMMEDIATE")
        database.execute("UPDATE sessions SET name = 'changed-' || name, created = 0")
        database.execute("CREATE TABLE large AS WITH RECURSIVE n(i) AS "
                         "(SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) SELECT i, hex(randomblob(50)) FROM n")
        shutil.copytree(store, died)
        database.execute("ROLLBACK")
    assert (died / "store.db-journal").stat().st_size > 0
    assert (died / "store.db").read_bytes() != (store / "store.db").read_bytes()
    assert run("ls", "--store", died, "--json").json == before
    run("verify", "--store", died)


def test_compare(tmp_path, model):
    text = tmp_path / "text"
    text.write_text("Two caches of the same tokens. " * 20, encoding="utf-8")
    exact, rounded, other = tmp_path / "exact", tmp_path / "rounded", tmp_path / "other"
    run("prefill", "--model", model, "--text", text, "--out", exact)
    run("prefill", "--model", model, "--text", text, "--out", rounded, "--dtype", "bf16")
    run("prefill", "--model", model, "--text", text, "--max-tokens", 9, "--out", other)
    same = run("compare", exact, exact, "--tolerance", 0, "--json").json
    assert same["identical"] is True and same["key_error"] == same["value_error"] == 0
    near = run("compare", exact, rounded, "--tolerance", 0.004, "--json").json
    assert near["identical"] is False and 0.0005 < near["key_error"] < 0.004 and near["key_max_abs"] > 0
    assert run("compare", exact, rounded, "--tolerance", 0.0001, expect=CORRUPT).code == CORRUPT
    refused(BAD_INPUT, "compare", exact, other, names=[other, "input_ids", "position 9"])


def test_compare_what_is_not_finite(tmp_path):
    def write(name, *numbers):
        size = 4 * len(numbers)
        values = Tensor("F32", (1, 1, len(numbers)), struct.pack(f"<{len(numbers)}f", *numbers))
        zeros = Tensor("F32", values.shape, bytes(size))
        tensors = {"layers.0.key": values, "layers.0.value": zeros, "input_ids": tokens_tensor([1])}
        (tmp_path / name).write_bytes(safetensors_bytes(tensors))
        return tmp_path / name

    inf, nan = float("inf"), float("nan")
    mixed = write("mixed", nan, inf, -inf, 3.0, 4.0)
    same = run("compare", mixed, mixed, "--tolerance", 0, "--json").json
    assert same["identical"] is True and same["key_error"] == same["key_max_abs"] == 0
    # Finite differences count beside infinities that agree.
    near = run("compare", mixed, write("near", nan, inf, -inf, 3.0, 9.0), "--json").json
    assert near["identical"] is False and near["key_error"] == 1 and near["key_max_abs"] == 5
    for far in (write("a", 0.0, inf, -inf, 3.0, 4.0), write("b", nan, -inf, -inf, 3.0, 4.0)):
        for pair in ((mixed, far), (far, mixed)):
            done = run("compare", *pair, "--tolerance", 1e300, expect=CORRUPT)
            fields = dict(line.split() for line in done.out.splitlines())
            assert fields["key_error"] == fields["key_max_abs"] == "inf" and fields["value_error"] == "0", done
            assert fields["identical"] == "no"


if __name__ == "__main__":
    sys.exit(pytest.main([str(pathlib.Path(__file__))]))
