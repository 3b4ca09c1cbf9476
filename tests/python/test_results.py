# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Results: one JSON object, tables, and nothing that a terminal would obey."""

import contextlib
import json
import lzma
import os
import sqlite3
import subprocess

import pytest
from inputs import batch, prefill_command, restore, some_sessions
from support import BAD_INPUT, CLI, ENVIRONMENT, IO, NOT_FOUND, SOURCE, raw_safetensors, refused, run
from support import write_json, write_json_lines


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
    arguments = [*prefill_command(small, tokens, tmp_path / "kv.safetensors"), "--json"]
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
